//! Writes a large log for measuring `sekisho-verify check`: the same bytes each time, one root leaf
//! for each hundred entries (a second), one cosigned checkpoint for each six thousand (a minute).
//!
//! `cargo run --release -p verify --example generate -- FOLDER ENTRIES`, then the line that it prints.
#![allow(clippy::print_stdout, reason = "a program for people prints")]
#![allow(clippy::unwrap_used, reason = "a generator of test data")]

use std::fs;
use std::path::{Path, PathBuf};

use event::record::{Body, ClassCount, Effects, Exposure, Who, encode};
use event::{ActorId, Class, ClientId, Digest, LogId, Outcome, Role, SessionId};
use tlog::{
    Bundle, Checkpoint, Cosigner, Edge, Hash, MemoryTree, Note, SigningKey, TileBytes, bundle,
    leaf_hash,
};
use verify::entry::{Entry, RootLeaf, SlotProof, Times, slot_hash};
use verify::places::{self, Tree, hex};

const LEDGER: [u8; 16] = [9; 16];
const START_MS: u64 = 1_775_001_600_000;
const PER_LEAF: u64 = 100;
const SLOT: u32 = 1;

/// A tree that is written as it grows.
struct Grown {
    folder: PathBuf,
    prefix: String,
    edge: Edge,
    bundle: Vec<u8>,
}

impl Grown {
    fn new(folder: &Path, prefix: String) -> Self {
        Self {
            folder: folder.to_owned(),
            prefix,
            edge: Edge::new(),
            bundle: Vec::new(),
        }
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.folder.join(format!("{}{path}", self.prefix));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn push(&mut self, entry: &[u8]) {
        bundle::append(&mut self.bundle, entry).unwrap();
        for TileBytes { tile, bytes } in self.edge.push(leaf_hash(entry)) {
            self.put(&tile.to_string(), &bytes);
            if tile.level() == 0 {
                let bundle = Bundle::new(tile.index(), 256).unwrap();
                self.put(&bundle.to_string(), &self.bundle);
                self.bundle.clear();
            }
        }
    }

    fn finish(&self) {
        for TileBytes { tile, bytes } in self.edge.partials() {
            self.put(&tile.to_string(), &bytes);
        }
        let size = self.edge.size();
        if let Some(bundle) = Bundle::new(size >> 8, (size & 0xff) as u16) {
            self.put(&bundle.to_string(), &self.bundle);
        }
    }
}

/// Slot proofs: bundles without a tree.
struct Slots {
    grown: Grown,
    count: u64,
}

impl Slots {
    fn push(&mut self, proof: &[u8]) {
        bundle::append(&mut self.grown.bundle, proof).unwrap();
        self.count += 1;
        if self.count.is_multiple_of(256) {
            self.write(Bundle::new(self.count / 256 - 1, 256).unwrap());
        }
    }

