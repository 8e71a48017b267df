//! The English words.

use super::number::{self, Chance, bits, chance, in_units, percent, permille, thousands, times};
use super::{Told, always};
use crate::finding::{Cause, IdentityKind, TamperKind, Window};
use crate::record::Part;
use event::TerminalEvent;

pub(super) fn sentence(told: &Told<'_>) -> String {
    let what = what(told);
    match told.actor() {
        Some(actor) => format!("{actor}: {what}"),
        None => what,
    }
}

fn what(told: &Told<'_>) -> String {
    let client = of_client(told);
    match told.finding.cause {
        Cause::Burst {
            window,
            subjects,
            minutes,
            usual_max,
            granted,
        } => {
            let usual = match usual_max {
                0 => format!("the role showed nobody {} before", per(window)),
                _ => format!(
                    "the role's highest {} in a year is {}",
                    per(window),
                    thousands(usual_max)
                ),
            };
            let grant = match granted {
                0 => "no grant".to_owned(),
                _ => format!("beyond {} that grants allowed", thousands(granted)),
            };
            format!(
                "{}{client} in {}; {usual}; {grant}",
                people(subjects),
                length(minutes)
            )
        }
        Cause::Step {
            subjects,
            days,
            expected,
        } => format!(
            "{}{client} new to this account in {}; a usual pace would be {}",
            people(subjects),
            in_days(days),
            thousands(expected)
        ),
        Cause::Ledger {
            subjects,
            days,
            median,
            highest,
        } => format!(
            "{} different people{client} {}; half of the colleagues saw at most {} in as much work, the highest {}",
            thousands(subjects),
            span(days),
            thousands(median),
            thousands(highest)
        ),
        Cause::Walk {
            steps,
            ascending,
            near,
            days,
        } => format!(
            "people{client} taken in order for {}: of {} from one to the next, {} went upwards and {} to a direct neighbour",
            in_days(days),
            counted(steps, "step", "steps"),
            thousands(ascending),
            thousands(near)
        ),
        Cause::Guess {
            probes,
            missed,
            usual_permille,
            days,
        } => format!(
            "searched for {}{client} in {}, and {} of them found nobody; usual for the role is {}",
            counted(probes, "value", "values"),
            in_days(days),
            thousands(missed),
            percent(usual_permille.into())
        ),
        Cause::Tamper { kind, count } => tampered(kind, count, &client),
        Cause::Chain {
            subjects,
            event,
            terminal,
            bytes,
            minutes,
        } => {
            let size = match bytes {
                0 => String::new(),
                _ => format!(" ({})", number::bytes(bytes)),
            };
            format!(
                "{}{client} shown on terminal {}, and {} after the first of them {}{size}",
                people(subjects),
                told.names.terminal(terminal),
                length(minutes),
                happened(event)
            )
        }
        Cause::Together {
            actors,
            subjects,
            expected,
            days,
        } => {
            let others = told.others(", ");
            let with = match others.as_str() {
                "" => format!("{} together", counted(actors.into(), "person", "people")),
                others => format!("together with {others}"),
            };
            format!(
                "{with}: {} different people{client} in {}; as many colleagues see {}",
                thousands(subjects),
                in_days(days),
                thousands(expected)
            )
        }
        Cause::Identity { kind, count } => identity(kind, count),
        Cause::Silence {
            part,
            from_ms,
            until_ms,
            missing,
        } => silence(told, part, from_ms, until_ms, missing),
        Cause::Canary { count } => format!(
            "looked at a made-up person{client} whom nobody has a reason to look up{}",
            match count {
                0 | 1 => String::new(),
                _ => format!(", {} times", thousands(count)),
            }
        ),
        Cause::Balance {
            unexplained,
            subjects,
            usual_permille,
            days,
        } => format!(
            "{} of {}{client} shown in {} without a call, ticket, delivery or grant; usual for the role is {}",
            thousands(unexplained),
            people(subjects),
            in_days(days),
            percent(usual_permille.into())
        ),
    }
}

fn tampered(kind: TamperKind, count: u64, client: &str) -> String {
    match kind {
        TamperKind::Cells => format!(
            "{}{client} did not verify: somebody changed the database past the gate",
            counted(count, "sealed value", "sealed values")
        ),
        TamperKind::Moved => format!(
            "{}{client} stood where they do not belong: somebody moved them past the gate",
            counted(count, "sealed value", "sealed values")
        ),
        TamperKind::Schema => format!(
            "the shape of the sealed tables{client} differs from what was approved, seen {}",
            counted(count, "time", "times")
        ),
        TamperKind::Unexpected => format!(
            "{}{client} came back where none was asked for",
            counted(count, "sealed value", "sealed values")
        ),
        TamperKind::Literals => format!(
            "{} near sealed columns{client} refused",
            counted(count, "value", "values")
        ),
    }
}

