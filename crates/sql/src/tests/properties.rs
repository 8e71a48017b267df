//! Properties of the planner and of the scan: nothing panics, nothing is forgotten, and no value
//! that meets a sealed column stays in the text.

use event::Plain;
use proptest::prelude::*;
use squawk_syntax::SyntaxKind;

use super::{catalogue, render, settings};
use crate::tree::{self, Constant};
use crate::{DEPTH_MAX, NoNames, Settings, Site, plan};

/// All statements of the corpus.
fn corpus() -> Vec<&'static str> {
    [
        include_str!("corpus/search.sql"),
        include_str!("corpus/reading.sql"),
        include_str!("corpus/writing.sql"),
        include_str!("corpus/copying.sql"),
        include_str!("corpus/definitions.sql"),
        include_str!("corpus/sessions.sql"),
        include_str!("corpus/tools.sql"),
        include_str!("corpus/strings.sql"),
    ]
    .into_iter()
    .flat_map(|file| file.split("\n--\n"))
    .collect()
}

/// Pieces of SQL to make soup of.
const PIECES: &[&str] = &[
    "SELECT",
    "*",
    "FROM",
    "customers",
    "c",
    "WHERE",
    "phone",
    "=",
    "'090'",
    "$1",
    "(",
    ")",
    ",",
    "AND",
    "OR",
    "NOT",
    "IN",
    "ANY",
    "ARRAY",
    "[",
    "]",
    "IS",
    "NULL",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "UNION",
    "VALUES",
    "INSERT",
    "INTO",
    "UPDATE",
    "SET",
    "DELETE",
    "WITH",
    "AS",
    "JOIN",
    "ON",
    "USING",
    "GROUP",
    "BY",
    "ORDER",
    ".",
    "::",
    "text",
    "E'\\'",
    "'",
    "\"",
    "$$",
    "--",
    "\n",
    "/*",
    "*/",
    "U&'\\00",
    ";",
    "count",
    "coalesce",
    "DISTINCT",
    "RETURNING",
    "EXECUTE",
    "PREPARE",
    "COPY",
    "STDIN",
    "client_id",
    "5",
    "DO",
    "日本",
    "\u{0}",
    "\\",
];

fn plan_both(text: &str) {
    for (conforming, several_clients) in [(true, false), (true, true), (false, false)] {
        let settings = Settings {
            standard_conforming_strings: conforming,
            ..settings(several_clients)
        };
        if let Ok(script) = plan(text, &catalogue(), &settings, &NoNames) {
            for statement in &script.statements {
                let rendered = statement
                    .render(|_: &Site, value: &Plain<String>| {
                        Ok::<_, ()>(vec![value.expose().clone()])
                    })
                    .unwrap();
                for position in [0, 1, 7, rendered.text.len(), usize::MAX] {
                    assert!(rendered.original_position(position) <= text.chars().count() + 1);
                }
            }
        }
    }
}

/// The literals of a text, decoded, and the text without them.
fn literals(text: &str) -> (Vec<String>, String) {
    let root = tree::parse(&tree::bounded(text, DEPTH_MAX).unwrap()).unwrap();
    let mut values = Vec::new();
    for node in root
        .descendants()
        .filter(|node| node.kind() == SyntaxKind::LITERAL)
    {
        if let Constant::Text(value) = tree::constant(&node).unwrap() {
            values.push(value.expose().clone());
        }
    }
    let literal = |kind| {
        matches!(
            kind,
            SyntaxKind::STRING
                | SyntaxKind::ESC_STRING
                | SyntaxKind::UNICODE_ESC_STRING
                | SyntaxKind::NATIONAL_STRING
                | SyntaxKind::DOLLAR_QUOTED_STRING
        )
    };
    let rest = tree::tokens(&root)
        .filter(|token| !token.kind().is_trivia() && !literal(token.kind()))
        .map(|token| token.text().to_owned())
        .collect::<Vec<_>>()
        .join(" ");
    (values, rest)
}

#[test]
fn rendered_with_the_values_themselves_means_the_same() {
    let mut compared = 0;
    for text in corpus() {
        let Ok(script) = plan(text, &catalogue(), &settings(false), &NoNames) else {
            continue;
        };
        for statement in script
            .statements
            .iter()
            .filter(|statement| statement.sealed)
        {
            let rendered = statement
                .render(|_: &Site, value: &Plain<String>| Ok::<_, ()>(vec![value.expose().clone()]))
                .unwrap();
            // An array literal is rendered as ARRAY[...], UESCAPE is folded in, N'' is NCHAR E''.
            if ["'{", "UESCAPE", " N'"]
                .iter()
                .any(|other| text.contains(other))
            {
                continue;
            }
            assert_eq!(
                literals(&statement.text),
                literals(&rendered.text),
                "{text}"
            );
            compared += 1;
        }
    }
    assert!(compared > 150, "{compared}");
}

