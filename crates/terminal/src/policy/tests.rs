use proptest::prelude::*;

use super::*;
use crate::decide::tests::{device, interface};

const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn error(text: &str) -> String {
    Policy::parse(text).unwrap_err().to_string()
}

fn policy(text: &str) -> Policy {
    Policy::parse(&format!("version = 1\n{text}")).unwrap()
}

/// The blocks of TOML in docs/terminal-policy.md.
fn examples() -> Vec<&'static str> {
    include_str!("../../../../docs/terminal-policy.md")
        .split("```toml\n")
        .skip(1)
        .map(|it| it.split("```").next().unwrap())
        .collect()
}

#[test]
fn the_documented_policies_read() {
    let examples = examples();
    assert_eq!(examples.len(), 2);
    assert_eq!(Policy::parse(examples[0]), Ok(Policy::standard()));
    assert_eq!(examples[0], STANDARD);
    let full = Policy::parse(examples[1]).unwrap();
    assert_eq!(full.rule(Kind::Keyboard), Rule::Confirm);
    assert_eq!(full.rule(Kind::Storage), Rule::Refuse);
    assert_eq!(
        (full.company, full.optical),
        (Company::Broker, Optical::ReadOnly)
    );
    assert_eq!(full.keys.len(), 1);
    assert_eq!(full.allow[0].interfaces, [[3, 0, 0], [3, 1, 1]]);
    assert_eq!((full.guard, full.heartbeat_s), (GuardRule::Required, 20));
    assert_eq!(full.queue_bytes_max, 8 * 1024 * 1024);
    // Every default that the page names is the one that is taken.
    let page = include_str!("../../../../docs/terminal-policy.md");
    let least = policy("");
    assert_eq!(
        least
            .canonical()
            .lines()
            .filter(|it| it.contains(" = "))
            .count(),
        7
    );
    for line in least
        .canonical()
        .lines()
        .filter(|it| it.contains(" = "))
        .skip(1)
    {
        let (key, value) = line.split_once(" = ").unwrap();
        let row = format!("| `{key}` | `{value}` |");
        assert!(
            page.contains(&row),
            "docs/terminal-policy.md has no row {row}"
        );
    }
    for kind in Kind::ALL {
        assert!(page.contains(&format!("| `{kind}` |")), "{kind}");
    }
}

#[test]
fn what_is_not_known_is_refused_and_said() {
    for (text, says) in [
        ("", "missing field `version`"),
        ("version = 2", "policy version 2 is not known"),
        ("version = 1\nnew = 1", "unknown field `new`"),
        ("version = 1\n[storage]\nusb = 1", "unknown field `usb`"),
        ("version = 1\n[terminal]\nx = 1", "unknown field `x`"),
        (
            "version = 1\n[devices]\nmouse = \"allow\"",
            "names `mouse`, which is no kind",
        ),
        (
            "version = 1\n[devices]\nhub = \"yes\"",
            "write \"refuse\", \"confirm\" or \"allow\"",
        ),
        (
            "version = 1\n[devices]\nstorage = \"allow\"",
            "[storage] says what company media",
        ),
        (
            "version = 1\n[devices]\nphone = \"allow\"",
            "telephones are always refused",
        ),
        (
            "version = 1\n[devices]\nvendor = \"allow\"",
            "name the model in [[allow]]",
        ),
        (
            "version = 1\n[devices]\nother = \"confirm\"",
            "name the model in [[allow]]",
        ),
        (
            "version = 1\n[devices]\nhub = \"confirm\"",
            "only keyboard and pointer are confirmed",
        ),
        (
            "version = 1\n[storage]\ncompany = \"broker\"",
            "needs at least one key",
        ),
        (
            "version = 1\n[storage]\nkeys = [\"ab\"]",
            "`ab` is no Ed25519 public key",
        ),
        (
            "version = 1\n[storage]\ncompany = \"allow\"",
            "unknown variant `allow`",
        ),
        (
            "version = 1\n[terminal]\nheartbeat_s = 1",
            "heartbeat_s = 1: 2 to 30 is possible",
        ),
        (
            "version = 1\n[terminal]\nevidence_h = 169",
            "evidence_h = 169: 1 to 168 is possible",
        ),
        (
            "version = 1\n[terminal]\nheartbeat_s = 31",
            "2 to 30 is possible",
        ),
        (
            "version = 1\n[terminal]\nqueue_bytes_max = 1",
            "65536 to 1073741824 is possible",
        ),
        ("version = 1\nversion = 1", "duplicate key"),
    ] {
        let error = error(text);
        assert!(error.contains(says), "{text}: {error}");
    }
    assert_eq!(
        Policy::parse(&"#".repeat(POLICY_BYTES_MAX + 1)),
        Err(PolicyError::TooLong(POLICY_BYTES_MAX + 1))
    );
    let keys = format!("\"{KEY}\",").repeat(KEYS_MAX + 1);
    assert!(error(&format!("version = 1\n[storage]\nkeys = [{keys}]")).contains("at most 16"));
}

