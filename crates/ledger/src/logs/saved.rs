//! The saved state of the sequencer, so that a start derives only what came since. A cache: when it
//! is missing or does not verify, everything is derived again.
//!
//! Bytes: `sekisho logs 2\n`, ledger 16, segment 4, offset 4, bytes of heads 8, root, count 4 and for
//! each log its number 4 and tree; heads: count 4, each log 4, size 8, root 32; SHA-256 of all
//! before. A tree: edge with its length 4, unfinished bundle with its length 4, bytes of lists 8, minimum 8,
//! bundles below it removed up to 8.

use std::collections::BTreeMap;

use event::LogId;
use tlog::{Edge, Hash};

use super::sequence::{Grown, Sequencer};
use super::slots::{SaltKey, SlotHead};
use crate::frame::Mark;
use crate::list::sha256;

const MAGIC: &[u8; 15] = b"sekisho logs 2\n";

/// A sequencer's state and the place in the write-ahead log up to which it has folded.
pub(super) fn encode(ledger: &[u8; 16], at: Mark, sequencer: &Sequencer) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(ledger);
    out.extend_from_slice(&at.segment.to_be_bytes());
    out.extend_from_slice(&at.offset.to_be_bytes());
    out.extend_from_slice(&sequencer.heads_bytes.to_be_bytes());
    put_tree(&mut out, &sequencer.root);
    out.extend_from_slice(&(sequencer.logs.len() as u32).to_be_bytes());
    for (log, grown) in &sequencer.logs {
        out.extend_from_slice(&log.number().to_be_bytes());
        put_tree(&mut out, grown);
    }
    out.extend_from_slice(&(sequencer.heads.len() as u32).to_be_bytes());
    for head in &sequencer.heads {
        out.extend_from_slice(&head.log.to_be_bytes());
        out.extend_from_slice(&head.size.to_be_bytes());
        out.extend_from_slice(head.root.as_bytes());
    }
    let sum = sha256(&out);
    out.extend_from_slice(&sum.0);
    out
}

fn put_tree(out: &mut Vec<u8>, grown: &Grown) {
    let edge = grown.edge.to_bytes();
    for part in [&edge, &grown.bundle] {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
    for number in [grown.lists, grown.minimum, grown.removed] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// The inverse; `None` if it is of another ledger or does not verify.
pub(super) fn decode(bytes: &[u8], ledger: &[u8; 16], salt: SaltKey) -> Option<(Mark, Sequencer)> {
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if sha256(body).0 != *sum {
        return None;
    }
    let mut from = Bytes(body.strip_prefix(MAGIC)?.strip_prefix(ledger)?);
    let at = Mark {
        segment: from.u32()?,
        offset: from.u32()?,
    };
    let heads_bytes = from.u64()?;
    let root = from.tree()?;
    let mut logs = BTreeMap::new();
    for _ in 0..from.u32()? {
        logs.insert(LogId::from_number(from.u32()?)?, from.tree()?);
    }
    let mut heads = Vec::new();
    for _ in 0..from.u32()? {
        heads.push(SlotHead {
            log: from.u32()?,
            size: from.u64()?,
            root: Hash::from_slice(from.take(32)?)?,
        });
    }
    from.0.is_empty().then(|| {
        let sequencer = Sequencer::resume(salt, logs, root, heads, heads_bytes);
        (at, sequencer)
    })
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    fn tree(&mut self) -> Option<Grown> {
        let edge = self.u32()?;
        let edge = Edge::from_bytes(self.take(edge as usize)?).ok()?;
        let bundle = self.u32()?;
        Some(Grown {
            edge,
            bundle: self.take(bundle as usize)?.to_vec(),
            lists: self.u64()?,
            minimum: self.u64()?,
            removed: self.u64()?,
        })
    }
}
