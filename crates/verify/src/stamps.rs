//! Time stamps (RFC 3161) of the root log: docs/format/logs.md "Time stamps".
//!
//! Each token is checked against an authority that the client trusts, its note against the log's
//! keys, the note's tree against the root log that was just verified, its time against the newest
//! leaf that it covers. The index that lists them is a guide and not believed: what it says of a
//! token is compared with the token, and renewals are over the index itself.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;

use aws_lc_rs::digest::{Context, SHA256};
use stamp::{
    INDEX, INDEX_BYTES_MAX, Index, Line, Over, Roots, Stamp, TOKEN_BYTES_MAX, TOLERANCE_MS, Token,
    sha256,
};
use tlog::{
    Bundle, Checkpoint, Note, ProofError, Tile, TileSource, VerifierKey, consistency_proof,
    inclusion_proof, leaf_hash, verify_consistency, verify_inclusion,
};

use crate::check::cosigned::{self, Cosigned};
use crate::check::reader::taken;
use crate::check::{Checked, Question, unsigned_head};
use crate::entry::RootLeaf;
use crate::keys::KeyList;
use crate::places::{self, BUNDLE_BYTES_MAX, NOTE_BYTES_MAX, Tree, hex};
use crate::problem::{Problem, Problems, Severity};
use crate::state::{Head, StampsSeen};
use crate::store::{Store, StoreError};
use crate::time::{At, Span};

const TILE_BYTES_MAX: u64 = 256 * 32;
/// Files kept in memory: proofs of sizes that ascend need the same ones again.
const CACHED_MAX: usize = 64;

/// What was checked, and what it proves.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Stamped {
    /// Tokens that the index lists.
    pub stamps: u64,
    /// Tokens that were read now; the others were read earlier.
    pub checked: u64,
    /// Who made the newest.
    pub authority: String,
    /// What still is proven.
    pub proven: Option<Proven>,
}

/// Up to when existence is proven by an authority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Proven {
    /// So many leaves of the root log existed.
    pub leaves: u64,
    /// At this time, ms.
    pub at_ms: u64,
    /// This is proven until then, ms; longer if it is stamped again before.
    pub until_ms: u64,
}

/// Checks the time stamps beside a log that was just checked; adds problems and what to remember.
/// `None` if there is nothing to say of them.
pub fn check(
    question: Question<'_>,
    roots: Option<&Roots>,
    checked: &mut Checked,
) -> Option<Stamped> {
    let promised = question.key_file.timestamps.as_ref();
    let generation = question.key_file.generation;
    let remembered = question.remembered;
    let remembered = remembered.filter(|it| it.generation == generation);
    let seen = remembered.and_then(|it| it.stamps.as_ref());
    let problems = &mut checked.problems;
    let found = question.store.read(INDEX, INDEX_BYTES_MAX);
    if matches!(found, Ok(None)) {
        if let Some(seen) = seen {
            let lines = seen.lines;
            problems.add(Problem::StampsRewritten { lines });
            checked.remember = None;
        } else if let Some(promised) = promised {
            let max = Span(promised.ms_max);
            problems.add(Problem::NeverStamped { max });
        } else if roots.is_some() {
            problems.add(Problem::StampsAbsent {});
        }
        return None;
    }
    let bytes = taken(INDEX, found, problems)?;
    let count = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    let Some(roots) = roots else {
        problems.add(Problem::StampsUnchecked { count });
        return None;
    };
    let (Some(remember), Some(keys)) = (&mut checked.remember, &checked.keys) else {
        problems.add(Problem::StampsLater { count });
        return None;
    };
    let before = bad(problems);
    let mut look = Look::new(question, keys, &remember.root, roots, problems);
    let answer = look.index(&bytes, seen);
    if bad(problems) > before {
        checked.remember = None;
        return None;
    }
    let (stamped, seen) = answer?;
    remember.stamps = Some(seen);
    let newest = stamped.proven.map(|it| it.at_ms);
    if let (Some(promised), Some(since), Some(leaf)) = (promised, newest, checked.summary.newest_ms)
        && leaf.saturating_sub(since) > promised.ms_max
    {
        problems.add(Problem::Unstamped {
            since: At(since),
            age: Span(leaf - since),
            max: Span(promised.ms_max),
        });
    }
    Some(stamped)
}

fn bad(problems: &Problems) -> u64 {
    problems.count(Severity::Wrong) + problems.count(Severity::Incomplete)
}

