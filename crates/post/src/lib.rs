//! The terminal agent of Sekisho: keeps storage off a Linux terminal by kernel state, and reports.
//!
//! A shell around the pure crate `terminal`, which says what a device may do. Links neither `seal`
//! nor `gate`.

pub mod agent;
pub mod block;
pub mod broker;
pub mod clock;
pub mod commands;
pub mod config;
pub mod connection;
pub mod enroll;
pub mod fallback;
pub mod fanotify;
pub mod files;
pub mod guard;
pub mod keyboard;
pub mod link;
pub mod log;
pub mod machine;
pub mod queue;
pub mod reporter;
pub mod sysfs;
pub mod tls;
pub mod tunnel;
pub mod uevent;
pub mod wake;