fn identity(kind: IdentityKind, count: u64) -> String {
    match kind {
        IdentityKind::Terminals => format!(
            "the account was in use on {} at the same time",
            counted(count, "terminal", "terminals")
        ),
        IdentityKind::Hours => format!(
            "the account was at work for {} in one day, more than one person works",
            counted(count, "hour", "hours")
        ),
        IdentityKind::Away => format!(
            "the account was used while its owner is away: {}",
            counted(count, "exposure", "exposures")
        ),
        IdentityKind::Left => format!(
            "the account was used after its owner left: {}",
            counted(count, "exposure", "exposures")
        ),
    }
}

fn silence(
    told: &Told<'_>,
    part: Option<Part>,
    from_ms: u64,
    until_ms: u64,
    missing: u64,
) -> String {
    let when = format!(
        "from {} to {} ({})",
        told.clock(from_ms),
        told.clock(until_ms),
        length(until_ms.saturating_sub(from_ms) / 60_000)
    );
    let Some(part) = part else {
        return format!(
            "the database returned {} of sealed tables that did not pass the gate, {when}",
            counted(missing, "row", "rows")
        );
    };
    let who = match part {
        Part::Counters => {
            return format!(
                "PostgreSQL's own counters of sealed tables were set back before {}: what was read until then is not known",
                told.clock(until_ms)
            );
        }
        Part::Gate => "the gate and its ledger".to_owned(),
        Part::Witness(number) => format!("witness {number}"),
        Part::Terminal(terminal) => format!("terminal {}", told.names.terminal(terminal)),
        Part::Calls(client) => format!(
            "the record of calls of client {}",
            told.names.client(client)
        ),
        Part::Source => "the source of the imported records".to_owned(),
    };
    let lacks = match missing {
        0 => String::new(),
        _ => format!("; {} lacking", counted(missing, "record", "records")),
    };
    format!("{who} said nothing {when}{lacks}")
}

pub(super) fn arithmetic(told: &Told<'_>) -> Vec<String> {
    let cause = &told.finding.cause;
    let mut lines = compared(cause);
    lines.push(surprise(told));
    lines
}

