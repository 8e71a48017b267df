//! The ways to cheat: a table of what is done, and how it has to be named.

use tlog::{Hash, bundle};
use verify::entry::{Entry, Times};
use verify::places::Tree;
use verify::store::Memory;

use crate::mutations::{LEAVES, RECORDS};
use crate::producer::{
    LEAF_MS, START_MS, World, bundle_path, own, tile_path, write_bundles, write_tree,
};

/// Client 1's entries with one byte of one entry changed.
pub(crate) fn altered(world: &World, index: usize) -> Vec<Vec<u8>> {
    let mut entries = world.logs[1].entries.clone();
    *entries[index].last_mut().unwrap() ^= 1;
    entries
}

fn edit(files: &mut Memory, path: &str, edit: impl FnOnce(&mut Vec<u8>)) {
    edit(files.0.get_mut(path).unwrap_or_else(|| panic!("{path}")));
}

/// An entry bundle, taken apart and put together again.
fn edit_bundle(files: &mut Memory, path: &str, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    edit(files, path, |bytes| {
        let mut entries: Vec<Vec<u8>> = bundle::entries(bytes)
            .map(|it| it.unwrap().to_vec())
            .collect();
        change(&mut entries);
        bytes.clear();
        for entry in &entries {
            bundle::append(bytes, entry).unwrap();
        }
    });
}

/// A way to cheat: what is done to the files, and how it has to be named.
pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    /// In the files, or in the world that is published anew.
    pub(crate) how: How,
    /// What one of the problems has to say.
    pub(crate) says: &'static str,
}

pub(crate) enum How {
    Files(fn(&World, &mut Memory)),
    World(fn(&mut World)),
    /// A world, looked at with what was remembered of the honest one.
    RememberedWorld(fn(&mut World)),
}

fn forged_head(world: &World, files: &mut Memory, tree: Tree, entries: &[Vec<u8>]) {
    let root = World::tree(entries).root();
    let wall = world.leaves.last().unwrap().times.wall_ms;
    let note = world.sign(tree, entries.len() as u64, root, wall);
    files
        .0
        .insert(format!("{tree}/checkpoint"), note.to_string().into_bytes());
}

pub(crate) fn mutations() -> Vec<Mutation> {
    let mut all = entries();
    all.extend(histories());
    all.extend(roots());
    all.extend(signatures());
    all.extend(values());
    all
}

fn one(name: &'static str, how: How, says: &'static str) -> Mutation {
    Mutation { name, how, says }
}

