//! Nothing of a policy is dropped, and what is written has the published shape.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use quick_xml::Reader;
use quick_xml::events::Event;

use super::classes::{allowed, patterns};
use super::*;
use crate::device::{Bus, Device, Interface};
use crate::kind::{Kind, kind};
use crate::registry::Registry;

const KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A policy as `[devices]` lines and whatever follows them.
fn policy(devices: &str, rest: &str) -> Policy {
    let text = format!("version = 1\n[devices]\n{devices}\n{rest}");
    Policy::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn standard(rest: &str) -> Policy {
    policy(
        "hub = \"allow\"\nkeyboard = \"confirm\"\npointer = \"allow\"\nheadset = \"allow\"\nsmart-card = \"allow\"",
        rest,
    )
}

fn model(vendor: &str, interfaces: &str) -> String {
    format!(
        "[[allow]]\nvendor = {vendor}\nproduct = 0xc31c\ninterfaces = [\"{interfaces}\"]\nwhy = \"w\"\n"
    )
}

/// Pairs of policies that differ in one feature, with its name. All values of all features occur.
fn pairs() -> Vec<(String, Policy, Policy)> {
    let mut pairs = Vec::new();
    for kind in Kind::ALL {
        let mut rules: Vec<Policy> = Vec::new();
        for rule in ["refuse", "confirm", "allow"] {
            let text = format!("version = 1\n[devices]\n{} = \"{rule}\"\n", kind.word());
            rules.extend(Policy::parse(&text).ok());
        }
        for pair in rules.windows(2) {
            let name = format!("[devices] {}", kind.word());
            pairs.push((name, pair[0].clone(), pair[1].clone()));
        }
    }
    let keys = |company: &str| format!("[storage]\ncompany = \"{company}\"\nkeys = [\"{KEY}\"]\n");
    let mut pair = |name: &str, a: &str, b: &str| {
        pairs.push((name.to_owned(), standard(a), standard(b)));
    };
    pair("[storage] company", &keys("refuse"), &keys("read-only"));
    pair("[storage] company", &keys("read-only"), &keys("broker"));
    pair("[storage] keys", "", &keys("refuse"));
    pair(
        "[storage] optical",
        "",
        "[storage]\noptical = \"read-only\"\n",
    );
    pair("[terminal] guard", "", "[terminal]\nguard = \"wanted\"\n");
    pair(
        "[terminal] heartbeat_s",
        "",
        "[terminal]\nheartbeat_s = 10\n",
    );
    pair(
        "[terminal] queue_bytes_max",
        "",
        "[terminal]\nqueue_bytes_max = 100000\n",
    );
    for interface in ["03:01:01", "07:01:02", "ff:00:00", "0e:01:00", "01:01:00"] {
        let name = format!("[[allow]] 046d:c31c ({interface})");
        pair(&name, "", &model("0x046d", interface));
    }
    pairs
}

/// The files without what only says whose they are.
fn said(policy: &Policy, target: Target) -> Vec<Vec<u8>> {
    let digest = digest_line(policy);
    let neutral = |bytes: Vec<u8>| {
        let as_is = String::from_utf8_lossy(&bytes).replace(&digest, "");
        match Registry::read(&bytes) {
            Ok(registry) => registry.to_reg(&[]),
            Err(_) => as_is.into_bytes(),
        }
    };
    let files = export(policy, target).files;
    files.into_iter().map(|file| neutral(file.bytes)).collect()
}

fn lists(policy: &Policy, target: Target, name: &str) -> bool {
    let start = format!("{name}: ");
    export(policy, target)
        .cannot
        .iter()
        .any(|it| it.starts_with(&start))
}

/// Two policies that differ give different files, or say that they do not.
#[test]
fn every_feature_is_in_the_files_or_listed() {
    let pairs = pairs();
    // Of every feature that a text can change, each value is in some pair.
    let seen: BTreeSet<String> = pairs.iter().map(|(name, ..)| name.clone()).collect();
    for (_, a, b) in &pairs {
        for feature in features(a).into_iter().chain(features(b)) {
            let fixed = matches!(
                feature.what,
                What::Unknown | What::Interfaces | What::Buses | What::Identity
            );
            let only_refused = matches!(
                feature.what,
                What::Kind(Kind::Storage | Kind::Phone | Kind::Vendor | Kind::Other, _)
            );
            assert!(
                fixed || only_refused || seen.contains(&feature.name),
                "{}",
                feature.name
            );
        }
    }
    let mut written = 0;
    for target in Target::ALL {
        for (name, a, b) in &pairs {
            let differ = said(a, target) != said(b, target);
            written += u32::from(differ);
            assert!(
                differ || lists(a, target, name) || lists(b, target, name),
                "{target} drops {name}"
            );
        }
    }
    assert!(
        written > 40,
        "only {written} differences are written at all"
    );
}

/// What no text can change is said by the target's files, or listed. Where it is said is named here.
#[test]
fn what_is_always_refused_is_said_or_listed() {
    let policy = Policy::standard();
    for target in Target::ALL {
        for feature in features(&policy) {
            let expected: &[&str] = match (&feature.what, target) {
                (What::Unknown, Target::Usbguard) => &["\nblock\n", "ImplicitPolicyTarget=block"],
                (What::Kind(Kind::Storage, _), Target::Defender | Target::Intune) => {
                    &["RemovableMediaDevices"]
                }
                (What::Kind(Kind::Storage, _), Target::WindowsGpo) => {
                    &["USB\\\\Class_08", "{53f5630d-b6bf-11d0-94f2-00a0c91efb8b}"]
                }
                (What::Kind(Kind::Phone, _), Target::WindowsGpo) => {
                    &["USB\\\\Class_06", "{6AC27878-A6FA-4155-BA85-F98F491D4F33}"]
                }
                (What::Kind(Kind::Phone, _), Target::Defender | Target::Intune) => &["WpdDevices"],
                (What::Kind(Kind::Vendor, _), Target::WindowsGpo | Target::Intune) => {
                    &["USB\\\\Class_FF"]
                }
                (What::Kind(Kind::Other, _), Target::WindowsGpo | Target::Intune) => {
                    &["USB\\\\Class_FE", "USB\\\\Class_11"]
                }
                (What::Kind(Kind::Storage, _), Target::Macos) => {
                    &["harddisk-external", "Disallowed"]
                }
                (
                    What::Kind(Kind::Storage | Kind::Phone | Kind::Vendor | Kind::Other, _),
                    Target::Usbguard,
                ) => &["\nblock\n"],
                (What::Unknown | What::Interfaces | What::Buses | What::Identity, _)
                | (What::Kind(Kind::Phone | Kind::Vendor | Kind::Other, _), _) => {
                    assert!(
                        lists(&policy, target, &feature.name),
                        "{target} {}",
                        feature.name
                    );
                    continue;
                }
                _ => continue,
            };
            let all: String = export(&policy, target).files.iter().map(shown).collect();
            for text in expected {
                assert!(all.contains(text), "{target} lacks {text}");
            }
        }
    }
}

/// A file as a text.
fn shown(file: &File) -> String {
    match file.bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => {
            let units = rest
                .as_chunks::<2>()
                .0
                .iter()
                .map(|it| u16::from_le_bytes(*it));
            String::from_utf16(&units.collect::<Vec<_>>()).unwrap()
        }
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn file(policy: &Policy, target: Target, name: &str) -> String {
    let export = export(policy, target);
    let file = export.files.iter().find(|file| file.name == name);
    shown(file.unwrap_or_else(|| panic!("{target} has no {name}")))
}

#[test]
fn targets_have_their_names() {
    for target in Target::ALL {
        assert_eq!(target.to_string().parse(), Ok(target));
    }
    let unknown = "windows".parse::<Target>().unwrap_err().to_string();
    assert!(unknown.contains("windows-gpo"), "{unknown}");
}

#[test]
fn the_same_policy_gives_the_same_bytes() {
    let policy = standard(&model("0x046d", "03:01:01"));
    let again = Policy::parse(&policy.canonical()).unwrap();
    for target in Target::ALL {
        assert_eq!(export(&policy, target), export(&again, target));
    }
}

/// The patterns are those of the kinds: each, completed with zeros, is an interface of its kind.
#[test]
fn classes_and_kinds_agree() {
    for of in Kind::ALL {
        for (class, subclass, protocol) in patterns(*of) {
            let interface = Interface {
                configuration: 1,
                number: 0,
                alternate: 0,
                class: *class,
                subclass: subclass.unwrap_or(0),
                protocol: protocol.unwrap_or(0),
                name: String::new(),
                report: (*of == Kind::Pointer).then(Default::default),
            };
            let device = Device {
                interfaces: vec![interface.clone()],
                ..Device::plain(Bus::Usb, "1-1")
            };
            assert_eq!(
                kind(&device, &interface),
                *of,
                "{class:02x} {subclass:?} {protocol:?}"
            );
        }
    }
    let all = policy(
        "hub = \"allow\"\nheadset = \"allow\"\nsmart-card = \"allow\"\nnetwork = \"allow\"\nserial = \"allow\"\n\
         printer = \"allow\"\ncamera = \"allow\"\nbluetooth = \"allow\"",
        "",
    );
    let mut without: BTreeSet<u8> = (0..=255).collect();
    for (class, ..) in allowed(&all) {
        without.remove(&class);
    }
    for class in [0x03, 0x06, 0x08, 0xfe, 0xff] {
        assert!(without.contains(&class), "{class:02x}");
    }
}

#[test]
fn rules_of_usbguard() {
    let policy = standard(&model("0x046d", "03:01:01"));
    let rules = file(&policy, Target::Usbguard, "rules.conf");
    let rules: Vec<_> = rules
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let may = "09:*:* 01:00:* 01:01:* 01:02:* 0b:*:* 03:01:02";
    let keys = "03:00:* 03:01:00 03:01:01";
    assert_eq!(
        rules,
        [
            "allow id 046d:c31c with-interface match-all { 03:01:01 }".to_owned(),
            format!("allow with-interface match-all {{ {may} }}"),
            format!(
                "allow with-interface match-all {{ {may} {keys} }} with-connect-type \"hardwired\""
            ),
            format!(
                "allow with-interface match-all {{ {may} {keys} }} if !allowed-matches(with-interface one-of {{ {keys} }})"
            ),
            "block".to_owned(),
        ]
    );
}

/// Element names of a document in their order, with the text inside each.
fn elements(text: &str) -> Vec<(String, String)> {
    let mut reader = Reader::from_str(text);
    let mut elements: Vec<(String, String)> = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                let name = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
                elements.push((name, String::new()));
            }
            Event::Text(text) => {
                if let Some((_, inside)) = elements.last_mut() {
                    inside.push_str(text.decode().unwrap().trim());
                }
            }
            Event::Eof => return elements,
            _ => {}
        }
    }
}

