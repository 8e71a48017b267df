//! Rules of COPY's documentation, and round trips under any options and any chunks.

use proptest::prelude::*;

use super::*;

/// All rows of a stream given in these chunks, as `kind line|end`.
fn rows(format: &CopyFormat, chunks: &[&[u8]]) -> Result<Vec<String>, CopyError> {
    let show = |row: CopyRow<'_>| {
        let kind = match row.kind {
            RowKind::Header => "H",
            RowKind::Data => "D",
            RowKind::End => "E",
        };
        format!(
            "{kind} {}|{}",
            row.line.escape_ascii(),
            row.end.escape_ascii()
        )
    };
    let mut splitter = RowSplitter::new(format, 100)?;
    let mut found = Vec::new();
    for chunk in chunks {
        splitter.push(chunk)?;
        while let Some(row) = splitter.next_row()? {
            found.push(show(row));
        }
    }
    while let Some(row) = splitter.finish()? {
        found.push(show(row));
    }
    Ok(found)
}

fn decoded(row: &[u8], format: &CopyFormat) -> Vec<Option<String>> {
    let show = |field: Vec<u8>| field.escape_ascii().to_string();
    decode_row(row, format)
        .unwrap()
        .into_iter()
        .map(|field| field.map(show))
        .collect()
}

fn some(fields: &[&str]) -> Vec<Option<String>> {
    fields
        .iter()
        .map(|field| Some((*field).to_owned()))
        .collect()
}

fn csv_with_escape(escape: u8) -> CopyFormat {
    match CopyFormat::csv() {
        CopyFormat::Csv {
            delimiter,
            null,
            quote,
            force_quote,
            header,
            ..
        } => CopyFormat::Csv {
            delimiter,
            null,
            quote,
            escape,
            force_quote,
            header,
        },
        text => text,
    }
}

#[test]
fn rows_end_as_the_first_does() {
    let text = CopyFormat::text();
    assert_eq!(
        rows(&text, &[b"a\nb\nc"]).unwrap(),
        ["D a|\\n", "D b|\\n", "D c|"]
    );
    assert_eq!(
        rows(&text, &[b"a\r\nb\r\n"]).unwrap(),
        ["D a|\\r\\n", "D b|\\r\\n"]
    );
    assert_eq!(rows(&text, &[b"a\rb\r"]).unwrap(), ["D a|\\r", "D b|\\r"]);
    assert_eq!(rows(&text, &[b"a\nb\r\n"]), Err(CopyError::CarriageReturn));
    assert_eq!(rows(&text, &[b"a\r\nb\n"]), Err(CopyError::Newline));
    assert_eq!(rows(&text, &[b"a\rb\n"]), Err(CopyError::Newline));
    assert_eq!(rows(&text, &[b"a\r\nb\rc"]), Err(CopyError::CarriageReturn));
    assert_eq!(rows(&text, &[b"a\r\nb\r"]), Err(CopyError::CarriageReturn));
    assert_eq!(rows(&text, &[b""]).unwrap(), Vec::<String>::new());
    assert_eq!(rows(&text, &[b"\n\n"]).unwrap(), ["D |\\n", "D |\\n"]);
}

#[test]
fn backslash_takes_a_newline_along() {
    let text = CopyFormat::text();
    assert_eq!(
        rows(&text, &[b"a\\\nb\nc\\", b"\\\n"]).unwrap(),
        ["D a\\\\\\nb|\\n", "D c\\\\\\\\|\\n"]
    );
    assert_eq!(decoded(b"a\\\nb", &text), some(&["a\\nb"]));
}

#[test]
fn end_marker_ends() {
    for (format, name) in [(CopyFormat::text(), "text"), (CopyFormat::csv(), "csv")] {
        let end = ["D a|\\n", "E \\\\.|\\n"];
        assert_eq!(rows(&format, &[b"a\n\\.\n"]).unwrap(), end, "{name}");
        assert_eq!(
            rows(&format, &[b"a\n\\", b".", b"\n"]).unwrap(),
            end,
            "{name}"
        );
        assert_eq!(
            rows(&format, &[b"\\."]),
            Err(CopyError::EndMarker),
            "{name}"
        );
        // Ignored, as PostgreSQL ignores it.
        for after in [&[&b"\\.\nx"[..]][..], &[b"\\.\n", b"x"], &[b"\\.\n\n\n"]] {
            assert_eq!(rows(&format, after), rows(&format, &[b"\\.\n"]), "{name}");
        }
    }
    let text = CopyFormat::text();
    assert_eq!(rows(&text, &[b"a\\.\n"]), Err(CopyError::EndMarker));
    assert_eq!(rows(&text, &[b"\\.", b"x\n"]), Err(CopyError::EndMarker));
    assert_eq!(rows(&text, &[b"\\\\.\n"]).unwrap(), ["D \\\\\\\\.|\\n"]);
    let csv = CopyFormat::csv();
    assert_eq!(
        rows(&csv, &[b"\\.x\n\"\\.\"\n"]).unwrap(),
        ["D \\\\.x|\\n", "D \\\"\\\\.\\\"|\\n"]
    );
}

