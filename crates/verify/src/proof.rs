//! The offline proof of one entry (docs/format/logs.md "Proof of one entry"): one file, a key file,
//! no network. Pure.

use base64_simd::STANDARD;
use event::record::{Body, decode};
use event::{ClientId, LogId};
use tlog::verify_inclusion;
use tlog::{Checkpoint, Opened, TlogProof, TlogProofVerifyError, VerifierKey, leaf_hash};

use crate::entry::{Entry, RootLeaf, SlotProof, Times};
use crate::key::KeyFile;
use crate::keys::KeyList;
use crate::places::Tree;

/// The longest proof file, in bytes.
pub const PROOF_FILE_BYTES_MAX: u64 = 4 << 20;

const FIRST: &str = "sekisho proof 1";
const TLOG_PROOF: &str = "c2sp.org/tlog-proof@v1\n";

/// A proof, not verified yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProofFile {
    log: LogId,
    entry: Vec<u8>,
    slot: u32,
    slot_proof: Vec<u8>,
    leaf: Vec<u8>,
    keys: Vec<u8>,
    own: TlogProof,
    root: TlogProof,
}

/// Why a text is no proof, or a proof proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofFileError {
    /// Not one.
    #[error("this is no proof: line {line} is not {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What should be there.
        what: &'static str,
    },
    /// One of the two C2SP proofs in it does not parse.
    #[error("this is no proof: {0}")]
    Inner(String),
    /// Of another log.
    #[error("the proof is of log {0}, not of the one in your key file")]
    OtherLog(Tree),
    /// It does not hold.
    #[error("the proof does not hold: {0}")]
    Fails(String),
}

/// What a proof proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// The entry's place in its log.
    pub index: u64,
    /// Its times.
    pub times: Times,
    /// What it says.
    pub body: Body,
    /// The root leaf that covers it.
    pub leaf: u64,
    /// That leaf's times.
    pub leaf_times: Times,
    /// Names of the witnesses in the key file that cosigned, with the time in seconds.
    pub cosigned: Vec<(String, u64)>,
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode_to_vec(text).ok()?;
    (STANDARD.encode_to_string(&bytes) == text).then_some(bytes)
}

fn log(text: &str) -> Option<LogId> {
    if text == "centre" {
        return Some(LogId::Centre);
    }
    let number = text.strip_prefix("client/")?;
    let client = number.parse().ok().and_then(ClientId::new)?;
    (client.to_string() == number).then_some(LogId::Client(client))
}