struct Look<'a> {
    question: Question<'a>,
    keys: &'a KeyList,
    head: &'a Head,
    roots: &'a Roots,
    problems: &'a mut Problems,
    files: Files<'a>,
    root_keys: Vec<VerifierKey>,
    of_before: u64,
    newest_of_before: bool,
}

impl<'a> Look<'a> {
    fn new(
        question: Question<'a>,
        keys: &'a KeyList,
        head: &'a Head,
        roots: &'a Roots,
        problems: &'a mut Problems,
    ) -> Self {
        let key_file = question.key_file;
        let mut root_keys = keys.verifiers(key_file, Tree::Root);
        root_keys.extend(key_file.policy.witnesses().iter().map(|it| it.key.clone()));
        Self {
            question,
            keys,
            head,
            roots,
            problems,
            files: Files {
                store: question.store,
                read: RefCell::default(),
            },
            root_keys,
            of_before: 0,
            newest_of_before: false,
        }
    }

    /// All lines; those that were seen before are not read again, but for the newest.
    fn index(&mut self, bytes: &[u8], seen: Option<&StampsSeen>) -> Option<(Stamped, StampsSeen)> {
        let index = match read_index(bytes) {
            Ok(index) => index,
            Err(why) => {
                self.problems.add(Problem::StampIndex { why });
                return None;
            }
        };
        let roots = hex(&self.roots.digest());
        let again = self.question.whole;
        let known = seen.filter(|seen| seen.roots == roots && !again);
        let known = known.map_or(0, |seen| seen.lines);
        let shown = self.shown(&index);
        let lines = &index.lines()[..shown];
        let newest = lines
            .iter()
            .rposition(|it| matches!(it.over, Over::Checkpoint(_)));
        self.gaps(lines, known);
        let (mut running, mut checked, mut authority) = (Context::new(&SHA256), 0, None);
        let mut before = running.clone();
        for (number, line) in lines.iter().enumerate() {
            if (number as u64) >= known || Some(number) == newest {
                checked += 1;
                let before = self.of_before;
                let stamp = self.line(line, &running);
                self.newest_of_before |= Some(number) == newest && self.of_before > before;
                authority = stamp.map(|it| it.authority).or(authority);
            }
            running.update(line.to_string().as_bytes());
            if seen.is_some_and(|seen| seen.lines == number as u64 + 1) {
                before = running.clone();
            }
        }
        if let Some(seen) = seen
            && hex(before.finish().as_ref()) != seen.index
        {
            let lines = seen.lines;
            self.problems.add(Problem::StampsRewritten { lines });
        }
        let stamped = Stamped {
            stamps: shown as u64,
            checked,
            authority: authority.unwrap_or_default(),
            proven: self.proven(&index, shown, (newest, known == 0)),
        };
        if self.of_before > 0 {
            let count = self.of_before;
            self.problems.add(Problem::StampsOfBefore { count });
        }
        let seen = StampsSeen {
            lines: shown as u64,
            index: hex(running.finish().as_ref()),
            roots,
        };
        Some((stamped, seen))
    }

    /// Names each time between two stamps that is longer than promised, but for those that were seen.
    fn gaps(&mut self, lines: &[Line], known: u64) {
        let Some(promised) = &self.question.key_file.timestamps else {
            return;
        };
        let max = promised.ms_max;
        let stamps = (0_u64..).zip(lines);
        let stamps = stamps.filter(|(_, it)| matches!(it.over, Over::Checkpoint(_)));
        let mut before = None;
        for (number, Line { time_ms, .. }) in stamps {
            if let Some(from) = before.replace(*time_ms)
                && number >= known
                && time_ms.saturating_sub(from) > max
            {
                self.problems.add(Problem::StampGap {
                    from: At(from),
                    to: At(*time_ms),
                    age: Span(time_ms - from),
                    max: Span(max),
                });
            }
        }
    }

    /// How many lines are of the log as it is shown: a server may have published more while it was
    /// read.
    fn shown(&mut self, index: &Index) -> usize {
        let has = self.head.size;
        let ahead = |it: &Line| matches!(it.over, Over::Checkpoint(size) if size > has);
        let Some(first) = index.lines().iter().position(ahead) else {
            return index.lines().len();
        };
        let path = places::checkpoint(Tree::Root);
        let again = self.question.store.read(&path, NOTE_BYTES_MAX);
        let now = again.ok().flatten().and_then(|note| unsigned_head(&note));
        let size = index.size().unwrap_or(0);
        if now.is_none_or(|now| now.size < size) {
            let path = index.lines()[first].over.token();
            self.problems.add(Problem::StampedMore { path, size, has });
        }
        first
    }

