//! Each cause in both languages.

use event::{ActorId, ClientId};

use super::*;
use crate::finding::{Bits, IdentityKind, TamperKind, Window};
use crate::record::Part;
use event::TerminalEvent;

struct Made;

impl Names for Made {
    fn actor(&self, actor: ActorId) -> String {
        ["sato", "ito", "suzuki"][actor.0 as usize % 3].to_owned()
    }

    fn client(&self, client: ClientId) -> String {
        format!("acme-{client}")
    }

    fn terminal(&self, terminal: TerminalId) -> String {
        format!("pc-{}", terminal.0)
    }
}

const DAY_MS: u64 = 86_400_000;
const NOON_MS: u64 = 1_795_316_400_000;

/// Causes with numbers from the case, and at their edges.
fn causes() -> Vec<Cause> {
    let burst = |window, minutes, usual_max, granted| Cause::Burst {
        window,
        subjects: 41_200,
        minutes,
        usual_max,
        granted,
    };
    let silence = |part, hours: u64, missing| Cause::Silence {
        part,
        from_ms: NOON_MS,
        until_ms: NOON_MS + hours * DAY_MS / 24,
        missing,
    };
    let mut causes = vec![
        burst(Window::Session, 6, 310, 0),
        burst(Window::Hour, 0, 0, 5_000),
        burst(Window::Day, 500, 310, 0),
        Cause::Step {
            subjects: 1_240,
            days: 30,
            expected: 620,
        },
        Cause::Ledger {
            subjects: 93_000,
            days: 365,
            median: 3_100,
            highest: 4_800,
        },
        Cause::Ledger {
            subjects: 9_280_000,
            days: 0,
            median: 0,
            highest: 52_000,
        },
        Cause::Walk {
            steps: 4_000,
            ascending: 3_990,
            near: 3_700,
            days: 12,
        },
        Cause::Guess {
            probes: 1_200,
            missed: 1_080,
            usual_permille: 45,
            days: 1,
        },
        Cause::Together {
            actors: 3,
            subjects: 12_000,
            expected: 4_100,
            days: 30,
        },
        Cause::Canary { count: 1 },
        Cause::Canary { count: 3 },
        Cause::Balance {
            unexplained: 240,
            subjects: 900,
            usual_permille: 50,
            days: 30,
        },
        silence(None, 1, 9_300),
        silence(Some(Part::Gate), 2, 0),
        silence(Some(Part::Witness(2)), 25, 0),
        silence(Some(Part::Terminal(TerminalId(17))), 72, 310),
        silence(ClientId::new(5).map(Part::Calls), 24, 0),
        silence(Some(Part::Source), 0, 1),
    ];
    let kinds = [
        TamperKind::Cells,
        TamperKind::Moved,
        TamperKind::Schema,
        TamperKind::Unexpected,
        TamperKind::Literals,
    ];
    causes.extend(kinds.map(|kind| Cause::Tamper { kind, count: 212 }));
    let events = [
        (TerminalEvent::FileWritten, 0),
        (TerminalEvent::MediaAttached, 0),
        (TerminalEvent::MediaRefused, 0),
        (TerminalEvent::MediaWritten, 3_250_000),
        (TerminalEvent::Sent, 999),
    ];
    causes.extend(events.map(|(event, bytes)| Cause::Chain {
        subjects: 93_000,
        event,
        terminal: TerminalId(17),
        bytes,
        minutes: 135,
    }));
    let kinds = [
        (IdentityKind::Terminals, 3),
        (IdentityKind::Hours, 22),
        (IdentityKind::Away, 1),
        (IdentityKind::Left, 40),
    ];
    causes.extend(kinds.map(|(kind, count)| Cause::Identity { kind, count }));
    causes
}

fn finding(cause: Cause) -> Finding {
    let alone = matches!(cause, Cause::Silence { .. });
    let others = match cause {
        Cause::Together { .. } => vec![ActorId(1), ActorId(2)],
        _ => Vec::new(),
    };
    Finding {
        sequence: 9,
        at_ms: NOON_MS,
        actor: (!alone).then_some(ActorId(3)),
        others,
        client: if alone { None } else { ClientId::new(5) },
        bits: Bits(if always(&cause) { 0 } else { 256 * 42 + 128 }),
        cause,
        rests_on: vec![1, 2],
        days: vec![1, 2, 3],
    }
}

fn told(language: Language) -> String {
    let mut out = String::new();
    for cause in causes() {
        let finding = finding(cause);
        out += &format!("{:?}\n", cause.detector());
        out += &format!("  {}\n", sentence(&finding, &Made, language));
        for line in arithmetic(&finding, &Made, language) {
            out += &format!("    {line}\n");
        }
    }
    out
}

#[test]
fn english() {
    insta::assert_snapshot!(told(Language::English));
}

#[test]
fn japanese() {
    insta::assert_snapshot!(told(Language::Japanese));
}

/// Whoever nobody knows is still told about.
#[test]
fn without_an_actor_and_a_client() {
    for cause in causes() {
        let bare = Finding {
            actor: None,
            client: None,
            others: Vec::new(),
            bits: Bits(u32::MAX),
            ..finding(cause)
        };
        for language in [Language::English, Language::Japanese] {
            let text = sentence(&bare, &Made, language);
            assert!(!text.contains("sato"), "{text}");
            let of_calls = matches!(
                cause,
                Cause::Silence {
                    part: Some(Part::Calls(_)),
                    ..
                }
            );
            assert!(of_calls || !text.contains("acme"), "{text}");
            let mut lines = arithmetic(&bare, &Made, language);
            assert!(lines.len() >= 2);
            lines.push(text);
            for line in &lines {
                assert!(!line.contains("  ") && line.trim() == line, "{line}");
            }
        }
    }
}

#[test]
fn charts() {
    assert_eq!(sparkline(&[]), "");
    assert_eq!(sparkline(&[0, 0]), "··");
    assert_eq!(sparkline(&[0, 1, 4, 8, 7]), "·▁▄█▇");
    assert_eq!(sparkline(&[1, u32::MAX]), "▁█");
}
