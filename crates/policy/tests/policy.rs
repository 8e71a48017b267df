//! Policies: the default against its table, what holds whatever a text says, errors, comparison.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use event::{ActorId, Class, ClientId, Outcome, Role};
use policy::{
    Actor, Circumstances, ClientTable, Judgement, Policy, default_masks, default_policy_text,
};
use proptest::prelude::*;

fn client(number: u32) -> ClientId {
    ClientId::new(number).unwrap()
}

fn actor(role: Role) -> Actor {
    Actor {
        id: ActorId(5),
        role,
        clients: vec![client(7), client(3)],
    }
}

fn context() -> Circumstances {
    Circumstances {
        tls: true,
        local: false,
        terminal: "10.0.0.9".into(),
        purpose: false,
        grant: false,
        healthy: false,
        hour: 10,
    }
}

fn with(cedar: &str) -> Policy {
    Policy::parse(cedar, &default_masks()).unwrap()
}

fn default() -> Policy {
    with(&default_policy_text())
}

const EVERYTHING: &str = "permit (principal, action, resource);";
const CLOSED: [Role; 3] = [Role::Maintainer, Role::Administrator, Role::Approver];

#[test]
fn the_default_gives_each_role_what_docs_policy_says() {
    let policy = default();
    for &role in Role::ALL {
        let table = policy.table(&actor(role), client(7), &context());
        for &class in Class::ALL {
            let exact = class.may_be_exact();
            let expected = match (role, class) {
                (Role::Operator, Class::BirthDate) => (Outcome::Masked, false, true),
                (Role::Operator | Role::Supervisor, _) => (Outcome::Clear, exact, true),
                (Role::ClientOfficer, Class::FreeText) => (Outcome::Sealed, false, false),
                (Role::ClientOfficer, _) => (Outcome::Masked, false, false),
                _ => (Outcome::Sealed, false, false),
            };
            let given = (
                table.outcome(class),
                table.may_search(class),
                table.may_write(class),
            );
            assert_eq!(given, expected, "{role} {class}");
        }
        let administers = policy.may_administer(&actor(role), &context());
        assert_eq!(administers, role == Role::Administrator, "{role}");
    }
}

#[test]
fn the_default_lets_importers_write_under_a_grant_alone() {
    let policy = default();
    let importer = actor(Role::Importer);
    let granted = Circumstances {
        grant: true,
        ..context()
    };
    for &class in Class::ALL {
        assert!(!policy.may_write(&importer, client(7), class, &context()));
        assert!(policy.may_write(&importer, client(7), class, &granted));
        assert!(!policy.may_search(&importer, client(7), class, &granted));
        assert_eq!(
            policy.outcome(&importer, client(7), class, &granted),
            Outcome::Sealed
        );
    }
}

#[test]
fn the_default_releases_nothing_in_the_open() {
    let open = Circumstances {
        tls: false,
        local: false,
        grant: true,
        ..context()
    };
    for &role in Role::ALL {
        assert!(
            default().table(&actor(role), client(7), &open).is_empty(),
            "{role}"
        );
    }
    let local = Circumstances {
        tls: false,
        local: true,
        ..context()
    };
    assert!(
        !default()
            .table(&actor(Role::Operator), client(7), &local)
            .is_empty()
    );
}

#[test]
fn no_text_opens_anything_to_those_who_move_cells_or_sign() {
    let policy = with(EVERYTHING);
    for role in CLOSED {
        assert!(
            policy.table(&actor(role), client(7), &context()).is_empty(),
            "{role}"
        );
    }
    assert!(
        !policy
            .table(&actor(Role::Operator), client(7), &context())
            .is_empty()
    );
}

#[test]
fn no_text_opens_a_client_outside_the_list() {
    let policy = with(EVERYTHING);
    assert!(
        policy
            .table(&actor(Role::Operator), client(8), &context())
            .is_empty()
    );
    let nowhere = Actor {
        clients: vec![],
        ..actor(Role::Operator)
    };
    assert!(policy.table(&nowhere, client(7), &context()).is_empty());
}

#[test]
fn an_empty_policy_permits_nothing() {
    let policy = with("");
    for &role in Role::ALL {
        assert!(policy.table(&actor(role), client(7), &context()).is_empty());
        assert!(!policy.may_administer(&actor(role), &context()));
    }
}

#[test]
fn a_rule_that_fails_to_evaluate_permits_nothing() {
    // The forbid overflows for hour 10: Cedar would skip it and permit.
    let policy = with(
        "permit (principal, action, resource);
         forbid (principal, action, resource)
         when { context.hour * 9223372036854775807 > 0 };",
    );
    assert!(
        policy
            .table(&actor(Role::Operator), client(7), &context())
            .is_empty()
    );
    let fine = Circumstances {
        hour: 0,
        ..context()
    };
    assert!(
        !policy
            .table(&actor(Role::Operator), client(7), &fine)
            .is_empty()
    );
}

