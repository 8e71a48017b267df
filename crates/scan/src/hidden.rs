//! Lists that somebody hides from the scan but not from a reader: each is found, or its file refused.
//! All values are made up.

use std::io::{Cursor, Write};

use encoding_rs::{EUC_JP, ISO_2022_JP, SHIFT_JIS};
use event::Class;
use fingerprint::normalise;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::{Closed, Found, Limits, look};

const LIST: &str = "氏名,電話,メール\n山田 太郎,090-1234-5678,taro.yamada@example.co.jp\n";
const TYPES: (&str, &[u8]) = ("[Content_Types].xml", b"<Types/>");

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn looked(bytes: &[u8]) -> Result<Found, Closed> {
    look(bytes, &Limits::default())
}

fn is_certain(found: &Found, class: Class, value: &str) -> bool {
    let value = normalise(class, value);
    found.certain().any(|it| it == (class, &value))
}

fn is_possible(found: &Found, class: Class, value: &str) -> bool {
    let value = normalise(class, value);
    found.possible().any(|it| it == (class, &value))
}

fn assert_list(bytes: &[u8], what: &str) {
    let found = looked(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(is_certain(&found, Class::Phone, "090-1234-5678"), "{what}");
    let mail = "taro.yamada@example.co.jp";
    assert!(is_certain(&found, Class::Email, mail), "{what}");
    assert!(is_possible(&found, Class::Name, "山田太郎"), "{what}");
}

fn utf_16(text: &str, big: bool) -> Vec<u8> {
    let bytes = |unit: u16| {
        if big {
            unit.to_be_bytes()
        } else {
            unit.to_le_bytes()
        }
    };
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn marks_in_front_of_every_encoding() {
    let mut encodings = vec![
        ("utf-8", LIST.as_bytes().to_vec()),
        ("utf-16le", utf_16(LIST, false)),
        ("utf-16be", utf_16(LIST, true)),
    ];
    for encoding in [SHIFT_JIS, EUC_JP, ISO_2022_JP] {
        let (bytes, _, errors) = encoding.encode(LIST);
        assert!(!errors);
        encodings.push((encoding.name(), bytes.into_owned()));
    }
    let marks: [&[u8]; 5] = [
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xff\xfe\xff\xfe",
        b"\xef\xbb\xbf\xff\xfe",
        b"\xef\xbb\xbf",
    ];
    for (name, list) in &encodings {
        for mark in marks {
            for end in [&b""[..], b"\n"] {
                let bytes = [mark, list, end].concat();
                let wide = name.starts_with("utf-16");
                if wide && mark == b"\xef\xbb\xbf" {
                    assert_eq!(looked(&bytes), Err(Closed::Unknown));
                } else {
                    assert_list(&bytes, &format!("{mark:?} {name} {end:?}"));
                }
            }
        }
    }
}

/// The bytes of these names are Shift_JIS as well as UTF-16.
#[test]
fn a_text_that_fits_two_encodings() {
    for big in [false, true] {
        // U+2028, a line separator, is `( `.
        let bytes = utf_16("山田\u{2028}佐藤\u{2028}木村\u{2028}", big);
        let other = SHIFT_JIS.decode_without_bom_handling_and_without_replacement(&bytes);
        if let Some(other) = other {
            assert!(!other.contains('山'));
            let found = looked(&bytes).unwrap();
            assert!(is_possible(&found, Class::Name, "木村"), "{big}");
        }
    }
}

#[test]
fn escapes_that_nobody_obeys() {
    // In JIS X 0208 each pair is a kanji; to who knows no ISO-2022-JP it is a list.
    let found = looked(b"\x1b$B09012345678x\x1b(B\n\x1b$B09012345679x\x1b(B\n").unwrap();
    assert_eq!(found.certain_of(Class::Phone), 2);
}

#[test]
fn lists_that_begin_like_markup() {
    for list in [
        "<山田 太郎>\n<090-1234-5678>\n<taro.yamada@example.co.jp>\n",
        "<a>\n<山田 太郎,090-1234-5678,taro.yamada@example.co.jp>",
        "<a/>山田 太郎,090-1234-5678\n<taro.yamada@example.co.jp/>",
        "<taro.yamada@example.co.jp>\n山田 太郎,090-1234-5678",
        "<a><taro.yamada@example.co.jp a=\"山田 太郎\"/><x y='090-1234-5678'/></a>",
        "<a-090-1234 -5678>山田 太郎 taro.yamada@example.co.jp",
        "<c t=\"s\"><v>山田 太郎</v></c>090<b/>-1234-<b/>5678 taro.yamada@example.co.jp",
        "< \\u5c71\\u7530 \\u592a\\u90ce,090-1234-5678,taro.yamada@example.co.jp",
        "x <p>&#23665;&#30000; 太郎</p><p>090-<b>1234</b>-5678</p> taro.yamada@example.co.jp",
        "<p>\\u5c71\\u7530 \\u592a\\u90ce</p><p>090-1234-5678 taro.yamada@example.co.jp</p>",
    ] {
        assert_list(list.as_bytes(), list);
    }
    let lines: String = (0..100).map(|at| format!("<a{at}@example.jp>\n")).collect();
    let found = looked(lines.as_bytes()).unwrap();
    assert_eq!(found.certain_of(Class::Email), 100);
    // The names of elements are values, too.
    let found = looked(b"<a><Yamada/><Sato></Sato><C-12345678/></a>").unwrap();
    assert!(is_possible(&found, Class::Name, "Yamada"));
    assert!(is_possible(&found, Class::Name, "Sato"));
    assert!(is_possible(&found, Class::CustomerNumber, "C-12345678"));
}

#[test]
fn places_of_a_spreadsheet_are_no_values() {
    let rows: String = (1..50_000)
        .map(|row| {
            format!("<row r=\"{row}\"><c r=\"AB{row}\" s=\"1\" t=\"s\"><v>{row}</v></c></row>")
        })
        .collect();
    let sheet =
        format!("<?xml version=\"1.0\"?><worksheet><sheetData>{rows}</sheetData></worksheet>");
    let limits = Limits {
        values_max: 20,
        ..Limits::default()
    };
    let found = look(sheet.as_bytes(), &limits).unwrap();
    assert_eq!(found.certain().count(), 0);
}

#[test]
fn characters_that_nobody_sees() {
    for between in [
        "\u{200b}",
        "\u{2060}",
        "\u{ad}",
        "\u{34f}",
        "\u{fe0e}",
        "\u{e0020}",
    ] {
        let apart = |text: &str| {
            text.chars()
                .flat_map(|c| [c.to_string(), between.into()])
                .collect::<String>()
        };
        let text: String = LIST
            .lines()
            .map(|line| apart(line) + "\n")
            .collect::<Vec<String>>()
            .concat();
        assert_list(text.as_bytes(), &format!("{between:?}"));
    }
    let drawn = LIST.replace("090-1234-5678", "𝟶𝟿𝟶-𝟷𝟸𝟹𝟺-𝟻𝟼𝟽𝟾");
    assert_list(drawn.as_bytes(), "mathematical digits");
}

#[test]
fn escapes_that_swallow_a_number() {
    let list = "山田 太郎,\\u09012345678,taro.yamada@example.co.jp \\u5c71";
    assert_list(list.as_bytes(), list);
}

#[test]
fn added_entries_that_are_lists() {
    let printer = "xl/printerSettings/printerSettings1.bin";
    let names = ["layout-cache", printer, "Thumbnails/thumbnail.png"];
    for name in names {
        assert_list(&zip(&[TYPES, (name, LIST.as_bytes())]), name);
    }
    // A zero byte makes it no text: refused, unless it has its form; then it is read around.
    let binary = [b"\0", LIST.as_bytes()].concat();
    for name in names {
        assert_eq!(
            looked(&zip(&[TYPES, (name, &binary)])),
            Err(Closed::Unknown)
        );
    }
    let (shift_jis, _, _) = SHIFT_JIS.encode(LIST);
    for list in [
        LIST.as_bytes(),
        &shift_jis,
        &utf_16(LIST, false),
        &utf_16(LIST, true),
    ] {
        for shift in [&b"\0"[..], b"\0\0"] {
            let list = [shift, list].concat();
            let settings = crate::tests::settings(&list);
            assert_list(&zip(&[TYPES, (printer, &settings)]), "settings");
            let picture = [b"\x89PNG\r\n\x1a\n\0\0", &list[..]].concat();
            assert_list(&zip(&[TYPES, (names[2], &picture)]), "picture");
        }
    }
}

#[test]
fn added_entries_count_together() {
    let lines = "山田 太郎,090-1234-5678,taro.yamada@example.co.jp\n";
    let nested = |content: &[u8]| {
        let inner = zip(&[TYPES, ("layout-cache", content)]);
        let names: Vec<String> = (0..2000).map(|at| format!("{at}.zip")).collect();
        let entries: Vec<(&str, &[u8])> = names
            .iter()
            .map(|name| (name.as_str(), &inner[..]))
            .collect();
        zip(&entries)
    };
    assert_list(&nested(lines.as_bytes()), "pieces of a list");
    let cache = [b"\x01\0\x01\0", &[0; 96][..]].concat();
    assert_eq!(looked(&nested(&cache)), Err(Closed::Unknown));
    looked(&zip(&[TYPES, ("layout-cache", &cache)])).unwrap();
}

/// The place of the first of these bytes.
fn place(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|it| it == what).unwrap()
}

#[test]
fn descriptors_and_headers_say_what_is_true() {
    let mut writer = ZipWriter::new_stream(Vec::new());
    writer
        .start_file("a", SimpleFileOptions::default())
        .unwrap();
    writer.write_all(b"text").unwrap();
    let good = writer.finish().unwrap().into_inner();
    looked(&good).unwrap();
    let descriptor = place(&good, b"PK\x07\x08");
    // Signature, checksum, sizes; then the local header's own checksum and sizes.
    for at in [
        descriptor,
        descriptor + 4,
        descriptor + 8,
        descriptor + 12,
        14,
        18,
        22,
    ] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert_eq!(looked(&bytes), Err(Closed::Damaged), "{at}");
    }
}

