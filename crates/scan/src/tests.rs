//! Whole files: each class, each encoding, each kind of archive, and hostile ones. All values are
//! made up.

use std::io::{Cursor, Write};

use encoding_rs::{EUC_JP, ISO_2022_JP, SHIFT_JIS};
use event::Class;
use fingerprint::normalise;
use proptest::prelude::*;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::{Closed, Found, Limits, look};

const TABLE: &str = "番号,氏名,カナ,住所,電話,メール,生年月日\r\n\
    12345678,山田 太郎,ヤマダ タロウ,東京都千代田区金糸雀町1-2-3,090-1234-5678,taro@example.jp,1980-01-02\r\n\
    12345679,佐藤花子,ｻﾄｳ ﾊﾅｺ,大阪府大阪市北区金糸雀町4番5号,06-1234-5678,hanako@example.jp,S55.1.3\r\n";

fn found(bytes: &[u8]) -> Found {
    look(bytes, &Limits::default()).unwrap()
}

fn refused(bytes: &[u8]) -> Closed {
    look(bytes, &Limits::default()).unwrap_err()
}

fn is_certain(found: &Found, class: Class, value: &str) -> bool {
    let value = normalise(class, value);
    found.certain().any(|it| it == (class, &value))
}

fn is_possible(found: &Found, class: Class, value: &str) -> bool {
    let value = normalise(class, value);
    found.possible().any(|it| it == (class, &value))
}

/// Whether the table's values were found.
fn assert_table(found: &Found) {
    for (class, value) in [
        (Class::Phone, "090-1234-5678"),
        (Class::Phone, "06-1234-5678"),
        (Class::Email, "taro@example.jp"),
        (Class::Address, "東京都千代田区金糸雀町1-2-3"),
        (Class::Address, "大阪府大阪市北区金糸雀町4番5号"),
        (Class::BirthDate, "1980-01-02"),
        (Class::BirthDate, "1980-01-03"),
    ] {
        assert!(is_certain(found, class, value), "{class} {value}");
        assert!(!is_possible(found, class, value), "{class} {value}");
    }
    for (class, value) in [
        (Class::Name, "山田 太郎"),
        (Class::Name, "佐藤花子"),
        (Class::Kana, "ヤマダ タロウ"),
        (Class::Kana, "サトウハナコ"),
        (Class::CustomerNumber, "12345678"),
    ] {
        assert!(is_possible(found, class, value), "{class} {value}");
    }
    for class in [Class::Phone, Class::Email, Class::Address, Class::BirthDate] {
        assert_eq!(found.certain_of(class), 2, "{class}");
    }
}

fn stored() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored)
}

fn deflated() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

fn zip_with(options: SimpleFileOptions, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(deflated(), entries)
}

/// The place of the first of these bytes.
fn place(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|it| it == what).unwrap()
}

#[test]
fn a_table_in_every_encoding() {
    assert_table(&found(TABLE.as_bytes()));
    assert_table(&found(format!("\u{feff}{TABLE}").as_bytes()));
    let units = std::iter::once(0xfeff).chain(TABLE.encode_utf16());
    let little: Vec<u8> = units.clone().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
    assert_table(&found(&little));
    assert_table(&found(&big));
    // ISO-2022-JP has no half-width kana: the encoder of WHATWG writes full-width ones.
    for encoding in [SHIFT_JIS, EUC_JP, ISO_2022_JP] {
        let (bytes, _, errors) = encoding.encode(TABLE);
        assert!(!errors, "{}", encoding.name());
        let found = found(&bytes);
        assert!(is_certain(
            &found,
            Class::Address,
            "東京都千代田区金糸雀町1-2-3"
        ));
        assert!(is_certain(&found, Class::BirthDate, "1980-01-02"));
        assert!(
            is_possible(&found, Class::Name, "山田 太郎"),
            "{}",
            encoding.name()
        );
        assert!(is_possible(&found, Class::Kana, "サトウ ハナコ"));
        assert_eq!(found.certain_of(Class::Phone), 2);
    }
}