#[test]
fn rules_can_name_clients_actors_and_terminals() {
    let policy = Arc::new(with(
        r#"permit (principal == Actor::"5", action == Action::"see_clear", resource in Client::"7")
           when { context.terminal == "10.0.0.9" };"#,
    ));
    let operator = actor(Role::Operator);
    let outcome = |who: &Actor, number, context: &Circumstances| {
        policy.outcome(who, client(number), Class::Name, context)
    };
    assert_eq!(outcome(&operator, 7, &context()), Outcome::Clear);
    assert_eq!(outcome(&operator, 3, &context()), Outcome::Sealed);
    let other = Actor {
        id: ActorId(6),
        ..operator.clone()
    };
    assert_eq!(outcome(&other, 7, &context()), Outcome::Sealed);
    let elsewhere = Circumstances {
        terminal: "10.0.0.8".into(),
        ..context()
    };
    assert_eq!(outcome(&operator, 7, &elsewhere), Outcome::Sealed);

    let mut judgement = Judgement::new(Arc::clone(&policy), operator, context(), vec![]);
    for _ in 0..2 {
        assert_eq!(
            judgement.client(client(7)).outcome(Class::Name),
            Outcome::Clear
        );
        assert_eq!(
            judgement.client(client(3)).outcome(Class::Name),
            Outcome::Sealed
        );
    }
}

#[test]
fn a_judgement_is_the_policy_and_minds_each_clients_grant() {
    let policy = Arc::new(default());
    let importer = actor(Role::Importer);
    let granted = vec![client(3)];
    let mut judgement = Judgement::new(Arc::clone(&policy), importer, context(), granted);
    for _ in 0..2 {
        assert!(judgement.client(client(3)).may_write(Class::Phone));
        assert_eq!(judgement.client(client(7)), ClientTable::default());
        assert_eq!(judgement.client(client(8)), ClientTable::default());
    }
}

#[test]
fn errors_name_line_column_and_what_is_allowed() {
    for (text, line, column, problem) in [
        (
            "permit (principal, action, resource)",
            1,
            37,
            "unexpected end",
        ),
        ("\n  permt (principal, action, resource);", 2, 3, "permt"),
        (
            "permit (principal, action == Action::\"see\", resource);",
            1,
            30,
            "see",
        ),
        (
            "permit (principal in Role::\"opertor\", action, resource);",
            1,
            22,
            "opertor",
        ),
        (
            "permit (principal, action, resource == Class::\"phnoe\");",
            1,
            40,
            "phnoe",
        ),
        (
            "permit (principal, action, resource in Client::\"0\");",
            1,
            40,
            "Client",
        ),
        (
            "permit (principal, action, resource)\nwhen { context.tsl };",
            2,
            8,
            "tsl",
        ),
        (
            "permit (principal, action, resource)\nwhen { context.hour };",
            2,
            8,
            "Bool",
        ),
        (
            "permit (principal == ?principal, action, resource);",
            1,
            22,
            "template",
        ),
    ] {
        let error = Policy::parse(text, "").unwrap_err();
        assert_eq!(error.part, "policy");
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text}: {error}"
        );
        assert!(error.to_string().contains(problem), "{text}: {error}");
        assert!(!error.allowed.is_empty());
    }
    let error = Policy::parse("", "[phone]\nkeep = 3").unwrap_err();
    assert_eq!((error.part, error.line), ("masks", 2));
    let long = Policy::parse(&"// long\n".repeat(10_000), "").unwrap_err();
    assert!(long.allowed.contains("bytes"), "{long}");
}