/// An archive with an extra field in the header of its one entry.
fn with_extra(extra: &[u8]) -> Vec<u8> {
    let good = zip(&[("a", b"x")]);
    let mut bytes = [&good[..31], extra, &good[31..]].concat();
    bytes[28..30].copy_from_slice(&u16::try_from(extra.len()).unwrap().to_le_bytes());
    let end = place(&bytes, b"PK\x05\x06");
    let central = u32::try_from(place(&bytes, b"PK\x01\x02")).unwrap();
    bytes[end + 16..end + 20].copy_from_slice(&central.to_le_bytes());
    bytes
}

#[test]
fn extra_fields_are_looked_into() {
    let block = |id: u16, data: &[u8]| {
        let length = u16::try_from(data.len()).unwrap();
        [&id.to_le_bytes()[..], &length.to_le_bytes(), data].concat()
    };
    let list = "山田太郎,090-1234-5678".as_bytes();
    for extra in [
        list.to_vec(),
        block(0x1234, list),
        block(0x7075, &[b"\x01\0\0\0\0", list].concat()),
    ] {
        let found = looked(&with_extra(&extra)).unwrap();
        assert!(is_certain(&found, Class::Phone, "090-1234-5678"));
        assert!(is_possible(&found, Class::Name, "山田太郎"));
    }
    let ntfs = [
        b"\0\0\0\0\x01\0\x18\0",
        &b"\x01090-1234-5678\x01         "[..],
    ]
    .concat();
    let found = looked(&with_extra(&block(0x000a, &ntfs))).unwrap();
    assert!(is_certain(&found, Class::Phone, "090-1234-5678"));
    let hidden = [&b"\x01"[..], list].concat();
    for extra in [
        hidden.clone(),
        block(0x1234, &hidden),
        block(0x000a, &hidden),
    ] {
        assert_eq!(looked(&with_extra(&extra)), Err(Closed::Damaged));
    }
    let times = [
        block(0x5455, b"\x03\xf0\x8e\x12\x63\xf0\x8e\x12\x63"),
        block(0x7875, b"\x01\x04\xe8\x03\0\0\x04\xe8\x03\0\0"),
    ]
    .concat();
    looked(&with_extra(&times)).unwrap();
    looked(&with_extra(&block(0xa220, b"\x28\xa0\x04\0\0\0\0\0"))).unwrap();
}

#[test]
fn packed_files_stay_closed() {
    for bytes in [
        &b"\x1f\x8b\x08\x08abcdefgh"[..],
        b"BZh91AY&SYabcdef",
        b"\xfd7zXZabcdef",
        b"Rar!\x1a\x07abc",
        b"PK\x07\x08PK\x03\x04",
    ] {
        for mark in [&b""[..], b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"] {
            assert_eq!(
                looked(&[mark, bytes].concat()),
                Err(Closed::Unknown),
                "{bytes:?}"
            );
        }
    }
    // A tar: names and contents with zeros between.
    let tar = [LIST.as_bytes(), &[0; 512], LIST.as_bytes()].concat();
    assert_eq!(looked(&tar), Err(Closed::Unknown));
}
