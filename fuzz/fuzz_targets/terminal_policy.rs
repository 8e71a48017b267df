//! A policy file: never a panic; what is read has a canonical text that reads as the same policy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use terminal::kind::Kind;
use terminal::policy::{Policy, Rule};

fuzz_target!(|text: &str| {
    if let Ok(policy) = Policy::parse(text) {
        for kind in [Kind::Storage, Kind::Phone, Kind::Vendor, Kind::Other] {
            assert_eq!(policy.rule(kind), Rule::Refuse);
        }
        let canonical = policy.canonical();
        let again = Policy::parse(&canonical).expect("the canonical text of a policy");
        assert_eq!(again, policy);
        assert_eq!(again.canonical(), canonical);
    }
});