#[test]
fn quotes_hold_rows_together() {
    let csv = CopyFormat::csv();
    assert_eq!(
        rows(&csv, &[b"a,\"b\nc\"\nd\n"]).unwrap(),
        ["D a,\\\"b\\nc\\\"|\\n", "D d|\\n"]
    );
    assert_eq!(
        rows(&csv, &[b"\"a\"\"\n\"\n"]).unwrap(),
        ["D \\\"a\\\"\\\"\\n\\\"|\\n"]
    );
    assert_eq!(
        rows(&csv, &[b"a\"\n\"b\n"]).unwrap(),
        ["D a\\\"\\n\\\"b|\\n"]
    );
    assert_eq!(rows(&csv, &[b"\"a\n"]), Err(CopyError::UnterminatedQuote));
    assert_eq!(
        rows(&csv, &[b"a\n\"\r\n\"\n"]).unwrap(),
        ["D a|\\n", "D \\\"\\r\\n\\\"|\\n"]
    );
    let backslash = csv_with_escape(b'\\');
    assert_eq!(
        rows(&backslash, &[b"\"a\\\"\n\"\n\"\\\\\"\n"]).unwrap(),
        ["D \\\"a\\\\\\\"\\n\\\"|\\n", "D \\\"\\\\\\\\\\\"|\\n"]
    );
}

#[test]
fn header_and_length() {
    let header = CopyFormat::Text {
        delimiter: b'\t',
        null: b"\\N".to_vec(),
        header: true,
    };
    assert_eq!(
        rows(&header, &[b"id\n1\n"]).unwrap(),
        ["H id|\\n", "D 1|\\n"]
    );
    let long = CopyError::RowTooLong { bytes_max: 100 };
    assert_eq!(
        rows(&CopyFormat::text(), &[&[b'a'; 60], &[b'a'; 41]]),
        Err(long)
    );
    let whole = [&[b'a'; 100][..], b"\n"].concat();
    assert_eq!(rows(&CopyFormat::text(), &[&whole]), Err(long));
    assert_eq!(rows(&CopyFormat::text(), &[&whole[1..]]).unwrap().len(), 1);
}

#[test]
fn escapes_of_text() {
    let text = CopyFormat::text();
    assert_eq!(
        decoded(
            b"\\b\\f\\n\\r\\t\\v\t\\101\\60\\7\\x41\\x4a1\\xg\t\\N\t\\\\N\t\t\\q\\\t",
            &text
        ),
        [
            Some("\\x08\\x0c\\n\\r\\t\\x0b".to_owned()),
            Some("A0\\x07AJ1xg".to_owned()),
            None,
            Some("\\\\N".to_owned()),
            Some(String::new()),
            Some("q\\t".to_owned()),
        ]
    );
    assert_eq!(
        decoded(b"\\501\\1234\\777\\xfF0", &text),
        some(&["AS4\\xff\\xff0"])
    );
    assert_eq!(decoded(b"a\\", &text), some(&["a"]));
    assert_eq!(decoded(b"", &text), some(&[""]));
}

#[test]
fn rules_of_csv() {
    let csv = CopyFormat::csv();
    assert_eq!(
        decoded(b",\"\",a\"b,c\"d,\"e\"\"f\", g ,\"h\"i", &csv),
        [
            None,
            Some(String::new()),
            Some("ab,cd".to_owned()),
            Some("e\\\"f".to_owned()),
            Some(" g ".to_owned()),
            Some("hi".to_owned()),
        ]
    );
    assert_eq!(decode_row(b"\"a", &csv), Err(CopyError::UnterminatedQuote));
    let backslash = csv_with_escape(b'\\');
    assert_eq!(
        decoded(b"\"a\\\"b\\\\\\c\"", &backslash),
        some(&["a\\\"b\\\\\\\\c"])
    );
}