/// The shape of the published samples: which elements there are, in which order, and that every group
/// that a rule names exists.
#[test]
fn groups_and_rules_of_defender() {
    let optical = "[storage]\noptical = \"read-only\"\n";
    let policy = standard(&format!("{optical}{}", model("0x04b8", "07:01:02")));
    let groups = file(&policy, Target::Defender, "groups.xml");
    let rules = file(&policy, Target::Defender, "rules.xml");
    let names = |text: &str| -> BTreeSet<String> {
        elements(text).into_iter().map(|(name, _)| name).collect()
    };
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|it| (*it).to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        names(&groups),
        set(&[
            "Groups",
            "Group",
            "Name",
            "MatchType",
            "DescriptorIdList",
            "PrimaryId",
            "PrinterConnectionId",
            "VID_PID"
        ])
    );
    assert_eq!(
        names(&rules),
        set(&[
            "PolicyRules",
            "PolicyRule",
            "Name",
            "IncludedIdList",
            "ExcludedIdList",
            "GroupId",
            "Entry",
            "Type",
            "Options",
            "AccessMask"
        ])
    );
    for (name, id) in elements(&rules) {
        if name == "GroupId" {
            assert!(groups.contains(&format!("<Group Id=\"{id}\"")), "{id}");
        }
    }
    let values = |name: &str| -> Vec<String> {
        let all = elements(&rules).into_iter();
        all.filter(|(it, _)| it == name)
            .map(|(_, value)| value)
            .collect()
    };
    // Media: denied, audited; discs: read, the rest denied and audited; printers.
    assert_eq!(
        values("Type"),
        [
            "Deny",
            "AuditDenied",
            "Allow",
            "Deny",
            "AuditDenied",
            "Deny",
            "AuditDenied",
            "Allow",
            "Allow"
        ]
    );
    assert_eq!(
        values("AccessMask"),
        ["63", "63", "9", "54", "54", "64", "64", "64", "64"]
    );
    assert!(groups.contains("<VID_PID>04B8_C31C</VID_PID>"), "{groups}");
    let registry = file(&policy, Target::Defender, "defender.reg");
    assert!(
        registry.contains("\"DefaultEnforcement\"=dword:00000002"),
        "{registry}"
    );
    assert!(
        registry.contains("\"PolicyGroups\"=\"<Groups><Group Id="),
        "{registry}"
    );
}

