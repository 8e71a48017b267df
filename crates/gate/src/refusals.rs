//! The ledger's refusals in a driver's words.

use budget::{Kind, Level};
use ledger::{BudgetRefusal, Refusal, Spent};

use crate::engine::Person;
use crate::errors::GateError;

/// A budget or a grant ended.
pub(crate) fn budget(refusal: &BudgetRefusal, person: &Person) -> GateError {
    let released = refusal.subjects_released;
    let lowered = match refusal.lowered_by {
        Some(case) => format!(" Case {case} lowers it until people have closed it."),
        None => String::new(),
    };
    match refusal.spent {
        Spent::Budget(spent) => {
            let what = match spent.kind {
                Kind::Subjects => "customers",
                Kind::Probes => "searched or written values",
                Kind::Masked => "masked values",
            };
            let whom = match spent.level {
                Level::ActorAndClient => {
                    format!("{} may have for client {}", person.login, spent.client)
                }
                Level::Actor => format!("{} may have over all clients", person.login),
                Level::Client => format!("all actors together may have of client {}", spent.client),
            };
            GateError::new("53400", format!("budget ended: {} {what} per {} is what {whom}", spent.limit, spent.window.name()))
                .detail(format!(
                    "{} used, {} wanted; this batch released {released} before it ended. The statement stops here.{lowered}",
                    spent.used, spent.wanted
                ))
                .hint("More needs a grant by two approvers: `sekisho grant request --help`.")
                .because(refusal.reason())
                .about(spent.client)
        }
        Spent::Grant { grant, limit, used } => GateError::new(
            "53400",
            format!("grant {grant} is used up: {used} of {limit}"),
        )
        .detail(format!("This batch released {released} before it ended."))
        .hint("SET sekisho.grant_id TO DEFAULT, or request another grant.")
        .because(refusal.reason()),
    }
}

/// Nothing was released.
pub(crate) fn ledger(refusal: &Refusal) -> GateError {
    let code = match refusal {
        Refusal::NoSpace(_) => "53100",
        Refusal::Unavailable(_) | Refusal::Uncovered { .. } | Refusal::Unacknowledged { .. } => {
            "57P03"
        }
        Refusal::TooLarge { .. } => "54000",
        Refusal::PolicyMoved | Refusal::TerminalMoved => "40001",
        Refusal::Revoked
        | Refusal::ReasonAsked { .. }
        | Refusal::Suspended { .. }
        | Refusal::Grant { .. } => "42501",
        Refusal::Key { .. } | Refusal::Change(_) | Refusal::NotYours(_) => "58000",
    };
    let hint = match refusal {
        Refusal::PolicyMoved => "Run the statement again.",
        Refusal::TerminalMoved => {
            "Run the statement again; `sekisho-post status` on this terminal says what lacks."
        }
        Refusal::ReasonAsked { .. } => {
            "SET sekisho.purpose = '...' says why, as a code, a call's or a ticket's id; it is recorded."
        }
        Refusal::Suspended { .. } => {
            "Ask the security team about the case; what touches nothing sealed goes on."
        }
        Refusal::Grant { .. } => "SET sekisho.grant_id TO DEFAULT, or request another grant.",
        Refusal::NoSpace(_) => {
            "Statements that touch nothing sealed go on; free space on the ledger's disk."
        }
        Refusal::Uncovered { .. } => {
            "Statements that touch nothing sealed go on; witnesses are slow or cannot be reached."
        }
        Refusal::Unacknowledged { .. } => {
            "Other clients and statements that touch nothing sealed go on; this client's receiver of receipts is slow or cannot be reached."
        }
        _ => "Ask the security team; `sekisho doctor` says what is wrong.",
    };
    let error = GateError::new(code, refusal.to_string())
        .detail("Nothing was released without its record.")
        .hint(hint)
        .because(refusal.reason());
    match refusal {
        Refusal::Key { client, .. } | Refusal::Unacknowledged { client, .. } => {
            error.about(*client)
        }
        _ => error,
    }
}
