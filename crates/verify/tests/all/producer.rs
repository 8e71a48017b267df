//! Makes logs by docs/format/logs.md, independently of the ledger's own producer: whole worlds in
//! memory, honest or forged, published as files.

use aws_lc_rs::hmac;
use event::record::{Body, ClassCount, Effects, Exposure, RefusalReason, Who, encode};
use event::{ActorId, Class, ClientId, Digest, GrantId, LogId, Outcome, Plain, Role, SessionId};
use fingerprint::{FingerprintKey, ListEntry, ListKey, seal_list};
use tlog::{
    Bundle, Checkpoint, Cosigner, Edge, Hash, MemoryTree, Note, SigningKey, Tile, bundle, leaf_hash,
};
use verify::entry::{Entry, RootLeaf, SlotProof, Times, slot_hash};
use verify::key::KeyFile;
use verify::places::{self, Tree, hex};
use verify::store::Memory;

pub(crate) const LEDGER: [u8; 16] = [7; 16];
/// 2026-04-01 00:00:00 UTC.
pub(crate) const START_MS: u64 = 1_775_001_600_000;
pub(crate) const LEAF_MS: u64 = 10_000;
const LISTS_WRAPPING: [u8; 32] = [61; 32];
const FINGERPRINTS: [u8; 32] = [62; 32];

#[derive(Clone)]
pub(crate) struct LogKey {
    pub(crate) number: u32,
    pub(crate) seed: [u8; 32],
    pub(crate) from_ms: u64,
    pub(crate) until_ms: Option<u64>,
}

/// A log: the centre's, or a client's.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) number: u32,
    pub(crate) entries: Vec<Vec<u8>>,
    /// Attachments by entry.
    pub(crate) lists: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) times: Times,
    /// Size of each log, by slot; a log that is not there yet has no size.
    pub(crate) sizes: Vec<u64>,
    /// The root that is said of client 1's log in place of the true one.
    pub(crate) forged_root: Option<Hash>,
    pub(crate) slots: u32,
}

/// Everything there is, before it becomes files.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) generation: u32,
    pub(crate) serial: u64,
    pub(crate) identity: [u8; 32],
    pub(crate) keys: Vec<LogKey>,
    pub(crate) witnesses: Vec<(&'static str, [u8; 32])>,
    pub(crate) logs: Vec<Log>,
    pub(crate) leaves: Vec<Leaf>,
    /// Sizes of kept root checkpoints, with the seconds that witnesses took.
    pub(crate) kept: Vec<(u64, u64)>,
    /// Whether the newest root checkpoint carries cosignatures.
    pub(crate) newest_cosigned: bool,
}

/// A small generator of numbers, so that worlds are the same each time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

pub(crate) fn client(number: u32) -> ClientId {
    ClientId::new(number).unwrap()
}

pub(crate) fn fingerprints() -> FingerprintKey {
    FingerprintKey::new(&FINGERPRINTS)
}

fn month_key() -> Plain<[u8; 32]> {
    Plain::new([63; 32])
}

/// The telephone number of a customer.
pub(crate) fn phone(customer: u64) -> String {
    format!(
        "090-{:04}-{:04}",
        1000 + customer / 10_000,
        customer % 10_000
    )
}

/// What actors have had so far.
#[derive(Default)]
struct Totals(std::collections::BTreeMap<u32, [u64; 3]>);

