//! A finding's numbers as they stand in records: a list for each detector, whose meaning never changes
//! within a version (docs/format/record.md, "Findings"). Pure.
//!
//! Invariant: what is written comes back; numbers that no finding has give `None`.

use event::ClientId;

use crate::finding::{Cause, Detector, IdentityKind, TamperKind, Window};
use crate::record::{Part, TerminalId};
use event::TerminalEvent;

/// The version of all meanings.
pub const NUMBERS_VERSION: u8 = 1;

impl Detector {
    /// All of them, by code.
    pub const ALL: &'static [Self] = &[
        Self::Burst,
        Self::Step,
        Self::Ledger,
        Self::Walk,
        Self::Guess,
        Self::Tamper,
        Self::Chain,
        Self::Together,
        Self::Identity,
        Self::Silence,
        Self::Canary,
        Self::Balance,
    ];

    /// Its code in records.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The inverse of [`Detector::code`].
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| *it as u8 == code)
    }

    /// Its name in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Step => "step",
            Self::Ledger => "ledger",
            Self::Walk => "walk",
            Self::Guess => "guess",
            Self::Tamper => "tamper",
            Self::Chain => "chain",
            Self::Together => "together",
            Self::Identity => "identity",
            Self::Silence => "silence",
            Self::Canary => "canary",
            Self::Balance => "balance",
        }
    }
}

const WINDOWS: [Window; 3] = [Window::Session, Window::Hour, Window::Day];
const TAMPERS: [TamperKind; 5] = [
    TamperKind::Cells,
    TamperKind::Moved,
    TamperKind::Schema,
    TamperKind::Unexpected,
    TamperKind::Literals,
];
const IDENTITIES: [IdentityKind; 4] = [
    IdentityKind::Terminals,
    IdentityKind::Hours,
    IdentityKind::Away,
    IdentityKind::Left,
];

/// The place of a word in its list, from 1.
fn place<T: PartialEq>(all: &[T], of: &T) -> u64 {
    let found = all.iter().position(|it| it == of);
    found.map_or(0, |place| place as u64 + 1)
}

fn at<T: Copy>(all: &[T], place: u64) -> Option<T> {
    let index = usize::try_from(place.checked_sub(1)?).ok()?;
    all.get(index).copied()
}

/// A part as two numbers: 0 none, 1 gate, 2 witness N, 3 terminal N, 4 calls of client N, 5 source,
/// 6 PostgreSQL's counters.
fn part_numbers(part: Option<Part>) -> (u64, u64) {
    match part {
        None => (0, 0),
        Some(Part::Gate) => (1, 0),
        Some(Part::Witness(number)) => (2, u64::from(number)),
        Some(Part::Terminal(TerminalId(number))) => (3, number),
        Some(Part::Calls(client)) => (4, u64::from(client.get())),
        Some(Part::Source) => (5, 0),
        Some(Part::Counters) => (6, 0),
    }
}

fn part((kind, number): (u64, u64)) -> Option<Option<Part>> {
    let small = || u32::try_from(number).ok();
    Some(match (kind, number) {
        (0, 0) => None,
        (1, 0) => Some(Part::Gate),
        (2, _) => Some(Part::Witness(small()?)),
        (3, number) => Some(Part::Terminal(TerminalId(number))),
        (4, _) => Some(Part::Calls(ClientId::new(small()?)?)),
        (5, 0) => Some(Part::Source),
        (6, 0) => Some(Part::Counters),
        _ => return None,
    })
}

impl Cause {
    /// The version of their meaning, and the numbers, in the order of the fields.
    pub fn numbers(&self) -> (u8, Vec<u64>) {
        let numbers = match *self {
            Self::Burst {
                window,
                subjects,
                minutes,
                usual_max,
                granted,
            } => vec![
                place(&WINDOWS, &window),
                subjects,
                minutes,
                usual_max,
                granted,
            ],
            Self::Step {
                subjects,
                days,
                expected,
            } => vec![subjects, days.into(), expected],
            Self::Ledger {
                subjects,
                days,
                median,
                highest,
            } => vec![subjects, days.into(), median, highest],
            Self::Walk {
                steps,
                ascending,
                near,
                days,
            } => vec![steps, ascending, near, days.into()],
            Self::Guess {
                probes,
                missed,
                usual_permille,
                days,
            } => vec![probes, missed, usual_permille.into(), days.into()],
            Self::Tamper { kind, count } => vec![place(&TAMPERS, &kind), count],
            Self::Chain {
                subjects,
                event,
                terminal,
                bytes,
                minutes,
            } => vec![
                subjects,
                place(TerminalEvent::ALL, &event),
                terminal.0,
                bytes,
                minutes,
            ],
            Self::Together {
                actors,
                subjects,
                expected,
                days,
            } => vec![actors.into(), subjects, expected, days.into()],
            Self::Identity { kind, count } => vec![place(&IDENTITIES, &kind), count],
            Self::Silence {
                part,
                from_ms,
                until_ms,
                missing,
            } => {
                let (kind, number) = part_numbers(part);
                vec![kind, number, from_ms, until_ms, missing]
            }
            Self::Canary { count } => vec![count],
            Self::Balance {
                unexplained,
                subjects,
                usual_permille,
                days,
            } => vec![unexplained, subjects, usual_permille.into(), days.into()],
        };
        (NUMBERS_VERSION, numbers)
    }

