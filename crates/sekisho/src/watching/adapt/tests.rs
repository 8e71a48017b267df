use event::record::{Effects, RefusalReason};
use event::{ActorId, ChangeId, GrantId, Role, SessionId};

use super::*;

fn who(grant: Option<u32>) -> Who {
    Who {
        actor: ActorId(7),
        role: Role::Operator,
        session: SessionId(3),
        grant: grant.map(GrantId),
    }
}

fn client() -> ClientId {
    ClientId::new(5).unwrap()
}

fn entry(sequence: u64, log: LogId) -> Entry {
    Entry {
        sequence,
        log,
        index: 0,
        wall_ms: sequence * 1000,
        elapsed_ms: 0,
        record: Vec::new(),
        attachment: Vec::new(),
    }
}

fn exposure(grant: Option<u32>, rows: u32, probes: u32, shape: u8) -> Body {
    let effects = |charged, newly_distinct| Effects {
        charged,
        newly_distinct,
        windows: [0; 4],
    };
    Body::Exposure(Exposure {
        who: who(grant),
        rows,
        classes: Vec::new(),
        probes,
        row_tags_disagree: 0,
        subjects: effects(40, 30),
        probed: effects(2, 2),
        masked: effects(u64::MAX, 0),
        shape: Digest([shape; 32]),
        policy: Digest([0; 32]),
        list: Digest([0; 32]),
        purpose: None,
        order: event::record::Order::default(),
    })
}

/// What records of the centre's log, or of a client's, become, one after the other.
fn adapted(state: &State, bodies: &[(LogId, Body)]) -> Vec<String> {
    let mut adapter = Adapter::default();
    let mut keys = Vec::new();
    let mut said = Vec::new();
    for (sequence, (log, body)) in (1..).zip(bodies) {
        let record = adapter.adapt(state, &entry(sequence, *log), body, None, &mut keys);
        assert_eq!((record.sequence, record.at_ms), (sequence, sequence * 1000));
        said.push(format!("{:?}", record.what));
    }
    said
}

#[test]
fn exposures_count_as_they_were_charged() {
    let mut adapter = Adapter::default();
    let list = List {
        probes: vec![(SetKind::Probe { primary: true }, 9, 1)],
        rows: vec![
            (SetKind::Clear(Class::Phone), 11, 1),
            (SetKind::RowTag, 4, 1),
            (SetKind::Clear(Class::Name), 12, 1),
            (SetKind::RowTag, 2, 1),
            (SetKind::RowTag, 4, 1),
            (SetKind::Masked(Class::Phone), 13, 1),
            (SetKind::Clear(Class::Phone), 10, 1),
        ],
        purpose: None,
    };
    let mut keys = vec![99];
    let log = LogId::Client(client());
    let state = State::default();
    let body = exposure(Some(1), 2, 2, 1);
    let record = adapter.adapt(&state, &entry(8, log), &body, Some(&list), &mut keys);
    let What::Exposure(shown) = record.what else {
        panic!("{record:?}")
    };
    assert_eq!(
        (shown.actor, shown.client, shown.rows),
        (ActorId(7), client(), 2)
    );
    assert_eq!((shown.subjects, shown.new), (40, Some(30)));
    assert_eq!(
        (shown.masked, shown.probes, shown.missed),
        (u32::MAX, 2, None)
    );
    assert_eq!(
        (shown.keys, shown.shape),
        (&[2, 4][..], 0x0101_0101_0101_0101)
    );

    let list = List {
        rows: list.rows[..1].to_vec(),
        ..list
    };
    let body = exposure(None, 0, 2, 1);
    let record = adapter.adapt(&state, &entry(9, log), &body, Some(&list), &mut keys);
    let What::Exposure(shown) = record.what else {
        panic!("{record:?}")
    };
    assert_eq!((shown.keys, shown.missed), (&[11][..], Some(2)));
}

/// A grant to see pays for who is shown, one to import for probes; the budgets pay for the rest.
#[test]
fn a_grant_covers_what_it_is_for() {
    let mut state = State::default();
    for (number, what) in [(1, GrantKind::See), (2, GrantKind::Import)] {
        let grant = event::record::Grant {
            grant: GrantId(number),
            actor: ActorId(7),
            client: client(),
            what,
            amount: 9,
            until_ms: u64::MAX,
            ticket: "T-1".into(),
        };
        let granted = ledger::state::GrantUse {
            grant,
            used: 0,
            ended: false,
        };
        std::sync::Arc::make_mut(&mut state.grants).insert(GrantId(number), granted);
    }
    let mut adapter = Adapter::default();
    let mut given = |grant, subjects| {
        let Body::Exposure(mut body) = exposure(Some(grant), 1, 1, 1) else {
            unreachable!()
        };
        body.subjects.charged = subjects;
        let (body, mut keys) = (Body::Exposure(body), Vec::new());
        let entry = entry(8, LogId::Client(client()));
        match adapter.adapt(&state, &entry, &body, None, &mut keys).what {
            What::Exposure(shown) => shown.grant,
            what => panic!("{what:?}"),
        }
    };
    assert_eq!(given(1, 5), Some(GrantId(1)));
    assert_eq!(given(1, 0), None, "a search that shows nobody");
    assert_eq!(given(2, 0), Some(GrantId(2)));
    assert_eq!(given(2, 5), None, "shown under an import");
}

