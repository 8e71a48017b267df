//! The whole check of a client's (or auditor's) log: root log, slots and own log are read side by
//! side, each once and in order, so that memory does not grow with them.
//!
//! Nothing is believed but the key file. Its identity key signs the list of log keys; those sign
//! checkpoints; witnesses cosign root checkpoints; each root leaf commits to the own log's tree. Own
//! entries are read from the first on, each time; root leaves from where the last look ended.

pub(crate) mod cosigned;
mod coverage;
mod levels;
mod own;
pub(crate) mod reader;
mod root;
mod slots;
mod values;

use std::collections::BTreeMap;

use event::LogId;
use tlog::{Checkpoint, Note, TreeHead, VerifierKey};

use self::cosigned::Cosigned;
use self::coverage::Coverage;
use self::levels::Levels;
use self::own::{Heart, Own};
use self::reader::{LogReader, taken};
use self::values::Values;
use crate::entry::Times;
use crate::key::KeyFile;
use crate::keys::KeyList;
use crate::lang::Lang;
use crate::places::{self, KEYS, NOTE_BYTES_MAX, Tree};
use crate::problem::{Problem, Problems, Severity};
use crate::state::{Head, Remembered};
use crate::store::Store;
use crate::time::{At, Span};

pub use self::values::{Counts, Pruned, Seen, Visit};

/// What to check.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Whom to believe.
    pub key_file: &'a KeyFile,
    /// Where the files are.
    pub store: &'a dyn Store,
    /// What was verified before.
    pub remembered: Option<&'a Remembered>,
    /// Whether root leaves are read again from the first on, and not from where that ended.
    pub whole: bool,
    /// The local clock, ms since the Unix epoch.
    pub now_ms: u64,
    /// Whether the log has to be up to date; of a copy that is read later it only is said.
    pub current: bool,
}

/// What was checked, in numbers.
#[derive(Clone, Default, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Summary {
    /// Entries of the own log whose hashes were checked, from the first on.
    pub entries: u64,
    /// Of these, entries of which only the hash was there: by a declared minimum they are published
    /// no more.
    #[serde(skip_serializing_if = "is_zero")]
    pub unread: u64,
    /// Leaves of the root log.
    pub root_leaves: u64,
    /// From this leaf on they were read; those before were read earlier.
    pub root_from: u64,
    /// Slot proofs checked.
    pub slots: u64,
    /// Kept cosigned checkpoints checked.
    pub cosigned: u64,
    /// Root leaves that a quorum has cosigned.
    pub covered: u64,
    /// Times of the first entry and of the newest root leaf, ms.
    pub first_ms: Option<u64>,
    /// The newest root leaf's wall clock, ms.
    pub newest_ms: Option<u64>,
    /// What the records say.
    pub records: Counts,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What was found.
    pub problems: Problems,
    /// What was checked.
    pub summary: Summary,
    /// What to remember; `None` unless everything that was read holds.
    pub remember: Option<Remembered>,
    /// The list of log keys, if the identity signed it.
    pub keys: Option<KeyList>,
}

/// Why nothing could be checked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckError {
    /// No log there.
    #[error("there is no log here: neither `keys` nor `root/checkpoint`")]
    NotALog,
    /// Another ledger's.
    #[error("this is the log of another ledger ({0}), not of the one in your key file")]
    OtherLedger(String),
    /// Not this client's.
    #[error("there is no {0}/checkpoint here: it is not a copy of your log, or it was withheld")]
    NotYours(Tree),
}

impl CheckError {
    /// A sentence.
    pub fn say(&self, lang: Lang) -> String {
        match (self, lang) {
            (_, Lang::En) => self.to_string(),
            (Self::NotALog, Lang::Ja) => {
                "ここにログはありません（keys も root/checkpoint もありません）".into()
            }
            (Self::OtherLedger(other), Lang::Ja) => {
                format!("これは鍵ファイルの台帳ではなく、別の台帳（{other}）のログです")
            }
            (Self::NotYours(tree), Lang::Ja) => format!(
                "ここに {tree}/checkpoint がありません。あなたのログの写しではないか、隠されています"
            ),
        }
    }
}