    fn write(&mut self, bundle: Bundle) {
        let path = bundle.to_string();
        self.grown.put(
            path.strip_prefix("tile/entries/").unwrap(),
            &self.grown.bundle,
        );
        self.grown.bundle.clear();
    }
}

fn exposure(index: u64) -> Body {
    let actor = 1 + index % 40;
    let all = index / 40 + 3;
    let effects = |charged, windows| Effects {
        charged,
        newly_distinct: charged.min(1),
        windows,
    };
    let mut noise = [0; 32];
    noise.copy_from_slice(&leaf_hash(&index.to_be_bytes()).0);
    Body::Exposure(Exposure {
        who: Who {
            actor: ActorId(actor as u32),
            role: Role::Operator,
            session: SessionId(index / 1000),
            grant: None,
        },
        rows: 2,
        classes: vec![
            ClassCount {
                class: Class::Name,
                outcome: Outcome::Clear,
                cells: 2,
            },
            ClassCount {
                class: Class::Phone,
                outcome: Outcome::Clear,
                cells: 2,
            },
        ],
        probes: 1,
        row_tags_disagree: 0,
        subjects: effects(2, [2, 3, 3, all]),
        probed: effects(1, [1, 1, 2, all]),
        masked: Effects::default(),
        shape: Digest([1; 32]),
        policy: Digest([2; 32]),
        list: Digest(noise),
        purpose: None,
        order: event::record::Order::default(),
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let entries: u64 = arguments.next().unwrap().parse().unwrap();
    let tree = Tree::Log(LogId::Client(ClientId::new(1).unwrap()));
    let mut own = Grown::new(&folder, format!("{tree}/"));
    let mut root = Grown::new(&folder, "root/".into());
    let mut slots = Slots {
        grown: Grown::new(&folder, format!("{tree}/slots/")),
        count: 0,
    };
    let mut wall = START_MS;
    let mut days: std::collections::BTreeMap<u64, String> = Default::default();
    for index in 0..entries {
        let body = match index {
            0 => Body::LogOpened {
                ledger: LEDGER,
                slot: SLOT,
            },
            _ => exposure(index),
        };
        wall += 10;
        let times = Times {
            wall_ms: wall,
            elapsed_ms: wall - START_MS,
        };
        own.push(&Entry::encode(times, &encode(&body).unwrap()));
        if (index + 1) % PER_LEAF != 0 && index + 1 != entries {
            continue;
        }
        let leaf = root.edge.size();
        let (size, head) = (own.edge.size(), own.edge.root());
        let free = leaf_hash(&leaf.to_be_bytes());
        let salt = leaf_hash(&(leaf ^ 1 << 63).to_be_bytes()).0;
        let mut hashes = vec![free; 64];
        hashes[SLOT as usize] = slot_hash(&salt, 1, size, &head);
        let slot_tree = MemoryTree::new(hashes);
        let path = slot_tree.proof(u64::from(SLOT)).unwrap();
        slots.push(&SlotProof::encode(&salt, size, &head, &path));
        let bytes = RootLeaf {
            times,
            slots: 64,
            slot_root: slot_tree.root(),
        }
        .encode();
        root.push(&bytes);
        if leaf.is_multiple_of(60) {
            let note = cosigned(root.edge.size(), root.edge.root(), wall);
            let day = wall / 86_400_000;
            *days.entry(day).or_default() += &note.to_string();
        }
    }
    own.finish();
    root.finish();
    if let Some(bundle) = Bundle::new(slots.count >> 8, (slots.count & 0xff) as u16) {
        slots.write(bundle);
    }
    let put = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (day, notes) in &days {
        put(&places::cosigned(*day), notes);
    }
    put(
        "root/checkpoint",
        &cosigned(root.edge.size(), root.edge.root(), wall).to_string(),
    );
    let note = signed(tree, own.edge.size(), own.edge.root());
    put(&places::checkpoint(tree), &note.to_string());
    let (keys, key_file) = texts();
    put("keys", &keys);
    put("key.sekisho", &key_file);
    let folder = folder.display();
    println!(
        "sekisho-verify check --key {folder}/key.sekisho --from {folder} --state {folder}/state --again --at-ms {wall}"
    );
}

fn signed(tree: Tree, size: u64, root: Hash) -> Note {
    let origin = places::origin(&LEDGER, 1, tree);
    let key = SigningKey::new(&origin, &[1; 32]).unwrap();
    Checkpoint::new(&origin, size, root)
        .unwrap()
        .sign(&[&key])
        .unwrap()
}

fn witness() -> Cosigner {
    Cosigner::new("example.com/w", &[3; 32]).unwrap()
}

fn cosigned(size: u64, root: Hash, wall_ms: u64) -> Note {
    let mut note = signed(Tree::Root, size, root);
    let line = witness().cosign(note.text(), wall_ms / 1000 + 1).unwrap();
    note.add(line).unwrap();
    note
}

/// The list of keys and the key file.
fn texts() -> (String, String) {
    let ledger = hex(&LEDGER);
    let identity = SigningKey::new(&format!("sekisho/{ledger}/identity"), &[2; 32]).unwrap();
    let origin = places::origin(&LEDGER, 1, Tree::Root);
    let public = Hash(
        *SigningKey::new(&origin, &[1; 32])
            .unwrap()
            .verifier()
            .public(),
    );
    let text = format!("sekisho/{ledger}/keys\n1\n1 {public} 0 -\n");
    let keys = Note::new(&text, vec![identity.sign(&text)])
        .unwrap()
        .to_string();
    let witness = witness();
    let (identity, witness) = (identity.verifier(), witness.verifier());
    let key_file = format!(
        "sekisho client 1\nledger {ledger}\nclient 1 bench\ngeneration 1\nidentity {identity}\n\
         uncovered-ms-max 3600000\nheartbeat-ms-max 180000\n\nwitness w {witness}\nquorum w\n"
    );
    (keys, key_file)
}