/// An exposure of some customers, with its list.
fn exposure(random: &mut Random, totals: &mut Totals) -> (Body, Vec<u8>) {
    let actor = 1 + random.below(9) as u32;
    let granted = random.below(20) == 0;
    let probes = random.below(3) as u32;
    let rows = if probes > 0 && random.below(4) == 0 {
        0
    } else {
        1 + random.below(4) as u32
    };
    let held = totals.0.entry(actor).or_default();
    let mut effects = |at: usize, charged: u64| {
        let newly = charged / 2;
        held[at] += newly;
        let all = held[at].max(charged);
        held[at] = all;
        let windows = [
            charged.min(all),
            all.min(charged + 1),
            all.min(charged + 5),
            all,
        ];
        Effects {
            charged,
            newly_distinct: newly,
            windows,
        }
    };
    let subjects = effects(0, u64::from(rows));
    let subjects = if granted {
        Effects {
            charged: u64::from(rows),
            ..Effects::default()
        }
    } else {
        subjects
    };
    let probed = effects(1, u64::from(probes));
    let masked = effects(2, 0);
    let phones = fingerprints();
    let entry = |code: u8, customer: u64| ListEntry {
        code,
        key: phones.fingerprint(Class::Phone, &phone(customer)).0,
        weight: 1,
    };
    let probe_entries: Vec<ListEntry> = (0..probes)
        .map(|_| entry(0x41, random.below(5000)))
        .collect();
    let row_entries: Vec<ListEntry> = (0..rows)
        .flat_map(|_| {
            let customer = random.below(5000);
            let tag = ListEntry {
                code: 0x10,
                key: customer + 1,
                weight: 1,
            };
            [entry(0x04, customer), tag]
        })
        .collect();
    let mut salt = [0; 32];
    salt[..8].copy_from_slice(&random.below(u64::MAX).to_be_bytes());
    let list = fingerprint::encode_list(
        &salt,
        None,
        probe_entries.into_iter(),
        row_entries.into_iter(),
    );
    let commitment = fingerprint::commitment(list.expose());
    let sealed = seal_list(
        &ListKey::new(month_key().expose()),
        &commitment.0,
        list.expose(),
    );
    let classes = if rows == 0 {
        Vec::new()
    } else {
        vec![ClassCount {
            class: Class::Phone,
            outcome: Outcome::Clear,
            cells: rows,
        }]
    };
    let body = Body::Exposure(Exposure {
        who: Who {
            actor: ActorId(actor),
            role: if actor == 9 {
                Role::Supervisor
            } else {
                Role::Operator
            },
            session: SessionId(u64::from(actor) * 100 + random.below(3)),
            grant: granted.then_some(GrantId(3)),
        },
        rows,
        classes,
        probes,
        row_tags_disagree: 0,
        subjects,
        probed,
        masked,
        shape: Digest([1; 32]),
        policy: Digest([2; 32]),
        list: commitment,
        purpose: None,
        order: event::record::Order::default(),
    });
    (body, sealed.unwrap())
}

pub(crate) fn entry(times: Times, body: &Body) -> Vec<u8> {
    Entry::encode(times, &encode(body).unwrap())
}

impl World {
    /// An honest world: the centre, client 1 with about `records` entries, client 2, and a root leaf
    /// each ten seconds.
    pub(crate) fn new(records: u64, leaves: u64) -> Self {
        let mut random = Random(42);
        let mut it = Self::bare();
        let mut totals = Totals::default();
        for leaf in 0..leaves {
            let wall = START_MS + leaf * LEAF_MS;
            let due = records * (leaf + 1) / leaves;
            // The first two leaves are before the client's log.
            while leaf >= 2 && (it.logs[1].entries.len() as u64) < due {
                let at = wall - LEAF_MS + 1 + random.below(LEAF_MS - 2) / 8 * 8;
                let last = it.logs[1]
                    .entries
                    .last()
                    .map(|it| Entry::parse(it).unwrap().times);
                let wall_ms = at.max(last.map_or(0, |it| it.wall_ms));
                let times = Times {
                    wall_ms,
                    elapsed_ms: wall_ms - START_MS,
                };
                it.record(&mut random, &mut totals, times);
            }
            if leaf % 3 == 0 {
                let times = Times {
                    wall_ms: wall,
                    elapsed_ms: wall - START_MS,
                };
                it.logs[0].entries.push(entry(times, &Body::Stopped));
                let opened = Body::LogOpened {
                    ledger: LEDGER,
                    slot: 2,
                };
                let body = if it.logs[2].entries.is_empty() {
                    opened
                } else {
                    Body::Stopped
                };
                it.logs[2].entries.push(entry(times, &body));
            }
            it.leaf(wall);
        }
        // The first of each minute, and the newest.
        it.kept = (0..leaves)
            .filter(|leaf| leaf % 6 == 0)
            .map(|leaf| (leaf + 1, 2))
            .collect();
        it
    }

