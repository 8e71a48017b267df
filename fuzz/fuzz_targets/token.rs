//! The token's block on a medium: never a panic, and none counts that no key signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use terminal::token::{Medium, verify};

fuzz_target!(|bytes: &[u8]| {
    let medium = Medium {
        serial: "0001",
        size: 8_000_000_000,
    };
    assert!(verify(bytes, &[[1; 32]], medium, 0).is_err());
});