#[test]
fn original_position_finds_the_same_word() {
    let text =
        "SELECT 1; SELECT '日本', nowhere() FROM customers WHERE phone = '090' AND nothing() = 'a'";
    let script = plan(text, &catalogue(), &settings(false), &NoNames).unwrap();
    let statement = &script.statements[1];
    let rendered = statement
        .render(|_: &Site, _: &Plain<String>| Ok::<_, ()>(vec!["sealed:AAAA".repeat(9)]))
        .unwrap();
    for word in ["nowhere", "customers", "nothing"] {
        let place = |text: &str| {
            text.find(word)
                .map(|at| text[..at].chars().count() + 1)
                .unwrap()
        };
        assert_eq!(
            rendered.original_position(place(&rendered.text)),
            place(text),
            "{word}"
        );
    }
}

#[test]
fn original_position_without_conforming_strings() {
    let text = r"SELECT 'a\'b' FROM customers WHERE missing()";
    let settings = Settings {
        standard_conforming_strings: false,
        ..settings(false)
    };
    let script = plan(text, &catalogue(), &settings, &NoNames).unwrap();
    let rendered = script.statements[0]
        .render(|_: &Site, _: &Plain<String>| Ok::<_, ()>(Vec::new()))
        .unwrap();
    let place = |text: &str| text.find("missing").map(|at| at + 1).unwrap();
    assert_eq!(
        rendered.original_position(place(&rendered.text)),
        place(text)
    );
}