    fn bare() -> Self {
        let middle = START_MS + 40 * LEAF_MS;
        let genesis = Body::Genesis {
            centre: "Tokyo".into(),
            ledger: LEDGER,
        };
        let log = |number, entries| Log {
            number,
            entries,
            lists: Vec::new(),
        };
        Self {
            generation: 1,
            serial: 2,
            identity: [11; 32],
            keys: vec![
                LogKey {
                    number: 1,
                    seed: [21; 32],
                    from_ms: START_MS - 1000,
                    until_ms: Some(middle),
                },
                LogKey {
                    number: 2,
                    seed: [22; 32],
                    from_ms: middle - 5 * LEAF_MS,
                    until_ms: None,
                },
            ],
            witnesses: vec![("w1", [31; 32]), ("w2", [32; 32])],
            logs: vec![
                log(
                    0,
                    vec![entry(
                        Times {
                            wall_ms: START_MS - 10,
                            elapsed_ms: 0,
                        },
                        &genesis,
                    )],
                ),
                log(1, Vec::new()),
                log(2, Vec::new()),
            ],
            leaves: Vec::new(),
            kept: Vec::new(),
            newest_cosigned: true,
        }
    }

    /// One more record of client 1.
    fn record(&mut self, random: &mut Random, totals: &mut Totals, times: Times) {
        let index = self.logs[1].entries.len() as u64;
        if index == 0 {
            let body = Body::LogOpened {
                ledger: LEDGER,
                slot: 1,
            };
            return self.logs[1].entries.push(entry(times, &body));
        }
        if random.below(25) == 0 {
            let body = Body::Refused {
                who: Some(Who {
                    actor: ActorId(4),
                    role: Role::Operator,
                    session: SessionId(400),
                    grant: None,
                }),
                reason: RefusalReason::SubjectBudget,
                count: 2,
                shape: None,
                terminal: None,
            };
            return self.logs[1].entries.push(entry(times, &body));
        }
        let (body, list) = exposure(random, totals);
        self.logs[1].lists.push((index, list));
        self.logs[1].entries.push(entry(times, &body));
    }

    /// A root leaf over what there is.
    pub(crate) fn leaf(&mut self, wall_ms: u64) {
        let sizes = self
            .logs
            .iter()
            .map(|log| log.entries.len() as u64)
            .collect();
        self.leaves.push(Leaf {
            times: Times {
                wall_ms,
                elapsed_ms: wall_ms - START_MS,
            },
            sizes,
            forged_root: None,
            slots: 64,
        });
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.leaves.last().unwrap().times.wall_ms + 5_000
    }

    pub(crate) fn key_file(&self) -> KeyFile {
        KeyFile::parse(&self.key_text("client 1 acme")).unwrap()
    }

    pub(crate) fn key_text(&self, whose: &str) -> String {
        let identity = SigningKey::new(
            &format!("sekisho/{}/identity", hex(&LEDGER)),
            &self.identity,
        );
        let mut text = format!(
            "sekisho client 1\nledger {}\n{whose}\ngeneration {}\nidentity {}\n\
             uncovered-ms-max 3600000\nheartbeat-ms-max 180000\n\n",
            hex(&LEDGER),
            self.generation,
            identity.unwrap().verifier(),
        );
        let mut names = Vec::new();
        for (name, seed) in &self.witnesses {
            let cosigner = Cosigner::new(&format!("example.com/{name}"), seed).unwrap();
            text += &format!("witness {name} {}\n", cosigner.verifier());
            names.push(*name);
        }
        text + &format!(
            "group all-of-them all {}\nquorum all-of-them\n",
            names.join(" ")
        )
    }

    pub(crate) fn officer_text() -> String {
        let base64 = |key: [u8; 32]| base64_simd::URL_SAFE_NO_PAD.encode_to_string(key);
        format!(
            "sekisho officer 1\nledger {}\nclient 1\nfingerprint {}\nlists {}\n",
            hex(&LEDGER),
            base64(FINGERPRINTS),
            base64(LISTS_WRAPPING)
        )
    }

    fn signing(&self, tree: Tree, wall_ms: u64) -> Vec<SigningKey> {
        let origin = places::origin(&LEDGER, self.generation, tree);
        self.keys
            .iter()
            .filter(|key| key.from_ms <= wall_ms && key.until_ms.is_none_or(|it| wall_ms < it))
            .map(|key| SigningKey::new(&origin, &key.seed).unwrap())
            .collect()
    }