#[test]
fn written_as_postgresql_writes() {
    let write = |fields: &[Option<&str>], format: &CopyFormat| {
        let mut out = Vec::new();
        encode_row(fields, format, &mut out);
        String::from_utf8(out).unwrap()
    };
    let text = CopyFormat::text();
    assert_eq!(
        write(&[Some("a\tb\\"), None, Some("\n\x01"), Some("")], &text),
        "a\\tb\\\\\t\\N\t\\n\x01\t"
    );
    let csv = CopyFormat::csv();
    assert_eq!(
        write(
            &[
                Some("a,b"),
                None,
                Some(""),
                Some("q\"q"),
                Some("x y"),
                Some("l\n")
            ],
            &csv
        ),
        "\"a,b\",,\"\",\"q\"\"q\",x y,\"l\n\""
    );
    assert_eq!(write(&[Some("\\.")], &csv), "\"\\.\"");
    assert_eq!(write(&[Some("\\."), None], &csv), "\\.,");
    let forced = CopyFormat::Csv {
        delimiter: b';',
        null: b"NULL".to_vec(),
        quote: b'\'',
        escape: b'\\',
        force_quote: ForceQuote::Columns(vec![1]),
        header: false,
    };
    assert_eq!(
        write(
            &[Some("a\\"), Some("b"), None, Some("NULL"), Some("it's\\")],
            &forced
        ),
        "a\\;'b';NULL;'NULL';'it\\'s\\\\'"
    );
    let nil = CopyFormat::Text {
        delimiter: b'|',
        null: b"nil".to_vec(),
        header: false,
    };
    assert_eq!(
        write(&[Some("nil"), None, Some("a|b")], &nil),
        "\\x6eil|nil|a\\|b"
    );
}

#[test]
fn ambiguous_options_are_refused() {
    let text = |delimiter, null: &[u8]| {
        CopyFormat::Text {
            delimiter,
            null: null.to_vec(),
            header: false,
        }
        .check()
    };
    assert!(text(b'|', b"").is_ok());
    for delimiter in [b'\n', b'\\', b'.', b'n', b'0', 0, 0xe3] {
        assert_eq!(
            text(delimiter, b"").unwrap_err(),
            CopyError::Option("DELIMITER")
        );
    }
    for null in [&b"a\n"[..], b"a|b", b"\\."] {
        assert_eq!(text(b'|', null).unwrap_err(), CopyError::Option("NULL"));
    }
    let csv = |delimiter, quote, escape| {
        let force_quote = ForceQuote::None;
        CopyFormat::Csv {
            delimiter,
            null: Vec::new(),
            quote,
            escape,
            force_quote,
            header: false,
        }
        .check()
    };
    assert!(csv(b',', b'"', b'\\').is_ok());
    assert!(csv(b',', b',', b'"').is_err());
    assert!(csv(b',', b'\\', b'\\').is_err());
    assert!(csv(b'\\', b'"', b'"').is_err());
    assert!(csv(b',', b'"', b'\n').is_err());
}

#[test]
fn too_many_fields_are_refused() {
    let row = vec![b'\t'; FIELDS_MAX];
    assert_eq!(
        decode_row(&row, &CopyFormat::text()),
        Err(CopyError::TooManyFields)
    );
    assert_eq!(
        decode_row(&row[1..], &CopyFormat::text()).unwrap().len(),
        FIELDS_MAX
    );
}

#[test]
fn rewriting_keeps_other_bytes() {
    let csv = CopyFormat::csv();
    let row = b"\"1\",sealed:AA,,\"x\"\"\"";
    let cell = |_: usize, value: Option<&[u8]>| {
        value
            .filter(|value| value.starts_with(b"sealed:"))
            .map(|_| b"a \"b\"".to_vec())
    };
    let new = rewrite_row(row, &csv, cell).unwrap().unwrap();
    assert_eq!(
        new.escape_ascii().to_string(),
        r#"\"1\",\"a \"\"b\"\"\",,\"x\"\"\""#
    );
    assert_eq!(rewrite_row(b"a,b", &csv, cell), Ok(None));
    let text = CopyFormat::text();
    let new = rewrite_row(b"\\x41\tsealed:AA\t\\N", &text, |_, v| {
        v.filter(|v| v.len() > 2).map(|_| b"1\t2".to_vec())
    });
    assert_eq!(new.unwrap().unwrap(), b"\\x41\t1\\t2\t\\N");
    let new = rewrite_row(b"a", &csv, |_, _| Some(b"\\.".to_vec()));
    assert_eq!(new.unwrap().unwrap(), b"\"\\.\"");
}

