//! A file that is to be copied to a company medium: never a panic; values are in the form that
//! fingerprints are made of.
#![no_main]

use fingerprint::normalise;
use libfuzzer_sys::fuzz_target;
use scan::{Limits, look};

const LIMITS: Limits = Limits {
    text_bytes_max: 1 << 20,
    entries_max: 100,
    depth_max: 2,
    values_max: 10_000,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(found) = look(bytes, &LIMITS) else {
        return;
    };
    assert!(found.certain().count() + found.possible().count() <= LIMITS.values_max);
    for (class, value) in found.certain().chain(found.possible()) {
        assert!(normalise(class, value.expose()) == *value, "{class}");
    }
});