    pub(crate) fn sign(&self, tree: Tree, size: u64, root: Hash, wall_ms: u64) -> Note {
        let origin = places::origin(&LEDGER, self.generation, tree);
        let keys = self.signing(tree, wall_ms);
        let keys: Vec<&SigningKey> = keys.iter().collect();
        Checkpoint::new(&origin, size, root)
            .unwrap()
            .sign(&keys)
            .unwrap()
    }

    pub(crate) fn cosign(&self, note: &mut Note, seconds: u64) {
        for (name, seed) in &self.witnesses {
            let cosigner = Cosigner::new(&format!("example.com/{name}"), seed).unwrap();
            let line = cosigner.cosign(note.text(), seconds).unwrap();
            note.add(line).unwrap();
        }
    }

    /// The hashes of a log's entries.
    pub(crate) fn tree(entries: &[Vec<u8>]) -> MemoryTree {
        MemoryTree::new(entries.iter().map(|it| leaf_hash(it)).collect())
    }

    /// The keys of all slots' salts.
    fn salts() -> Vec<hmac::Key> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &[51; 32]);
        let key = |slot: u32| {
            let name = [b"sekisho slot 1".as_slice(), &slot.to_be_bytes()].concat();
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, &name).as_ref())
        };
        (0..256).map(key).collect()
    }

    /// The files, with the slot proofs of client 1 and of the centre.
    pub(crate) fn publish(&self) -> Memory {
        let mut files = Memory::default();
        files.0.insert("keys".into(), self.keys_note().into_bytes());
        let trees: Vec<MemoryTree> = self
            .logs
            .iter()
            .map(|log| Self::tree(&log.entries))
            .collect();
        let salts = Self::salts();
        let (mut leaves, mut own, mut centre) = (Vec::new(), Vec::new(), Vec::new());
        for (index, leaf) in self.leaves.iter().enumerate() {
            let (bytes, proofs) = self.root_leaf(index as u64, leaf, &trees, &salts);
            leaves.push(bytes);
            let [first, second] = proofs;
            centre.push(first);
            own.push(second);
        }
        write_tree(&mut files, Tree::Root, &leaves);
        write_bundles(&mut files, "client/1/slots/", &own);
        write_bundles(&mut files, "centre/slots/", &centre);
        for (log, tree) in self.logs.iter().zip(&trees) {
            let name = Tree::Log(LogId::from_number(log.number).unwrap());
            write_tree(&mut files, name, &log.entries);
            let wall = self.leaves.last().unwrap().times.wall_ms;
            let size = log.entries.len() as u64;
            let note = self.sign(name, size, tree.root(), wall);
            files
                .0
                .insert(places::checkpoint(name), note.to_string().into_bytes());
        }
        self.publish_lists(&mut files);
        self.publish_root(&mut files, &Self::tree(&leaves));
        files
    }

    fn keys_note(&self) -> String {
        let mut text = format!("sekisho/{}/keys\n{}\n", hex(&LEDGER), self.serial);
        let origin = places::origin(&LEDGER, 1, Tree::Root);
        for key in &self.keys {
            let public = SigningKey::new(&origin, &key.seed).unwrap();
            let until = key.until_ms.map_or("-".into(), |it| it.to_string());
            let public = Hash(*public.verifier().public());
            text += &format!("{} {public} {} {until}\n", key.number, key.from_ms);
        }
        let name = format!("sekisho/{}/identity", hex(&LEDGER));
        let identity = SigningKey::new(&name, &self.identity).unwrap();
        Note::new(&text, vec![identity.sign(&text)])
            .unwrap()
            .to_string()
    }

    fn root_leaf(
        &self,
        index: u64,
        leaf: &Leaf,
        trees: &[MemoryTree],
        salts: &[hmac::Key],
    ) -> (Vec<u8>, [Vec<u8>; 2]) {
        let salt = |slot: u32| -> [u8; 32] {
            let salt = hmac::sign(&salts[slot as usize], &index.to_be_bytes());
            salt.as_ref().try_into().unwrap()
        };
        let head = |slot: usize| {
            let size = leaf.sizes.get(slot).copied()?;
            let forged = leaf.forged_root.filter(|_| slot == 1);
            let root = match size {
                // An empty log has no place in a leaf, unless it is forged.
                0 => forged?,
                _ => forged.unwrap_or_else(|| trees[slot].root_at(size).unwrap()),
            };
            Some((self.logs[slot].number, size, root))
        };
        let hashes = (0..leaf.slots).map(|slot| {
            let (log, size, root) = head(slot as usize).unwrap_or((u32::MAX, 0, Hash([0; 32])));
            slot_hash(&salt(slot), log, size, &root)
        });
        let tree = MemoryTree::new(hashes.collect());
        let proof = |slot: u32| match head(slot as usize) {
            None => Vec::new(),
            Some((_, size, root)) => {
                let path = tree.proof(u64::from(slot)).unwrap();
                SlotProof::encode(&salt(slot), size, &root, &path)
            }
        };
        let bytes = RootLeaf {
            times: leaf.times,
            slots: leaf.slots,
            slot_root: tree.root(),
        };
        (bytes.encode(), [proof(0), proof(1)])
    }

    fn publish_root(&self, files: &mut Memory, tree: &MemoryTree) {
        let size = tree.size();
        let wall = |size: u64| self.leaves[size as usize - 1].times.wall_ms;
        let mut newest = self.sign(Tree::Root, size, tree.root(), wall(size));
        if self.newest_cosigned {
            self.cosign(&mut newest, wall(size) / 1000 + 1);
        }
        files
            .0
            .insert("root/checkpoint".into(), newest.to_string().into_bytes());
        for &(size, took) in &self.kept {
            let mut note = self.sign(Tree::Root, size, tree.root_at(size).unwrap(), wall(size));
            let seconds = wall(size) / 1000 + took;
            self.cosign(&mut note, seconds);
            let path = places::cosigned(seconds / 86_400);
            let file = files.0.entry(path).or_default();
            file.extend_from_slice(note.to_string().as_bytes());
        }
    }

    fn publish_lists(&self, files: &mut Memory) {
        for log in &self.logs {
            let tree = Tree::Log(LogId::from_number(log.number).unwrap());
            for (index, attachment) in &log.lists {
                let bundle = Bundle::new(index >> 8, 256).unwrap();
                let file = files.0.entry(places::lists(tree, bundle)).or_default();
                file.push((index & 0xff) as u8);
                file.extend_from_slice(&(attachment.len() as u32).to_be_bytes());
                file.extend_from_slice(attachment);
            }
        }
        let own = Tree::Log(LogId::Client(client(1)));
        let wrapped = fingerprint::wrap_month_key(
            &Plain::new(LISTS_WRAPPING),
            client(1),
            202_604,
            &month_key(),
            [1; 12],
        );
        files
            .0
            .insert(places::month_key(own, 202_604), wrapped.into_bytes());
    }
}