#[test]
fn settings_of_intune() {
    let policy = standard(&model("0x04b8", "01:01:00"));
    let text = file(&policy, Target::Intune, "intune.json");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let settings = json["omaSettings"].as_array().unwrap();
    let mut uris = BTreeSet::new();
    for setting in settings {
        let uri = setting["omaUri"].as_str().unwrap();
        assert!(uris.insert(uri.to_owned()), "{uri} comes twice");
        match setting["@odata.type"].as_str().unwrap() {
            "#microsoft.graph.omaSettingInteger" => assert!(setting["value"].is_u64()),
            "#microsoft.graph.omaSettingString" => assert!(setting["value"].is_string()),
            "#microsoft.graph.omaSettingStringXml" => {
                let value = setting["value"].as_str().unwrap();
                let xml = base64_simd::STANDARD.decode_to_vec(value).unwrap();
                let xml = String::from_utf8(xml).unwrap();
                let (root, part) = match uri.contains("/PolicyGroups/") {
                    true => ("Group", "/GroupData"),
                    false => ("PolicyRule", "/RuleData"),
                };
                assert_eq!(elements(&xml)[0].0, root);
                assert!(uri.ends_with(part) && uri.contains("/%7B"), "{uri}");
            }
            other => panic!("{other}"),
        }
    }
    let value = |end: &str| {
        let found = settings
            .iter()
            .find(|it| it["omaUri"].as_str().unwrap().ends_with(end));
        found.unwrap()["value"].as_str().unwrap().to_owned()
    };
    let list = value("/PreventInstallationOfMatchingDeviceIDs");
    assert!(
        list.contains("value=\"1&#xF000;USB\\Class_01&amp;SubClass_03&#xF000;2&#xF000;"),
        "{list}"
    );
    elements(&format!("<x>{list}</x>"));
    assert!(value("/AllowInstallationOfMatchingDeviceIDs").contains("USB\\VID_04B8&amp;PID_C31C"));
}