#[test]
fn models_say_all_of_their_interfaces_and_never_storage() {
    let model = |interfaces: &str, why: &str| {
        Policy::parse(&format!(
            "version = 1\n[[allow]]\nvendor = 1\nproduct = 2\ninterfaces = [{interfaces}]\nwhy = \"{why}\""
        ))
    };
    let found = model("\"03:01:02\", \"03:01:01\", \"03:01:02\"", "x").unwrap();
    assert_eq!(found.allow[0].interfaces, [[3, 1, 1], [3, 1, 2]]);
    for (interfaces, why, says) in [
        ("", "x", "list all of its interfaces"),
        ("\"3:1:1\"", "x", "`3:1:1` is no class"),
        ("\"03:01:01:00\"", "x", "is no class"),
        ("\"03:01\"", "x", "is no class"),
        ("\"+3:01:01\"", "x", "is no class"),
        ("\"08:06:50\"", "x", "stores or is a telephone"),
        (
            "\"03:01:01\", \"06:01:01\"",
            "x",
            "stores or is a telephone",
        ),
        ("\"03:01:01\"", " ", "say why"),
    ] {
        let error = model(interfaces, why).unwrap_err().to_string();
        assert!(error.starts_with("[[allow]] 0001:0002: "), "{error}");
        assert!(error.contains(says), "{error}");
    }
    let one = "[[allow]]\nvendor = 1\nproduct = 2\ninterfaces = [\"03:01:01\"]\nwhy = \"x\"\n";
    assert!(error(&format!("version = 1\n{one}{one}")).contains("named twice"));
    let many = one.repeat(MODELS_MAX + 1);
    assert!(error(&format!("version = 1\n{many}")).contains("at most 256 models"));
}

#[test]
fn the_canonical_text_does_not_depend_on_order_spacing_or_defaults() {
    let one = "version = 1\n[devices]\npointer = \"allow\"\nhub = \"allow\"\ncamera = \"refuse\"\n";
    let other = "[devices]\nhub = 'allow'\npointer = 'allow'\n[storage]\noptical = 'refuse'\n";
    let (one, other) = (
        Policy::parse(one).unwrap(),
        Policy::parse(&format!("version=1\n{other}")).unwrap(),
    );
    assert_eq!(one.canonical(), other.canonical());
    assert_eq!(one.digest(), other.digest());
    assert_ne!(one.digest(), Policy::standard().digest());
    // Pinned: terminals and gates of different versions have to agree.
    assert_eq!(
        Policy::standard().canonical(),
        "version = 1\n\n[devices]\nhub = \"allow\"\nkeyboard = \"confirm\"\npointer = \"allow\"\n\
         headset = \"allow\"\nsmart-card = \"allow\"\n\n[storage]\ncompany = \"refuse\"\nkeys = []\n\
         optical = \"refuse\"\n\n[terminal]\nguard = \"required\"\nheartbeat_s = 20\n\
         queue_bytes_max = 8388608\n"
    );
}