    /// What is proven at the local time; says what is not any more.
    ///
    /// An earlier generation's stamp proves nothing of this log: without knowing of each line whose
    /// it is, only the newest, which was read, counts.
    fn proven(
        &mut self,
        index: &Index,
        shown: usize,
        (newest, all_read): (Option<usize>, bool),
    ) -> Option<Proven> {
        let until = index.proven_until();
        let lines = index.lines()[..shown].iter().zip(until);
        let now = self.question.now_ms;
        let mut expired = lines.clone().filter(|(_, until_ms)| *until_ms <= now);
        if let Some((first, until_ms)) = expired.next() {
            self.problems.add(Problem::StampsExpired {
                count: 1 + expired.count() as u64,
                first: first.over.token(),
                until: At(until_ms),
            });
        }
        let all_ours = all_read && self.of_before == 0;
        let valid = lines.enumerate().rev().find_map(|(at, (line, until_ms))| {
            let counts = all_ours || Some(at) == newest && !self.newest_of_before;
            match line.over {
                Over::Checkpoint(leaves) if until_ms > now => {
                    Some((counts, leaves, line.time_ms, until_ms))
                }
                _ => None,
            }
        });
        valid
            .filter(|it| it.0)
            .map(|(_, leaves, at_ms, until_ms)| Proven {
                leaves,
                at_ms,
                until_ms,
            })
    }

    /// One token. `before`: the hash so far of the lines before its line.
    fn line(&mut self, line: &Line, before: &Context) -> Option<Stamp> {
        let path = line.over.token();
        let note = match line.over.note() {
            Some(path) => {
                let found = self.question.store.read(&path, NOTE_BYTES_MAX);
                Some(taken(&path, found, self.problems)?)
            }
            None => None,
        };
        let subject = match &note {
            Some(note) => sha256(note),
            None => {
                let digest = before.clone().finish();
                digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
            }
        };
        let found = self.question.store.read(&path, TOKEN_BYTES_MAX as u64);
        let token = taken(&path, found, self.problems)?;
        let stamp = Token::parse(&token).and_then(|it| it.check(&subject, None, self.roots));
        let stamp = match stamp {
            Ok(stamp) => stamp,
            Err(why) => {
                let why = why.to_string();
                self.problems.add(Problem::StampToken { path, why });
                return None;
            }
        };
        let listed = (line.time_ms, line.until_ms, line.digest);
        if listed != (stamp.time_ms, stamp.until_ms, sha256(&token)) {
            self.problems.add(Problem::StampListed { path });
            return None;
        }
        if let (Some(note), Over::Checkpoint(size)) = (note, line.over) {
            self.note(&note, size, &stamp, &line.over);
        }
        Some(stamp)
    }

    /// The checkpoint that was stamped: signed, of the size, of this log, and of that time.
    fn note(&mut self, note: &[u8], size: u64, stamp: &Stamp, over: &Over) {
        let key_file = self.question.key_file;
        let path = over.note().unwrap_or_default();
        let opened = match cosigned::open(note, &path, &self.root_keys, key_file) {
            Ok((checkpoint, opened)) if checkpoint.origin() == key_file.origin(Tree::Root) => {
                opened
            }
            Ok((checkpoint, _)) => {
                let why = format!("it is of another log: {}", checkpoint.origin());
                return self.problems.add(Problem::StampNote { path, why });
            }
            Err(_) if self.is_of_before(note) => {
                self.of_before += 1;
                return;
            }
            Err(why) => return self.problems.add(Problem::StampNote { path, why }),
        };
        if opened.size != size {
            let why = format!("it is of {} leaves", opened.size);
            return self.problems.add(Problem::StampNote { path, why });
        }
        match self.is_past(&opened) {
            Ok(true) => {}
            Ok(false) => return self.problems.add(Problem::StampForked { path, size }),
            Err(problem) => return self.problems.add(problem),
        }
        let leaf = match self.leaf(size - 1) {
            Ok(Some(leaf)) => leaf.times.wall_ms,
            Ok(None) => return self.problems.add(Problem::StampForked { path, size }),
            Err(problem) => return self.problems.add(problem),
        };
        let mut signers = opened.signers.iter().filter_map(|it| self.keys.find(it));
        if !signers.any(|key| key.counts(leaf, leaf, false)) {
            let (tree, at) = (Tree::Root, At(leaf));
            self.problems.add(Problem::KeySpan { tree, size, at });
        }
        if stamp.time_ms.abs_diff(leaf) > TOLERANCE_MS {
            self.problems.add(Problem::StampTime {
                path: over.token(),
                at: At(stamp.time_ms),
                leaf: At(leaf),
            });
        }
    }