/// Nested as deep as is allowed, in every way that the grammar has; on a thread with the stack
/// that a runtime's worker has.
#[test]
fn deep_nesting_is_planned_or_refused_but_does_not_overflow() {
    let deep = |open: &str, middle: &str, close: &str, times: usize| {
        format!(
            "SELECT id FROM customers WHERE {}{middle}{}",
            open.repeat(times),
            close.repeat(times)
        )
    };
    let mut texts = Vec::new();
    for times in [100, 240, 480, 5_000] {
        texts.extend([
            deep("(", "phone = 'x'", ")", times),
            deep("NOT ", "phone = 'x'", "", times),
            deep("phone = 'x' AND ", "true", "", times),
            deep("phone = 'x' OR (", "true", ")", times),
            deep("CASE WHEN ", "true", " THEN true END", times),
            deep("- ", "1 = 1", "", times),
            deep("~ ", "1 = 1", "", times),
            deep("coalesce(", "phone", ")", times),
            deep("EXISTS (SELECT 1 FROM customers WHERE ", "true", ")", times),
            deep("ARRAY[", "1", "]", times),
            deep("a", "", "[1]", times),
            deep("a", "", ".b", times),
            deep("1", "", "::int", times),
            deep("1", "", " IS NULL", times),
            deep("1", "", " COLLATE c", times),
            deep("1", "", " UNION SELECT 1", times),
            deep("a", "", " AT TIME ZONE b", times),
            format!(
                "SELECT id FROM customers {}",
                "JOIN customers c ON true ".repeat(times)
            ),
            format!("{} SELECT 1 FROM customers", "EXPLAIN ".repeat(times)),
            format!(
                "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT {}customers'",
                "(".repeat(times)
            ),
            format!(
                "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $a$SELECT {}customers$a$",
                "(".repeat(times)
            ),
        ]);
    }
    let run = move || {
        for text in texts {
            for several in [false, true] {
                let planned = plan(&text, &catalogue(), &settings(several), &NoNames);
                if text.len() > 60_000 {
                    assert!(planned.is_err(), "{}", &text[..80]);
                }
            }
        }
    };
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn one_level_too_many_is_refused_by_code() {
    let text = format!(
        "SELECT 1 FROM customers WHERE {}1{}",
        "(".repeat(DEPTH_MAX),
        ")".repeat(DEPTH_MAX)
    );
    assert_eq!(
        plan(&text, &catalogue(), &settings(false), &NoNames)
            .unwrap_err()
            .code,
        "54001"
    );
}

#[test]
fn too_many_values_are_refused() {
    let list = vec!["'1'"; crate::VALUES_MAX + 1].join(",");
    let text = format!("SELECT 1 FROM customers WHERE phone IN ({list})");
    assert_eq!(
        plan(&text, &catalogue(), &settings(false), &NoNames)
            .unwrap_err()
            .code,
        "54000"
    );
    let text = format!(
        "SELECT 1 FROM customers WHERE phone = ANY ('{{{}}}')",
        list.replace('\'', "")
    );
    assert_eq!(
        plan(&text, &catalogue(), &settings(false), &NoNames)
            .unwrap_err()
            .code,
        "54000"
    );
}

#[test]
fn a_refusal_and_debug_hold_no_value() {
    for text in corpus() {
        let text = text.replace("090", "CANARY").replace("Yamada", "CANARY");
        match plan(&text, &catalogue(), &settings(true), &NoNames) {
            Err(refusal) => assert!(
                !format!("{refusal:?} {refusal}").contains("CANARY"),
                "{text}"
            ),
            Ok(script) => {
                for statement in script
                    .statements
                    .iter()
                    .filter(|statement| statement.sealed)
                {
                    assert!(!format!("{statement:?}").contains("CANARY"), "{text}");
                    assert!(!statement.shape.contains("CANARY"), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_shape_holds_no_comment_alias_or_literal() {
    let text = "SELECT phone AS \"canary\", canary.name /* canary */ FROM customers canary -- canary
        WHERE phone = 'canary' AND id = 424242 AND $$canary$$ = status AND canary.phone = E'canary'";
    let script = plan(text, &catalogue(), &settings(false), &NoNames).unwrap();
    let shape = &script.statements[0].shape;
    assert!(
        !shape.to_lowercase().contains("canary") && !shape.contains("42"),
        "{shape}"
    );
}

#[test]
fn unsealed_statements_are_no_hit() {
    for text in [
        "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
        "UPDATE pgbench_tellers SET tbalance = tbalance + 5 WHERE tid = 3",
        "INSERT INTO pgbench_history (tid, bid) VALUES (1, 2)",
        "SELECT customersx, xcustomers, calls2 FROM t",
        "BEGIN",
        "COMMIT",
    ] {
        assert!(!catalogue().mentions(text.as_bytes()), "{text}");
    }
    assert!(catalogue().mentions(b"SELECT '\xff'"));
}

/// Each way to bring a value and a sealed column together; `{}` is the value.
const MEETINGS: &[&str] = &[
    "phone = {}",
    "{} = phone",
    "phone <> {}",
    "phone IN ({}, '1')",
    "phone NOT IN ('1', {})",
    "phone IS DISTINCT FROM {}",
    "phone = ANY (ARRAY[{}])",
    "phone <> ALL (ARRAY[{}, '2'])",
    "(phone) = ({})",
    "phone::text = {}::text",
    "phone = CAST({} AS varchar)",
    "{} IN (phone)",
    "(id, phone) = (1, {})",
    "(phone, id) IN (({}, 1))",
    "phone IN (SELECT {})",
    "phone IN (VALUES ({}))",
    "phone IN (SELECT * FROM (VALUES ({})) v)",
    "phone = (SELECT {})",
    "phone = coalesce({}, '1')",
    "coalesce(phone, {}) = {}",
    "nullif(phone, {}) IS NULL",
    "CASE phone WHEN {} THEN true END",
    "CASE WHEN phone = {} THEN true END",
    "phone LIKE {}",
    "phone > {}",
    "phone BETWEEN {} AND {}",
    "phone || {} = {}",
    "concat(phone, {}) = 'x'",
    "row_to_json(c)->>'phone' = {}",
    "array_agg(phone) @> ARRAY[{}]",
    "EXISTS (SELECT 1 FROM calls WHERE caller = {})",
    "EXISTS (SELECT 1 WHERE phone = {})",
    "phone = ALL (ARRAY[{}])",
    "(SELECT max(x) FROM (SELECT c.phone AS x) y) = {}",
    "(SELECT x FROM (SELECT c.phone AS x) y) = {}",
    "ROW(phone) = ROW({})",
    "c = ROW({})",
    "phone(c) = {}",
    "c.phone = {}",
    "(c).phone = {}",
    "customers.phone = {}",
    "lower(phone) = {}",
    "phone COLLATE \"C\" = {}",
    "phone OPERATOR(pg_catalog.=) {}",
    "phone OPERATOR(pg_catalog.~~) {}",
    "email = {}",
    "name = {}",
    "phone = {}::char(20)",
    "phone = concat({})",
    "phone = {} COLLATE \"C\"",
];

/// Where a condition may stand; `{}` is the condition.
const PLACES: &[&str] = &[
    "SELECT 1 FROM customers c WHERE {}",
    "SELECT {} FROM customers c",
    "SELECT 1 FROM customers c WHERE NOT ({}) OR id = 1",
    "SELECT 1 FROM customers c JOIN t ON {}",
    "SELECT 1 FROM t LEFT JOIN customers c ON {}",
    "SELECT count(*) FILTER (WHERE {}) FROM customers c",
    "SELECT 1 FROM customers c GROUP BY phone, id HAVING {}",
    "SELECT 1 FROM customers c ORDER BY {}",
    "SELECT 1 FROM customers c GROUP BY {}",
    "SELECT DISTINCT ON ({}) 1 FROM customers c",
    "SELECT 1 FROM (SELECT * FROM customers) c WHERE {}",
    "SELECT 1 FROM (SELECT id, phone, name, email FROM customers) c WHERE {}",
    "WITH c AS (SELECT * FROM customers) SELECT 1 FROM c WHERE {}",
    "WITH c AS MATERIALIZED (SELECT * FROM customers) SELECT {} FROM c",
    "SELECT 1 FROM (customers JOIN t ON true) c WHERE {}",
    "SELECT 1 FROM t, LATERAL (SELECT * FROM customers WHERE id = t.id) c WHERE {}",
    "SELECT 1 FROM customers c, LATERAL (SELECT 1 WHERE {}) l",
    "SELECT 1 FROM customers c WHERE EXISTS (SELECT 1 FROM t WHERE {})",
    "SELECT 1 FROM customers c WHERE id IN (SELECT 1 WHERE {})",
    "SELECT (SELECT {}) FROM customers c",
    "SELECT 1 FROM (SELECT * FROM customers UNION ALL SELECT * FROM customers) c WHERE {}",
    "SELECT rank() OVER (PARTITION BY {}) FROM customers c",
    "SELECT rank() OVER w FROM customers c WINDOW w AS (ORDER BY {})",
    "SELECT 1 FROM customers c LIMIT (SELECT count(*) FROM customers c WHERE {})",
    "UPDATE customers c SET status = 'x' WHERE {}",
    "UPDATE t SET x = 1 FROM customers c WHERE {}",
    "UPDATE customers c SET status = CASE WHEN {} THEN 'a' END",
    "DELETE FROM customers c WHERE {}",
    "DELETE FROM t USING customers c WHERE {}",
    "DELETE FROM customers c RETURNING {}",
    "UPDATE customers c SET id = 1 RETURNING {}",
    "INSERT INTO t SELECT 1 FROM customers c WHERE {}",
    "INSERT INTO customers AS c (client_id) VALUES (5) ON CONFLICT (id) DO UPDATE SET id = 1 WHERE {}",
    "INSERT INTO customers AS c (client_id) VALUES (5) RETURNING {}",
    "WITH d AS (DELETE FROM customers c WHERE {} RETURNING 1) SELECT * FROM d",
    "COPY (SELECT 1 FROM customers c WHERE {}) TO STDOUT",
    "EXPLAIN SELECT 1 FROM customers c WHERE {}",
    "PREPARE p AS SELECT 1 FROM customers c WHERE {}",
    "DECLARE k CURSOR FOR SELECT 1 FROM customers c WHERE {}",
    "CREATE TABLE x AS SELECT 1 FROM customers c WHERE {}",
    "CREATE VIEW x AS SELECT 1 FROM customers c WHERE {}",
    "CREATE INDEX ON customers (id) WHERE {}",
    "MERGE INTO t USING customers c ON {} WHEN MATCHED THEN DELETE",
    "CREATE RULE r AS ON DELETE TO t DO ALSO DELETE FROM customers c WHERE {}",
];

/// Each way to write a value; `{}` is the value.
const WRITES: &[&str] = &[
    "INSERT INTO customers (client_id, phone) VALUES (5, {})",
    "INSERT INTO customers (phone, client_id) VALUES ({}, 5), ('1', 5)",
    "INSERT INTO customers VALUES (1, 5, {}, {}, {}, 'open')",
    "INSERT INTO customers (client_id, name) SELECT 5, {}",
    "INSERT INTO customers (client_id, name) (SELECT 5, {})",
    "INSERT INTO customers (client_id, name) SELECT 5, {} UNION SELECT 5, {}",
    "INSERT INTO customers (client_id, name) WITH x AS (SELECT {} AS a) SELECT 5, a FROM x",
    "INSERT INTO customers (client_id, name) SELECT * FROM (SELECT 5, {}) x",
    "INSERT INTO customers (client_id, name) VALUES (5, (SELECT {}))",
    "INSERT INTO customers (client_id, name) VALUES (5, coalesce(NULL, {}))",
    "INSERT INTO customers (client_id, name) VALUES (5, CASE WHEN true THEN {} ELSE 'b' END)",
    "INSERT INTO customers (client_id, name) VALUES (5, upper({}))",
    "INSERT INTO customers (client_id, name) VALUES (5, {} || 'x')",
    "INSERT INTO customers (client_id, name) VALUES (5, {}::text)",
    "INSERT INTO customers (client_id, name) VALUES (5, nullif({}, ''))",
    "INSERT INTO customers (client_id) VALUES (5) ON CONFLICT (id) DO UPDATE SET name = {}",
    "INSERT INTO customers (client_id) VALUES (5) ON CONFLICT (id) DO UPDATE SET (name, id) = ({}, 1)",
    "UPDATE customers SET name = {} WHERE client_id = 5",
    "UPDATE customers SET (name, phone) = ({}, {}) WHERE client_id = 5",
    "UPDATE customers SET (name, phone) = ROW ({}, {}) WHERE client_id = 5",
    "UPDATE customers SET (name, id) = (SELECT {}, 1) WHERE client_id = 5",
    "UPDATE customers SET name = (VALUES ({})) WHERE client_id = 5",
    "UPDATE customers SET name = x FROM (SELECT {} AS x) y WHERE client_id = 5",
    "UPDATE customers SET name[1] = {} WHERE client_id = 5",
    "UPDATE callers SET tel = {}",
    "INSERT INTO callers (tel) VALUES ({})",
    "INSERT INTO vip.\"Gold Members\" VALUES ({})",
    "WITH x AS (INSERT INTO customers (client_id, name) VALUES (5, {}) RETURNING 1) SELECT * FROM x",
    "PREPARE p AS INSERT INTO customers (client_id, name) VALUES (5, {})",
    "EXPLAIN INSERT INTO customers (client_id, name) VALUES (5, {})",
    "ALTER TABLE customers ALTER phone SET DEFAULT {}",
    "CREATE TABLE customers (phone text DEFAULT {})",
    "ALTER TABLE customers ADD CHECK (phone <> {})",
    "DO $x$ BEGIN INSERT INTO customers (name) VALUES ({}); END $x$",
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $x$ INSERT INTO customers (name) VALUES ({}) $x$",
    "CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO customers (client_id, name) VALUES (5, {})",
    "MERGE INTO customers c USING t ON true WHEN NOT MATCHED THEN INSERT (name) VALUES ({})",
    "SELECT find_customer({})",
    "CALL find_customer({})",
    "COPY customers FROM STDIN WHERE phone = {}",
];

const SPELLINGS: &[&str] = &[
    "'CANARY'",
    "E'CAN\\101RY'",
    "$q$CANARY$q$",
    "U&'CAN\\0041RY'",
    "N'CANARY'",
    "'CAN'\n'ARY'",
];

/// Plans a text; if it is planned, no spelling of the value may be left.
fn no_canary_left(text: &str) -> bool {
    let mut planned = false;
    for several in [false, true] {
        let Ok(script) = plan(text, &catalogue(), &settings(several), &NoNames) else {
            continue;
        };
        planned = true;
        for statement in &script.statements {
            let rendered = statement
                .render(|_: &Site, _: &Plain<String>| Ok::<_, ()>(vec!["sealed:x".to_owned()]))
                .unwrap();
            let left = ["CANARY", "CAN\\", "'CAN'"]
                .iter()
                .any(|part| rendered.text.contains(part));
            assert!(!left, "{text}\n{}", rendered.text);
        }
    }
    planned
}

#[test]
fn no_value_that_meets_a_sealed_column_stays_in_the_text() {
    let (mut planned, mut all) = (0, 0);
    for meeting in MEETINGS {
        for place in PLACES {
            let spelling = SPELLINGS[all % SPELLINGS.len()];
            let mut text = place.replace("{}", &meeting.replace("{}", spelling));
            if place.starts_with("CREATE INDEX") {
                // It has no alias.
                for (with, without) in [
                    ("(c)", "(customers)"),
                    ("c.", "customers."),
                    ("c =", "customers ="),
                ] {
                    text = text.replace(with, without);
                }
            }
            planned += usize::from(no_canary_left(&text));
            all += 1;
        }
    }
    for write in WRITES {
        for spelling in SPELLINGS {
            planned += usize::from(no_canary_left(&write.replace("{}", spelling)));
            all += 1;
        }
    }
    // Refusing everything would pass too.
    assert!(planned * 4 > all, "{planned} of {all}");
}

fn mutated() -> impl Strategy<Value = String> {
    let edits = prop::collection::vec((any::<u8>(), any::<u16>(), 0..PIECES.len()), 1..6);
    (0..corpus().len(), edits).prop_map(|(index, edits)| {
        let mut words: Vec<String> = corpus()[index]
            .split_inclusive(|c: char| !c.is_alphanumeric())
            .map(str::to_owned)
            .collect();
        for (what, place, piece) in edits {
            let place = usize::from(place) % (words.len() + 1);
            match what % 4 {
                0 if place < words.len() => drop(words.remove(place)),
                1 if place < words.len() => words[place] = PIECES[piece].to_owned(),
                2 if place < words.len() => words.insert(place, words[place].clone()),
                _ => words.insert(place, format!(" {} ", PIECES[piece])),
            }
        }
        words.concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn soup_never_panics(pieces in prop::collection::vec((0..PIECES.len(), any::<bool>()), 0..60)) {
        let text: String =
            pieces.iter().map(|(piece, space)| format!("{}{}", PIECES[*piece], if *space { " " } else { "" })).collect();
        plan_both(&text);
        plan_both(&format!("SELECT phone FROM customers WHERE {text}"));
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,80}") {
        plan_both(&text);
        plan_both(&format!("SELECT name FROM customers WHERE phone = {text}"));
        plan_both(&format!("SELECT name FROM customers WHERE phone = E'{text}'"));
        plan_both(&format!("SELECT name FROM customers WHERE phone = U&'{text}'"));
        plan_both(&format!("SELECT name FROM customers WHERE phone = ANY ('{{{text}}}')"));
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        catalogue().mentions(&bytes);
    }

    #[test]
    fn mutated_statements_never_panic(text in mutated()) {
        plan_both(&text);
    }

    /// Whatever the value, its literal means the value.
    #[test]
    fn any_value_survives(value in "\\PC{0,40}|[\\\\'\"$]{0,8}") {
        let text = format!("SELECT 1 FROM customers WHERE phone = '{0}' AND status = '{0}'", value.replace('\'', "''"));
        let script = plan(&text, &catalogue(), &settings(false), &NoNames).unwrap();
        let rendered = script.statements[0]
            .render(|_: &Site, value: &Plain<String>| Ok::<_, ()>(vec![value.expose().clone()]))
            .unwrap();
        prop_assert_eq!(literals(&rendered.text).0, vec![value.clone(), value]);
    }

    /// Without conforming strings, `'a'` means what `E'a'` means.
    #[test]
    fn strings_that_do_not_conform_are_escape_strings(inner in "([a-z日 ]|\\\\[\\\\'nrtx]|'')*") {
        let text = |prefix: &str| format!("SELECT 1 FROM customers WHERE phone = {prefix}'{inner}'");
        let off = Settings { standard_conforming_strings: false, ..settings(false) };
        let one = plan(&text(""), &catalogue(), &off, &NoNames).map(|s| render(&s.statements[0]));
        let other = plan(&text("E"), &catalogue(), &settings(false), &NoNames).map(|s| render(&s.statements[0]));
        prop_assert_eq!(one.map_err(|r| r.code), other.map_err(|r| r.code));
    }

    /// However a name is written, the scan finds it.
    #[test]
    fn the_scan_finds_every_spelling(
        upper in prop::collection::vec(any::<bool>(), 9),
        quoted in any::<bool>(),
        before in prop::sample::select(vec![" ", ".", ",", "(", "\n", "*/", "\"x\".", "\t"]),
        after in prop::sample::select(vec![" ", ".", ",", ")", "\n", "/*", ";", "", "\u{b}"]),
    ) {
        let mut name: String = "customers".chars().zip(upper).map(|(c, up)| if up { c.to_ascii_uppercase() } else { c }).collect();
        if quoted {
            name = "\"customers\"".to_owned();
        }
        let text = format!("TABLE{before}{name}{after}");
        prop_assert!(catalogue().mentions(text.as_bytes()));
        let joined = format!("SELECT{before}\"Gold Members\"{after}");
        prop_assert!(catalogue().mentions(joined.as_bytes()));
    }
}
