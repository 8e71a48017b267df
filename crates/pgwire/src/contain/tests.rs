//! Cells in each container, written back by its rules, and hostile bytes in all of them.

use proptest::prelude::*;

use super::*;

const KINDS: [Kind; 7] = [
    Kind::Text,
    Kind::TextArray,
    Kind::Json,
    Kind::Record,
    Kind::BinaryTextArray,
    Kind::BinaryJsonb,
    Kind::Guess,
];

/// Replaces each cell by `new`.
fn replaced(kind: Kind, field: &str, new: &str) -> Option<String> {
    each_cell(kind, field.as_bytes(), |_| Some(new.as_bytes().to_vec()))
        .map(|bytes| String::from_utf8(bytes).unwrap())
}

fn binary_array(elements: &[Option<&[u8]>]) -> Vec<u8> {
    let count = u32::try_from(elements.len()).unwrap();
    let mut bytes: Vec<u8> = [1, 1, oid::TEXT, count, 1].map(u32::to_be_bytes).concat();
    for element in elements {
        match element {
            None => bytes.extend([0xff; 4]),
            Some(text) => put_element_for_test(&mut bytes, text),
        }
    }
    bytes
}

fn put_element_for_test(bytes: &mut Vec<u8>, text: &[u8]) {
    binary_array::put_element(bytes, text).unwrap();
}

#[test]
fn cells_have_one_form() {
    for cell in ["sealed:A", "sealed:AZaz09-_"] {
        assert!(is_cell(cell.as_bytes()));
    }
    for other in [
        "",
        "sealed:",
        "Sealed:AA",
        " sealed:AA",
        "sealed:AA ",
        "sealed:AA=",
        "sealed:A+",
    ] {
        assert!(!is_cell(other.as_bytes()), "{other}");
    }
    assert!(may_contain(b"xxsealed:"));
    assert!(!may_contain(b"sealed"));
}

#[test]
fn plain_texts() {
    assert_eq!(
        replaced(Kind::Text, "sealed:AA", "090"),
        Some("090".to_owned())
    );
    assert_eq!(replaced(Kind::Text, "x sealed:AA", "090"), None);
    assert_eq!(each_cell(Kind::Text, b"sealed:AA", |_| None), None);
}