#[test]
fn a_policy_that_locks_everybody_out_names_the_device() {
    let mut keyboard = device("1-1.2", &[interface(0, [3, 1, 1])]).named("Keyboard", "");
    keyboard.parent = Some("1-1".to_owned());
    let mut hub = device("1-1", &[interface(0, [9, 0, 0])]).named("Hub", "");
    hub.parent = Some("usb1".to_owned());
    let mouse = device("1-2", &[interface(0, [3, 1, 2])]).named("Mouse", "");
    let all = [hub.clone(), keyboard.clone(), mouse.clone()];
    let closed = policy("");
    let lock_out = check(&closed, &all).unwrap_err();
    assert_eq!(
        (lock_out.device.as_str(), lock_out.role),
        ("1-1.2", Kind::Keyboard)
    );
    assert_eq!(
        lock_out.to_string(),
        "the policy would lock everybody out: keyboard 1-1.2 (Keyboard) is refused by [devices]; \
         allow or confirm its kind, or name the model in [[allow]]"
    );
    // Its hub is refused; the pointer is; another one that works is enough.
    let keys = policy("[devices]\nkeyboard = \"confirm\"\npointer = \"allow\"");
    let lock_out = check(&keys, &all).unwrap_err();
    assert_eq!(lock_out.because, Because::Hub("1-1".to_owned()));
    let mut built_in = all.clone();
    built_in[0].built_in = true;
    assert_eq!(check(&keys, &built_in), Ok(()));
    let no_pointer = policy("[devices]\nkeyboard = \"allow\"\nhub = \"allow\"");
    assert_eq!(check(&no_pointer, &all).unwrap_err().role, Kind::Pointer);
    let second = device("1-3", &[interface(0, [3, 1, 1])]);
    assert_eq!(check(&keys, &[hub, keyboard, mouse, second]), Ok(()));
    assert_eq!(check(&Policy::standard(), &all), Ok(()));
    // By its model.
    let models = policy(
        "[devices]\nhub = \"allow\"\npointer = \"allow\"\n[[allow]]\nvendor = 0x1234\n\
         product = 0x5678\ninterfaces = [\"03:01:01\"]\nwhy = \"x\"",
    );
    assert_eq!(check(&models, &all), Ok(()));
    // Nobody works here; and a loop of parents ends.
    assert_eq!(check(&closed, &[]), Ok(()));
    let mut loops = device("1-1", &[interface(0, [3, 1, 1])]);
    loops.parent = Some("1-1".to_owned());
    assert_eq!(check(&Policy::standard(), &[loops]), Ok(()));
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let rules = proptest::collection::btree_map(
        proptest::sample::select(vec![Kind::Hub, Kind::Keyboard, Kind::Pointer, Kind::Camera]),
        Just(Rule::Allow),
        0..4,
    );
    let model = (
        any::<u16>(),
        any::<u16>(),
        proptest::collection::btree_set(0_u8..6, 1..3),
        "\\PC{1,40}",
    );
    let allow = proptest::collection::vec(model, 0..4);
    let times = (2_u32..=30, 1_u32..=168);
    (rules, any::<[u8; 32]>(), allow, times, 0_u8..3).prop_map(
        |(devices, key, allow, (heartbeat_s, evidence_h), company)| {
            let mut allow: Vec<Model> = allow
                .into_iter()
                .filter(|it| !it.3.trim().is_empty())
                .map(|(vendor, product, classes, why)| Model {
                    vendor,
                    product,
                    interfaces: classes.into_iter().map(|it| [it, 0, 1]).collect(),
                    why,
                })
                .collect();
            allow.sort();
            Policy {
                devices,
                company: [Company::Refuse, Company::ReadOnly, Company::Broker]
                    [usize::from(company)],
                keys: vec![key],
                optical: Optical::Refuse,
                allow,
                guard: GuardRule::Wanted,
                heartbeat_s,
                queue_bytes_max: 1 << 20,
                evidence_h,
            }
        },
    )
}

proptest! {
    #[test]
    fn the_canonical_text_reads_as_the_same_policy(policy in any_policy()) {
        let again = Policy::parse(&policy.canonical());
        prop_assert_eq!(again.as_ref(), Ok(&policy));
    }

    #[test]
    fn hostile_texts_give_errors(text in "\\PC{0,200}") {
        let _ = Policy::parse(&text);
        let _ = Policy::parse(&format!("version = 1\n{text}"));
    }
}