/// Python's plistlib, which knows nothing of ours, reads the profile.
#[test]
fn the_profile_is_a_property_list() {
    let policy = standard("[storage]\noptical = \"read-only\"\n");
    let program = "import json, plistlib, sys\n\
        profile = plistlib.loads(sys.stdin.buffer.read())\n\
        print(json.dumps(profile))";
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let profile = file(&policy, Target::Macos, "sekisho.mobileconfig");
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, profile.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let profile: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(profile["PayloadType"], "Configuration");
    let payloads = profile["PayloadContent"].as_array().unwrap();
    assert_eq!(payloads[0]["allowUSBRestrictedMode"], true);
    assert_eq!(payloads[1]["mount-controls"]["cd"][0], "read-only");
    assert_eq!(
        payloads[1]["mount-controls"]["harddisk-external"][1],
        "eject"
    );
    let mut ids = BTreeSet::new();
    for payload in payloads.iter().chain([&profile]) {
        for key in ["PayloadIdentifier", "PayloadUUID", "PayloadType"] {
            let id = payload[key].as_str().unwrap();
            assert!(key == "PayloadType" || ids.insert(id.to_owned()), "{id}");
        }
        assert_eq!(payload["PayloadVersion"], 1);
    }
}

/// The published layout, value by value.
#[test]
fn values_of_group_policy() {
    let policy = standard("[storage]\noptical = \"read-only\"\n");
    let text = file(&policy, Target::WindowsGpo, "sekisho.reg");
    let read = Registry::read(text.as_bytes()).unwrap();
    assert_eq!(read, compiled(&policy));
    let storage = r"HKEY_LOCAL_MACHINE\Software\Policies\Microsoft\Windows\RemovableStorageDevices";
    let discs = format!(r"{storage}\{{53f56308-b6bf-11d0-94f2-00a0c91efb8b}}");
    for (key, name, value) in [
        (storage, "Deny_All", 0),
        (&discs, "Deny_Read", 0),
        (&discs, "Deny_Write", 1),
    ] {
        assert_eq!(read.dword(key, name), Some(value), "{key} {name}");
    }
    let ids: BTreeSet<String> = gpo::denied_ids(&policy).into_iter().collect();
    for id in [
        r"USB\Class_08",
        r"USB\Class_06",
        r"USB\MS_COMP_MTP",
        r"USB\Class_02&SubClass_02&Prot_FF",
        r"USB\Class_E0&SubClass_01&Prot_01",
        r"USB\Class_FF",
    ] {
        assert!(ids.contains(id), "{id}");
    }
    for id in [
        r"USB\Class_03&SubClass_01&Prot_01",
        r"USB\Class_09",
        r"USB\Class_0B",
    ] {
        assert!(!ids.contains(id), "{id}");
    }
    let pol = export(&policy, Target::WindowsGpo).files.remove(1);
    assert!(
        pol.bytes.starts_with(b"PReg\x01\0\0\0[\0"),
        "{:?}",
        &pol.bytes[..16]
    );
}