fn entries() -> Vec<Mutation> {
    vec![
        one(
            "a byte of an entry",
            How::Files(|world, files| {
                let path = bundle_path(own(), 1234, RECORDS);
                let entry = world.logs[1].entries[1234].clone();
                edit_bundle(files, &path, |entries| {
                    assert_eq!(entries[1234 % 256], entry);
                    entries[1234 % 256][20] ^= 1;
                });
            }),
            "altered: entry 1234 of client/1",
        ),
        one(
            "a byte of an entry in the last bundle",
            How::Files(|_, files| {
                let path = bundle_path(own(), 2900, RECORDS);
                edit_bundle(files, &path, |entries| entries[2900 % 256][20] ^= 1);
            }),
            "altered: entry 2900 of client/1",
        ),
        one(
            "an altered entry, all tiles rebuilt",
            How::Files(|world, files| write_tree(files, own(), &altered(world, 1234))),
            "diverges: from root leaf 288 on the signed root log commits to other entries than those shown: between entry 1234 and entry 1238",
        ),
        one(
            "an altered entry, tiles rebuilt and signed by the log key",
            How::Files(|world, files| {
                let entries = altered(world, 1234);
                write_tree(files, own(), &entries);
                forged_head(world, files, own(), &entries);
            }),
            "split-view: root leaves 288 to 699",
        ),
        one(
            "a dropped entry",
            How::Files(|_, files| {
                let path = bundle_path(own(), 700, RECORDS);
                edit_bundle(files, &path, |entries| drop(entries.remove(700 % 256)));
            }),
            "dropped: entry 700 of client/1",
        ),
        one(
            "a dropped entry, all after it moved up, tiles left",
            How::Files(|world, files| {
                let mut entries = world.logs[1].entries.clone();
                entries.remove(700);
                entries.push(entries[10].clone());
                write_bundles(files, "client/1/tile/entries/", &entries);
            }),
            "dropped: entry 700 of client/1",
        ),
        one(
            "two entries in another order",
            How::Files(|_, files| {
                let path = bundle_path(own(), 512, RECORDS);
                edit_bundle(files, &path, |entries| entries.swap(3, 9));
            }),
            "reordered: entries 515 to 521 of client/1",
        ),
        one(
            "an entry put in",
            How::Files(|_, files| {
                let path = bundle_path(own(), 300, RECORDS);
                edit_bundle(files, &path, |entries| {
                    let copy = entries[1].clone();
                    entries.insert(44, copy);
                });
            }),
            "inserted: an entry was put in before entry 300 of client/1",
        ),
        one(
            "a truncated bundle",
            How::Files(|_, files| {
                let path = bundle_path(own(), 256, RECORDS);
                edit(files, &path, |bytes| bytes.truncate(bytes.len() / 2));
            }),
            "with the entries from 256 on, is damaged",
        ),
        one(
            "a missing bundle",
            How::Files(|_, files| {
                files.0.remove(&bundle_path(own(), 256, RECORDS)).unwrap();
            }),
            "missing: client/1/tile/entries/001 is missing",
        ),
        one(
            "a truncated tile",
            How::Files(|_, files| {
                let path = tile_path(own(), 0, 512, RECORDS);
                edit(files, &path, |bytes| bytes.truncate(100));
            }),
            "tile-length: client/1/tile/0/002 has 100 bytes in place of 8192",
        ),
        one(
            "a hash of a tile",
            How::Files(|_, files| {
                let path = tile_path(own(), 0, 530, RECORDS);
                edit(files, &path, |bytes| bytes[18 * 32] ^= 1);
            }),
            "tile: client/1/tile/0/002 does not fit the entries: the first hash that differs covers the entries from 530 on",
        ),
        one(
            "a hash of a tile of level 1",
            How::Files(|_, files| {
                let path = tile_path(own(), 1, 5, RECORDS);
                edit(files, &path, |bytes| bytes[5 * 32] ^= 1);
            }),
            "tile: client/1/tile/1/000.p/11 does not fit the entries: the first hash that differs covers the entries from 1280 on",
        ),
        one(
            "a partial tile replaced by another log's",
            How::Files(|_, files| {
                let path = tile_path(own(), 0, 2999, RECORDS);
                edit(files, &path, |bytes| bytes.fill(7));
            }),
            "tile: client/1/tile/0/011.p/184",
        ),
    ]
}

