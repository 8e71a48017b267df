//! The life of a call centre, simulated: who works when, who calls, who is looked up and why; and
//! thefts laid over it, with the truth about what was taken. What the detectors are judged by.
//!
//! Invariants: the same settings give the same records, byte for byte, on every platform (integers
//! alone, streams of chance named by numbers); a theft changes nothing in the life of the others; one
//! day at a time is in memory.
//!
//! Every parameter and why it is as it is: docs/simulate.md.

mod acts;
mod buffer;
mod calendar;
mod clients;
pub mod evaluate;
mod jobs;
mod people;
mod random;
mod theft;
mod work;
mod world;

pub use theft::{Family, Thief, cast};
pub use world::{Life, Loss, Simulation, Sink};