    /// Whether a note says of itself that it is of an earlier generation of this ledger.
    fn is_of_before(&self, note: &[u8]) -> bool {
        let key_file = self.question.key_file;
        let note = Note::parse(note).ok();
        let Some(checkpoint) = note.and_then(|note| Checkpoint::parse(note.text()).ok()) else {
            return false;
        };
        (1..key_file.generation).any(|generation| {
            places::origin(&key_file.ledger, generation, Tree::Root) == checkpoint.origin()
        })
    }

    /// Whether the tree of a checkpoint is the past of the root log that was verified.
    fn is_past(&self, opened: &Cosigned) -> Result<bool, Problem> {
        let (size, head) = (opened.size, self.head);
        let proof = consistency_proof(&self.files, size, head.size).map_err(unread)?;
        let (root, new) = (&opened.root, &head.root);
        Ok(size > 0 && verify_consistency(size, root, head.size, new, &proof).is_ok())
    }

    /// A leaf of the root log; `None` if it is not in the tree that was verified.
    fn leaf(&self, index: u64) -> Result<Option<RootLeaf>, Problem> {
        let head = self.head;
        let Some(bundle) = Bundle::holding(index, head.size) else {
            return Ok(None);
        };
        let (path, full) = (
            places::tiles(Tree::Root, bundle),
            places::tiles(Tree::Root, bundle.full()),
        );
        let bytes = self
            .files
            .either(&path, &full, BUNDLE_BYTES_MAX)
            .map_err(|why| Problem::Unreachable { path, why })?;
        let entry = tlog::bundle::entries(&bytes).nth((index % 256) as usize);
        let Some(entry) = entry.and_then(Result::ok) else {
            return Ok(None);
        };
        let proof = inclusion_proof(&self.files, head.size, index).map_err(unread)?;
        let there = verify_inclusion(&leaf_hash(entry), index, head.size, &proof, &head.root);
        Ok(RootLeaf::parse(entry).ok().filter(|_| there.is_ok()))
    }
}

fn read_index(bytes: &[u8]) -> Result<Index, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    Index::parse(text).map_err(|error| error.to_string())
}

fn unread(error: ProofError<String>) -> Problem {
    Problem::Unreachable {
        path: "root/tile".into(),
        why: error.to_string(),
    }
}

/// Files of the root log, those that were read last in memory.
struct Files<'a> {
    store: &'a dyn Store,
    read: RefCell<VecDeque<(String, Vec<u8>)>>,
}

impl Files<'_> {
    /// A partial file, or what it has become.
    fn either(&self, path: &str, full: &str, max: u64) -> Result<Vec<u8>, String> {
        let known = |it: &(String, Vec<u8>)| it.0 == path || it.0 == full;
        if let Some((_, bytes)) = self.read.borrow().iter().find(|it| known(it)) {
            return Ok(bytes.clone());
        }
        let failed = |error: StoreError| error.to_string();
        let (mut name, mut found) = (path, self.store.read(path, max).map_err(failed)?);
        if found.is_none() {
            (name, found) = (full, self.store.read(full, max).map_err(failed)?);
        }
        let bytes = found.ok_or_else(|| format!("{path} is missing"))?;
        let mut read = self.read.borrow_mut();
        if read.len() == CACHED_MAX {
            read.pop_front();
        }
        read.push_back((name.to_owned(), bytes.clone()));
        Ok(bytes)
    }
}

impl TileSource for &Files<'_> {
    type Error = String;

    fn tile(&self, tile: Tile) -> Result<Cow<'_, [u8]>, String> {
        let path = places::tiles(Tree::Root, tile);
        let full = places::tiles(Tree::Root, tile.full());
        self.either(&path, &full, TILE_BYTES_MAX).map(Cow::Owned)
    }
}