/// Tiles and bundles of a tree, whole ones and the partial ones of its size.
pub(crate) fn write_tree(files: &mut Memory, tree: Tree, entries: &[Vec<u8>]) {
    write_tiles(files, tree, entries);
    write_bundles(files, &format!("{tree}/tile/entries/"), entries);
}

pub(crate) fn write_tiles(files: &mut Memory, tree: Tree, entries: &[Vec<u8>]) {
    let mut edge = Edge::new();
    for entry in entries {
        for full in edge.push(leaf_hash(entry)) {
            files.0.insert(places::tiles(tree, full.tile), full.bytes);
        }
    }
    for partial in edge.partials() {
        files
            .0
            .insert(places::tiles(tree, partial.tile), partial.bytes);
    }
}

pub(crate) fn write_bundles(files: &mut Memory, prefix: &str, entries: &[Vec<u8>]) {
    for it in Bundle::grown(0, entries.len() as u64) {
        let first = it.first() as usize;
        let mut bytes = Vec::new();
        for entry in &entries[first..first + usize::from(it.width())] {
            bundle::append(&mut bytes, entry).unwrap();
        }
        let path = it.to_string();
        let number = path.strip_prefix("tile/entries/").unwrap();
        files.0.insert(format!("{prefix}{number}"), bytes);
    }
}

/// Where an entry stands.
pub(crate) fn tile_path(tree: Tree, level: u8, hash: u64, size: u64) -> String {
    places::tiles(tree, Tile::holding(level, hash, size).unwrap())
}

pub(crate) fn bundle_path(tree: Tree, entry: u64, size: u64) -> String {
    places::tiles(tree, Bundle::holding(entry, size).unwrap())
}

pub(crate) fn own() -> Tree {
    Tree::Log(LogId::Client(client(1)))
}
