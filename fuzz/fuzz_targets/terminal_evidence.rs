//! A registry export of a Windows terminal: never a panic, whatever it holds.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use terminal::evidence;
use terminal::policy::Policy;

static POLICY: LazyLock<Policy> = LazyLock::new(Policy::standard);

fuzz_target!(|bytes: &[u8]| {
    drop(evidence::check(bytes, &POLICY));
});
