//! Frames, messages and reports: never a panic; what reads is the one encoding of its value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use terminal::chain::Chain;
use terminal::report::Report;
use terminal::wire::{FromAgent, FromGate, frame, unframe};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = FromAgent::decode(bytes) {
        assert_eq!(message.encode(), bytes);
        match message {
            FromAgent::Hello(hello) => drop(Chain::default().hello(&hello, 0)),
            FromAgent::Report(report) => drop(Chain::default().take(&report, 0)),
        }
    }
    if let Ok(message) = FromGate::decode(bytes) {
        assert_eq!(message.encode(), bytes);
    }
    if let Ok(report) = Report::decode(bytes) {
        assert_eq!(report.encode().expect("it was read"), bytes);
    }
    if let Ok(Some((message, took))) = unframe(bytes) {
        assert_eq!(frame(message).expect("it was framed"), bytes[..took]);
    }
});