fn histories() -> Vec<Mutation> {
    vec![
        one(
            "the tail cut, signed anew",
            How::Files(|world, files| {
                let entries = &world.logs[1].entries[..2000];
                write_tree(files, own(), entries);
                forged_head(world, files, own(), entries);
            }),
            "cut-off: root leaf 466 commits to 2001 entries of your log, but only 2000 are shown",
        ),
        one(
            "yesterday's files, against what was remembered",
            How::RememberedWorld(|world| {
                let sizes = world.leaves[499].sizes.clone();
                world.leaves.truncate(500);
                world.kept.retain(|it| it.0 <= 500);
                for (log, size) in world.logs.iter_mut().zip(sizes) {
                    log.entries.truncate(size as usize);
                    log.lists.retain(|it| it.0 < size);
                }
            }),
            "shorter: root has 500 entries; it had 700",
        ),
        one(
            "history rewritten since the last look",
            How::RememberedWorld(|world| {
                world.logs[1].entries[40][20] ^= 1;
            }),
            "rewritten: the first 700 entries of root are not those",
        ),
        one(
            "one leaf says another root: a split view",
            How::World(|world| {
                world.leaves[333].forged_root = Some(Hash([9; 32]));
            }),
            "split-view: root leaves 333 to 333",
        ),
        one(
            "a slot that shrinks for one leaf",
            How::World(|world| world.leaves[333].sizes[1] -= 20),
            "slot-shrank: root leaf 333 commits to",
        ),
        one(
            "the log left out of a leaf",
            How::World(|world| world.leaves[333].sizes[1] = 0),
            "slot-absent: root leaf 333 says nothing of your log",
        ),
        one(
            "the log left out of its first leaves",
            How::World(|world| {
                for leaf in &mut world.leaves[..9] {
                    leaf.sizes[1] = 0;
                }
            }),
            "slot-absent: root leaf 3 says nothing of your log",
        ),
        one(
            "a leaf that leaves out records of before",
            How::World(|world| {
                let before = world.leaves[400].sizes[1];
                for leaf in &mut world.leaves[401..404] {
                    leaf.sizes[1] = before;
                }
            }),
            "out-of-order: root leaf 403 should not (or should) cover entry",
        ),
        one(
            "fewer slots",
            How::World(|world| {
                for leaf in &mut world.leaves[..20] {
                    leaf.slots = 128;
                }
            }),
            "slots-shrank: root leaf 20 has 64 slots",
        ),
    ]
}

fn roots() -> Vec<Mutation> {
    vec![
        one(
            "a byte of a root leaf",
            How::Files(|_, files| {
                let path = bundle_path(Tree::Root, 300, LEAVES);
                edit_bundle(files, &path, |leaves| leaves[44][30] ^= 1);
            }),
            "altered: entry 300 of root",
        ),
        one(
            "a root leaf taken out, tiles rebuilt",
            How::Files(|_, files| {
                let mut leaves = Vec::new();
                for first in [0, 256, 512] {
                    let path = bundle_path(Tree::Root, first, LEAVES);
                    leaves.extend(bundle::entries(&files.0[&path]).map(|it| it.unwrap().to_vec()));
                }
                leaves.remove(100);
                leaves.push(leaves[698].clone());
                write_tree(files, Tree::Root, &leaves);
            }),
            "forked: your witnesses cosigned another root log of 103 leaves",
        ),
        one(
            "the salt of a slot",
            How::Files(|_, files| {
                edit_bundle(files, "client/1/slots/001", |proofs| proofs[44][3] ^= 1);
            }),
            "slot-proof: the slot proof for root leaf 300",
        ),
        one(
            "the path of a slot",
            How::Files(|_, files| {
                edit_bundle(files, "client/1/slots/001", |proofs| proofs[44][90] ^= 1);
            }),
            "slot-proof: the slot proof for root leaf 300",
        ),
        one(
            "a shorter path of a slot",
            How::Files(|_, files| {
                edit_bundle(files, "client/1/slots/001", |proofs| {
                    proofs[44].truncate(200)
                });
            }),
            "slot-proof: the slot proof for root leaf 300",
        ),
        one(
            "a slot proof left empty",
            How::Files(|_, files| {
                edit_bundle(files, "client/1/slots/001", |proofs| proofs[44].clear());
            }),
            "slot-absent: root leaf 300",
        ),
        one(
            "slot proofs taken out",
            How::Files(|_, files| {
                edit_bundle(files, "client/1/slots/001", |proofs| drop(proofs.pop()));
            }),
            "slot-proofs: client/1/slots/001, with the slot proofs for the root leaves from 256 on",
        ),
        one(
            "the clock moved back in the root log",
            How::World(|world| world.leaves[333].times.wall_ms -= 2 * LEAF_MS),
            "time-back: the clock goes back at entry 333 of root",
        ),
        one(
            "elapsed time moved back in the root log",
            How::World(|world| world.leaves[333].times.elapsed_ms -= 2 * LEAF_MS),
            "elapsed-back: the elapsed time goes back at entry 333 of root",
        ),
        one(
            "an hour without a leaf",
            How::World(|world| {
                for leaf in &mut world.leaves[600..] {
                    leaf.times.wall_ms += 3_600_000;
                    leaf.times.elapsed_ms += 3_600_000;
                }
            }),
            "gap: no root leaf from 2026-04-01 01:39:50 UTC to 2026-04-01 02:40:00 UTC",
        ),
    ]
}