#[test]
fn nothing_in_nothing() {
    assert_eq!(found(b""), Found::default());
    assert_eq!(found("\u{feff}".as_bytes()), Found::default());
    assert_eq!(found(b" \r\n\t,;|\n"), Found::default());
    assert_eq!(found(&zip(&[])), Found::default());
    let plain = found("本日は晴天なり。The quick brown fox, 12 times.\n".as_bytes());
    assert_eq!(plain.certain().count(), 0);
}

#[test]
fn a_date_alone_is_possible() {
    let alone = found("会議 1980-01-02\n電話 090-1234-5678\n".as_bytes());
    assert!(is_possible(&alone, Class::BirthDate, "1980-01-02"));
    assert!(!is_certain(&alone, Class::BirthDate, "1980-01-02"));
    let beside = found("山田 昭和55年1月2日 090-1234-5678".as_bytes());
    assert!(is_certain(&beside, Class::BirthDate, "1980-01-02"));
    assert!(is_possible(
        &found(b"a,19800102,b"),
        Class::BirthDate,
        "1980-01-02"
    ));
}

#[test]
fn names_and_readings_are_possible() {
    for (text, class, value) in [
        ("氏名：髙橋 一郎", Class::Name, "高橋一郎"),
        ("山田太郎様", Class::Name, "山田太郎"),
        ("山田太郎(ヤマダタロウ)", Class::Kana, "ヤマダタロウ"),
        ("山田太郎(ヤマダタロウ)", Class::Name, "山田太郎"),
        ("12345 山田 太郎 090-1234-5678", Class::Name, "山田太郎"),
        (
            "12345 山田 太郎 090-1234-5678",
            Class::CustomerNumber,
            "12345",
        ),
        ("顧客番号：ab-0012", Class::CustomerNumber, "AB-0012"),
        ("x,John Smith,y", Class::Name, "John Smith"),
        (
            "INSERT INTO c VALUES (1,'鈴木 次郎','x')",
            Class::Name,
            "鈴木次郎",
        ),
        (
            r#"{"name": "\u9234\u6728 \u6b21\u90ce"}"#,
            Class::Name,
            "鈴木次郎",
        ),
        ("a\t9012345678\tb", Class::Phone, "090-1234-5678"),
        ("a\t819012345678\tb", Class::Phone, "090-1234-5678"),
        (
            "千代田区金糸雀町1-2-3",
            Class::Address,
            "千代田区金糸雀町1-2-3",
        ),
    ] {
        assert!(is_possible(&found(text.as_bytes()), class, value), "{text}");
    }
    let long = "山田太郎は昨日、電話で長い話をしたと言っていたが誰も聞いていなかったそうである";
    for text in [long, "山", "12345", "a,b;c"] {
        let found = found(text.as_bytes());
        let whole = |(class, value): (Class, &event::Plain<String>)| {
            class == Class::Name && *value == normalise(class, text)
        };
        assert!(!found.possible().any(whole), "{text}");
        assert!(
            !found
                .possible()
                .any(|(_, value)| value.expose().chars().count() < 2)
        );
    }
    let free = |(class, _): (Class, _)| class == Class::FreeText;
    assert!(!found(TABLE.as_bytes()).possible().any(free));
}

#[test]
fn a_value_counts_once() {
    let text = "090-1234-5678\n12-090-1234-5678\n０９０１２３４５６７８,+81 90 1234 5678\nTaro@Example.jp taro@example.jp";
    let found = found(text.as_bytes());
    assert_eq!(found.certain_of(Class::Phone), 1);
    assert_eq!(found.certain_of(Class::Email), 1);
    assert_eq!(found.certain().count(), 2);
    assert!(!is_possible(&found, Class::Phone, "090-1234-5678"));
}

#[test]
fn debug_shows_no_value() {
    let text = format!("{:?}", found(TABLE.as_bytes()));
    assert!(!text.contains("1234") && !text.contains("山田"), "{text}");
}

