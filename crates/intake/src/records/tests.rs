//! The documented import against itself and against hostile bytes.

use event::{ActorId, ClientId, GrantId, Role, SessionId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use watch::{Call, Exposure, Order, Part, Record, TerminalId, What};

use super::build::{EVENTS, FINDINGS, REASONS};
use super::*;
use crate::names::{Name, Names};
use crate::source::{Merged, Taken};
use crate::summary::{Note, Reason, Summary};
use crate::{LINE_BYTES_MAX, key};

fn read(bytes: &[u8], options: Options) -> (Vec<Taken>, Summary, Names) {
    let mut names = Names::default();
    let mut source = open(bytes, options).unwrap();
    let mut taken = Taken::default();
    let mut records = Vec::new();
    while source.next(&mut names, &mut taken).unwrap() {
        records.push(taken.clone());
    }
    (records, source.summary().clone(), names)
}

fn mapped(bytes: &[u8], mapping: &str) -> (Vec<Taken>, Summary, Names) {
    let options = Options {
        mapping: mapping.parse().unwrap(),
        ..Options::default()
    };
    read(bytes, options)
}

/// The reasons for which lines were skipped, with their lines.
fn skipped(summary: &Summary) -> Vec<(Reason, Vec<u64>)> {
    let skipped = summary.skipped.iter();
    skipped
        .map(|(reason, places)| (*reason, places.first.clone()))
        .collect()
}

fn exposure(taken: &Taken) -> Exposure<'_> {
    match taken.record().what {
        What::Exposure(exposure) => exposure,
        other => panic!("no exposure: {other:?}"),
    }
}

const MINIMAL: &str =
    r#"{"time":"2026-11-22T10:00:00+09:00","actor":"sato","client":"acme","subjects":3}"#;

#[test]
fn the_shortest_line_counts() {
    let csv = "time,actor,client,subjects\n2026-11-22T10:00:00+09:00,sato,acme,3\n";
    let json = format!("{MINIMAL}\n");
    for (text, line) in [(json.as_str(), 1), (csv, 2)] {
        let (records, summary, names) = read(text.as_bytes(), Options::default());
        assert_eq!((summary.lines, summary.records), (1, 1));
        assert_eq!(records.len(), 1);
        let record = records[0].record();
        assert_eq!((record.sequence, record.at_ms), (line, 1_795_309_200_000));
        let shown = exposure(&records[0]);
        assert_eq!((shown.subjects, shown.rows, shown.new), (3, 0, None));
        assert_eq!(shown.role, Role::Operator);
        assert_eq!(names.actor_name(shown.actor), "sato");
        assert_eq!(names.client_name(shown.client), "acme");
    }
}

/// What the documentation shows is what is read.
#[test]
fn the_examples_of_the_documentation() {
    const PAGE: &str = include_str!("../../../../docs/format/records.md");
    let example = |begin: &str, lines: usize| -> String {
        let from = PAGE.lines().skip_while(|line| !line.starts_with(begin));
        from.take(lines).map(|line| format!("{line}\n")).collect()
    };
    for text in [example("{\"time\"", 1), example("time,actor", 2)] {
        let (records, summary, _) = read(text.as_bytes(), Options::default());
        assert_eq!(skipped(&summary), [], "{text}");
        assert_eq!(exposure(&records[0]).subjects, 3, "{text}");
    }
    let map = PAGE
        .split("--map '")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    assert!(map.parse::<Mapping>().is_ok(), "{map}");
    // Every field and every word has its place on the page.
    let words = REASONS.iter().map(|(word, _)| *word);
    let words = words.chain(FINDINGS.iter().map(|(word, _)| *word));
    let words = words.chain(EVENTS.iter().map(|(word, _)| *word));
    let words = words.chain(Role::ALL.iter().map(|role| role.name()));
    let fields = super::field::Field::ALL.iter().map(|field| field.name());
    for word in words.chain(fields) {
        assert!(
            PAGE.contains(&format!("`{word}`")),
            "{word} is not on the page"
        );
    }
}