    /// The inverse; `None` if they are of another version, or no finding has them.
    pub fn from_numbers(detector: Detector, version: u8, numbers: &[u64]) -> Option<Self> {
        if version != NUMBERS_VERSION {
            return None;
        }
        let small = |number: u64| u32::try_from(number).ok();
        Some(match (detector, numbers) {
            (Detector::Burst, &[window, subjects, minutes, usual_max, granted]) => Self::Burst {
                window: at(&WINDOWS, window)?,
                subjects,
                minutes,
                usual_max,
                granted,
            },
            (Detector::Step, &[subjects, days, expected]) => Self::Step {
                subjects,
                days: small(days)?,
                expected,
            },
            (Detector::Ledger, &[subjects, days, median, highest]) => Self::Ledger {
                subjects,
                days: small(days)?,
                median,
                highest,
            },
            (Detector::Walk, &[steps, ascending, near, days]) => Self::Walk {
                steps,
                ascending,
                near,
                days: small(days)?,
            },
            (Detector::Guess, &[probes, missed, usual_permille, days]) => Self::Guess {
                probes,
                missed,
                usual_permille: small(usual_permille)?,
                days: small(days)?,
            },
            (Detector::Tamper, &[kind, count]) => Self::Tamper {
                kind: at(&TAMPERS, kind)?,
                count,
            },
            (Detector::Chain, &[subjects, event, terminal, bytes, minutes]) => Self::Chain {
                subjects,
                event: at(TerminalEvent::ALL, event)?,
                terminal: TerminalId(terminal),
                bytes,
                minutes,
            },
            (Detector::Together, &[actors, subjects, expected, days]) => Self::Together {
                actors: small(actors)?,
                subjects,
                expected,
                days: small(days)?,
            },
            (Detector::Identity, &[kind, count]) => Self::Identity {
                kind: at(&IDENTITIES, kind)?,
                count,
            },
            (Detector::Silence, &[kind, number, from_ms, until_ms, missing]) => Self::Silence {
                part: part((kind, number))?,
                from_ms,
                until_ms,
                missing,
            },
            (Detector::Canary, &[count]) => Self::Canary { count },
            (Detector::Balance, &[unexplained, subjects, usual_permille, days]) => Self::Balance {
                unexplained,
                subjects,
                usual_permille: small(usual_permille)?,
                days: small(days)?,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One cause of each word that a finding can have.
    fn causes() -> Vec<Cause> {
        let [a, b, c, d] = [u64::MAX, 7, 0, 41_200];
        let mut all = vec![
            Cause::Step {
                subjects: a,
                days: 9,
                expected: b,
            },
            Cause::Ledger {
                subjects: d,
                days: 365,
                median: b,
                highest: c,
            },
            Cause::Walk {
                steps: d,
                ascending: b,
                near: c,
                days: u32::MAX,
            },
            Cause::Guess {
                probes: d,
                missed: b,
                usual_permille: 120,
                days: 3,
            },
            Cause::Together {
                actors: 2,
                subjects: d,
                expected: b,
                days: 30,
            },
            Cause::Canary { count: 3 },
            Cause::Balance {
                unexplained: b,
                subjects: d,
                usual_permille: 50,
                days: 90,
            },
        ];
        all.extend(WINDOWS.map(|window| Cause::Burst {
            window,
            subjects: d,
            minutes: b,
            usual_max: c,
            granted: a,
        }));
        all.extend(TAMPERS.map(|kind| Cause::Tamper { kind, count: b }));
        all.extend(IDENTITIES.map(|kind| Cause::Identity { kind, count: b }));
        all.extend(event::TerminalEvent::ALL.iter().map(|&event| Cause::Chain {
            subjects: d,
            event,
            terminal: TerminalId(a),
            bytes: b,
            minutes: c,
        }));
        let parts = [
            None,
            Some(Part::Gate),
            Some(Part::Witness(4)),
            Some(Part::Terminal(TerminalId(a))),
            ClientId::new(9).map(Part::Calls),
            Some(Part::Source),
            Some(Part::Counters),
        ];
        all.extend(parts.map(|part| Cause::Silence {
            part,
            from_ms: b,
            until_ms: d,
            missing: c,
        }));
        all
    }

    #[test]
    fn numbers_come_back() {
        let mut detectors = Vec::new();
        for cause in causes() {
            let (version, numbers) = cause.numbers();
            let detector = cause.detector();
            assert_eq!(
                Cause::from_numbers(detector, version, &numbers),
                Some(cause)
            );
            assert_eq!(Detector::from_code(detector.code()), Some(detector));
            detectors.push(detector);
        }
        detectors.sort_unstable();
        detectors.dedup();
        assert_eq!(detectors, Detector::ALL, "one of each");
    }

    #[test]
    fn what_no_finding_has_is_none() {
        for cause in causes() {
            let (version, mut numbers) = cause.numbers();
            let detector = cause.detector();
            assert_eq!(Cause::from_numbers(detector, version + 1, &numbers), None);
            numbers.push(0);
            assert_eq!(Cause::from_numbers(detector, version, &numbers), None);
        }
        assert_eq!(
            Cause::from_numbers(Detector::Burst, 1, &[4, 0, 0, 0, 0]),
            None
        );
        assert_eq!(
            Cause::from_numbers(Detector::Step, 1, &[1, 1 << 40, 1]),
            None
        );
        assert_eq!(Detector::from_code(0), None);
        assert_eq!(Detector::from_code(13), None);
    }
}
