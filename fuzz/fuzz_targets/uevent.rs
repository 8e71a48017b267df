//! A message of the kernel about a device: never a panic, and no path leaves /sys.
#![no_main]

use libfuzzer_sys::fuzz_target;
use post::uevent;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(event) = uevent::parse(bytes) {
        assert!(event.path.starts_with('/'));
        assert!(
            event
                .path
                .split('/')
                .all(|part| part != ".." && part != ".")
        );
        assert!(!event.name().contains('/'));
    }
});