#[test]
fn looser_is_seen_by_the_table() {
    let text = default_policy_text();
    let in_force = with(&text);
    assert!(!in_force.looser_than(&with(&format!("// a comment\n{text}"))));
    assert!(with(EVERYTHING).looser_than(&in_force));
    assert!(!with("").looser_than(&in_force));
    assert!(in_force.looser_than(&with("")));

    let more = |rule: &str| with(&format!("{text}\n{rule}")).looser_than(&in_force);
    // What the roles have already, or cannot have.
    assert!(!more(
        r#"permit (principal in Role::"operator", action == Action::"search",
            resource == Class::"phone") when { context.tls };"#
    ));
    assert!(!more(
        r#"permit (principal in Role::"maintainer", action == Action::"search", resource);"#
    ));
    // One class, one action, one combination of circumstances, one hour.
    assert!(more(
        r#"permit (principal in Role::"operator", action == Action::"see_clear",
            resource == Class::"birth-date") when { context.purpose && context.grant };"#
    ));
    assert!(more(
        r#"permit (principal in Role::"auditor", action == Action::"search",
            resource == Class::"phone") when { context.hour == 23 };"#
    ));
    assert!(more(
        r#"permit (principal in Role::"auditor", action == Action::"administer", resource);"#
    ));
    // Tighter.
    assert!(!more(
        "forbid (principal, action, resource) when { context.hour == 3 };"
    ));
    assert!(!more(
        r#"forbid (principal, action == Action::"write", resource);"#
    ));
    // What no table shows counts as looser, tighter though it may be.
    for beyond in [
        r#"forbid (principal == Actor::"9", action, resource);"#,
        r#"forbid (principal, action, resource in Client::"9");"#,
        r#"forbid (principal, action, resource) when { context.terminal == "10.0.0.1" };"#,
        r#"forbid (principal, action == Action::"write", resource)
           when { principal.clients.isEmpty() };"#,
    ] {
        assert!(more(beyond), "{beyond}");
    }
}

#[test]
fn a_mask_that_shows_more_is_looser() {
    let masks = default_masks();
    let more = masks.replacen("keep_last = 4", "keep_last = 5", 1);
    assert_ne!(masks, more);
    let of = |masks: &str| Policy::parse(&default_policy_text(), masks).unwrap();
    assert!(of(&more).looser_than(&of(&masks)));
    assert!(!of(&masks).looser_than(&of(&more)));
    assert!(!of("").looser_than(&of(&masks)));
}

#[test]
fn the_bytes_to_digest_tell_the_texts_apart() {
    let a = Policy::parse("// x\n", "").unwrap().bytes_to_digest();
    let b = Policy::parse("// x\n", "# y\n").unwrap().bytes_to_digest();
    let c = Policy::parse("// x\n# y\n".split('#').next().unwrap(), "").unwrap();
    assert_ne!(a, b);
    assert_eq!(a, c.bytes_to_digest());
}

fn any_context() -> impl Strategy<Value = Circumstances> {
    (any::<[bool; 5]>(), 0..24u8).prop_map(|([tls, local, purpose, grant, healthy], hour)| {
        Circumstances {
            tls,
            local,
            terminal: "unix".into(),
            purpose,
            grant,
            healthy,
            hour,
        }
    })
}

/// A rule over the vocabulary, permit or forbid.
fn any_rule() -> impl Strategy<Value = String> {
    let role = proptest::sample::select(Role::ALL);
    let class = proptest::sample::select(Class::ALL);
    let action = proptest::sample::select(&["see_clear", "see_masked", "search", "write"][..]);
    let flag = proptest::sample::select(&["tls", "local", "purpose", "grant"][..]);
    (any::<bool>(), role, action, class, flag, any::<bool>()).prop_map(
        |(permit, role, action, class, flag, set)| {
            let effect = if permit { "permit" } else { "forbid" };
            let when = if set { "when" } else { "unless" };
            format!(
                "{effect} (principal in Role::\"{role}\", action == Action::\"{action}\", \
                 resource == Class::\"{class}\") {when} {{ context.{flag} }};"
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_the_rules_the_closed_roles_and_foreign_clients_get_nothing(
        rules in proptest::collection::vec(any_rule(), 0..12),
        context in any_context(),
        role in proptest::sample::select(Role::ALL),
    ) {
        let policy = with(&rules.join("\n"));
        for role in CLOSED {
            prop_assert!(policy.table(&actor(role), client(7), &context).is_empty());
        }
        prop_assert!(policy.table(&actor(role), client(9), &context).is_empty());
    }

    #[test]
    fn if_a_table_is_more_open_the_policy_is_looser(
        base in proptest::collection::vec(any_rule(), 0..6),
        added in any_rule(),
        context in any_context(),
        role in proptest::sample::select(Role::ALL),
    ) {
        let before = with(&base.join("\n"));
        let after = with(&format!("{}\n{added}", base.join("\n")));
        let looser = after.looser_than(&before);
        let (old, new) = (
            before.table(&actor(role), client(7), &context),
            after.table(&actor(role), client(7), &context),
        );
        for &class in Class::ALL {
            let more = new.outcome(class) > old.outcome(class)
                || new.may_search(class) && !old.may_search(class)
                || new.may_write(class) && !old.may_write(class);
            prop_assert!(looser || !more);
        }
        if added.starts_with("forbid") {
            prop_assert!(!looser);
        }
    }

    #[test]
    fn any_text_is_an_error_or_a_policy(text in "[a-z(){};=:\"&|!., \\n]{0,80}") {
        let _ = Policy::parse(&text, &text);
    }
}
