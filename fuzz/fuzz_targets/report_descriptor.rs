//! A HID report descriptor: never a panic; keyboard usages in plain sight make a keyboard.
#![no_main]

use libfuzzer_sys::fuzz_target;
use terminal::descriptor;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(said) = descriptor::report(bytes) {
        // Usage page 7 in its shortest form, at the beginning.
        assert!(!bytes.starts_with(&[0x05, 0x07]) || said.keyboard);
    }
});
