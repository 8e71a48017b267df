//! Trust policies: the specification's example, every rule broken once, quorums by brute force.

use proptest::prelude::*;
use tlog::policy::{POLICY_BYTES_MAX, Problem};
use tlog::{Checkpoint, Cosigner, Note, Policy, SigningKey, leaf_hash};

fn log(seed: u8) -> String {
    let key = SigningKey::new("log.example", &[seed; 32]).unwrap();
    key.verifier().to_string()
}

fn cosigner(seed: u8) -> Cosigner {
    Cosigner::new(&format!("w{seed}.example"), &[seed; 32]).unwrap()
}

fn witness(seed: u8) -> String {
    cosigner(seed).verifier().to_string()
}

/// The example of the specification, with keys.
fn example() -> String {
    let mut text = format!("log {}\n\n", log(100));
    for (seed, name) in (1..).zip(["X1", "X2", "X3"]) {
        text += &format!("witness {name} {}\n", witness(seed));
    }
    text += "group X-witnesses 2 X1 X2 X3\n# two of the one, one of the other\n";
    for (seed, name) in (4..).zip(["Y1", "Y2", "Y3"]) {
        text += &format!(
            "\twitness  {name} {} https://{name}.example/w \t\n",
            witness(seed)
        );
    }
    text + "group Y-witnesses any Y1 Y2 Y3\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

#[test]
fn the_example_of_the_specification() {
    let policy: Policy = example().parse().unwrap();
    assert_eq!(policy.logs().len(), 1);
    assert_eq!(policy.witnesses().len(), 6);
    assert_eq!(policy.witnesses()[0].url, None);
    assert_eq!(
        policy.witnesses()[3].url.as_deref(),
        Some("https://Y1.example/w")
    );
    assert_eq!(policy.keys().len(), 7);
    assert!(!policy.needs_none());
    assert!(policy.quorum(["X1", "X3", "Y2"]));
    assert!(policy.quorum(["X1", "X2", "X3", "Y1", "Y2", "Y3"]));
    for few in [
        &["X1", "X3"][..],
        &["X1", "Y1", "Y2", "Y3"],
        &["X1", "X1", "Y1"],
        &[],
    ] {
        assert!(!policy.quorum(few.iter().copied()), "{few:?}");
    }
    // Names of groups and strangers are no witnesses.
    assert!(!policy.quorum(["X-witnesses", "Y1", "X-and-Y", "Z"]));
}

#[test]
fn quorums_of_verified_signatures() {
    let policy: Policy = example().parse().unwrap();
    let checkpoint = Checkpoint::new("log.example", 5, leaf_hash(b"x")).unwrap();
    let text = checkpoint.to_string();
    let log = SigningKey::new("log.example", &[100; 32]).unwrap();
    let enough = |seeds: &[u8]| {
        let mut lines = vec![log.sign(&text)];
        lines.extend(
            seeds
                .iter()
                .map(|it| cosigner(*it).cosign(&text, 9).unwrap()),
        );
        let note = Note::new(&text, lines).unwrap();
        let keys = policy.keys();
        let opened = Checkpoint::open(&note, &keys).unwrap();
        policy.quorum_of(&opened.signatures)
    };
    assert!(enough(&[1, 2, 5]));
    assert!(!enough(&[1, 5]));
    assert!(!enough(&[1, 2, 77]));
    assert!(!enough(&[]));
}

#[test]
fn none_needs_nothing() {
    let policy: Policy = "quorum none\n".parse().unwrap();
    assert!(policy.needs_none() && policy.quorum([]) && policy.quorum_of(&[]));
    let one: Policy = format!("witness none-such {}\nquorum none-such\n", witness(1))
        .parse()
        .unwrap();
    assert!(!one.quorum([]) && one.quorum(["none-such"]));
}

#[test]
fn every_rule_broken_once() {
    let (w1, w2, l1) = (witness(1), witness(2), log(9));
    let renamed = Cosigner::new("other", &[1; 32])
        .unwrap()
        .verifier()
        .to_string();
    let group = |rest: &str| format!("witness a {w1}\nwitness b {w2}\ngroup {rest}\nquorum none\n");
    let name = |it: &str| it.to_owned();
    let cases: Vec<(String, usize, Problem)> = vec![
        (String::new(), 1, Problem::NoQuorum),
        ("# only a comment\n\n".into(), 2, Problem::NoQuorum),
        ("quorum none".into(), 1, Problem::CutOff),
        (
            "quorum none\nquorum none\n".into(),
            2,
            Problem::SecondQuorum,
        ),
        ("quorum\n".into(), 1, Problem::Form("quorum NAME")),
        ("quorum a b\n".into(), 1, Problem::Form("quorum NAME")),
        ("quorum a\n".into(), 1, Problem::Unknown(name("a"))),
        (
            format!("quorum a\nwitness a {w1}\n"),
            1,
            Problem::Unknown(name("a")),
        ),
        ("witnesses a\n".into(), 1, Problem::Keyword),
        ("Quorum none\n".into(), 1, Problem::Keyword),
        ("\nlog\n".into(), 2, Problem::Form("log VKEY [URL]")),
        (
            format!("log {l1} a b\n"),
            1,
            Problem::Form("log VKEY [URL]"),
        ),
        (
            format!("log {l1}\nlog {l1} https://x\n"),
            2,
            Problem::DuplicateKey,
        ),
        (
            format!("witness a {w1} u v\n"),
            1,
            Problem::Form("witness NAME VKEY [URL]"),
        ),
        (
            format!("witness a {w1}\nwitness b {renamed}\n"),
            2,
            Problem::DuplicateKey,
        ),
        (
            format!("witness a {w1}\nwitness a {w2}\n"),
            2,
            Problem::NameTaken(name("a")),
        ),
        (
            format!("witness none {w1}\n"),
            1,
            Problem::NameTaken(name("none")),
        ),
        (group("a any b"), 3, Problem::NameTaken(name("a"))),
        (group("none any b"), 3, Problem::NameTaken(name("none"))),
        (group("g any c"), 3, Problem::Unknown(name("c"))),
        (group("g any g"), 3, Problem::Unknown(name("g"))),
        (group("g any none"), 3, Problem::Unknown(name("none"))),
        (
            group("g any"),
            3,
            Problem::Form("group NAME any|all|NUMBER MEMBER..."),
        ),
        (
            group("g"),
            3,
            Problem::Form("group NAME any|all|NUMBER MEMBER..."),
        ),
        (group("g 0 a b"), 3, Problem::Threshold { members: 2 }),
        (group("g 3 a b"), 3, Problem::Threshold { members: 2 }),
        (group("g 02 a b"), 3, Problem::Threshold { members: 2 }),
        (group("g some a b"), 3, Problem::Threshold { members: 2 }),
        (group("g any a a"), 3, Problem::MemberTwice(name("a"))),
        (
            group("g any a\ngroup h any a b"),
            4,
            Problem::MemberTwice(name("a")),
        ),
        ("quorum none\r\n".into(), 1, Problem::Control),
        ("# \u{7f}\nquorum none\n".into(), 1, Problem::Control),
    ];
    for (text, line, problem) in cases {
        let error = text.parse::<Policy>().unwrap_err();
        assert_eq!((error.line, error.problem), (line, problem), "{text}");
    }
    // Keys of the wrong kind, or none.
    for text in [
        format!("log {w1}\n"),
        format!("witness a {l1}\n"),
        "log x\n".into(),
    ] {
        let error = text.parse::<Policy>().unwrap_err();
        assert!(matches!(error.problem, Problem::Key(_)), "{text}");
    }
    let error = Policy::parse(b"witness \xff x\nquorum none\n").unwrap_err();
    assert_eq!(error.problem, Problem::NotUtf8);
    assert!(Policy::parse(b"# \xff\nquorum none\n").is_ok());
    let long = vec![b'\n'; POLICY_BYTES_MAX + 1];
    assert_eq!(Policy::parse(&long).unwrap_err().problem, Problem::TooLong);
    assert_eq!(
        "\nquorum x\n".parse::<Policy>().unwrap_err().to_string(),
        "line 2 of the policy: x is not defined on an earlier line"
    );
    // A log and a witness may be one key; groups may nest deeply.
    let mut deep = format!("witness g0 {w1}\n");
    for i in 0..20_000 {
        deep += &format!("group g{} any g{i}\n", i + 1);
    }
    deep += "quorum g20000\n";
    let deep: Policy = deep.parse().unwrap();
    assert!(deep.quorum(["g0"]) && !deep.quorum([]));
}

proptest! {
    #[test]
    fn quorums_by_brute_force(k in 1usize..5, l in 1usize..4, cosigned: u8) {
        // k of four witnesses, and that with l of two more and the group.
        let mut text = String::new();
        for i in 0..6 {
            text += &format!("witness w{i} {}\n", witness(i + 1));
        }
        text += &format!("group a {k} w0 w1 w2 w3\ngroup b {l} a w4 w5\nquorum b\n");
        let policy: Policy = text.parse().unwrap();
        let has = |i: usize| cosigned >> i & 1 == 1;
        let names: Vec<String> = (0..6).filter(|i| has(*i)).map(|i| format!("w{i}")).collect();
        let a = (0..4).filter(|i| has(*i)).count() >= k;
        let b = usize::from(a) + usize::from(has(4)) + usize::from(has(5)) >= l;
        prop_assert_eq!(policy.quorum(names.iter().map(String::as_str)), b);
    }
}
