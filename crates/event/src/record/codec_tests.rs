use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{
    ActorId, Class, ClientId, CloseReason, Digest, Domain, GrantId, Mode, Octets, Outcome,
    Response, Role, SessionId, System, TerminalEvent,
};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..30,
        250_u64..260,
        65_530_u64..65_540,
        (1_u64 << 32) - 2..(1 << 32) + 2,
        any::<u64>()
    ]
}

fn small() -> impl Strategy<Value = u32> {
    number().prop_map(|number| number as u32)
}

fn client() -> impl Strategy<Value = ClientId> {
    (1..=ClientId::MAX).prop_map(|number| ClientId::new(number).unwrap())
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn word<T: Copy + std::fmt::Debug>(all: &'static [T]) -> impl Strategy<Value = T> {
    (0..all.len()).prop_map(|place| all[place])
}

fn who() -> impl Strategy<Value = Who> {
    let grant = proptest::option::of(small().prop_map(GrantId));
    (small(), word(Role::ALL), number(), grant).prop_map(|(actor, role, session, grant)| Who {
        actor: ActorId(actor),
        role,
        session: SessionId(session),
        grant,
    })
}

fn class_count() -> impl Strategy<Value = ClassCount> {
    (word(Class::ALL), word(Outcome::ALL), small()).prop_map(|(class, outcome, cells)| ClassCount {
        class,
        outcome,
        cells,
    })
}

fn effects() -> impl Strategy<Value = Effects> {
    let numbers = [number(), number(), number(), number()];
    (number(), number(), numbers).prop_map(|(charged, newly_distinct, windows)| Effects {
        charged,
        newly_distinct,
        windows,
    })
}

fn exposure() -> impl Strategy<Value = Exposure> {
    let counts = (small(), vec(class_count(), 0..20), small(), small());
    let all_effects = (effects(), effects(), effects());
    let digests = (digest(), digest(), digest(), proptest::option::of(digest()));
    let missed = proptest::option::of(small());
    let order =
        (small(), small(), small(), missed).prop_map(|(pairs, ascending, near, missed)| Order {
            pairs,
            ascending,
            near,
            missed,
        });
    let order = prop_oneof![Just(Order::default()), order];
    (who(), counts, all_effects, digests, order).prop_map(
        |(who, counts, effects, digests, order)| Exposure {
            who,
            rows: counts.0,
            classes: counts.1,
            probes: counts.2,
            row_tags_disagree: counts.3,
            subjects: effects.0,
            probed: effects.1,
            masked: effects.2,
            shape: digests.0,
            policy: digests.1,
            list: digests.2,
            purpose: digests.3,
            order,
        },
    )
}

fn pin() -> impl Strategy<Value = Pin> {
    let sealing =
        (word(Class::ALL), any::<u16>(), word(Mode::ALL)).prop_map(|(class, domain, mode)| {
            Sealing {
                class,
                domain: Domain(domain),
                mode,
            }
        });
    let column = (".{0,9}", ".{0,9}", proptest::option::of(sealing)).prop_map(
        |(name, type_name, sealing)| PinnedColumn {
            name,
            type_name,
            sealing,
        },
    );
    let source = prop_oneof![
        ".{0,9}".prop_map(ClientSource::Column),
        client().prop_map(ClientSource::Fixed),
        Just(ClientSource::Scope),
    ];
    let relation = (".{0,9}", ".{0,9}", vec(column, 0..5), source).prop_map(
        |(schema, name, columns, client)| PinnedRelation {
            schema,
            name,
            columns,
            client,
        },
    );
    (".{0,9}", vec(relation, 0..4)).prop_map(|(database, relations)| Pin {
        database,
        relations,
    })
}

fn change() -> impl Strategy<Value = Change> {
    let actor = || small().prop_map(ActorId);
    let grant = (
        actor(),
        client(),
        any::<bool>(),
        number(),
        number(),
        ".{0,9}",
    )
        .prop_map(|(actor, client, see, amount, until_ms, ticket)| Grant {
            grant: GrantId(1),
            actor,
            client,
            what: if see {
                GrantKind::See
            } else {
                GrantKind::Import
            },
            amount,
            until_ms,
            ticket,
        });
    prop_oneof![
        (client(), ".{0,9}", ".{0,9}").prop_map(|(client, code, name)| Change::ClientAdded {
            client,
            code,
            name
        }),
        (
            actor(),
            ".{0,9}",
            word(Role::ALL),
            vec(client(), 0..40),
            any::<bool>()
        )
            .prop_map(|(actor, login, role, clients, active)| Change::ActorSet {
                actor,
                login,
                role,
                clients,
                active
            }),
        (actor(), digest())
            .prop_map(|(actor, commitment)| Change::Credential { actor, commitment }),
        (actor(), digest(), number()).prop_map(|(actor, commitment, until_ms)| {
            Change::EnrolmentCode {
                actor,
                commitment,
                until_ms,
            }
        }),
        (actor(), any::<[u8; 32]>())
            .prop_map(|(actor, public_key)| Change::SigningKey { actor, public_key }),
        (".{0,300}", ".{0,9}").prop_map(|(cedar, masks)| Change::Policy { cedar, masks }),
        ".{0,300}".prop_map(|toml| Change::Numbers { toml }),
        pin().prop_map(Change::Pin),
        grant.prop_map(Change::Grant),
        small().prop_map(|grant| Change::GrantEnded {
            grant: GrantId(grant)
        }),
        (client(), any::<u8>()).prop_map(|(client, epoch)| Change::ClientKey { client, epoch }),
        (small(), any::<[u8; 32]>())
            .prop_map(|(number, public_key)| Change::LogKey { number, public_key }),
        client().prop_map(|client| Change::ClientDestroyed { client }),
        small().prop_map(|months| Change::Retention { months }),
        proptest::option::of(number()).prop_map(|subjects| Change::UncoveredCap { subjects }),
        (client(), proptest::option::of(number()))
            .prop_map(|(client, subjects)| Change::ReceiptCap { client, subjects }),
        small().prop_map(|months| Change::EntryRetention { months }),
        (small(), word(Response::ALL)).prop_map(|(cases_per_day, response)| Change::Watch {
            cases_per_day,
            response
        }),
        (
            digest(),
            ".{0,9}",
            word(System::ALL),
            ".{0,9}",
            any::<bool>()
        )
            .prop_map(
                |(terminal, name, system, address, active)| Change::Terminal {
                    terminal,
                    name,
                    system,
                    address,
                    active
                }
            ),
        ".{0,300}".prop_map(|toml| Change::TerminalPolicy { toml }),
        client().prop_map(|client| Change::OfficerFile { client }),
        (small(), ".{0,30}", ".{0,9}").prop_map(|(number, checkpoint, lost)| Change::Generation {
            number,
            checkpoint,
            lost
        }),
    ]
}

const REASONS: &[RefusalReason] = &[
    RefusalReason::SubjectBudget,
    RefusalReason::ProbeBudget,
    RefusalReason::MaskedBudget,
    RefusalReason::Policy,
    RefusalReason::Grant,
    RefusalReason::Statement,
    RefusalReason::Pin,
    RefusalReason::Value,
    RefusalReason::Ledger,
    RefusalReason::Key,
    RefusalReason::Login,
    RefusalReason::Revoked,
];

const FINDINGS: &[FindingKind] = &[
    FindingKind::CellDoesNotVerify,
    FindingKind::CellOutOfPlace,
    FindingKind::CellOutOfScope,
    FindingKind::PinDiffers,
    FindingKind::UnexpectedCells,
];

fn of_cases() -> impl Strategy<Value = Body> {
    let actor = || small().prop_map(ActorId);
    let maybe = || proptest::option::of(small().prop_map(ActorId));
    let about = (
        any::<u8>(),
        maybe(),
        vec(actor(), 0..4),
        proptest::option::of(client()),
    );
    let numbers = (small(), any::<u8>(), vec(number(), 0..8));
    let places = (
        proptest::option::of(number()),
        number(),
        vec(number(), 0..16),
        vec(small(), 0..30),
    );
    let finding = (about, numbers, places).prop_map(
        |(
            (detector, actor, others, client),
            (bits, version, numbers),
            (cause, at_ms, rests_on, days),
        )| {
            CaseFinding {
                detector,
                actor,
                others,
                client,
                bits,
                version,
                numbers,
                cause,
                at_ms,
                rests_on,
                days,
            }
        },
    );
    prop_oneof![
        (
            small(),
            any::<bool>(),
            finding,
            any::<bool>(),
            word(Response::ALL)
        )
            .prop_map(|(case, new, finding, grave, response)| Body::Case {
                case,
                new,
                finding,
                grave,
                response
            }),
        (small(), actor(), digest()).prop_map(|(case, by, text)| Body::CaseNoted {
            case,
            by,
            text
        }),
        (small(), actor(), maybe(), word(CloseReason::ALL), digest()).prop_map(
            |(case, by, asked, reason, text)| Body::CaseClosed {
                case,
                by,
                asked,
                reason,
                text
            }
        ),
        (small(), actor(), digest()).prop_map(|(case, by, text)| Body::CaseReopened {
            case,
            by,
            text
        }),
        (actor(), actor(), maybe()).prop_map(|(actor, by, asked)| Body::Rebaselined {
            actor,
            by,
            asked
        }),
        (small(), actor(), digest()).prop_map(|(count, by, list)| Body::Canary { count, by, list }),
        (small(), actor(), digest()).prop_map(|(count, by, list)| Body::Calls { count, by, list }),
        (
            ".{0,9}",
            maybe(),
            word(TerminalEvent::ALL),
            number(),
            number()
        )
            .prop_map(|(terminal, actor, said, bytes, at_ms)| Body::Terminal {
                terminal,
                actor,
                said,
                bytes,
                at_ms
            }),
        (digest(), ".{0,9}", word(System::ALL)).prop_map(|(terminal, name, system)| {
            Body::TerminalAsked {
                terminal,
                name,
                system,
            }
        }),
        (digest(), number(), number(), vec(any::<u8>(), 0..300)).prop_map(
            |(terminal, since, sequence, report)| Body::TerminalReport {
                terminal,
                since,
                sequence,
                report: Octets(report)
            }
        ),
        (
            (digest(), actor(), digest(), small()),
            proptest::option::of(number()),
            proptest::option::of(number())
        )
            .prop_map(
                |((terminal, by, policy, differences), settings_at_ms, events_until_ms)| {
                    Body::TerminalEvidence {
                        terminal,
                        by,
                        settings_at_ms,
                        policy,
                        differences,
                        events_until_ms,
                    }
                }
            ),
        (digest(), any::<bool>(), vec(".{0,9}", 0..4)).prop_map(|(terminal, healthy, lacks)| {
            Body::TerminalHealth {
                terminal,
                healthy,
                lacks,
            }
        }),
        terminal_copy(),
        (".{0,9}", number(), number(), any::<bool>()).prop_map(
            |(database, rows, accounted, set_back)| Body::Counters {
                database,
                rows,
                accounted,
                set_back
            }
        ),
    ]
}

fn terminal_copy() -> impl Strategy<Value = Body> {
    let reason = proptest::option::of(word(&[
        RefusalReason::Grant,
        RefusalReason::Policy,
        RefusalReason::Value,
    ]));
    let of = (who(), digest(), vec(any::<u8>(), 16));
    let found = (number(), vec(class_count(), 0..4), number());
    (of, found, reason, digest()).prop_map(
        |((who, terminal, medium), (bytes, classes, subjects), refused, list)| Body::TerminalCopy {
            who,
            terminal,
            medium: Octets(medium),
            bytes,
            classes,
            subjects,
            refused,
            list,
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    let number_of_change = || small().prop_map(ChangeId);
    let text = || proptest::option::of(".{0,9}".prop_map(String::from));
    let started = (
        ".{0,9}",
        number(),
        number(),
        any::<i64>(),
        any::<[u8; 16]>(),
        number(),
    )
        .prop_map(
            |(version, tail_cut, elapsed_credit_ms, wall_step_ms, boot_id, boot_ms)| {
                Body::Started {
                    version,
                    tail_cut,
                    elapsed_credit_ms,
                    wall_step_ms,
                    boot_id,
                    boot_ms,
                }
            },
        );
    let refused = (
        proptest::option::of(who()),
        word(REASONS),
        small(),
        proptest::option::of(digest()),
        text(),
    )
        .prop_map(|(who, reason, count, shape, terminal)| Body::Refused {
            who,
            reason,
            count,
            shape,
            terminal,
        });
    let approved = (number_of_change(), small(), [any::<u8>(), any::<u8>()]).prop_map(
        |(change, approver, [first, last])| {
            let mut signature = [first; 64];
            signature[63] = last;
            Body::Approved {
                change,
                approval: Approval {
                    approver: ActorId(approver),
                    signature,
                },
            }
        },
    );
    prop_oneof![
        (".{0,9}", any::<[u8; 16]>()).prop_map(|(centre, ledger)| Body::Genesis { centre, ledger }),
        started,
        Just(Body::Stopped),
        (who(), ".{0,9}", ".{0,9}", any::<bool>()).prop_map(|(who, terminal, database, tls)| {
            Body::SessionOpened {
                who,
                terminal,
                database,
                tls,
            }
        }),
        number().prop_map(|session| Body::SessionClosed {
            session: SessionId(session)
        }),
        refused,
        small().prop_map(|by| Body::OfficerFile { by: ActorId(by) }),
        (digest(), ".{0,300}").prop_map(|(digest, text)| Body::Shape { digest, text }),
        exposure().prop_map(Body::Exposure),
        (who(), word(FINDINGS), small(), text()).prop_map(|(who, kind, count, relation)| {
            Body::Finding {
                who,
                kind,
                count,
                relation,
            }
        }),
        (number_of_change(), small(), change()).prop_map(|(change, by, what)| Body::Proposed {
            change,
            by: ActorId(by),
            what,
        }),
        approved,
        (number_of_change(), any::<bool>(), any::<bool>()).prop_map(
            |(change, loosens, bootstrap)| Body::InForce {
                change,
                loosens,
                bootstrap,
            }
        ),
        (number_of_change(), small()).prop_map(|(change, by)| Body::Withdrawn {
            change,
            by: ActorId(by),
        }),
        (any::<[u8; 16]>(), small()).prop_map(|(ledger, slot)| Body::LogOpened { ledger, slot }),
        any::<i64>().prop_map(|step_ms| Body::ClockStepped { step_ms }),
        (any::<u16>(), number(), digest()).prop_map(|(fold, sequence, digest)| Body::Snapshot {
            fold,
            sequence,
            digest
        }),
        (small(), digest(), number()).prop_map(|(segment, digest, bytes)| Body::Archived {
            segment,
            digest,
            bytes
        }),
        (number(), digest()).prop_map(|(size, digest)| Body::TimeStamped { size, digest }),
        any::<bool>().prop_map(|full| Body::Space { full }),
        (small(), number(), digest(), ".{0,9}").prop_map(|(generation, size, root, lost)| {
            Body::LossDeclared {
                generation,
                size,
                root,
                lost,
            }
        }),
        small().prop_map(|before| Body::ListsDestroyed { before }),
        proptest::option::of(number()).prop_map(|subjects| Body::ReceiptCap { subjects }),
        (number(), small(), small()).prop_map(|(below, before, change)| Body::EntriesPruned {
            below,
            before,
            change: ChangeId(change)
        }),
        of_cases(),
    ]
}

proptest! {
    #[test]
    fn records_come_back(body in body()) {
        let bytes = encode(&body).unwrap();
        prop_assert_eq!(kind(&bytes), Some(body.kind().0));
        prop_assert_eq!(decode(&bytes).unwrap(), body);
    }

    #[test]
    fn changes_and_pins_come_back(change in change(), pin in pin()) {
        prop_assert_eq!(decode_change(&encode_change(&change)).unwrap(), change);
        prop_assert_eq!(decode_pin(&encode_pin(&pin)).unwrap(), pin);
    }

    #[test]
    fn hostile_bytes_are_an_error_or_a_record(bytes in vec(any::<u8>(), 0..200)) {
        one_encoding(&bytes)?;
    }

    /// Near misses: an encoding with some bytes changed, cut or repeated.
    #[test]
    fn altered_records(
        body in body(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        tail in vec(any::<u8>(), 0..3),
    ) {
        let whole = encode(&body).unwrap();
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        one_encoding(&bytes)?;
        prop_assert!(decode(&whole[..cut.index(whole.len())]).is_err());
        let longer = [whole, tail.clone()].concat();
        prop_assert_eq!(decode(&longer).is_err(), !tail.is_empty());
    }

    /// Every integer in a longer form is refused.
    #[test]
    fn longer_integers_are_refused(body in body(), key in 0_usize..3) {
        let bytes = encode(&body).unwrap();
        // The map's head, then the keys 0, 1, 2 with values of one byte each.
        let at = 1 + 2 * key;
        let mut longer = bytes[..at].to_vec();
        longer.extend([0x18, bytes[at]]);
        longer.extend(&bytes[at + 1..]);
        let refused = matches!(decode(&longer), Err(DecodeError::NotCanonical { .. }));
        prop_assert!(refused);
    }
}

fn one_encoding(bytes: &[u8]) -> Result<(), TestCaseError> {
    match decode(bytes) {
        Err(_) | Ok(Body::Unknown { .. }) => {}
        Ok(body) => prop_assert_eq!(encode(&body).unwrap(), bytes),
    }
    Ok(())
}

#[test]
fn other_encodings_are_refused() {
    let stopped = encode(&Body::Stopped).unwrap();
    assert_eq!(stopped, [0xa3, 0, 3, 1, 1, 2, 0xf4]);
    let wrong: &[&[u8]] = &[
        &[],
        // An indefinite length.
        &[0xbf, 0, 3, 1, 1, 2, 0xf4, 0xff],
        // Keys out of order, twice, missing.
        &[0xa3, 1, 1, 0, 3, 2, 0xf4],
        &[0xa3, 0, 3, 0, 3, 2, 0xf4],
        &[0xa2, 0, 3, 1, 1],
        // A critical bit that is not the kind's; one that is a number; a further field.
        &[0xa3, 0, 3, 1, 1, 2, 0xf5],
        &[0xa3, 0, 3, 1, 1, 2, 0],
        &[0xa4, 0, 3, 1, 1, 2, 0xf4, 3, 0],
        // A float and a tag in an unknown kind.
        &[0xa4, 0, 0x18, 99, 1, 1, 2, 0xf4, 3, 0xf9, 0, 0],
        &[0xa4, 0, 0x18, 99, 1, 1, 2, 0xf4, 3, 0xc0, 0],
        // A text that is not UTF-8.
        &[0xa4, 0, 0x18, 99, 1, 1, 2, 0xf4, 3, 0x61, 0xff],
        // A false length.
        &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    for bytes in wrong {
        assert!(decode(bytes).is_err(), "{bytes:02x?}");
    }
    assert!(decode(&[0x81; 60_000]).is_err(), "depth is bounded");
    assert!(matches!(
        decode(&[0; 70_000]),
        Err(DecodeError::TooLong { bytes: 70_000 })
    ));
}

#[test]
fn unknown_kinds_and_versions_are_kept() {
    let unknown = |kind, critical| Ok(Body::Unknown { kind, critical });
    let bytes = [0xa4, 0, 0x18, 99, 1, 1, 2, 0xf4, 3, 0x81, 1];
    assert_eq!(decode(&bytes), unknown(99, false));
    assert_eq!(
        decode(&[0xa3, 0, 0x18, 99, 1, 1, 2, 0xf5]),
        unknown(99, true)
    );
    assert_eq!(
        decode(&[0xa4, 0, 3, 1, 2, 2, 0xf4, 3, 0]),
        unknown(3, false)
    );
    let body = Body::Unknown {
        kind: 99,
        critical: true,
    };
    assert_eq!(encode(&body), Err(EncodeError::Unknown { kind: 99 }));
}

#[test]
fn too_long_a_record_is_refused() {
    let shape = |length| Body::Shape {
        digest: Digest([0; 32]),
        text: "x".repeat(length),
    };
    assert!(encode(&shape(65_000)).is_ok());
    assert!(matches!(
        encode(&shape(65_535)),
        Err(EncodeError::TooLong { .. })
    ));
}

/// What is signed names the ledger, the change and its number.
#[test]
fn signed_bytes_differ_in_each_part() {
    let change = Change::GrantEnded { grant: GrantId(1) };
    let signed = change_bytes(&[7; 16], ChangeId(3), &change);
    assert!(signed.starts_with(b"sekisho change v1\0"));
    assert_ne!(signed, change_bytes(&[8; 16], ChangeId(3), &change));
    assert_ne!(signed, change_bytes(&[7; 16], ChangeId(4), &change));
    let other = Change::GrantEnded { grant: GrantId(2) };
    assert_ne!(signed, change_bytes(&[7; 16], ChangeId(3), &other));
}

/// The page's test vectors are what the code writes.
#[test]
fn test_vectors() {
    let page: String = include_str!("../../../../docs/format/record.md")
        .split_whitespace()
        .collect();
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let one = Effects {
        charged: 1,
        newly_distinct: 1,
        windows: [1; 4],
    };
    let exposure = Body::Exposure(Exposure {
        who: Who {
            actor: ActorId(1),
            role: Role::Operator,
            session: SessionId(2),
            grant: None,
        },
        rows: 1,
        classes: vec![ClassCount {
            class: Class::Phone,
            outcome: Outcome::Clear,
            cells: 1,
        }],
        probes: 1,
        row_tags_disagree: 0,
        subjects: one,
        probed: one,
        masked: Effects::default(),
        shape: Digest([0x11; 32]),
        policy: Digest([0x22; 32]),
        list: Digest([0x33; 32]),
        purpose: None,
        order: Order::default(),
    });
    let genesis = Body::Genesis {
        centre: "Tokyo".into(),
        ledger: [7; 16],
    };
    let ended = Change::GrantEnded { grant: GrantId(1) };
    for bytes in [
        encode(&genesis).unwrap(),
        encode(&exposure).unwrap(),
        change_bytes(&[7; 16], ChangeId(3), &ended),
    ] {
        assert!(
            page.contains(&hex(&bytes)),
            "not in docs/format/record.md: {}",
            hex(&bytes)
        );
    }
}