/// What was counted, and against what.
fn compared(cause: &Cause) -> Vec<String> {
    let ratio = |number, of| match times(number, of) {
        Some(times) => format!("{times} times as many"),
        None => "nothing to compare with yet".to_owned(),
    };
    let two = |counted: String, against: String| {
        vec![format!("counted: {counted}"), format!("against: {against}")]
    };
    match *cause {
        Cause::Burst {
            window,
            subjects,
            usual_max,
            granted,
            ..
        } => two(
            format!(
                "different people {}, {} beyond grants and {} within",
                per(window),
                thousands(subjects),
                thousands(granted)
            ),
            format!(
                "the most of anybody in the role in the year before, {}: {}",
                thousands(usual_max),
                ratio(subjects, usual_max)
            ),
        ),
        Cause::Step {
            subjects,
            days,
            expected,
        } => two(
            format!(
                "people new to this account since the rise began, {} ago: {}",
                in_days(days),
                thousands(subjects)
            ),
            format!(
                "the pace that counts as usual for it, {} in that time: {}",
                thousands(expected),
                ratio(subjects, expected)
            ),
        ),
        Cause::Ledger {
            subjects,
            median,
            highest,
            days,
        } => two(
            format!("different people {}, {}", span(days), thousands(subjects)),
            format!(
                "colleagues in as much work: median {} ({}), highest {} ({})",
                thousands(median),
                ratio(subjects, median),
                thousands(highest),
                ratio(subjects, highest)
            ),
        ),
        Cause::Walk {
            steps,
            ascending,
            near,
            ..
        } => two(
            format!(
                "{}, of which {} upwards and {} to a neighbour",
                counted(steps, "step", "steps"),
                percent(permille(ascending, steps)),
                percent(permille(near, steps))
            ),
            "chance: half go upwards, almost none to a neighbour".to_owned(),
        ),
        Cause::Guess {
            probes,
            missed,
            usual_permille,
            ..
        } => two(
            format!(
                "{} of {} found nobody, {}",
                thousands(missed),
                counted(probes, "search", "searches"),
                percent(permille(missed, probes))
            ),
            format!("the role's usual share, {}", percent(usual_permille.into())),
        ),
        Cause::Together {
            actors,
            subjects,
            expected,
            days,
        } => two(
            format!(
                "different people that {} have seen in {}, {}",
                counted(actors.into(), "account", "accounts"),
                in_days(days),
                thousands(subjects)
            ),
            format!(
                "as many others of the role, {}: {}",
                thousands(expected),
                ratio(subjects, expected)
            ),
        ),
        Cause::Balance {
            unexplained,
            subjects,
            usual_permille,
            ..
        } => two(
            format!(
                "{} of {} without a reason on record, {}",
                thousands(unexplained),
                people(subjects),
                percent(permille(unexplained, subjects))
            ),
            format!("the role's usual share, {}", percent(usual_permille.into())),
        ),
        Cause::Tamper { count, .. } => two(
            format!("{} seen by the gate itself", thousands(count)),
            "none: the gate's own checks do not fail by chance".to_owned(),
        ),
        Cause::Chain { subjects, .. } => two(
            format!("{} shown on the terminal before it", people(subjects)),
            "an order of events that carrying data out needs, and work does not".to_owned(),
        ),
        Cause::Identity { kind, count } => two(
            thousands(count),
            match kind {
                IdentityKind::Terminals => "one person is at one terminal",
                IdentityKind::Hours => "one person rests",
                IdentityKind::Away | IdentityKind::Left => "an account without its owner: none",
            }
            .to_owned(),
        ),
        Cause::Silence { missing, .. } => two(
            match missing {
                0 => "the time without a sign of life".to_owned(),
                _ => format!("{} that should be there", thousands(missing)),
            },
            "what speaks always, or has a number for each record".to_owned(),
        ),
        Cause::Canary { count } => two(
            format!(
                "{} of made-up people",
                counted(count, "exposure", "exposures")
            ),
            "none: they have no calls and no orders".to_owned(),
        ),
    }
}

fn surprise(told: &Told<'_>) -> String {
    let of = told.finding.bits;
    if of.0 == 0 {
        return "surprise: no matter of chance; always reported".to_owned();
    }
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000_000_000, " quintillion"),
        (1_000_000_000_000, " trillion"),
        (1_000_000_000, " billion"),
        (1_000_000, " million"),
    ];
    let one_in = match chance(of) {
        Chance::OneIn(number) => in_units(number, &UNITS),
        Chance::PowerOfTen(power) => format!("10^{power}"),
    };
    let always = match always(&told.finding.cause) {
        true => "; always reported",
        false => "",
    };
    format!(
        "surprise: {} bits, about one in {one_in} if nothing were wrong{always}",
        bits(of)
    )
}

fn of_client(told: &Told<'_>) -> String {
    told.client()
        .map_or_else(String::new, |client| format!(" of client {client}"))
}

fn counted(count: u64, one: &str, several: &str) -> String {
    let word = if count == 1 { one } else { several };
    format!("{} {word}", thousands(count))
}

fn people(count: u64) -> String {
    counted(count, "person", "people")
}

fn in_days(days: u32) -> String {
    counted(days.into(), "day", "days")
}

/// `0` days: ever.
fn span(days: u32) -> String {
    match days {
        0 => "in all".to_owned(),
        days => format!("in {}", in_days(days)),
    }
}

fn per(window: Window) -> &'static str {
    match window {
        Window::Session => "in one session",
        Window::Hour => "in one hour",
        Window::Day => "in one day",
    }
}

/// A length of time.
fn length(minutes: u64) -> String {
    match minutes {
        0 => "less than a minute".to_owned(),
        1..=119 => counted(minutes, "minute", "minutes"),
        120..=2879 => match minutes % 60 {
            0 => counted(minutes / 60, "hour", "hours"),
            rest => format!(
                "{} hours {}",
                minutes / 60,
                counted(rest, "minute", "minutes")
            ),
        },
        _ => counted(minutes / 1440, "day", "days"),
    }
}

fn happened(event: TerminalEvent) -> &'static str {
    match event {
        TerminalEvent::FileWritten => "a file was written there",
        TerminalEvent::MediaAttached => "removable media were attached there",
        TerminalEvent::MediaRefused => "removable media were refused there",
        TerminalEvent::MediaWritten => "something was written to removable media there",
        TerminalEvent::Sent => "something was sent from there to a foreign place",
    }
}