impl ProofFile {
    /// Reads a proof.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, ProofFileError> {
        let mut rest = text;
        let mut line = 0;
        let mut next = |word: &str, what: &'static str| {
            line += 1;
            let error = ProofFileError::Line { line, what };
            let (this, after) = rest.split_once('\n').ok_or(error.clone())?;
            rest = after;
            let value = this.strip_prefix(word).ok_or(error.clone())?;
            Ok((value, error))
        };
        let (first, error) = next(FIRST, "`sekisho proof 1`")?;
        first.is_empty().then_some(()).ok_or(error)?;
        let (value, error) = next("log ", "`log` and a log")?;
        let log = log(value).ok_or(error)?;
        let (value, error) = next("entry ", "`entry` and base64")?;
        let entry = base64(value).ok_or(error)?;
        let (value, error) = next("slot ", "`slot`, its number and base64")?;
        let (slot, slot_proof) = value
            .split_once(' ')
            .and_then(|(number, proof)| {
                let slot: u32 = number
                    .parse()
                    .ok()
                    .filter(|it: &u32| it.to_string() == number)?;
                Some((slot, base64(proof)?))
            })
            .ok_or(error)?;
        let (value, error) = next("leaf ", "`leaf` and base64")?;
        let leaf = base64(value).ok_or(error)?;
        let (value, error) = next("keys ", "`keys` and base64")?;
        let keys = base64(value).ok_or(error)?;
        let what = "the first of two C2SP tlog-proofs";
        let inner = ProofFileError::Line {
            line: line + 1,
            what,
        };
        let after = rest.strip_prefix(TLOG_PROOF).ok_or(inner.clone())?;
        let second = after.find(&format!("\n{TLOG_PROOF}")).ok_or(inner)?;
        let (own, root) = rest.split_at(TLOG_PROOF.len() + second + 1);
        let read = |text: &str| {
            TlogProof::parse(text.as_bytes())
                .map_err(|error| ProofFileError::Inner(error.to_string()))
        };
        let (own, root) = (read(own)?, read(root)?);
        if !own.extra.is_empty() || !root.extra.is_empty() {
            return Err(ProofFileError::Inner(
                "it has extra data, which nothing proves".into(),
            ));
        }
        Ok(Self {
            log,
            entry,
            slot,
            slot_proof,
            leaf,
            keys,
            own,
            root,
        })
    }

    /// Checks everything: identity, keys, signatures, cosignatures, both inclusions, the slot.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(&self, key_file: &KeyFile) -> Result<Proven, ProofFileError> {
        let fails = |why: &dyn std::fmt::Display| ProofFileError::Fails(why.to_string());
        if self.log != key_file.log {
            return Err(ProofFileError::OtherLog(Tree::Log(self.log)));
        }
        let keys = KeyList::open(&self.keys, key_file)
            .map_err(|error| fails(&format!("its list of log keys: {error}")))?;
        let entry = Entry::parse(&self.entry).map_err(|error| fails(&error))?;
        let leaf = RootLeaf::parse(&self.leaf).map_err(|error| fails(&error))?;
        let slot = SlotProof::parse(&self.slot_proof).map_err(|error| fails(&error))?;

        let tree = key_file.tree();
        let own_keys = keys.verifiers(key_file, tree);
        let opened = open(&self.own, &own_keys).map_err(|error| fails(&error))?;
        in_use(&keys, &opened, leaf.times.wall_ms).map_err(|error| fails(&error))?;
        let head = opened.checkpoint.head();
        let hash = leaf_hash(&self.entry);
        verify_inclusion(
            &hash,
            self.own.index,
            head.size,
            &self.own.hashes,
            &head.root,
        )
        .map_err(|error| fails(&error))?;
        if (slot.size, slot.root) != (head.size, head.root) {
            return Err(fails(&"the root leaf commits to another head of the log"));
        }
        if key_file.slot.is_some_and(|due| due != self.slot) {
            return Err(fails(&"it is of another slot than your log's"));
        }
        if !slot.holds(&leaf, self.slot, key_file.log.number()) {
            return Err(fails(&"the slot proof does not lead to the root leaf"));
        }
        if entry.times.wall_ms > leaf.times.wall_ms {
            return Err(fails(&"the entry is newer than the root leaf over it"));
        }
        let cosigned = root_holds(&self.root, &self.leaf, &keys, key_file, leaf.times)
            .map_err(|error| fails(&error))?;
        let body = decode(entry.record).map_err(|error| fails(&error))?;
        Ok(Proven {
            index: self.own.index,
            times: entry.times,
            body,
            leaf: self.root.index,
            leaf_times: leaf.times,
            cosigned,
        })
    }
}

fn open<'k>(proof: &TlogProof, keys: &'k [VerifierKey]) -> Result<Opened<'k>, String> {
    Checkpoint::open(&proof.checkpoint, keys).map_err(|error| error.to_string())
}

/// A key that signed was in use at a root leaf's time, or began later: what is proven may be newer.
fn in_use(keys: &KeyList, opened: &Opened<'_>, wall_ms: u64) -> Result<(), String> {
    let signers = opened.signatures.iter().filter(|it| it.time.is_none());
    let mut listed = signers.filter_map(|it| keys.find(it.key.public()));
    if listed.any(|key| key.counts(wall_ms, wall_ms, true)) {
        return Ok(());
    }
    Err("it is signed by a log key that was out of use by then".into())
}

/// A C2SP tlog-proof of a root leaf, cosigned by a quorum of the key file's witnesses. Gives who
/// cosigned.
///
/// # Errors
/// What does not hold.
pub fn root_holds(
    proof: &TlogProof,
    leaf: &[u8],
    keys: &KeyList,
    key_file: &KeyFile,
    times: Times,
) -> Result<Vec<(String, u64)>, String> {
    let log_keys = keys.verifiers(key_file, Tree::Root);
    let policy = &key_file.policy;
    let head = proof
        .verify(&leaf_hash(leaf), &log_keys, policy)
        .map_err(|error: TlogProofVerifyError| format!("root log: {error}"))?;
    let opened = open(proof, &log_keys)?;
    in_use(keys, &opened, times.wall_ms)?;
    let name = |key: &VerifierKey| policy.witnesses().iter().find(|it| it.key == *key);
    let cosigned = head.cosigned.iter();
    Ok(cosigned
        .filter_map(|(key, time)| Some((name(key)?.name.clone(), *time)))
        .collect())
}