fn signatures() -> Vec<Mutation> {
    vec![
        one(
            "a signature of the own checkpoint",
            How::Files(|_, files| {
                edit(files, "client/1/checkpoint", |bytes| {
                    let at = bytes.len() - 10;
                    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                });
            }),
            "checkpoint: client/1/checkpoint does not count",
        ),
        one(
            "the own checkpoint signed by a foreign key",
            How::Files(|world, files| {
                let mut other = world.clone();
                other.keys[1].seed = [99; 32];
                let entries = world.logs[1].entries.clone();
                forged_head(&other, files, own(), &entries);
            }),
            "checkpoint: client/1/checkpoint does not count",
        ),
        one(
            "another client's checkpoint",
            How::Files(|_, files| {
                let other = files.0["client/2/checkpoint"].clone();
                files.0.insert("client/1/checkpoint".into(), other);
            }),
            "client/1/checkpoint",
        ),
        one(
            "the own checkpoint signed by a key that is out of use",
            How::Files(|world, files| {
                let mut other = world.clone();
                other.keys[0].until_ms = None;
                other.keys.remove(1);
                let entries = world.logs[1].entries.clone();
                forged_head(&other, files, own(), &entries);
            }),
            "key-span: the checkpoint of client/1 with 3000 entries",
        ),
        one(
            "the list of keys signed by another identity",
            How::World(|world| world.identity = [12; 32]),
            "keys: the list of log keys (file keys) does not count: it is not signed by the identity",
        ),
        one(
            "a span in the list of keys changed",
            How::Files(|_, files| {
                edit(files, "keys", |bytes| {
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    let line = text.lines().nth(2).unwrap().to_owned();
                    let open = format!("{} -", line.rsplit_once(' ').unwrap().0);
                    *bytes = text.replace(&line, &open).into_bytes();
                });
            }),
            "keys: the list of log keys (file keys) does not count: it is not signed by the identity",
        ),
        one(
            "an older list of keys",
            How::RememberedWorld(|world| world.serial = 1),
            "keys-older: the list of log keys has serial 1; serial 2 was seen before",
        ),
        one(
            "another key under an old number",
            How::RememberedWorld(|world| {
                world.serial = 3;
                world.keys[0].seed = [77; 32];
            }),
            "key-changed: log key 1",
        ),
        one(
            "no cosignatures since an hour and more",
            How::World(|world| {
                world.newest_cosigned = false;
                world.kept.retain(|it| it.0 < 300);
            }),
            "uncovered: no quorum of your witnesses has cosigned what came since 2026-04-01 00:49:10 UTC",
        ),
        one(
            "cosignatures that came late",
            How::World(|world| {
                world.kept.retain(|it| it.0 < 200 || it.0 > 640);
            }),
            "interval: from 2026-04-01 00:33:10 UTC to 2026-04-01 01:47:",
        ),
        one(
            "a kept checkpoint with one cosignature of two",
            How::Files(|_, files| {
                let path = "root/cosigned/20260401";
                edit(files, path, |bytes| {
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    let at = text.match_indices("— example.com/w2").nth(3).unwrap().0;
                    let end = at + text[at..].find('\n').unwrap() + 1;
                    *bytes = format!("{}{}", &text[..at], &text[end..]).into_bytes();
                });
            }),
            "no-quorum: the kept checkpoint of 19 root leaves",
        ),
        one(
            "a kept checkpoint altered",
            How::Files(|_, files| {
                edit(files, "root/cosigned/20260401", |bytes| {
                    let at = bytes.len() / 2;
                    bytes[at] ^= 1;
                });
            }),
            "cosigned-unread: root/cosigned/20260401 is damaged at byte",
        ),
        one(
            "a cosigned checkpoint of another tree",
            How::Files(|world, files| {
                let mut note = world.sign(Tree::Root, 8, Hash([3; 32]), START_MS + 7 * LEAF_MS);
                world.cosign(&mut note, START_MS / 1000 + 72);
                edit(files, "root/cosigned/20260401", |bytes| {
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    let origin = text.lines().next().unwrap().to_owned();
                    let third = text
                        .match_indices(&origin)
                        .filter(|it| it.0 == 0 || text.as_bytes()[it.0 - 1] == b'\n');
                    let at = third.map(|it| it.0).nth(2).unwrap();
                    *bytes = format!("{}{note}{}", &text[..at], &text[at..]).into_bytes();
                });
            }),
            "forked: your witnesses cosigned another root log of 8 leaves",
        ),
        one(
            "a root checkpoint of which more was cosigned",
            How::Files(|world, files| {
                let mut note = world.sign(Tree::Root, 900, Hash([3; 32]), world.now_ms());
                world.cosign(&mut note, world.now_ms() / 1000);
                edit(files, "root/cosigned/20260401", |bytes| {
                    bytes.extend_from_slice(note.to_string().as_bytes());
                });
            }),
            "witnessed-more: your witnesses cosigned a root log of 900 leaves, but only 700 are shown",
        ),
    ]
}