#[test]
fn much_is_accepted() {
    let text = concat!(
        "\u{feff}// made by hand\n\n[\n",
        r#"{"Time":1795309200000,"KIND":"Session_Opened","actor":7,"session":"s-1","terminal":"pc-17","role":"Supervisor"},"#,
        "\r\n",
        r#"{"time":"2026-11-22 10:00","actor":"7","client":"acme","Subject IDs":["a","b",17,18.0],"rows":"4.0","note":{"x":[1,{}]},"new":null,"masked":""}"#,
        "\n",
        r#"{"time":"2026-11-22T10:00:01Z","actor":7,"client":"acme","probes":2,"missed":1,"order":{"pairs":3,"ascending":2,"near":1,"far":0},"shape":"lookup","active":true}"#,
        "\n]\n",
    );
    let (records, summary, names) = read(text.as_bytes(), Options::default());
    assert_eq!(skipped(&summary), []);
    assert_eq!(
        summary.ignored_fields.named().collect::<Vec<_>>(),
        [("note", 1)]
    );
    let What::SessionOpened { actor, role, .. } = records[0].record().what else {
        panic!("{:?}", records[0])
    };
    assert_eq!((actor, role), (ActorId(7), Role::Supervisor));
    let shown = exposure(&records[1]);
    // Its role is the one that its login gave.
    assert_eq!((shown.actor, shown.role), (ActorId(7), Role::Supervisor));
    assert_eq!((shown.subjects, shown.rows, shown.new), (4, 4, None));
    let keys = [
        key::of_text("a"),
        key::of_text("b"),
        key::of_number(17),
        key::of_text("18"),
    ];
    assert_eq!(shown.keys, keys);
    let probed = exposure(&records[2]);
    assert_eq!(
        (probed.subjects, probed.probes, probed.missed),
        (0, 2, Some(1))
    );
    let order = Order {
        pairs: 3,
        ascending: 2,
        near: 1,
    };
    assert_eq!(
        (probed.order, probed.shape),
        (order, key::of_text("lookup"))
    );
    assert_eq!(names.client_name(probed.client), "acme");
}

