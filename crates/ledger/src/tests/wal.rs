//! Segments: torn tails, corruption, space.

use super::{Rig, TestClock, bodies, entries};
use crate::frame::{Found, SEGMENT_HEADER, SegmentHeader, look};
use crate::sim::Sim;
use crate::wal::segment_name;
use crate::{LedgerError, Refusal};

/// A ledger of three segments or more, stopped in order.
fn written() -> Sim {
    let mut rig = Rig::new();
    rig.propose(super::numbers(100_000)).unwrap();
    for batch in 0..6_u64 {
        let ask = rig.batch((0..200).map(|n| (1, batch * 1000 + n)));
        rig.append(ask).unwrap();
    }
    rig.core.stop();
    assert!(rig.sim.bytes(&segment_name(3)).len() == 16 << 10);
    rig.sim
}

fn open(sim: &Sim) -> Result<u64, LedgerError> {
    Rig::open(sim, &TestClock::new()).map(|(_, report)| report.tail_cut)
}

#[test]
fn a_flipped_bit_below_what_was_durable_is_located() {
    let sim = written();
    for segment in 1..=3 {
        let sim = sim.after(crate::sim::Crash::Kept);
        sim.alter(&segment_name(segment), |bytes| {
            bytes[SEGMENT_HEADER + 100] ^= 4
        });
        match open(&sim) {
            Err(LedgerError::Corruption {
                segment: found,
                offset,
                ..
            }) => {
                assert_eq!((found, offset), (segment, SEGMENT_HEADER as u64));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Where the frames of a segment begin, and where the last one ends.
fn borders(bytes: &[u8]) -> Vec<usize> {
    let seed = SegmentHeader::decode(bytes).unwrap().seed();
    let mut borders = vec![SEGMENT_HEADER];
    let mut at = SEGMENT_HEADER;
    while let Found::Frame(frame) = look(&bytes[at..], seed) {
        at += frame.len;
        borders.push(at);
    }
    borders
}

/// Header, record, list, root frame, or the zeros behind: found, and located at its frame.
#[test]
fn a_flipped_bit_anywhere_is_found_and_located() {
    let sim = written();
    let last = crate::io::Io::list(&sim).unwrap().len() as u32;
    let mut last_frame = 0;
    for number in 1..=last {
        let name = segment_name(number);
        let borders = borders(&sim.bytes(&name));
        let end = *borders.last().unwrap();
        let size = sim.bytes(&name).len();
        for at in (0..end).step_by(37).chain((end..size).step_by(997)) {
            let left = sim.after(crate::sim::Crash::Kept);
            left.alter(&name, |bytes| bytes[at] ^= 1 << (at % 8));
            let frame = borders.iter().rev().find(|border| **border <= at);
            let due = frame.map_or(0, |border| *border as u64);
            match open(&left) {
                Err(LedgerError::Corruption {
                    segment, offset, ..
                }) => assert_eq!((segment, offset), (number, due), "at {at}"),
                // The root frame that ends the log, which nothing tells, and what follows: cut.
                Ok(cut) if number == last && at >= borders[borders.len() - 2] => {
                    assert!(cut > 0, "at {at}");
                    last_frame += 1;
                }
                other => panic!("segment {number} at {at}: {other:?}"),
            }
        }
    }
    assert!(last_frame > 5, "{last_frame}");
}

#[test]
fn every_byte_of_the_first_segment_counts() {
    let sim = written();
    let name = segment_name(1);
    let length = sim.bytes(&name).len();
    let end = length
        - sim
            .bytes(&name)
            .iter()
            .rev()
            .take_while(|byte| **byte == 0)
            .count();
    for at in (0..end).step_by(37) {
        let sim = sim.after(crate::sim::Crash::Kept);
        sim.alter(&name, |bytes| bytes[at] ^= 0x10);
        assert!(
            matches!(open(&sim), Err(LedgerError::Corruption { segment: 1, .. })),
            "byte {at}"
        );
    }
}

#[test]
fn a_tail_beyond_what_was_told_is_cut_and_counted() {
    let mut rig = Rig::new();
    let before = bodies(&rig.sim).len();
    let ask = rig.batch([(1, 1)]);
    rig.append(ask).unwrap();
    let sim = rig.sim.clone();
    // Nothing after this frame tells that it is durable: the ambiguous last batch.
    let end = usize::try_from(rig.core.wal.durable().offset).unwrap();
    drop(rig);
    sim.alter(&segment_name(1), |bytes| bytes[end - 20] ^= 1);
    let cut = open(&sim).unwrap();
    assert!(cut > 0);
    assert!(entries(&sim).len() >= before);
    assert!(super::recorded(&sim).is_empty());
}

#[test]
fn a_heartbeat_makes_the_last_batch_certain() {
    let mut rig = Rig::new();
    let ask = rig.batch([(1, 1)]);
    rig.append(ask).unwrap();
    let end = usize::try_from(rig.core.wal.durable().offset).unwrap();
    rig.clock.pass(1000);
    rig.core.tick();
    let syncs = rig.sim.syncs();
    rig.clock.pass(1000);
    rig.core.tick();
    assert_eq!(
        rig.sim.syncs(),
        syncs,
        "nothing moved since: no second heartbeat"
    );
    let sim = rig.sim.clone();
    drop(rig);
    assert_eq!(super::recorded(&sim).len(), 1, "and the reader shows it");
    sim.alter(&segment_name(1), |bytes| bytes[end - 20] ^= 1);
    assert!(matches!(
        open(&sim),
        Err(LedgerError::Corruption { segment: 1, .. })
    ));
}

#[test]
fn frames_of_before_a_recovery_do_not_verify_after_it() {
    let sim = written();
    let name = segment_name(1);
    let before = SegmentHeader::decode(&sim.bytes(&segment_name(3))).unwrap();
    let first = SegmentHeader::decode(&sim.bytes(&name)).unwrap();
    assert_ne!(first.seed(), before.seed());
    // The same frames under another epoch.
    sim.alter(&name, |bytes| {
        let header = SegmentHeader {
            epoch: first.epoch + 7,
            ..first
        };
        bytes[..SEGMENT_HEADER].copy_from_slice(&header.encode());
    });
    assert!(matches!(
        open(&sim),
        Err(LedgerError::Corruption { segment: 1, .. })
    ));
}

#[test]
fn a_missing_or_foreign_segment_is_named() {
    let sim = written();
    crate::io::Io::remove(&sim, &segment_name(2)).unwrap();
    assert!(matches!(
        open(&sim),
        Err(LedgerError::Corruption { segment: 2, .. })
    ));
    let sim = written();
    let bytes = sim.bytes(&segment_name(3));
    sim.alter(&segment_name(2), |old| *old = bytes);
    assert!(matches!(
        open(&sim),
        Err(LedgerError::Corruption { segment: 2, .. })
    ));
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let mut rig = Rig::new();
    rig.propose(super::numbers(100_000)).unwrap();
    rig.sim.set_full(true);
    let mut subject = 0;
    let mut released = 0;
    let refusal = loop {
        let ask = rig.batch((subject..subject + 100).map(|n| (1, n)));
        match rig.append(ask) {
            Ok(paid) => released += paid.rows,
            Err(refusal) => break refusal,
        }
        subject += 100;
        assert!(subject < 10_000);
    };
    assert!(matches!(&refusal, Refusal::NoSpace(_)), "{refusal}");
    assert!(
        refusal.to_string().starts_with("ledger: no space"),
        "{refusal}"
    );
    assert!(rig.core.alive().is_ok(), "no sync failed");
    rig.sim.set_full(false);
    let ask = rig.batch((subject..subject + 100).map(|n| (1, n)));
    released += rig.append(ask).unwrap().rows;
    rig.core.stop();
    assert_eq!(super::recorded(&rig.sim).len(), released);
}

#[test]
fn a_batch_longer_than_a_segment_is_refused() {
    let mut rig = Rig::new();
    let ask = rig.batch((0..1000).map(|n| (1, n)));
    assert!(matches!(rig.append(ask), Err(Refusal::TooLarge { .. })));
}

#[test]
fn times_never_go_back() {
    let mut rig = Rig::new();
    for step in 0..4_u64 {
        let ask = rig.batch([(1, step)]);
        rig.append(ask).unwrap();
        rig.clock
            .wall_ms
            .fetch_sub(10_000, std::sync::atomic::Ordering::Relaxed);
    }
    rig.core.stop();
    let entries = entries(&rig.sim);
    assert!(entries.is_sorted_by_key(|entry| (entry.wall_ms, entry.elapsed_ms)));
    assert!(entries.is_sorted_by(|a, b| a.sequence + 1 == b.sequence));
}
