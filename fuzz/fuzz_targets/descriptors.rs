//! A device's descriptors: never a panic, always within the limits, and no verdict lets storage
//! through, whatever the device says.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use terminal::decide::{Known, decide};
use terminal::descriptor;
use terminal::device::{Device, INTERFACES_MAX};
use terminal::explain::{Language, explain};
use terminal::kind::Kind;
use terminal::policy::Policy;
use terminal::report::Summary;

/// As open as a policy can be.
static OPEN: LazyLock<Policy> = LazyLock::new(|| {
    let kinds = "hub keyboard pointer headset smart-card network serial printer camera bluetooth";
    let rules: String = kinds.split(' ').map(|it| format!("{it} = \"allow\"\n")).collect();
    Policy::parse(&format!("version = 1\n[devices]\n{rules}")).expect("a policy")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(described) = descriptor::parse(bytes) else {
        return;
    };
    assert!(described.interfaces.len() <= INTERFACES_MAX);
    let device = Device::usb("1-1", described).named("fuzz", "1");
    for policy in [&*OPEN, &Policy::standard()] {
        let verdict = decide(&device, &Known::default(), policy);
        for ruling in &verdict.rulings {
            let carries = matches!(ruling.kind, Kind::Storage | Kind::Phone | Kind::Vendor | Kind::Other);
            assert!(!(carries && ruling.reason.allows()), "{ruling:?}");
        }
        let _ = explain(&device, &verdict, Language::English);
        let _ = explain(&device, &verdict, Language::Japanese);
        let _ = Summary::new(&device, &verdict, &[0; 32]);
    }
});