#[test]
fn what_is_skipped_is_counted_and_placed() {
    let long = format!("{{\"time\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX));
    let lines: [(&[u8], Option<Reason>); 16] = [
        (b"{", Some(Reason::NotJson)),
        (b"{}{}", Some(Reason::NotJson)),
        (b"[1]", Some(Reason::NotJson)),
        (b"{\"time\":\"\xff\"}", Some(Reason::NotUtf8)),
        (long.as_bytes(), Some(Reason::TooLong)),
        (br#"{"time":1,"kind":"lunch"}"#, Some(Reason::UnknownKind)),
        (b"{}", Some(Reason::Missing("time"))),
        (br#"{"time":"soon"}"#, Some(Reason::Wrong("time"))),
        (br#"{"time":1.5}"#, Some(Reason::Wrong("time"))),
        (
            br#"{"time":1,"actor":1,"client":1}"#,
            Some(Reason::Missing("subjects")),
        ),
        (
            br#"{"time":1,"actor":1,"client":1,"subjects":-1}"#,
            Some(Reason::Wrong("subjects")),
        ),
        (
            br#"{"time":1,"actor":1,"client":1,"subjects":4294967296}"#,
            Some(Reason::TooGreat("subjects")),
        ),
        (
            br#"{"time":1,"actor":1,"client":1,"keys":["a",[]]}"#,
            Some(Reason::Wrong("keys")),
        ),
        (
            br#"{"time":1,"actor":1,"client":1,"subjects":1,"order":3}"#,
            Some(Reason::Wrong("order")),
        ),
        (
            br#"{"time":1,"actor":1,"client":1,"subjects":1,"role":"agent","role":"auditor"}"#,
            None,
        ),
        (
            br#"{"time":1,"kind":"refused","reason":"bored"}"#,
            Some(Reason::Wrong("reason")),
        ),
    ];
    let text: Vec<u8> = lines.map(|(line, _)| line).join(&b'\n');
    let (records, summary, _) = read(&text, Options::default());
    let mut expected: Vec<(Reason, Vec<u64>)> = Vec::new();
    for (number, (_, reason)) in (1..).zip(lines) {
        let Some(reason) = reason else { continue };
        match expected.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, places)) => places.push(number),
            None => expected.push((reason, vec![number])),
        }
    }
    expected.sort();
    assert_eq!(skipped(&summary), expected);
    assert_eq!((summary.lines, summary.records, records.len()), (16, 1, 1));
    assert_eq!(
        summary.unknown_kinds.named().collect::<Vec<_>>(),
        [("lunch", 1)]
    );
    for note in [Note::UnknownRole, Note::Twice] {
        assert_eq!(summary.notes[&note].first, [15], "{note}");
    }
}

#[test]
fn calls_of_a_telephone_system() {
    let csv = "Start,End,Agent,Queue,Customer_ID,Skill\n\
        2026/11/22 10:00:00,2026/11/22 10:04:30,sato,acme,\"c;1\",7\n\
        2026/11/22 10:05:00,,sato,acme,,7\n\
        ,,,,,\n";
    let mapping =
        "kind:=call,time=start,from=start,until=end,actor=agent,client=queue,subject=customer_id";
    let (records, summary, names) = mapped(csv.as_bytes(), mapping);
    let calls: Vec<Call> = records
        .iter()
        .map(|taken| match taken.record().what {
            What::Call(call) => call,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(calls[0].subject, Some(key::of_text("c;1")));
    assert_eq!(calls[0].until_ms - calls[0].from_ms, 270_000);
    assert_eq!(
        (calls[1].subject, calls[1].until_ms),
        (None, calls[1].from_ms)
    );
    assert_eq!(names.actor_name(calls[0].actor), "sato");
    assert_eq!(skipped(&summary), [(Reason::Missing("time"), vec![4])]);
    assert_eq!(
        summary.ignored_fields.named().collect::<Vec<_>>(),
        [("Skill", 3)]
    );

    // The same as JSON lines.
    let json = r#"{"start":"2026-11-22T10:00:00","end":"2026-11-22T10:04:30","agent":"sato","queue":"acme","customer_id":"c;1","kind":"exposure"}"#;
    let (again, _, _) = mapped(json.as_bytes(), mapping);
    assert_eq!(again[0].record().what, records[0].record().what);
}

#[test]
fn csv_is_taken_as_it_comes() {
    for (mark, text) in [
        (";", "time;actor;client;keys\n1;a;b;\"x y|z\"\n"),
        (
            "tab",
            "\u{feff}time\tactor\tclient\tkeys\r\n\r\n1\ta\tb\tx;y z\r\n",
        ),
    ] {
        let (records, summary, _) = read(text.as_bytes(), Options::default());
        assert_eq!(skipped(&summary), [], "{mark}");
        let keys = ["x", "y", "z"].map(key::of_text);
        assert_eq!(exposure(&records[0]).keys, keys, "{mark}");
        assert_eq!(exposure(&records[0]).subjects, 3, "{mark}");
    }
    let open = |bytes| open(bytes, Options::default()).err().unwrap().to_string();
    assert!(open(&b"name,phone\na,b\n"[..]).contains("--map"));
}

#[test]
fn a_quote_without_an_end_does_not_fill_the_memory() {
    let mut bytes = b"time,actor,client,subjects\n1,a,b,1\n2,\"a,b,1\n".to_vec();
    bytes.resize(bytes.len() + LINE_BYTES_MAX + (1 << 20), b'x');
    let mut source = open(bytes.as_slice(), Options::default()).unwrap();
    let (mut names, mut taken) = (Names::default(), Taken::default());
    assert!(source.next(&mut names, &mut taken).unwrap());
    let error = source.next(&mut names, &mut taken).unwrap_err().to_string();
    assert!(error.contains("begins on line 3"), "{error}");
}

#[test]
fn files_are_merged_by_time() {
    let calls = "{\"time\":10,\"kind\":\"call\",\"actor\":1,\"client\":1}\n{\"time\":30,\"kind\":\"call\",\"actor\":1,\"client\":1}\n";
    let shown = "{\"time\":20,\"actor\":1,\"client\":1,\"subjects\":1}\n{\"time\":30,\"actor\":1,\"client\":1,\"subjects\":2}\n";
    let sources = [calls, shown].map(|text| open(text.as_bytes(), Options::default()).unwrap());
    let mut merged = Merged::new(sources.into());
    let (mut names, mut taken) = (Names::default(), Taken::default());
    let mut order = Vec::new();
    while merged.next(&mut names, &mut taken).unwrap() {
        let record = taken.record();
        order.push((
            record.sequence,
            record.at_ms,
            matches!(record.what, What::Call(_)),
        ));
    }
    let expected = [(1, 10, true), (2, 20, false), (3, 30, true), (4, 30, false)];
    assert_eq!(order, expected);
    let counts: Vec<u64> = merged.summaries().map(|summary| summary.records).collect();
    assert_eq!(counts, [2, 2]);
}

fn actor() -> impl Strategy<Value = ActorId> {
    (1_u32..5).prop_map(ActorId)
}

fn client() -> impl Strategy<Value = ClientId> {
    (1_u32..5).prop_map(|number| ClientId::new(number).unwrap())
}

fn role() -> impl Strategy<Value = Role> {
    select(Role::ALL)
}

fn terminal() -> impl Strategy<Value = TerminalId> {
    any::<u64>().prop_map(TerminalId)
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        Just(Part::Gate),
        Just(Part::Source),
        Just(Part::Counters),
        any::<u32>().prop_map(Part::Witness),
        terminal().prop_map(Part::Terminal),
        client().prop_map(Part::Calls),
    ]
}

/// Times of all kinds: usual, far away, beyond what a date can say.
fn time_ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        1_700_000_000_000_u64..1_800_000_000_000,
        any::<u64>(),
        0_u64..10
    ]
}

