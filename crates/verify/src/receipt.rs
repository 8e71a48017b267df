//! Receipts: signed promises of a log position (docs/format/receipt.md), matched against a log. Pure.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64_simd::STANDARD;
use tlog::{Hash, leaf_hash};

use crate::check::{Seen, Visit};
use crate::key::KeyFile;
use crate::keys::KeyList;
use crate::time::At;

/// The longest file of receipts, in bytes.
pub const RECEIPTS_BYTES_MAX: u64 = 256 << 20;
/// What a receipt's signature begins with.
const DOMAIN: &[u8] = b"sekisho receipt v1\0";

/// A receipt.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The log's origin.
    pub log: String,
    /// The entry's place.
    pub index: u64,
    /// The entry's leaf hash, base64.
    pub leaf: String,
    /// The entry's wall clock, ms.
    pub wall_ms: u64,
    /// By when a checkpoint must show it, ms.
    pub shown_by_ms: u64,
    /// Ed25519 by a log key, base64.
    pub signature: String,
}

/// A line that is no receipt.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line} is no receipt: {why}")]
pub struct ReceiptError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

/// What is wrong with a receipt, or with the log by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// Of another log.
    OtherLog,
    /// Not signed by a log key of the list that was in use.
    Signature,
    /// Another entry stands there.
    OtherEntry,
    /// The entry there has another time.
    OtherTime,
    /// The time by which it had to be there has passed.
    Absent,
}

/// A receipt and its line.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    line: usize,
    receipt: Receipt,
    found: Option<Result<(), Mismatch>>,
}

/// Receipts while the log is read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Receipts {
    by_index: BTreeMap<u64, Vec<Held>>,
}

/// What became of the receipts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Matched {
    /// The log holds exactly what was promised.
    pub held: u64,
    /// Not there, and not due yet.
    pub not_due: u64,
    /// Promised for a time that is over; the log that is shown ends before it. Line and index.
    pub overdue: Vec<(usize, u64)>,
    /// What is wrong: line, index, what.
    pub wrong: Vec<(usize, u64, Mismatch)>,
}

impl Receipt {
    /// What is signed.
    pub fn message(&self) -> Option<Vec<u8>> {
        let leaf: Hash = self.leaf.parse().ok()?;
        let mut bytes = DOMAIN.to_vec();
        bytes.extend_from_slice(&u16::try_from(self.log.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(self.log.as_bytes());
        bytes.extend_from_slice(&self.index.to_be_bytes());
        bytes.extend_from_slice(leaf.as_bytes());
        bytes.extend_from_slice(&self.wall_ms.to_be_bytes());
        bytes.extend_from_slice(&self.shown_by_ms.to_be_bytes());
        Some(bytes)
    }

    fn signed(&self, keys: &KeyList) -> bool {
        let signature = STANDARD.decode_to_vec(&self.signature).ok();
        let Some((message, signature)) = self.message().zip(signature) else {
            return false;
        };
        let verifies = |public: &[u8; 32]| {
            signature.len() == 64
                && UnparsedPublicKey::new(&ED25519, public)
                    .verify(&message, &signature)
                    .is_ok()
        };
        let in_use = keys.keys.iter();
        in_use
            .filter(|key| key.counts(self.wall_ms, self.wall_ms, false))
            .any(|key| verifies(&key.public))
    }
}

impl Receipts {
    /// Reads JSON lines; empty lines are skipped.
    ///
    /// # Errors
    /// At the first line that is no receipt.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let mut it = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            if text.trim().is_empty() {
                continue;
            }
            let receipt: Receipt = serde_json::from_str(text).map_err(|error| ReceiptError {
                line,
                why: error.to_string(),
            })?;
            it.by_index.entry(receipt.index).or_default().push(Held {
                line,
                receipt,
                found: None,
            });
        }
        Ok(it)
    }

    fn look(&mut self, index: u64, leaf: &Hash, wall_ms: Option<u64>) {
        let Some(held) = self.by_index.get_mut(&index) else {
            return;
        };
        let leaf = leaf.to_string();
        for held in held {
            held.found = Some(if held.receipt.leaf != leaf {
                Err(Mismatch::OtherEntry)
            } else if wall_ms.is_some_and(|wall_ms| held.receipt.wall_ms != wall_ms) {
                Err(Mismatch::OtherTime)
            } else {
                Ok(())
            });
        }
    }

    /// What became of them, after the log was verified. `until`: how far it reaches; `now`: the local
    /// time.
    pub fn finish(self, key_file: &KeyFile, keys: &KeyList, until: At, now: At) -> Matched {
        let origin = key_file.origin(key_file.tree());
        let mut matched = Matched::default();
        for (index, held) in self.by_index {
            for held in held {
                let wrong = if held.receipt.log != origin {
                    Some(Mismatch::OtherLog)
                } else if !held.receipt.signed(keys) {
                    Some(Mismatch::Signature)
                } else {
                    match held.found {
                        Some(Ok(())) => {
                            matched.held += 1;
                            None
                        }
                        Some(Err(mismatch)) => Some(mismatch),
                        None if held.receipt.shown_by_ms <= until.0 => Some(Mismatch::Absent),
                        None if held.receipt.shown_by_ms <= now.0 => {
                            matched.overdue.push((held.line, index));
                            None
                        }
                        None => {
                            matched.not_due += 1;
                            None
                        }
                    }
                };
                matched.wrong.extend(wrong.map(|it| (held.line, index, it)));
            }
        }
        matched
    }
}

impl Visit for Receipts {
    fn record(&mut self, seen: &Seen<'_>) {
        if self.by_index.contains_key(&seen.index) {
            self.look(seen.index, &leaf_hash(seen.bytes), Some(seen.times.wall_ms));
        }
    }

    /// Only the hash is there: the time that the receipt says cannot be compared.
    fn absent(&mut self, index: u64, leaf: &Hash) {
        self.look(index, leaf, None);
    }
}