#[test]
fn arrays_in_text() {
    let array = |field| replaced(Kind::TextArray, field, "a \"b\"\\");
    let new = r#""a \"b\"\\""#;
    assert_eq!(array("{sealed:AA,x}"), Some(format!("{{{new},x}}")));
    assert_eq!(
        array(r#"{"sealed:AA",NULL,"a,\"}"}"#),
        Some(format!(r#"{{{new},NULL,"a,\"}}"}}"#))
    );
    assert_eq!(
        array("[0:1]={x,sealed:A}"),
        Some(format!("[0:1]={{x,{new}}}"))
    );
    assert_eq!(
        array("{{sealed:A,b},{c,sealed:B}}"),
        Some(format!("{{{{{new},b}},{{c,{new}}}}}"))
    );
    assert_eq!(
        replaced(Kind::TextArray, "{sealed:A,{}}", ""),
        Some("{\"\",{}}".to_owned())
    );
    assert_eq!(
        replaced(Kind::TextArray, "{sealed:A}", "null"),
        Some("{\"null\"}".to_owned())
    );
    for broken in [
        "sealed:A",
        "{sealed:A",
        "{sealed:A}}",
        "{sealed:A,}",
        "{sealed:A}x",
        "{,sealed:A}",
        "{\"sealed:A}",
        "{sealed:A\\",
        "{sealed:A,\"b\"c}",
        "{{{{{{{sealed:A}}}}}}}",
        "x={sealed:A}",
        "{sealed:A}{b}",
        "[a]={sealed:A}",
    ] {
        assert_eq!(array(broken), None, "{broken}");
    }
    assert_eq!(array(r#"{"\sealed:A"}"#), None, "an escape inside is left");
}

#[test]
fn rows_in_text() {
    let row = |field| replaced(Kind::Record, field, "a \"b\"\\");
    let new = r#""a ""b""\\""#;
    assert_eq!(row("(1,sealed:AA,)"), Some(format!("(1,{new},)")));
    assert_eq!(
        row(r#"("sealed:AA","x ""(,) \\")"#),
        Some(format!(r#"({new},"x ""(,) \\")"#))
    );
    assert_eq!(row("(sealed:A)"), Some(format!("({new})")));
    assert_eq!(
        replaced(Kind::Record, "(sealed:A,b)", ""),
        Some("(\"\",b)".to_owned())
    );
    assert_eq!(
        replaced(Kind::Record, "(sealed:A,b)", "山田"),
        Some("(山田,b)".to_owned())
    );
    for broken in [
        "sealed:A",
        "(sealed:A",
        "(sealed:A)x",
        "(\"sealed:A)",
        "(sealed:A\\",
        "((sealed:A))",
    ] {
        assert_eq!(row(broken), None, "{broken}");
    }
}

#[test]
fn json_documents() {
    let json = |field| replaced(Kind::Json, field, "a \"b\"\\\n\u{1}");
    let new = r#""a \"b\"\\\n\u0001""#;
    assert_eq!(json(r#""sealed:AA""#), Some(new.to_owned()));
    assert_eq!(
        json(r#"{"phone": "sealed:A", "n": [1.5e-3, {"x": "sealed:B"}, null, []], "e": {}}"#),
        Some(format!(
            r#"{{"phone": {new}, "n": [1.5e-3, {{"x": {new}}}, null, []], "e": {{}}}}"#
        ))
    );
    assert_eq!(json(r#"{"sealed:A": 1}"#), None, "a key");
    assert_eq!(json(r#"{"a": 1, "sealed:A": 1}"#), None, "a later key");
    assert_eq!(
        json(r#"["sealed\u003aA", "x sealed:A"]"#),
        None,
        "not whole"
    );
    for broken in [
        r#"["sealed:A""#,
        r#"["sealed:A"] x"#,
        r#"["sealed:A",]"#,
        r#"{"a" "sealed:A"}"#,
        r#"{"a":"sealed:A",}"#,
        r#"["sealed:A", 01]"#,
        r#"["sealed:A", 1.]"#,
        r#"["sealed:A", tru]"#,
        r#"["sealed:A"}"#,
        "[\"sealed:A\", \"\n\"]",
        r#"["sealed:A", "\x"]"#,
        r#"["sealed:A", "\u12"]"#,
        r#"{1:"sealed:A"}"#,
        r#"["sealed:A" "b"]"#,
        r#"["sealed:A",,1]"#,
    ] {
        assert_eq!(json(broken), None, "{broken}");
    }
}

#[test]
fn json_depth_is_bounded() {
    let nested = |depth: usize| format!("{}\"sealed:A\"{}", "[".repeat(depth), "]".repeat(depth));
    assert!(replaced(Kind::Json, &nested(JSON_DEPTH_MAX), "x").is_some());
    assert_eq!(replaced(Kind::Json, &nested(JSON_DEPTH_MAX + 1), "x"), None);
    assert_eq!(replaced(Kind::Json, &nested(1_000_000), "x"), None);
}

#[test]
fn json_takes_only_utf8() {
    let mut gives = [b"\xff".to_vec(), b"ok".to_vec()].into_iter();
    let new = each_cell(Kind::Json, br#"["sealed:A","sealed:B"]"#, |_| gives.next());
    assert_eq!(new, Some(br#"["sealed:A","ok"]"#.to_vec()));
    let none = each_cell(Kind::Json, br#"["sealed:A"]"#, |_| Some(b"\xff".to_vec()));
    assert_eq!(none, None);
}

#[test]
fn binary_values() {
    let field = binary_array(&[Some(b"sealed:A"), None, Some(b"x"), Some(b"")]);
    let new = each_cell(Kind::BinaryTextArray, &field, |_| {
        Some(b"longer than before".to_vec())
    });
    let expected = binary_array(&[Some(b"longer than before"), None, Some(b"x"), Some(b"")]);
    assert_eq!(new, Some(expected));
    for cut in 0..field.len() {
        assert_eq!(
            each_cell(Kind::BinaryTextArray, &field[..cut], |_| Some(Vec::new())),
            None
        );
    }
    let mut other = field.clone();
    other[11] = 17;
    assert_eq!(
        each_cell(Kind::BinaryTextArray, &other, |_| Some(Vec::new())),
        None,
        "bytea[]"
    );
    let jsonb = [&[1][..], br#"{"a":"sealed:A"}"#].concat();
    let new = each_cell(Kind::BinaryJsonb, &jsonb, |_| Some(b"1".to_vec()));
    assert_eq!(new, Some([&[1][..], br#"{"a":"1"}"#].concat()));
    assert_eq!(
        each_cell(Kind::BinaryJsonb, &jsonb[1..], |_| Some(Vec::new())),
        None
    );
}

#[test]
fn unknown_types_are_guessed_by_their_form() {
    let guess = |field| replaced(Kind::Guess, field, "x y");
    assert_eq!(guess("sealed:A"), Some("x y".to_owned()));
    assert_eq!(guess("(sealed:A)"), Some("(\"x y\")".to_owned()));
    assert_eq!(guess("{sealed:A}"), Some("{\"x y\"}".to_owned()));
    assert_eq!(
        guess("[2:2]={sealed:A}"),
        Some("[2:2]={\"x y\"}".to_owned())
    );
    assert_eq!(
        guess("{\"a\":\"sealed:A\"}"),
        Some("{\"a\":\"x y\"}".to_owned())
    );
    assert_eq!(guess("<a>sealed:A</a>"), None);
}

#[test]
fn kinds_of_types() {
    assert_eq!(Kind::of(oid::TEXT, 1), Some(Kind::Text));
    assert_eq!(Kind::of(oid::JSONB, 0), Some(Kind::Json));
    assert_eq!(Kind::of(oid::JSONB, 1), Some(Kind::BinaryJsonb));
    assert_eq!(Kind::of(oid::TEXT_ARRAY, 0), Some(Kind::TextArray));
    assert_eq!(Kind::of(oid::VARCHAR_ARRAY, 1), Some(Kind::BinaryTextArray));
    assert_eq!(Kind::of(oid::RECORD, 0), Some(Kind::Record));
    assert_eq!(Kind::of(oid::RECORD, 1), None);
    assert_eq!(Kind::of(99_999, 0), Some(Kind::Guess));
    assert_eq!(Kind::of(99_999, 1), None);
    assert_eq!(Kind::of(oid::TEXT, 7), None);
}

#[test]
fn cells_are_counted() {
    let many = |count: usize| format!("{{{}x}}", "sealed:A,".repeat(count));
    assert!(replaced(Kind::TextArray, &many(CELLS_PER_VALUE_MAX), "").is_some());
    assert_eq!(
        replaced(Kind::TextArray, &many(CELLS_PER_VALUE_MAX + 1), ""),
        None
    );
}

/// Pieces that mean something to some container.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = proptest::sample::select(
        &[
            "sealed:AA",
            "\"",
            "\\",
            "{",
            "}",
            "[",
            "]",
            "(",
            ")",
            ",",
            ":",
            "=",
            "a",
            " ",
            "1",
            "\u{1}",
            "null",
        ][..],
    );
    let bytes = proptest::collection::vec(any::<u8>(), 0..4);
    let part = prop_oneof![4 => piece.prop_map(|text| text.as_bytes().to_vec()), 1 => bytes];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn hostile_bytes_do_not_panic(field in hostile(), new in hostile()) {
        for kind in KINDS {
            let _ = each_cell(kind, &field, |_| Some(new.clone()));
        }
    }

    #[test]
    fn what_is_replaced_by_itself_keeps_its_meaning(field in hostile()) {
        for kind in KINDS {
            let mut first = Vec::new();
            let new = each_cell(kind, &field, |cell| { first.push(cell.to_vec()); Some(cell.to_vec()) });
            let Some(new) = new else { continue };
            let mut second = Vec::new();
            let _ = each_cell(kind, &new, |cell| { second.push(cell.to_vec()); None });
            prop_assert_eq!(&first, &second);
        }
    }

    #[test]
    fn arrays_and_rows_read_back(texts in proptest::collection::vec(hostile(), 1..4)) {
        type Put = fn(&mut Vec<u8>, &[u8]) -> Option<()>;
        let forms: [(Kind, u8, u8, Put); 2] = [
            (Kind::TextArray, b'{', b'}', text_array::put_element),
            (Kind::Record, b'(', b')', record::put_column),
        ];
        for (kind, open, close, put) in forms {
            let mut field = vec![open];
            for text in &texts {
                put(&mut field, text).unwrap();
                field.push(b',');
            }
            field.extend_from_slice(b"sealed:LAST");
            field.push(close);
            let mut seen = Vec::new();
            let _ = each_cell(kind, &field, |cell| { seen.push(cell.to_vec()); None });
            let mut expected: Vec<_> = texts.iter().filter(|text| is_cell(text)).cloned().collect();
            expected.push(b"sealed:LAST".to_vec());
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn json_strings_read_back(texts in proptest::collection::vec(".*", 1..4)) {
        let mut field = b"[".to_vec();
        for text in &texts {
            json::put_string(&mut field, text.as_bytes()).unwrap();
            field.push(b',');
        }
        field.extend_from_slice(b"\"sealed:LAST\"]");
        let mut seen = 0;
        let _ = each_cell(Kind::Json, &field, |_| { seen += 1; None });
        prop_assert_eq!(seen, 1);
    }
}
