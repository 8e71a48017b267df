//! Exports as Windows writes them, and hostile ones.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const KEY: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\RemovableStorageDevices";

/// What `reg export` writes, with all the forms that a value can have.
const EXPORT: &str = "Windows Registry Editor Version 5.00\r\n\r\n\
[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Microsoft\\Windows\\RemovableStorageDevices]\r\n\
@=\"a \\\"default\\\" \\\\ \r\nof two lines\"\r\n\
\"Deny_All\"=dword:00000001\r\n\
\"Expanded\"=hex(2):25,00,54,00,25,00,00,00\r\n\
\"Long\"=hex:01,02,\\\r\n  03,ff\r\n\
\"Number\"=hex(4):10,27,00,00\r\n\
\"Wide\"=hex(b):01,00,00,00,00,00,00,00\r\n\r\n\
; a comment\r\n\
[HKEY_LOCAL_MACHINE\\SOFTWARE\\[brackets]]\r\n\
\"Name=of\\\\a value\"=\"=\"\r\n";

fn utf16_of(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend(utf16(text));
    bytes
}

#[test]
fn exports_are_read() {
    let registry = Registry::read(&utf16_of(EXPORT)).unwrap();
    assert_eq!(registry.len(), 7);
    assert_eq!(registry.dword(KEY, "deny_all"), Some(1));
    assert_eq!(registry.dword(&KEY.to_uppercase(), "DENY_ALL"), Some(1));
    assert_eq!(registry.dword(KEY, "Number"), Some(10_000));
    assert_eq!(registry.text(KEY, "Expanded"), Some("%T%"));
    assert_eq!(
        registry.text(KEY, ""),
        Some("a \"default\" \\ \r\nof two lines")
    );
    assert_eq!(
        registry.get(KEY, "Long"),
        Some(&Value::Bytes(3, vec![1, 2, 3, 255]))
    );
    let odd = r"HKEY_LOCAL_MACHINE\SOFTWARE\[brackets]";
    assert_eq!(registry.text(odd, r"Name=of\a value"), Some("="));
    assert_eq!(registry.of_key(KEY).count(), 6);
    // The same in UTF-8, and twice one behind the other.
    assert_eq!(Registry::read(EXPORT.as_bytes()), Ok(registry.clone()));
    let twice = [utf16_of(EXPORT), utf16_of(EXPORT)].concat();
    assert_eq!(Registry::read(&twice), Ok(registry));
}

#[test]
fn what_is_no_export() {
    let line = |line, expected| Err(BadExport::Line { line, expected });
    let read = |text: &str| Registry::read(format!("{HEADER}\n{text}").as_bytes());
    assert_eq!(Registry::read(b"hello"), Err(BadExport::Header));
    assert_eq!(Registry::read(b"\xff\xfe\0"), Err(BadExport::Encoding));
    assert_eq!(Registry::read(b"\x83\x8c"), Err(BadExport::Encoding));
    assert_eq!(read("\"a\"=dword:1"), line(2, "key in brackets"));
    assert_eq!(read("[-HKEY_LOCAL_MACHINE\\A]"), line(2, "key in brackets"));
    assert_eq!(read("[A]\n\"a\"=dword:x"), line(3, "value"));
    assert_eq!(read("[A]\n\"a\"=-"), line(3, "value"));
    assert_eq!(read("[A]\n\"a"), line(3, "text in quotation marks"));
    assert_eq!(read("[A]\n\"a\"=hex:0g"), line(3, "list of bytes"));
    assert_eq!(read("[A]\n\"a\" dword:1"), line(3, "name with its value"));
    let many: String = (0..=VALUES_MAX)
        .map(|at| format!("\"{at}\"=dword:0\n"))
        .collect();
    assert_eq!(read(&format!("[A]\n{many}")), Err(BadExport::TooMany));
    assert_eq!(
        Registry::read(&vec![b' '; EXPORT_BYTES_MAX + 1]),
        Err(BadExport::TooLong)
    );
}

/// By hand, after the table of [MS-GPREG] section 2.2.1.
#[test]
fn a_policy_file_byte_by_byte() {
    let mut registry = Registry::default();
    registry.set(r"HKEY_LOCAL_MACHINE\A", "b", Value::Dword(1));
    registry.set(r"HKEY_LOCAL_MACHINE\A\L", "1", Value::Text("x".to_owned()));
    registry.set(r"HKEY_CURRENT_USER\A", "c", Value::Dword(2));
    let expected = b"PReg\x01\0\0\0\
        [\0A\0\0\0;\0b\0\0\0;\0\x04\0\0\0;\0\x04\0\0\0;\0\x01\0\0\0]\0\
        [\0A\0\\\0L\0\0\0;\0*\0*\0d\0e\0l\0v\0a\0l\0s\0.\0\0\0;\0\x01\0\0\0;\0\x04\0\0\0;\0 \0\0\0]\0\
        [\0A\0\\\0L\0\0\0;\x001\0\0\0;\0\x01\0\0\0;\0\x04\0\0\0;\0x\0\0\0]\0";
    assert_eq!(registry.to_pol(&[r"HKEY_LOCAL_MACHINE\a\l"]), expected);
}

fn any_registry() -> impl Strategy<Value = Registry> {
    let value = prop_oneof![
        any::<u32>().prop_map(Value::Dword),
        "[ -~山\r\n]{0,20}".prop_map(Value::Text),
        vec(any::<u8>(), 0..8).prop_map(|bytes| Value::Bytes(3, bytes)),
    ];
    vec(("[A-Za-z{}\\[\\] 山]{1,8}", "[ -~]{0,8}", value), 0..12).prop_map(|values| {
        let mut registry = Registry::default();
        for (key, name, value) in values {
            registry.set(&format!(r"{MACHINE}\{key}"), &name, value);
        }
        registry
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(registry in any_registry()) {
        let written = registry.to_reg(&["a comment"]);
        prop_assert_eq!(Registry::read(&written), Ok(registry));
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Registry::read(&bytes);
        let _ = Registry::read(&[HEADER.as_bytes(), b"\n[A]\n", &bytes].concat());
    }

    #[test]
    fn damaged_exports(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        for bytes in [utf16_of(EXPORT), EXPORT.as_bytes().to_vec()] {
            let mut bytes = bytes;
            for (place, byte) in &changes {
                let at = place.index(bytes.len());
                bytes[at] = *byte;
            }
            let _ = Registry::read(&bytes);
        }
    }
}