#[test]
fn values_at_the_cut_of_a_long_line() {
    for shift in 0..40 {
        let line = format!(
            "{}090-1234-5678{}",
            " ".repeat(16 * 1024 - 30 + shift),
            "、".repeat(9000)
        );
        let found = found(line.as_bytes());
        assert!(is_certain(&found, Class::Phone, "090-1234-5678"), "{shift}");
        assert_eq!(found.certain().count(), 1, "{shift}");
    }
}

#[test]
fn archives() {
    assert_table(&found(&zip(&[("a.csv", TABLE.as_bytes())])));
    assert_table(&found(&zip_with(stored(), &[("a.csv", TABLE.as_bytes())])));
    let (table, _, _) = SHIFT_JIS.encode(TABLE);
    let mixed = zip(&[("a/", b""), ("a/readme.txt", b"x"), ("a/b.csv", &table)]);
    assert_eq!(found(&mixed).certain_of(Class::Phone), 2);
    // As programs write that cannot seek: sizes after the data.
    let mut writer = ZipWriter::new_stream(Vec::new());
    writer.start_file("a.csv", deflated()).unwrap();
    writer.write_all(TABLE.as_bytes()).unwrap();
    writer
        .start_file("b.csv", deflated().large_file(true))
        .unwrap();
    writer.write_all(b"x").unwrap();
    assert_table(&found(&writer.finish().unwrap().into_inner()));
}

/// The seeds of the fuzz target were packed by Python's zipfile.
#[test]
fn archives_of_another_program() {
    let plain = include_bytes!("../../../fuzz/corpus/scan/zip");
    assert_eq!(found(plain).certain_of(Class::Phone), 1);
    let office = found(include_bytes!("../../../fuzz/corpus/scan/xlsx"));
    assert!(is_certain(&office, Class::Phone, "090-1234-5678"));
    assert!(is_certain(
        &office,
        Class::Address,
        "東京都千代田区金糸雀町1-2-3"
    ));
}

#[test]
fn names_and_comments_are_text() {
    let named = found(&zip(&[("名簿 090-1234-5678.txt", b"")]));
    assert!(is_certain(&named, Class::Phone, "090-1234-5678"));
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.set_comment("taro@example.jp").unwrap();
    writer.start_file("a", deflated()).unwrap();
    let commented = writer.finish().unwrap().into_inner();
    assert!(is_certain(
        &found(&commented),
        Class::Email,
        "taro@example.jp"
    ));
}