fn formats() -> impl Strategy<Value = CopyFormat> {
    let force = prop_oneof![
        Just(ForceQuote::None),
        Just(ForceQuote::All),
        Just(ForceQuote::Columns(vec![0, 2]))
    ];
    let null = proptest::sample::select(vec!["", "\\N", "NULL", "a"]);
    let text = (
        prop_oneof![Just(b'\t'), Just(b'|'), Just(b'N')],
        null.clone(),
    )
        .prop_map(|(delimiter, null)| CopyFormat::Text {
            delimiter,
            null: null.into(),
            header: false,
        });
    let csv = (
        prop_oneof![Just(b','), Just(b'\t'), Just(b';')],
        null,
        prop_oneof![Just(b'"'), Just(b'\'')],
        prop_oneof![Just(b'"'), Just(b'\''), Just(b'\\'), Just(b'x')],
        force,
    )
        .prop_map(
            |(delimiter, null, quote, escape, force_quote)| CopyFormat::Csv {
                delimiter,
                null: null.into(),
                quote,
                escape,
                force_quote,
                header: false,
            },
        );
    prop_oneof![text, csv].prop_filter("allowed options", |format| format.check().is_ok())
}

/// Bytes that mean something somewhere, and a few that do not.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        proptest::sample::select(&b"\\\"',\t|;\r\n.NxULa701bfnrtv "[..]),
        any::<u8>()
    ];
    proptest::collection::vec(byte, 0..6)
}

type Table = Vec<Vec<Option<Vec<u8>>>>;

fn tables() -> impl Strategy<Value = Table> {
    let row = proptest::collection::vec(proptest::option::of(values()), 1..5);
    proptest::collection::vec(row, 0..6)
}

proptest! {
    #[test]
    fn tables_round_trip_in_any_chunks(
        format in formats(),
        table in tables(),
        chunk_bytes in 1usize..9,
        end in proptest::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let mut stream = Vec::new();
        for row in &table {
            encode_row(row, &format, &mut stream);
            stream.extend_from_slice(end.as_bytes());
        }
        let mut splitter = RowSplitter::new(&format, 10_000).unwrap();
        let mut found: Table = Vec::new();
        for chunk in stream.chunks(chunk_bytes) {
            splitter.push(chunk).unwrap();
            while let Some(row) = splitter.next_row().unwrap() {
                prop_assert_eq!(row.kind, RowKind::Data);
                found.push(decode_row(row.line, &format).unwrap());
            }
        }
        while let Some(row) = splitter.finish().unwrap() {
            found.push(decode_row(row.line, &format).unwrap());
        }
        let lossy = matches!(&format, CopyFormat::Text { null, .. } if null.is_empty());
        let expected: Table = table
            .into_iter()
            .map(|row| row.into_iter().map(|f| f.filter(|v| !(lossy && v.is_empty()))).collect())
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn chunks_do_not_matter(
        format in formats(),
        stream in proptest::collection::vec(values(), 0..12),
        chunk_bytes in 1usize..9,
    ) {
        let stream = stream.concat();
        let whole = rows(&format, &[&stream]);
        let chunks: Vec<&[u8]> = stream.chunks(chunk_bytes).collect();
        prop_assert_eq!(rows(&format, &chunks), whole);
    }

    #[test]
    fn hostile_rows_do_not_panic(format in formats(), row in values()) {
        let _ = decode_row(&row, &format);
        let _ = rewrite_row(&row, &format, |_, _| Some(row.clone()));
    }

    #[test]
    fn replaced_rows_read_back(format in formats(), row in values(), new in values()) {
        if let Ok(mut fields) = decode_row(&row, &format) {
            let last = fields.len() - 1;
            let done = rewrite_row(&row, &format, |at, _| (at == last).then(|| new.clone()));
            let done = done.unwrap().unwrap();
            fields[last] = Some(new.clone());
            let lossy = matches!(&format, CopyFormat::Text { null, .. } if null.is_empty());
            if !(lossy && new.is_empty()) {
                prop_assert_eq!(decode_row(&done, &format).unwrap(), fields);
            }
        }
    }
}