fn shown() -> impl Strategy<Value = (What<'static>, Vec<u64>)> {
    let counts = (
        any::<u32>(),
        any::<u32>(),
        option::of(any::<u32>()),
        any::<u32>(),
    );
    let probed = (
        0_u32..3,
        option::of(any::<u32>()),
        any::<[u32; 3]>(),
        any::<u64>(),
    );
    let who = (
        actor(),
        role(),
        option::of(any::<u64>()),
        client(),
        option::of(1_u32..9),
    );
    (who, counts, probed, vec(any::<u64>(), 0..5)).prop_map(
        |((actor, role, session, client, grant), (rows, subjects, new, masked), probed, keys)| {
            let (probes, missed, [pairs, ascending, near], shape) = probed;
            let what = What::Exposure(Exposure {
                actor,
                role,
                session: session.map(SessionId),
                client,
                grant: grant.map(GrantId),
                rows,
                subjects,
                new,
                masked,
                probes,
                missed,
                order: Order {
                    pairs,
                    ascending,
                    near,
                },
                shape,
                keys: &[],
            });
            (what, keys)
        },
    )
}

fn other() -> impl Strategy<Value = What<'static>> {
    let people = prop_oneof![
        Just(What::Tick),
        (actor(), role(), any::<bool>()).prop_map(|(actor, role, active)| What::Actor {
            actor,
            role,
            active
        }),
        (actor(), time_ms(), time_ms()).prop_map(|(actor, from_ms, until_ms)| What::Away {
            actor,
            from_ms,
            until_ms
        }),
        (actor(), role(), any::<u64>(), terminal()).prop_map(|(actor, role, session, terminal)| {
            What::SessionOpened {
                actor,
                role,
                session: SessionId(session),
                terminal,
            }
        }),
        any::<u64>().prop_map(|session| What::SessionClosed {
            session: SessionId(session)
        }),
        actor().prop_map(|actor| What::Rebaselined { actor }),
        client().prop_map(|client| What::ListsDestroyed { client }),
    ];
    let refused = (
        option::of(actor()),
        option::of(client()),
        select(&REASONS[..]),
        any::<u32>(),
    );
    let found = (
        actor(),
        option::of(client()),
        select(&FINDINGS[..]),
        any::<u32>(),
    );
    let granted = (1_u32..9, actor(), client(), any::<u64>(), time_ms());
    let call = (
        actor(),
        client(),
        option::of(any::<u64>()),
        time_ms(),
        time_ms(),
    );
    let said = (
        terminal(),
        option::of(actor()),
        select(&EVENTS[..]),
        any::<u64>(),
    );
    let things = prop_oneof![
        refused.prop_map(|(actor, client, (_, reason), count)| What::Refused {
            actor,
            client,
            reason,
            count
        }),
        found.prop_map(|(actor, client, (_, kind), count)| What::Gate {
            actor,
            client,
            kind,
            count
        }),
        granted.prop_map(|(grant, actor, client, amount, until_ms)| What::Granted {
            grant: GrantId(grant),
            actor,
            client,
            amount,
            until_ms,
        }),
        (1_u32..9).prop_map(|grant| What::GrantEnded {
            grant: GrantId(grant)
        }),
        (client(), any::<u64>()).prop_map(|(client, subject)| What::Canary { client, subject }),
        call.prop_map(
            |(actor, client, subject, from_ms, until_ms)| What::Call(Call {
                actor,
                client,
                subject,
                from_ms,
                until_ms,
            })
        ),
        said.prop_map(|(terminal, actor, (_, event), bytes)| What::Terminal {
            terminal,
            actor,
            event,
            bytes,
        }),
        any::<[u64; 2]>().prop_map(|[rows, accounted]| What::Returned { rows, accounted }),
        part().prop_map(|part| What::Alive { part }),
        part().prop_map(|part| What::Stopped { part }),
        (part(), time_ms(), time_ms(), any::<u64>()).prop_map(
            |(part, from_ms, until_ms, missing)| What::Gap {
                part,
                from_ms,
                until_ms,
                missing,
            }
        ),
    ];
    prop_oneof![people, things]
}

