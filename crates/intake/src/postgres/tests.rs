//! Logs that PostgreSQL 15 and pgAudit 1.7 wrote (`tests/data`), and hostile ones.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const CSV: &[u8] = include_bytes!("../../tests/data/postgresql.csv");
const LOG: &[u8] = include_bytes!("../../tests/data/postgresql.log");

/// What was read: exposures as (actor, client, rows), everything else as debug text.
struct Read {
    shown: Vec<(String, String, u32)>,
    others: Vec<&'static str>,
    summary: Summary,
}

fn read(bytes: &[u8], options: Options) -> Read {
    let mut source = open(bytes, options).unwrap();
    let (mut names, mut taken) = (Names::default(), Taken::default());
    let (mut shown, mut others) = (Vec::new(), Vec::new());
    while source.next(&mut names, &mut taken).unwrap() {
        match taken.record().what {
            What::Exposure(exposure) => {
                assert_eq!(exposure.rows, exposure.subjects);
                let actor = names.actor_name(exposure.actor).into_owned();
                let client = names.client_name(exposure.client).into_owned();
                shown.push((actor, client, exposure.rows));
            }
            What::SessionOpened { terminal, .. } => {
                assert_eq!(names.terminal_name(terminal), "127.0.0.1");
                others.push("opened");
            }
            What::SessionClosed { .. } => others.push("closed"),
            What::Refused { reason, .. } => {
                assert_eq!(reason, RefusalReason::Login);
                others.push("refused");
            }
            other => panic!("{other:?}"),
        }
    }
    Read {
        shown,
        others,
        summary: source.summary().clone(),
    }
}

fn expected(client: &str, rows: [(&str, u32); 8]) -> Vec<(String, String, u32)> {
    rows.map(|(actor, rows)| (actor.to_owned(), client.to_owned(), rows))
        .into()
}

/// A read by id, one of 40 rows, a prepared one; a cursor and COPY, whose rows pgAudit does not count;
/// COPY of a query, a count, and what pg_dump copied.
const AUDITED: [(&str, u32); 8] = [
    ("sato", 1),
    ("sato", 40),
    ("sato", 1),
    ("sato", 5000),
    ("sato", 5000),
    ("suzuki", 249),
    ("suzuki", 1),
    ("suzuki", 5000),
];

#[test]
fn what_pgaudit_wrote() {
    let mut options = Options::new(Says::Audit);
    options.unknown_rows = 5000;
    let table = read(CSV, options.clone());
    assert_eq!(table.shown, expected("crm", AUDITED));
    assert_eq!(table.summary.skipped_lines(), 0);
    assert_eq!(table.summary.notes[&Note::RowsUnknown].count, 3);
    assert_eq!(
        table.others.iter().filter(|it| **it == "refused").count(),
        1
    );
    assert!(table.others.contains(&"opened") && table.others.contains(&"closed"));
    assert_eq!(table.summary.lines, {
        let passed = table.summary.passed_over.named().map(|(_, count)| count);
        table.summary.records + passed.sum::<u64>()
    });

    // The ordinary log says the same, without ids of sessions and SQLSTATEs.
    options.prefix = "%m [%p] %q%u@%d %h ".parse().unwrap();
    options.client = Some("acme".to_owned());
    let lines = read(LOG, options);
    assert_eq!(lines.shown, expected("acme", AUDITED));
    assert_eq!(lines.summary.skipped_lines(), 0);
}

#[test]
fn what_postgresql_wrote_itself() {
    let mut options = Options::new(Says::Statements);
    let all = read(CSV, options.clone());
    // Cursors count by FETCH here, EXECUTE does not tell what it reads.
    let sato = all
        .shown
        .iter()
        .filter(|(actor, ..)| actor == "sato")
        .count();
    assert_eq!(sato, 6, "{:?}", all.shown);
    assert!(all.shown.iter().all(|(.., rows)| *rows == 1));
    assert_eq!(
        all.summary.notes[&Note::RowsUnknown].count,
        all.shown.len() as u64
    );

    options.tables = vec!["public.customers".to_owned()];
    let asked = read(CSV, options);
    let by = |of: &str| asked.shown.iter().filter(|(actor, ..)| actor == of).count();
    // Two SELECTs, one that fails, COPY; two of COPY, a count, pg_dump.
    assert_eq!((by("sato"), by("suzuki")), (4, 3), "{:?}", asked.shown);
}

#[test]
fn only_what_was_asked_for() {
    let mut options = Options::new(Says::Audit);
    options.tables = vec!["orders".to_owned()];
    assert_eq!(read(CSV, options.clone()).shown, []);
    options.tables = vec!["customers".to_owned()];
    assert_eq!(read(CSV, options).shown.len(), 8);
}

#[test]
fn what_a_summary_says_holds_no_statement() {
    for says in [Says::Audit, Says::Statements] {
        let said = format!("{:?}", read(CSV, Options::new(says)).summary);
        for text in ["select", "0900000", "name,"] {
            assert!(!said.contains(text), "{text} in {said}");
        }
    }
}

#[test]
fn another_prefix_is_noticed() {
    let mut options = Options::new(Says::Audit);
    options.prefix = "%t %u ".parse().unwrap();
    let read = read(LOG, options);
    assert!(read.shown.is_empty());
    let form = Reason::Form("a line that begins as log_line_prefix says");
    assert!(read.summary.skipped[&form].count > 100);
}

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        for says in [Says::Audit, Says::Statements] {
            let mut source = open(bytes.as_slice(), Options::new(says)).unwrap();
            let (mut names, mut taken) = (Names::default(), Taken::default());
            while matches!(source.next(&mut names, &mut taken), Ok(true)) {}
        }
    }

    /// Real logs with some bytes changed.
    #[test]
    fn damaged_logs(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..30)) {
        for log in [CSV, LOG] {
            let mut bytes = log.to_vec();
            for (place, byte) in &changes {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            let mut source = open(bytes.as_slice(), Options::new(Says::Audit)).unwrap();
            let (mut names, mut taken) = (Names::default(), Taken::default());
            while matches!(source.next(&mut names, &mut taken), Ok(true)) {}
        }
    }
}