/// Hidden among more keys of another kind, a planted subject is known all the same.
#[test]
fn planted_subjects_are_known_by_any_of_their_keys() {
    let mut adapter = Adapter::default();
    adapter.plant(client(), 4);
    let row = |kind, key| (kind, key, 1);
    let list = List {
        probes: Vec::new(),
        rows: vec![
            row(SetKind::RowTag, 4),
            row(SetKind::Clear(Class::Phone), 10),
            row(SetKind::Clear(Class::Phone), 11),
        ],
        purpose: None,
    };
    let mut keys = Vec::new();
    let body = exposure(None, 1, 0, 1);
    let state = State::default();
    let here = entry(8, LogId::Client(client()));
    adapter.adapt(&state, &here, &body, Some(&list), &mut keys);
    assert_eq!(keys, [10, 11, 4]);
    let elsewhere = entry(9, LogId::Client(ClientId::new(6).unwrap()));
    adapter.adapt(&state, &elsewhere, &body, Some(&list), &mut keys);
    assert_eq!(keys, [10, 11]);
}

#[test]
fn rows_of_one_table_are_told_from_those_of_several() {
    for (shape, one) in [
        ("SELECT name, phone FROM customers WHERE id = ?", true),
        ("SELECT * FROM public.customers _ WHERE phone IN (?)", true),
        ("COPY customers (name, phone) TO STDOUT", true),
        (
            "SELECT _.name, _.name FROM customers _ JOIN customers _ ON true",
            false,
        ),
        ("SELECT * FROM customers _, orders", false),
        ("SELECT _(name) FROM customers", false),
        (
            "SELECT name, (SELECT name FROM customers) FROM customers",
            false,
        ),
        (
            "SELECT name FROM customers UNION SELECT name FROM orders",
            false,
        ),
        ("SELECT name FROM _", false),
        ("SELECT name FROM (SELECT name FROM customers) _", false),
        ("COPY (SELECT name FROM customers) TO STDOUT", false),
        (
            "INSERT INTO customers (name) VALUES (?) RETURNING name",
            false,
        ),
    ] {
        assert_eq!(is_of_one_table(shape), one, "{shape}");
    }
    let mut adapter = Adapter::default();
    let shape = |digest| Body::Shape {
        digest: Digest([digest; 32]),
        text: "SELECT name FROM customers".to_owned(),
    };
    let state = State::default();
    adapter.adapt(
        &state,
        &entry(1, LogId::Centre),
        &shape(1),
        None,
        &mut Vec::new(),
    );
    let moved = |shape, rows| {
        let Body::Exposure(mut body) = exposure(None, 1, 0, shape) else {
            unreachable!()
        };
        body.row_tags_disagree = rows;
        adapter.moved(&body)
    };
    assert_eq!(
        [moved(1, 2), moved(1, 0), moved(2, 2)],
        [Some(2), None, None]
    );
}

#[test]
fn what_writes_misses_nothing() {
    let log = LogId::Client(client());
    let shape = |text: &str| Body::Shape {
        digest: Digest([1; 32]),
        text: text.to_owned(),
    };
    for (text, missed) in [
        ("select phone from t", "Some(1)"),
        ("INSERT INTO t", "Some(0)"),
    ] {
        let said = adapted(
            &State::default(),
            &[(LogId::Centre, shape(text)), (log, exposure(None, 0, 1, 1))],
        );
        assert!(said[1].contains(&format!("missed: {missed}")), "{said:?}");
    }
}

#[test]
fn an_end_that_was_none_is_a_gap() {
    let started = Body::Started {
        version: String::new(),
        tail_cut: 0,
        elapsed_credit_ms: 0,
        wall_step_ms: 0,
        boot_id: [0; 16],
        boot_ms: 0,
    };
    let bodies = [started.clone(), Body::Stopped, started.clone(), started];
    let said = adapted(&State::default(), &bodies.map(|body| (LogId::Centre, body)));
    assert_eq!(
        said,
        [
            "Alive { part: Gate }",
            "Stopped { part: Gate }",
            "Alive { part: Gate }",
            "Gap { part: Gate, from_ms: 3000, until_ms: 4000, missing: 0 }"
        ]
    );
}

#[test]
fn refusals_count_once_and_changes_when_in_force() {
    let refused = Body::Refused {
        who: Some(who(None)),
        reason: RefusalReason::Policy,
        count: 3,
        shape: None,
        terminal: None,
    };
    let mut state = State::default();
    let proposal = ledger::state::Proposal {
        by: ActorId(1),
        what: Change::ActorSet {
            actor: ActorId(7),
            login: "sato".to_owned(),
            role: Role::Supervisor,
            clients: Vec::new(),
            active: false,
        },
        approvals: Vec::new(),
    };
    std::sync::Arc::make_mut(&mut state.proposals).insert(ChangeId(1), proposal);
    let in_force = |number| Body::InForce {
        change: ChangeId(number),
        loosens: true,
        bootstrap: false,
    };
    let said = adapted(
        &state,
        &[
            (LogId::Centre, refused.clone()),
            (LogId::Client(client()), refused),
            (LogId::Centre, in_force(1)),
            (LogId::Centre, in_force(2)),
        ],
    );
    assert_eq!(
        said,
        [
            "Refused { actor: Some(ActorId(7)), client: None, reason: Policy, count: 3 }",
            "Tick",
            "Actor { actor: ActorId(7), role: Supervisor, active: false }",
            "Tick"
        ]
    );
}
