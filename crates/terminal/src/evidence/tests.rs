//! Exports that agree, that do not, and that are old.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::export::{Target, export};

const HOUR_MS: u64 = 60 * 60 * 1000;
const NOW_MS: u64 = 1_795_316_400_000;
const INSTALL: &str =
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions";
const STORAGE: &str =
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\RemovableStorageDevices";

/// What a machine would export that took over the policy.
fn applied(policy: &Policy) -> Registry {
    let files = export(policy, Target::WindowsGpo).files;
    let file = files
        .iter()
        .find(|file| file.name == "sekisho.reg")
        .unwrap();
    let mut registry = Registry::read(&file.bytes).unwrap();
    // What else is there.
    registry.set(INSTALL, "DenyUnspecified", Value::Dword(0));
    registry.set(COMPUTER, "ComputerName", Value::Text("PC-17".to_owned()));
    registry.set(APPLIED, "startTimeHi", Value::Dword(0x01dd_59fe));
    registry.set(APPLIED, "startTimeLo", Value::Dword(0x45f5_f000));
    registry
}

static TAKEN_OVER: LazyLock<(Policy, Vec<u8>)> = LazyLock::new(|| {
    let policy = Policy::standard();
    let export = applied(&policy).to_reg(&[]);
    (policy, export)
});

fn shown(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}

#[test]
fn what_was_taken_over_agrees() {
    let policy = Policy::standard();
    let checked = check(&applied(&policy).to_reg(&[]), &policy).unwrap();
    assert_eq!(shown(&checked.differences), [""; 0]);
    assert_eq!(checked.origin.computer.as_deref(), Some("pc-17"));
    // 0x01dd59fe45f5f000 units of 100 ns, by `(x - 116444736000000000) / 10000`.
    assert_eq!(checked.origin.applied_at_ms, Some(1_791_777_652_129));
}

#[test]
fn each_value_counts() {
    let policy = Policy::standard();
    let agrees = applied(&policy);
    let compiled = compiled(&policy);
    let mut changed = 0;
    for (key, name, value) in compiled.iter() {
        let mut other = agrees.clone();
        match value {
            Value::Dword(number) => other.set(key, name, Value::Dword(1 - number)),
            _ => other.set(key, name, Value::Text("USB\\Class_99".to_owned())),
        }
        assert_eq!(compare(&other, &policy).len(), 1, "{key} {name}");
        changed += 1;
    }
    assert!(changed > 40, "{changed}");
    // Nothing at all.
    let differences = compare(&Registry::default(), &policy);
    assert!(differences.len() > 40, "{}", differences.len());
}

#[test]
fn differences_are_named() {
    let policy = Policy::standard();
    let mut registry = applied(&policy);
    registry.set(STORAGE, "Deny_All", Value::Dword(0));
    let list = format!(r"{INSTALL}\AllowInstanceIDs");
    let entry = Value::Text(r"USBSTOR\Disk&Ven_X\1".to_owned());
    registry.set(&list, "1", entry);
    assert_eq!(
        shown(&compare(&registry, &policy)),
        [
            format!("{STORAGE}: `Deny_All` is 0; it should be 1"),
            format!(r"{list}: `USBSTOR\DISK&VEN_X\1` is on the list, and not in the policy"),
        ]
    );
}

#[test]
fn a_renumbered_list_is_the_same() {
    let policy = Policy::standard();
    let agrees = applied(&policy);
    let list = format!(r"{INSTALL}\DenyDeviceIDs");
    let mut other = Registry::default();
    for (key, name, value) in agrees.iter() {
        let name = match key.eq_ignore_ascii_case(&list) {
            true => format!("9{name}"),
            false => name.to_owned(),
        };
        other.set(key, &name, value.clone());
    }
    assert_eq!(compare(&other, &policy), []);
}

#[test]
fn only_fresh_evidence_that_agrees_is_healthy() {
    let (policy, other) = ([1; 32], [2; 32]);
    let bounds = Bounds::default();
    let judged = |evidence: &Evidence| fresh(evidence, &policy, NOW_MS, &bounds);
    let mut evidence = Evidence::default();
    assert_eq!(
        judged(&evidence),
        Err(vec![
            Stale::Never(Sort::Registry),
            Stale::Never(Sort::Events)
        ])
    );
    evidence.registry(NOW_MS - HOUR_MS, policy, 0);
    evidence.events(NOW_MS - 24 * HOUR_MS);
    assert_eq!(judged(&evidence), Ok(()));
    // What is older changes nothing.
    evidence.registry(NOW_MS - 2 * HOUR_MS, other, 5);
    evidence.events(0);
    assert_eq!(judged(&evidence), Ok(()));
    evidence.registry(NOW_MS, policy, 3);
    assert_eq!(judged(&evidence), Err(vec![Stale::Differs(3)]));
    evidence.registry(NOW_MS, other, 0);
    assert_eq!(judged(&evidence), Err(vec![Stale::OtherPolicy]));
    evidence.registry(NOW_MS + 11 * 60_000, policy, 0);
    let ahead = Stale::Ahead {
        sort: Sort::Registry,
        ahead_ms: 11 * 60_000,
    };
    assert_eq!(judged(&evidence), Err(vec![ahead]));
    let late = fresh(&evidence, &policy, NOW_MS + HOUR_MS, &bounds);
    let old = Stale::Old {
        sort: Sort::Events,
        age_ms: 25 * HOUR_MS,
        age_ms_max: 24 * HOUR_MS,
    };
    assert_eq!(late, Err(vec![old]));
}

proptest! {
    /// Without new evidence nobody becomes healthy by waiting.
    #[test]
    fn time_only_takes_health_away(
        at_ms in 0..2 * NOW_MS,
        until_ms in 0..2 * NOW_MS,
        now_ms in NOW_MS..3 * NOW_MS,
        later_ms in 0..NOW_MS,
    ) {
        let mut evidence = Evidence::default();
        evidence.registry(at_ms, [1; 32], 0);
        evidence.events(until_ms);
        let bounds = Bounds { ahead_ms_max: u64::MAX, ..Bounds::default() };
        let judged = |now_ms| fresh(&evidence, &[1; 32], now_ms, &bounds).is_ok();
        prop_assert!(judged(now_ms) || !judged(now_ms + later_ms));
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (policy, export) = &*TAKEN_OVER;
        let _ = check(&bytes, policy);
        let mut export = export.clone();
        let at = bytes.len() * 13 % export.len();
        export.splice(at.., bytes);
        let _ = check(&export, policy);
    }
}