fn record() -> impl Strategy<Value = Taken> {
    let what = prop_oneof![shown(), other().prop_map(|what| (what, Vec::new()))];
    (any::<u64>(), time_ms(), what).prop_map(|(sequence, at_ms, (what, keys))| {
        let mut taken = Taken::default();
        taken.keys = keys;
        taken.set(Record {
            sequence,
            at_ms,
            what,
        });
        taken
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(records in vec(record(), 0..20)) {
        let mut text = String::new();
        for taken in &records {
            write(&taken.record(), &Names::default(), &mut text);
        }
        let (again, summary, _) = read(text.as_bytes(), Options::default());
        prop_assert_eq!(skipped(&summary), vec![]);
        prop_assert_eq!(again.len(), records.len());
        for (again, taken) in again.iter().zip(&records) {
            prop_assert_eq!(again.record(), taken.record());
        }
    }

    /// Whatever is read is written as what is read, with its names.
    #[test]
    fn names_go_along(login in "[a-z0-9\"\\\\\u{1}-\u{3}山]{1,20}", company in "[a-z1-9]{1,3}") {
        prop_assume!(!login.trim().is_empty());
        let line = serde_json::json!({"time": 5, "actor": login, "client": company, "subjects": 1});
        let (records, _, names) = read(line.to_string().as_bytes(), Options::default());
        let mut text = String::new();
        write(&records[0].record(), &names, &mut text);
        let (again, summary, same) = read(text.as_bytes(), Options::default());
        prop_assert_eq!(summary.records, 1);
        let shown = exposure(&again[0]);
        prop_assert_eq!(same.actor_name(shown.actor), login.trim());
        prop_assert_eq!(same.client_name(shown.client), company);
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        for mut start in [b"{".to_vec(), b"time,kind,actor,keys\n".to_vec(), vec![]] {
            start.extend(&bytes);
            let Ok(mut source) = open(start.as_slice(), Options::default()) else { continue };
            let (mut names, mut taken) = (Names::default(), Taken::default());
            while matches!(source.next(&mut names, &mut taken), Ok(true)) {}
            let summary = source.summary();
            prop_assert_eq!(summary.lines, summary.records + summary.skipped_lines());
        }
    }

    /// Lines that are nearly right: every field with every sort of value.
    #[test]
    fn nearly_records(
        kind in select(&["exposure", "call", "gap", "alive", "granted", "terminal", "canary", "away"][..]),
        fields in vec((select(super::field::Field::ALL), select(&[
            "0", "1", "-1", "1e400", "1e3", "99999999999999999999", "\"\"", "\"1\"", "\"x\"",
            "null", "true", "[]", "[1,\"a\",null]", "{}", "{\"pairs\":1}", "\"2026-11-22\"",
        ][..])), 0..12),
    ) {
        let mut line = format!("{{\"kind\":\"{kind}\"");
        for (field, value) in &fields {
            line.push_str(&format!(",\"{}\":{value}", field.name()));
        }
        line.push('}');
        let (records, summary, _) = read(line.as_bytes(), Options::default());
        prop_assert_eq!(summary.lines, 1);
        prop_assert_eq!(records.len() as u64, 1 - summary.skipped_lines());
    }
}

#[test]
fn a_name_is_a_number_or_its_digits() {
    assert_eq!(Name::of("17"), Some(Name::Number(17)));
    assert_eq!(Name::of("017"), Some(Name::Text("017")));
    assert_eq!(
        Name::of("99999999999999999999"),
        Some(Name::Text("99999999999999999999"))
    );
}
