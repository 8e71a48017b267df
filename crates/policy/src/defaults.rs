//! The policy that `sekisho init` proposes, generated from a table of roles and classes.

use std::fmt::Write as _;

use event::{Class, Outcome, Role};

/// What a role may do with a class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rights {
    pub(crate) outcome: Outcome,
    pub(crate) search: bool,
    pub(crate) write: bool,
}

/// The table. What a role may write with a grant alone is `false` here.
pub(crate) fn rights(role: Role, class: Class) -> Rights {
    let sealed = Rights {
        outcome: Outcome::Sealed,
        search: false,
        write: false,
    };
    let works = Rights {
        outcome: Outcome::Clear,
        search: class.may_be_exact(),
        write: true,
    };
    match (role, class) {
        // Enough to ask "in which year were you born?", too little to pass on.
        (Role::Operator, Class::BirthDate) => Rights {
            outcome: Outcome::Masked,
            ..works
        },
        (Role::Operator | Role::Supervisor, _) => works,
        (Role::ClientOfficer, Class::FreeText) => sealed,
        (Role::ClientOfficer, _) => Rights {
            outcome: Outcome::Masked,
            ..sealed
        },
        _ => sealed,
    }
}

const HEAD: &str = "\
// Who may see, search, write and administer. The language is Cedar (https://docs.cedarpolicy.com).
//
// Nothing is permitted that no rule permits; a `forbid` beats every `permit`. What an actor may
// not see stays sealed: he gets the ciphertext as stored.
//
//   see_clear    the value                     charged to the budget of subjects
//   see_masked   a part, such as 090-****-1234 charged to the budget of masked values
//   search       exact cells of values he asks for; charged as probes
//   write        values sealed on the way in; where exact, charged as probes
//   administer   configure Sekisho; what loosens anything needs two approvers besides
//
// Rules can ask for: principal in Role::\"operator\", principal == Actor::\"12\",
// resource in [Class::\"phone\"], resource in Client::\"7\", and context: tls, local, purpose, grant
// healthy (true or false), hour (0 to 23), terminal (the peer's address, or a terminal's number).
// healthy: the session comes through an approved terminal that proves that it refuses storage.
//
// Some things hold whatever stands here: maintainers, administrators and approvers see, search and
// write nothing, and nobody touches a client that is not in his list.
//
// To change it: edit, then `sekisho` proposes it; looser anywhere than what is in force, it waits
// for the signatures of two approvers. Rules that name actors, clients or terminals cannot be
// compared by table, so every change beside them needs the signatures.

// Nothing personal travels in the open.
forbid (
  principal,
  action in [Action::\"see_clear\", Action::\"see_masked\", Action::\"search\", Action::\"write\"],
  resource
) unless { context.tls || context.local };
";

const TAIL: &str = "
// importer: brings a client's data in, under a grant that names client and number.
permit (principal in Role::\"importer\", action == Action::\"write\", resource)
when { context.grant };

// administrator: configures Sekisho, sees no customer data.
permit (principal in Role::\"administrator\", action == Action::\"administer\", resource);

// maintainer, approver, security, auditor: no rule, so nothing. They move cells, sign, and read
// the ledger.

// Examples, not in force:
//
// Nothing clear but through a terminal that proves that it refuses storage (docs/terminals.md):
// forbid (principal, action == Action::\"see_clear\", resource) unless { context.healthy };
//
// Names only with a purpose (SET sekisho.purpose = 'call 1234'):
// forbid (principal, action == Action::\"see_clear\", resource == Class::\"name\")
// unless { context.purpose };
//
// Nothing in clear at night:
// forbid (principal, action == Action::\"see_clear\", resource)
// unless { context.hour >= 8 && context.hour < 22 };
";

/// The Cedar text that `sekisho init` proposes.
pub fn default_policy_text() -> String {
    let mut out = String::from(HEAD);
    for (role, what) in [
        (Role::Operator, "answers calls"),
        (Role::Supervisor, "leads operators"),
        (Role::ClientOfficer, "works at the client; looks at samples"),
    ] {
        let _ = write!(out, "\n// {role}: {what}.\n");
        let which = |allowed: fn(Rights) -> bool| {
            let classes = Class::ALL.iter().copied();
            classes
                .filter(|&class| allowed(rights(role, class)))
                .collect::<Vec<_>>()
        };
        rule(
            &mut out,
            role,
            "see_clear",
            &which(|rights| rights.outcome == Outcome::Clear),
        );
        rule(
            &mut out,
            role,
            "see_masked",
            &which(|rights| rights.outcome == Outcome::Masked),
        );
        rule(&mut out, role, "search", &which(|rights| rights.search));
        rule(&mut out, role, "write", &which(|rights| rights.write));
    }
    out.push_str(TAIL);
    out
}

fn rule(out: &mut String, role: Role, action: &str, classes: &[Class]) {
    if classes.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "permit (principal in Role::\"{role}\", action == Action::\"{action}\", resource)"
    );
    if classes.len() < Class::ALL.len() {
        out.push_str("\nwhen {\n  resource in [");
        for (index, class) in classes.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\n    Class::\"{class}\"");
        }
        out.push_str("\n  ]\n}");
    }
    out.push_str(";\n");
}

/// The masks that `sekisho init` proposes.
pub fn default_masks() -> String {
    crate::mask::default_text()
}