#[test]
fn a_spreadsheet() {
    let strings = "<?xml version=\"1.0\"?><sst><si><t>山田 太郎</t><rPh><t>ヤマダ タロウ</t></rPh></si>\
        <si><r><t>090-12</t></r><r><rPr><b/></rPr><t>34-5678</t></r></si>\
        <si><t>&#x6771;京都千代田区金糸雀町1-2-3</t></si></sst>";
    let sheet = "<worksheet><sheetData><row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c>\
        <c r=\"B1\"><v>9087654321</v></c><c r=\"C1\" t=\"inlineStr\"><is><t>1980-01-02</t></is></c>\
        <c r=\"D1\" t=\"inlineStr\"><is><t>a&amp;b@example.jp taro@example.jp</t></is></c></row></sheetData>\
        <hyperlink display=\"hanako@example.jp\"/></worksheet>";
    let parts: [(&str, &[u8]); 3] = [
        ("[Content_Types].xml", b"<Types/>"),
        ("xl/sharedStrings.xml", strings.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
    ];
    let found = found(&zip(&parts));
    for (class, value) in [
        (Class::Phone, "090-1234-5678"),
        (Class::Email, "taro@example.jp"),
        (Class::Email, "hanako@example.jp"),
        (Class::BirthDate, "1980-01-02"),
        (Class::Address, "東京都千代田区金糸雀町1-2-3"),
    ] {
        assert!(is_certain(&found, class, value), "{class} {value}");
    }
    for (class, value) in [
        (Class::Phone, "090-8765-4321"),
        (Class::Name, "山田太郎"),
        (Class::Kana, "ヤマダタロウ"),
    ] {
        assert!(is_possible(&found, class, value), "{class} {value}");
    }
    let name = "xl/printerSettings/printerSettings1.bin";
    let (small, large) = (settings(b""), settings(&[0; 40_000]));
    let (settings, large) = ((name, &small[..]), (name, &large[..]));
    look(&zip(&[parts[0], parts[1], settings]), &Limits::default()).unwrap();
    // Outside of an office file, too large, in another form, or under another name, it is what it is.
    let formless = (name, &[0_u8, 1, 2][..]);
    assert_eq!(refused(&zip(&[parts[0], formless])), Closed::Unknown);
    let other = ("xl/media/image1.png", &b"\x89PNG\r\n\x1a\n\0"[..]);
    assert_eq!(refused(&zip(&[settings])), Closed::Unknown);
    assert_eq!(refused(&zip(&[parts[0], large])), Closed::Unknown);
    assert_eq!(refused(&zip(&[parts[0], other])), Closed::Unknown);
}

/// Printer settings, and what their driver adds to them.
pub(crate) fn settings(driver: &[u8]) -> Vec<u8> {
    let mut settings = vec![0; 220];
    settings[64..66].copy_from_slice(&0x0401_u16.to_le_bytes());
    settings[68..70].copy_from_slice(&220_u16.to_le_bytes());
    settings[70..72].copy_from_slice(&u16::try_from(driver.len()).unwrap().to_le_bytes());
    settings.extend_from_slice(driver);
    settings
}

#[test]
fn what_is_neither_text_nor_archive() {
    for bytes in [
        &b"%PDF-1.7\n090-1234-5678"[..],
        b"\x89PNG\r\n\x1a\n\0\0",
        b"\x7fELF\x02\x01\x01\0",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"\x1f\x8b\x08\0\0\0\0\0",
        b"7z\xbc\xaf\x27\x1c\0\x04",
        b"text, then\0a zero",
    ] {
        assert_eq!(refused(bytes), Closed::Unknown, "{bytes:?}");
        assert_eq!(
            refused(&zip(&[("a.txt", b"x"), ("b", bytes)])),
            Closed::Unknown,
            "{bytes:?}"
        );
    }
}

#[test]
fn levels_of_archives() {
    let mut bytes = zip(&[("a.csv", TABLE.as_bytes())]);
    for _ in 0..2 {
        bytes = zip(&[("a.zip", &bytes), ("b.zip", &bytes)]);
        assert_table(&found(&bytes));
    }
    let bytes = zip(&[("a.zip", &bytes)]);
    let what = "levels of archives";
    assert_eq!(refused(&bytes), Closed::TooMuch { what });
}

#[test]
fn limits_are_kept() {
    let one = zip(&[("a", b"x"), ("b", b"y")]);
    let two = zip(&[("a.zip", &one), ("c", b"z")]);
    let limits = |text_bytes_max, entries_max, values_max| Limits {
        text_bytes_max,
        entries_max,
        depth_max: 2,
        values_max,
    };
    let too_much = |bytes: &[u8], limits: Limits| match look(bytes, &limits) {
        Err(Closed::TooMuch { what }) => what,
        Err(other) => other.to_string().leak(),
        Ok(_) => "",
    };
    assert_eq!(too_much(&two, limits(1000, 4, 9)), "");
    assert_eq!(too_much(&two, limits(1000, 3, 9)), "entries");
    assert_eq!(too_much(&two, limits(one.len(), 4, 9)), "text");
    assert_eq!(too_much(b"12345", limits(5, 0, 1)), "");
    assert_eq!(too_much(b"12345", limits(4, 0, 1)), "text");
    assert_eq!(too_much(b"12345,12346", limits(99, 0, 1)), "values");
    assert_eq!(too_much(b"12345,12345", limits(99, 0, 1)), "");
}

#[test]
fn a_bomb_is_counted_while_it_inflates() {
    let zeros = vec![b' '; 70 << 20];
    let mut bomb = zip(&[("a", &zeros)]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(refused(&bomb), Closed::TooMuch { what: "text" });
    // A header that says less is not believed.
    let central = place(&bomb, b"PK\x01\x02");
    bomb[central + 24..central + 28].copy_from_slice(&10_u32.to_le_bytes());
    bomb[22..26].copy_from_slice(&10_u32.to_le_bytes());
    assert_eq!(refused(&bomb), Closed::TooMuch { what: "text" });
}

#[test]
fn encrypted_entries_close_an_archive() {
    let good = zip(&[("a.csv", TABLE.as_bytes())]);
    let central = place(&good, b"PK\x01\x02");
    for flags in [6, central + 8] {
        let mut bytes = good.clone();
        bytes[flags] |= 1;
        assert_eq!(refused(&bytes), Closed::Encrypted, "{flags}");
    }
}

#[test]
fn bytes_outside_of_entries_close_an_archive() {
    let good = zip(&[("a.csv", TABLE.as_bytes()), ("b", b"x")]);
    let central = place(&good, b"PK\x01\x02");
    let end = place(&good, b"PK\x05\x06");
    let with = |at: usize, more: &[u8]| [&good[..at], more, &good[at..]].concat();
    // Behind the end, before the directory, within it, before the first entry.
    for bytes in [
        with(good.len(), b"hidden"),
        with(central, b"hidden"),
        with(end, b"hidden"),
        with(0, &good[..central]),
        good[..good.len() - 1].to_vec(),
        good[..central].to_vec(),
        good[..10].to_vec(),
    ] {
        assert_eq!(refused(&bytes), Closed::Damaged);
    }
    // A comment that is longer than it says, or none.
    let mut bytes = with(good.len(), b"seen");
    let length = good.len() - 2;
    bytes[length] = 4;
    found(&bytes);
    bytes[length] = 3;
    assert_eq!(refused(&bytes), Closed::Damaged);
    // One entry fewer in the directory than there are.
    let second = central + place(&good[central + 4..], b"PK\x01\x02") + 4;
    let mut bytes = [&good[..second], &good[end..]].concat();
    let end = second;
    bytes[end + 8] = 1;
    bytes[end + 10] = 1;
    let size = u32::try_from(second - central).unwrap();
    bytes[end + 12..end + 16].copy_from_slice(&size.to_le_bytes());
    assert_eq!(refused(&bytes), Closed::Damaged);
}

#[test]
fn extra_fields_are_short() {
    let good = zip(&[("a.csv", b"x")]);
    for (more, ok) in [
        (vec![0; 900], true),
        (vec![b'x'; 64], true),
        (vec![b'x'; 65], false),
    ] {
        // Behind the name of the local header: 30 bytes and the name, the length at 28.
        let mut bytes = [&good[..35], &more, &good[35..]].concat();
        let length = u16::try_from(more.len()).unwrap();
        bytes[28..30].copy_from_slice(&length.to_le_bytes());
        let end = place(&bytes, b"PK\x05\x06");
        let central = u32::try_from(place(&bytes, b"PK\x01\x02")).unwrap();
        bytes[end + 16..end + 20].copy_from_slice(&central.to_le_bytes());
        assert_eq!(look(&bytes, &Limits::default()).is_ok(), ok, "{length}");
    }
}

#[test]
fn entries_that_say_two_things() {
    let good = zip(&[("a.csv", TABLE.as_bytes())]);
    let central = place(&good, b"PK\x01\x02");
    // Another name, method, checksum, size in the local header or the directory.
    for at in [8, 30, central + 16, central + 24, central + 46] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        let error = refused(&bytes);
        assert!(
            matches!(error, Closed::Damaged | Closed::Unknown),
            "{at}: {error}"
        );
    }
    // Bytes after the end of the deflated data, which the sizes count in.
    let mut bytes = [&good[..central], b"hidden", &good[central..]].concat();
    let central = central + 6;
    let end = place(&bytes, b"PK\x05\x06");
    let start = u32::try_from(central).unwrap();
    bytes[end + 16..end + 20].copy_from_slice(&start.to_le_bytes());
    let size = u32::from_le_bytes(bytes[18..22].try_into().unwrap()) + 6;
    bytes[18..22].copy_from_slice(&size.to_le_bytes());
    bytes[central + 20..central + 24].copy_from_slice(&size.to_le_bytes());
    assert_eq!(refused(&bytes), Closed::Damaged);
}

/// A number in one of the forms that people write.
fn phone() -> impl Strategy<Value = (String, String)> {
    let hyphens = vec![
        "-", "‐", "−", "ー", "–", " ", "", "－", "\u{3000}", ".", " - ",
    ];
    let parts = (
        "[1-9][0-9]{3}",
        "[0-9]{4}",
        prop::sample::select(hyphens),
        0..5_u8,
        any::<bool>(),
    );
    parts.prop_map(|(first, second, hyphen, form, wide)| {
        let plain = format!("+8190{first}{second}");
        let written = match form {
            0 => format!("(090){first}{hyphen}{second}"),
            1 => format!("090({first}){second}"),
            2 => format!("+81{hyphen}90{hyphen}{first}{hyphen}{second}"),
            3 => format!("+81(0)90{hyphen}{first}{hyphen}{second}"),
            _ => format!("090{hyphen}{first}{hyphen}{second}"),
        };
        let widened = |c: char| match c {
            '0'..='9' | '+' | '(' | ')' => char::from_u32(c as u32 + 0xfee0).unwrap_or(c),
            _ => c,
        };
        let written = if wide {
            written.chars().map(widened).collect()
        } else {
            written
        };
        (written, plain)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = look(&bytes, &Limits::default());
    }

    #[test]
    fn no_text_panics(text in "(\\PC|[0-9０-９@.+<>&;/年月日都県区元\\\\u\\t\\n-]){0,200}") {
        let _ = look(text.as_bytes(), &Limits::default());
        let _ = look(format!("<{text}").as_bytes(), &Limits::default());
    }

    #[test]
    fn no_broken_archive_panics(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
        let mut bytes = zip(&[("a.csv", TABLE.as_bytes()), ("b.xml", b"<a>x</a>")]);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = look(&bytes, &Limits::default());
        let _ = look(&bytes[..cut.index(bytes.len())], &Limits::default());
    }

    #[test]
    fn a_telephone_number_is_found_in_any_text(
        (written, plain) in phone(),
        before in "[あ-んア-ヴ一-龠g-zG-Z、。：, \n]{0,40}",
        after in "[あ-んア-ヴ一-龠g-zG-Z、。：, \n]{0,40}",
    ) {
        let found = look(format!("{before}{written}{after}").as_bytes(), &Limits::default()).unwrap();
        prop_assert!(is_certain(&found, Class::Phone, &plain));
        prop_assert_eq!(found.certain_of(Class::Phone), 1);
    }

    /// What the scan finds of a customer's row is what the gate recorded.
    #[test]
    fn a_row_of_the_demo_is_found(number in "[0-9]{8}", house in 1..200_u32, day in 1..29_u32, mail in "[a-z]{3,12}") {
        let address = format!("神奈川県横浜市西区金糸雀町{house}番地");
        let birth = format!("1975-05-{day:02}");
        let mail = format!("{mail}@example.co.jp");
        let row = format!("{number},金糸雀 一郎,カナリア イチロウ,{address},{birth},{mail}");
        let found = look(row.as_bytes(), &Limits::default()).unwrap();
        prop_assert!(is_possible(&found, Class::CustomerNumber, &number));
        prop_assert!(is_certain(&found, Class::Address, &address));
        prop_assert!(is_certain(&found, Class::BirthDate, &birth));
        prop_assert!(is_certain(&found, Class::Email, &mail));
    }
}
