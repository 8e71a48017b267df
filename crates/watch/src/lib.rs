//! Detection: records in, findings and cases out. A pure fold: the same version, settings and records
//! give the same findings, byte for byte, live or replayed ten years later.
//!
//! Invariants: integers and fixed point only; no clock but the records'; state bounded per actor and
//! client; a record that makes no sense is counted by reason and never panics.
//!
//! The main path: [`Watch::step`] takes one record, counts it (`actor.rs`), lets the detectors that
//! cannot wait look at it (`detect/`), and at the end of each day those that judge days. What they
//! find goes through one alert budget (`cases.rs`).

mod actor;
mod cases;
mod cohort;
mod day;
mod detect;
mod finding;
mod fixed;
mod history;
mod numbers;
mod order;
mod record;
mod rise;
mod settings;
mod sketch;
mod watch;
pub mod words;

pub use cases::{CaseNumber, Opened, Said};
pub use event::TerminalEvent;
pub use finding::{
    Bits, Cause, DAYS_MAX, Detector, Finding, IdentityKind, OTHERS_MAX, RESTS_ON_MAX, TamperKind,
    Window,
};
pub use numbers::NUMBERS_VERSION;
pub use record::{Call, Exposure, Order, Part, Record, TerminalId, What};
pub use settings::Settings;
pub use watch::{Skipped, Watch};

/// Changes whenever the same records could give other findings.
pub const FOLD_VERSION: u16 = 3;