fn retime(world: &mut World, index: usize, change: fn(&mut Times)) {
    let entry = &mut world.logs[1].entries[index];
    let parsed = Entry::parse(entry).unwrap();
    let mut times = parsed.times;
    change(&mut times);
    *entry = Entry::encode(times, parsed.record);
}

fn values() -> Vec<Mutation> {
    vec![
        one(
            "the clock moved back in an entry, all signed",
            How::World(|world| retime(world, 1500, |times| times.wall_ms -= 60_000)),
            "time-back: the clock goes back at entry 1500 of client/1",
        ),
        one(
            "elapsed time moved back in an entry, all signed",
            How::World(|world| retime(world, 1500, |times| times.elapsed_ms -= 60_000)),
            "elapsed-back: the elapsed time goes back at entry 1500 of client/1",
        ),
        one(
            "an entry that is newer than the leaf over it",
            How::World(|world| {
                for index in 2999..3000 {
                    retime(world, index, |times| {
                        times.wall_ms += 60_000;
                        times.elapsed_ms += 60_000;
                    });
                }
            }),
            "out-of-order: root leaf 699 should not (or should) cover entry 2999",
        ),
        one(
            "no record in an entry",
            How::World(|world| {
                world.logs[1].entries[77].truncate(40);
            }),
            "entry: entry 77 of client/1 cannot be read",
        ),
        one(
            "the log opened for another ledger",
            How::World(|world| {
                let entry = &mut world.logs[1].entries[0];
                let at = entry.windows(16).position(|it| it == [7; 16]).unwrap();
                entry[at] = 8;
            }),
            "first: entry 0 of client/1 does not open it: it is of another ledger",
        ),
        one(
            "the log opened twice",
            How::World(|world| {
                let first = world.logs[1].entries[0].clone();
                let times = Entry::parse(&world.logs[1].entries[900]).unwrap().times;
                let again = Entry::encode(times, Entry::parse(&first).unwrap().record);
                world.logs[1].entries[900] = again;
            }),
            "misplaced: entry 900 is of kind 14",
        ),
        one(
            "an actor's all-time total that falls",
            How::World(|world| {
                use event::record::{Body, decode, encode};
                let mut times = 0;
                for entry in &mut world.logs[1].entries[2000..] {
                    let parsed = Entry::parse(entry).unwrap();
                    if let Body::Exposure(mut exposure) = decode(parsed.record).unwrap()
                        && exposure.who.grant.is_none()
                        && times == 0
                    {
                        exposure.subjects.windows = [0, 0, 0, 1];
                        exposure.subjects.newly_distinct = 0;
                        times += 1;
                        let record = encode(&Body::Exposure(exposure)).unwrap();
                        *entry = Entry::encode(parsed.times, &record);
                    }
                }
            }),
            "the all-time total falls from",
        ),
    ]
}