impl Checked {
    /// Whether everything was checked and nothing is wrong. Notices there may be.
    pub fn is_verified(&self) -> bool {
        self.problems.worst() < Some(Severity::Incomplete)
    }
}

struct Check<'a> {
    question: Question<'a>,
    problems: Problems,
    summary: Summary,
    keys: KeyList,
    root_keys: Vec<VerifierKey>,
    coverage: Coverage,
    heart: Heart,
    /// Entries of the log in the newest leaf's slot, and the first leaf's time with that size.
    slot: (u64, u64),
    slots: u32,
    /// Wall clocks of the first and last leaf whose slot has the own checkpoint's size.
    at_head: Option<(u64, u64)>,
    /// How long the log was at the first root leaf of each month (yyyymm) that was read: entries from
    /// there on are of that month or later, whether they can be read or not.
    at_month: BTreeMap<u32, u64>,
    /// What was seen in an earlier generation.
    former: Option<&'a Remembered>,
}

/// Checks a log. `visit` is given each record whose hash holds; what it makes of them counts only if
/// [`Checked::is_verified`].
///
/// # Errors
/// If there is no such log.
pub fn check(
    question: Question<'_>,
    mut visit: &mut dyn FnMut(&Seen<'_>),
) -> Result<Checked, CheckError> {
    check_all(question, &mut visit)
}

/// The same; `visit` is given the hashes of entries that are published no more, too.
///
/// # Errors
/// If there is no such log.
pub fn check_all(question: Question<'_>, visit: &mut dyn Visit) -> Result<Checked, CheckError> {
    let mut problems = Problems::default();
    let mut question = question;
    let mut former = None;
    let (key_file, store) = (question.key_file, question.store);
    if let Some(remembered) = question.remembered
        && remembered.generation != key_file.generation
    {
        problems.add(Problem::NewGeneration {
            had: remembered.generation,
            has: key_file.generation,
        });
        former = question.remembered.take();
    }
    // The root checkpoint first: what is read after it is at least as new.
    let root_path = places::checkpoint(Tree::Root);
    let root_note = store.read(&root_path, NOTE_BYTES_MAX);
    let own_path = places::checkpoint(key_file.tree());
    let own_note = store.read(&own_path, NOTE_BYTES_MAX);
    let keys = store.read(KEYS, NOTE_BYTES_MAX);
    if matches!((&root_note, &keys), (Ok(None), Ok(None))) {
        return Err(CheckError::NotALog);
    }
    let keys = taken(KEYS, keys, &mut problems);
    let root_note = taken(&root_path, root_note, &mut problems);
    let keys = match keys {
        Some(bytes) => open_keys(&bytes, question, &mut problems)?,
        None => None,
    };
    if matches!(own_note, Ok(None)) {
        return Err(CheckError::NotYours(key_file.tree()));
    }
    let own_note = taken(&own_path, own_note, &mut problems);
    let (Some(keys), Some(root_note), Some(own_note)) = (keys, root_note, own_note) else {
        return Ok(Checked {
            problems,
            summary: Summary::default(),
            remember: None,
            keys: None,
        });
    };
    let mut it = Check::new(question, keys, problems);
    it.former = former;
    let checked = it.run(&root_note, &own_note, visit);
    Ok(Checked {
        remember: checked.and_then(|heads| it.remember(heads)),
        keys: Some(it.keys),
        problems: it.problems,
        summary: it.summary,
    })
}

/// The list of log keys, compared with what was remembered.
fn open_keys(
    bytes: &[u8],
    question: Question<'_>,
    problems: &mut Problems,
) -> Result<Option<KeyList>, CheckError> {
    let key_file = question.key_file;
    let list = match KeyList::open(bytes, key_file) {
        Ok(list) => list,
        Err(error) => {
            if let Some(other) = other_ledger(bytes, key_file) {
                return Err(CheckError::OtherLedger(other));
            }
            let why = error.to_string();
            problems.add(Problem::Keys { why });
            return Ok(None);
        }
    };
    if let Some(remembered) = question.remembered {
        let (had, has) = (remembered.keys_serial, list.serial);
        if has < had {
            problems.add(Problem::KeysOlder { had, has });
        }
        for key in &list.keys {
            let before = remembered.keys.get(&key.number);
            if before.is_some_and(|before| *before != key.public) {
                problems.add(Problem::KeyChanged { number: key.number });
            }
        }
    }
    Ok(Some(list))
}

/// The id in the first line of a list of keys, if it is a whole one and not ours.
fn other_ledger(bytes: &[u8], key_file: &KeyFile) -> Option<String> {
    let note = Note::parse(bytes).ok()?;
    let first = note.text().lines().next()?.to_owned();
    let id = first.strip_prefix("sekisho/")?.strip_suffix("/keys")?;
    let whole = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    // One changed digit is an altered list of ours, signed by a key with our name.
    let named = format!("sekisho/{id}/identity");
    let signed = note.signatures().iter().any(|it| it.name == named);
    (whole && signed && id != places::hex(&key_file.ledger)).then(|| id.to_owned())
}

impl<'a> Check<'a> {
    fn new(question: Question<'a>, keys: KeyList, problems: Problems) -> Self {
        let key_file = question.key_file;
        let mut root_keys = keys.verifiers(key_file, Tree::Root);
        root_keys.extend(key_file.policy.witnesses().iter().map(|it| it.key.clone()));
        let mut it = Self {
            question,
            problems,
            summary: Summary::default(),
            keys,
            root_keys,
            coverage: Coverage::new(key_file),
            heart: Heart::new(None, key_file.heartbeat_ms_max),
            slot: (0, 0),
            slots: 0,
            at_head: None,
            at_month: BTreeMap::new(),
            former: None,
        };
        if let Some(remembered) = question.remembered.filter(|_| !question.whole) {
            it.coverage.pending = remembered.pending;
            it.coverage.covered = remembered.covered;
            it.coverage.covered_ms = remembered.covered_ms;
            it.heart = Heart::new(Some(remembered.leaf), key_file.heartbeat_ms_max);
            it.slot = (remembered.slot_size, remembered.slot_since_ms);
            let month = fingerprint::month(remembered.leaf.wall_ms);
            it.at_month.insert(month, remembered.slot_size);
            it.slots = remembered.slots;
        }
        it
    }

    /// Begins as if nothing was remembered of the root log.
    fn forget(&mut self) {
        let key_file = self.question.key_file;
        self.coverage = Coverage::new(key_file);
        self.heart = Heart::new(None, key_file.heartbeat_ms_max);
        self.slot = (0, 0);
        self.slots = 0;
        self.at_head = None;
        self.at_month.clear();
    }

    /// Reads both logs; the heads if both checkpoints could be read.
    fn run(
        &mut self,
        root_note: &[u8],
        own_note: &[u8],
        visit: &mut dyn Visit,
    ) -> Option<(Head, Head, Levels)> {
        let key_file = self.question.key_file;
        let newest = self.root_checkpoint(root_note);
        let own_head = self.own_checkpoint(own_note);
        let root_head = newest.as_ref().map(|it| it.0);
        let (root_head, (own_head, own_signers)) = (root_head?, own_head?);
        for (tree, head) in [(Tree::Root, root_head), (key_file.tree(), own_head)] {
            self.not_shorter(tree, head.size);
            if head.size == 0 {
                self.problems.add(Problem::NoEntries { tree });
            }
        }
        let tree = key_file.tree();
        let mark = self.question.remembered.or(self.former);
        let mark = mark.map(|it| it.own.clone());
        if let (Some(former), true) = (&mark, self.former.is_some())
            && former.size > own_head.size
        {
            let had = former.size;
            self.problems.add(Problem::Former { had });
        }
        let store = self.question.store;
        let mut own = Own::new(
            match key_file.log {
                LogId::Client(_) => LogReader::new(store, tree, own_head, None).may_be_pruned(),
                LogId::Centre => LogReader::new(store, tree, own_head, None),
            },
            Values::new(key_file),
            visit,
            (tree, own_head),
            mark.filter(|mark| mark.size <= own_head.size),
        );
        own.former = self.former.is_some();
        if own_head.size > 0 {
            // It says in which slot the log is.
            own.advance(1, &mut self.problems);
            self.summary.first_ms = own.values.opened.map(|it| it.wall_ms);
        }
        if let Some(remembered) = self.question.remembered
            && !self.question.whole
            && remembered.slot_size == own_head.size
        {
            self.at_head = Some((remembered.slot_since_ms, remembered.leaf.wall_ms));
        }
        let signed = newest.and_then(|it| it.1);
        let levels = self.root_log(root_head, signed.as_ref(), &mut own);
        own.finish(&mut self.problems);
        self.declared(own.values.loss);
        self.old_enough(&own);
        if self.slot.0 == 0 && own_head.size > 0 {
            let size = own_head.size;
            self.problems.add(Problem::Uncommitted { size });
        }
        self.not_ahead(own.reader.size(), own.values.last());
        self.own_signed(own_head, &own_signers);
        self.summary.entries = own.reader.size();
        self.summary.unread = own.unread;
        self.summary.records = own.values.counts.clone();
        self.fresh(own_head.size);
        let head = |it: TreeHead| Head {
            size: it.size,
            root: it.root,
        };
        Some((head(own_head), head(root_head), levels?))
    }

    /// What a minimum took away cannot be read; root leaves bound how old it was.
    fn old_enough(&mut self, own: &Own<'_, '_>) {
        let Some(pruned) = own.values.counts.pruned else {
            return;
        };
        let mut young = self.at_month.range(pruned.before..);
        if let Some((month, &size)) = young.next().filter(|(_, size)| **size < pruned.below) {
            let why = format!(
                "it takes entries below {} for older than {}, but those from {size} on are of {month} or later",
                pruned.below, pruned.before
            );
            let (tree, index) = (self.question.key_file.tree(), pruned.index);
            self.problems.add(Problem::Entry { tree, index, why });
        }
    }

    /// The newest root checkpoint: its head to read by, and itself if its signatures hold.
    fn root_checkpoint(&mut self, note: &[u8]) -> Option<(TreeHead, Option<Cosigned>)> {
        let path = places::checkpoint(Tree::Root);
        let key_file = self.question.key_file;
        match cosigned::open(note, &path, &self.root_keys, key_file) {
            Ok((checkpoint, cosigned)) => {
                self.of_origin(Tree::Root, &checkpoint);
                Some((checkpoint.head(), Some(cosigned)))
            }
            Err(why) => {
                self.problems.add(Problem::Checkpoint {
                    tree: Tree::Root,
                    why,
                });
                Some((unsigned_head(note)?, None))
            }
        }
    }

    /// The own checkpoint's head, and who signed it.
    fn own_checkpoint(&mut self, note: &[u8]) -> Option<(TreeHead, Vec<[u8; 32]>)> {
        let key_file = self.question.key_file;
        let tree = key_file.tree();
        let keys = self.keys.verifiers(key_file, tree);
        let opened = Note::parse(note)
            .map_err(|error| error.to_string())
            .and_then(|note| {
                let opened = Checkpoint::open(&note, &keys).map_err(|error| error.to_string())?;
                let signers = opened.signatures.iter().map(|it| *it.key.public());
                Ok((signers.collect(), opened.checkpoint))
            });
        match opened {
            Ok((signers, checkpoint)) => {
                self.of_origin(tree, &checkpoint);
                Some((checkpoint.head(), signers))
            }
            Err(why) => {
                self.problems.add(Problem::Checkpoint { tree, why });
                Some((unsigned_head(note)?, Vec::new()))
            }
        }
    }

    fn of_origin(&mut self, tree: Tree, checkpoint: &Checkpoint) {
        if checkpoint.origin() != self.question.key_file.origin(tree) {
            let given = checkpoint.origin().to_owned();
            self.problems.add(Problem::Origin { tree, given });
        }
    }

    fn not_shorter(&mut self, tree: Tree, has: u64) {
        let Some(remembered) = self.question.remembered else {
            return;
        };
        let had = match tree {
            Tree::Root => remembered.root.size,
            Tree::Log(_) => remembered.own.size,
        };
        if has < had {
            self.problems.add(Problem::Shorter { tree, had, has });
        }
    }

    /// A generation that followed one that was seen began with a loss, as large as what is missing.
    fn declared(&mut self, loss: Option<(u32, u64)>) {
        let generation = self.question.key_file.generation;
        let Some(former) = self.former.filter(|it| it.generation < generation) else {
            return;
        };
        match loss {
            Some((declared, size)) if declared == generation => {
                let had = former.root.size;
                if size < had && former.generation + 1 == generation {
                    self.problems.add(Problem::LossUnderstated { size, had });
                }
            }
            _ => self.problems.add(Problem::LossUndeclared { generation }),
        }
    }

    /// No entry is of a time to come.
    fn not_ahead(&mut self, entries: u64, last: Times) {
        let now_ms = self.question.now_ms;
        let max = self.question.key_file.heartbeat_ms_max;
        if last.wall_ms > now_ms.saturating_add(max) {
            let index = entries.saturating_sub(1);
            let (at, now) = (At(last.wall_ms), At(now_ms));
            self.problems.add(Problem::Ahead { index, at, now });
        }
    }

    /// Whether the own checkpoint's keys were in use when a leaf had its size.
    fn own_signed(&mut self, head: TreeHead, signers: &[[u8; 32]]) {
        let Some(last) = self.heart.last() else {
            return;
        };
        let (span, open) = match self.at_head {
            Some(span) => (span, false),
            None => ((last.wall_ms, last.wall_ms), true),
        };
        // Signatures that do not hold were said already.
        if !signers.is_empty() {
            let tree = self.question.key_file.tree();
            self.in_span(tree, head.size, signers, span, open);
        }
    }

    fn in_span(
        &mut self,
        tree: Tree,
        size: u64,
        signers: &[[u8; 32]],
        (from, to): (u64, u64),
        open: bool,
    ) {
        let keys = signers.iter().filter_map(|public| self.keys.find(public));
        let counts = keys.into_iter().any(|key| key.counts(from, to, open));
        if !counts {
            let at = At(to);
            self.problems.add(Problem::KeySpan { tree, size, at });
        }
    }

    /// The newest leaf's age, and what no quorum has cosigned.
    fn fresh(&mut self, own_size: u64) {
        let Question {
            now_ms,
            current,
            key_file,
            ..
        } = self.question;
        let Some(last) = self.heart.last() else {
            return;
        };
        self.summary.newest_ms = Some(last.wall_ms);
        self.summary.covered = self.coverage.covered;
        let max = key_file.heartbeat_ms_max;
        let (since, age) = (At(last.wall_ms), Span(now_ms.saturating_sub(last.wall_ms)));
        if last.wall_ms > now_ms.saturating_add(max) {
            self.problems.add(Problem::Future {
                leaf: self.summary.root_leaves.saturating_sub(1),
                at: since,
                now: At(now_ms),
            });
        }
        if age.0 > max {
            let max = Span(max);
            self.problems.add(if current {
                Problem::Silent { since, age, max }
            } else {
                Problem::Old { since, age }
            });
        }
        self.coverage
            .finish(now_ms, own_size, current, &mut self.problems);
    }

    /// What to remember, if all holds.
    fn remember(&self, (own, root, levels): (Head, Head, Levels)) -> Option<Remembered> {
        if self.problems.worst() >= Some(Severity::Incomplete) {
            return None;
        }
        let key_file = self.question.key_file;
        let keys = self.keys.keys.iter().map(|key| (key.number, key.public));
        let mut all: BTreeMap<u32, [u8; 32]> = self
            .question
            .remembered
            .map_or_else(BTreeMap::new, |it| it.keys.clone());
        all.extend(keys);
        Some(Remembered {
            ledger: key_file.ledger,
            log: key_file.log,
            generation: key_file.generation,
            own,
            root,
            peaks: levels.peaks().copied().collect(),
            leaf: self.heart.last()?,
            slots: self.slots,
            slot_size: self.slot.0,
            slot_since_ms: self.slot.1,
            covered: self.coverage.covered,
            covered_ms: self.coverage.covered_ms,
            pending: self.coverage.pending,
            keys_serial: self.keys.serial,
            keys: all,
            stamps: self.question.remembered.and_then(|it| it.stamps.clone()),
            checked_ms: self.question.now_ms,
        })
    }
}

/// The head in a note, whoever signed it: how far to read.
pub(crate) fn unsigned_head(note: &[u8]) -> Option<TreeHead> {
    let note = Note::parse(note).ok()?;
    Checkpoint::parse(note.text()).ok().map(|it| it.head())
}
