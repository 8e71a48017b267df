//! Tiles and bundles: their names, the edge that makes them, its saved form.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tlog::bundle::{self, BundleError};
use tlog::{Bundle, Edge, EdgeError, Hash, SIZE_MAX, TILE_WIDTH, Tile, subtree_root};

use crate::common::{Tiles, leaves, mth};

fn tile(level: u8, index: u64, width: u16) -> Tile {
    Tile::new(level, index, width).unwrap()
}

#[test]
fn the_examples_of_the_specification() {
    assert_eq!(tile(0, 1_234_067, 256).to_string(), "tile/0/x001/x234/067");
    assert_eq!(
        tile(0, 1_234_067, 8).to_string(),
        "tile/0/x001/x234/067.p/8"
    );
    assert_eq!(tile(3, 0, 1).to_string(), "tile/3/000.p/1");
    let bundle = Bundle::new(1_234_067, 255).unwrap();
    assert_eq!(bundle.to_string(), "tile/entries/x001/x234/067.p/255");
    assert_eq!(bundle.full().to_string(), "tile/entries/x001/x234/067");

    // "A tree of size 70,000 will be represented by ..."
    let all: Vec<Tile> = Tile::grown(0, 70_000).collect();
    let count = |level, partial| {
        let it = all
            .iter()
            .filter(|it| it.level() == level && it.is_partial() == partial);
        it.count()
    };
    assert_eq!(
        (count(0, false), count(1, false), count(2, false)),
        (273, 1, 0)
    );
    let partial: Vec<Tile> = Tile::partials(70_000).collect();
    assert_eq!(partial, [tile(0, 273, 112), tile(1, 1, 17), tile(2, 0, 1)]);
    assert_eq!(all.len(), 273 + 1 + 3);
    let all: Vec<Tile> = Tile::grown(0, 256).collect();
    assert_eq!(all, [tile(0, 0, 256), tile(1, 0, 1)]);
    assert_eq!(Tile::grown(0, 0).count(), 0);
    assert_eq!(Tile::grown(500, 500).count(), 0);
}

#[test]
fn tiles_that_cannot_be_are_refused() {
    assert_eq!(Tile::new(0, 0, 0), None);
    assert_eq!(Tile::new(0, 0, 257), None);
    assert_eq!(Tile::new(8, 0, 1), None);
    assert_eq!(Tile::new(7, 0, 128), None);
    assert!(Tile::new(7, 0, 127).is_some());
    assert_eq!(Tile::new(0, u64::MAX, 1), None);
    assert_eq!(Tile::new(7, u64::MAX, 256), None);
    assert_eq!(Tile::holding(0, 256, 256), None);
    assert_eq!(Tile::holding(0, 256, 257), Some(tile(0, 1, 1)));
    assert_eq!(Tile::holding(0, 255, 257), Some(tile(0, 0, 256)));
    assert_eq!(Tile::holding(9, 0, 257), None);
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/000/001",
        "tile/0/x001",
        "tile/0/x001/",
        "tile/0/x001/x001",
        "tile/0/001.p",
        "tile/0/001.p/",
        "tile/0/001.p/0",
        "tile/0/001.p/08",
        "tile/0/001.p/256",
        "tile/0/001.p/1.p/1",
        "tile/0/x001.p/1/001",
        "tile/0/001/",
        "/tile/0/001",
        "tile/0/../001",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/x99\u{663}/001",
        "tile/entries/001",
        "TILE/0/001",
    ] {
        assert!(path.parse::<Tile>().is_err(), "{path}");
    }
    assert!("tile/0/001".parse::<Bundle>().is_err());
    assert!("tile/entries/x000/001".parse::<Bundle>().is_err());
}

/// The tiles of a tree by their definition, level by level.
fn by_definition(leaves: &[Hash]) -> Vec<(Tile, Vec<u8>)> {
    let (mut row, mut level, mut found) = (leaves.to_vec(), 0, Vec::new());
    while !row.is_empty() {
        for (index, hashes) in (0..).zip(row.chunks(256)) {
            let bytes = hashes.iter().flat_map(|it| *it.as_bytes()).collect();
            found.push((tile(level, index, hashes.len() as u16), bytes));
        }
        row = row.chunks_exact(256).map(mth).collect();
        level += 1;
    }
    found
}

#[test]
fn a_tree_of_three_levels() {
    let all = leaves(70_000);
    let made = Tiles::of(&all);
    assert_eq!(made.0.into_iter().collect::<Vec<_>>(), by_definition(&all));
}

#[test]
fn the_end_of_counting() {
    // The last tree that may be: saved, read, and its tiles named.
    let mut bytes = b"tlogedg1".to_vec();
    bytes.extend_from_slice(&SIZE_MAX.to_be_bytes());
    bytes.resize(16 + (7 * 255 + 127) * 32, 7);
    let mut edge = Edge::from_bytes(&bytes).unwrap();
    assert_eq!(edge.to_bytes(), bytes);
    assert_eq!(edge.partials().count(), 8);
    edge.root();
    let _ = edge.push(Hash([1; 32]));
}

#[test]
fn subtree_roots() {
    let all = leaves(256);
    let bytes =
        |count: usize| -> Vec<u8> { all[..count].iter().flat_map(|it| *it.as_bytes()).collect() };
    for count in [1, 2, 4, 128, 256] {
        assert_eq!(subtree_root(&bytes(count)), Some(mth(&all[..count])));
    }
    for count in [0, 3, 255] {
        assert_eq!(subtree_root(&bytes(count)), None);
    }
    assert_eq!(subtree_root(&bytes(2)[..63]), None);
    assert_eq!(subtree_root(&vec![0; 512 * 32]), None);
}

#[test]
fn bundles() {
    let mut bytes = Vec::new();
    let entries: Vec<Vec<u8>> = [0, 1, 300, bundle::ENTRY_BYTES_MAX]
        .map(|length| vec![7; length])
        .to_vec();
    for entry in &entries {
        bundle::append(&mut bytes, entry).unwrap();
    }
    let before = bytes.clone();
    let long = vec![0; bundle::ENTRY_BYTES_MAX + 1];
    assert_eq!(
        bundle::append(&mut bytes, &long),
        Err(BundleError::EntryTooLong(65_536))
    );
    assert_eq!(bytes, before);
    assert_eq!(&bytes[..5], [0, 0, 0, 1, 7]);
    assert_eq!(bundle::exactly(&bytes, 4).unwrap(), entries);
    let width = |expected, given| Err(BundleError::Width { expected, given });
    assert_eq!(bundle::exactly(&bytes, 3), width(3, 4));
    assert_eq!(bundle::exactly(&bytes, 5), width(5, 4));
    let cut = &bytes[..bytes.len() - 1];
    let wanted = BundleError::CutOff { entry: 3, at: 307 };
    assert_eq!(bundle::exactly(cut, 4), Err(wanted));
    assert_eq!(bundle::entries(cut).last(), Some(Err(wanted)));
    assert_eq!(bundle::exactly(&[], 0).unwrap(), Vec::<&[u8]>::new());
    assert_eq!(bundle::entries(&[5]).count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tiles_made_one_by_one_are_those_of_the_definition(size in 0u64..3000, old: u64) {
        let all = leaves(size);
        let made = Tiles::of(&all).0;
        let wanted = by_definition(&all);
        prop_assert_eq!(made.clone().into_iter().collect::<Vec<_>>(), wanted);
        let names: BTreeSet<Tile> = Tile::grown(0, size).collect();
        prop_assert_eq!(names, made.keys().copied().collect());

        // What a smaller tree had, and what was added, are together all that is needed.
        let old = old % (size + 1);
        let before: BTreeSet<Tile> = Tile::grown(0, old).collect();
        let added: BTreeSet<Tile> = Tile::grown(old, size).collect();
        prop_assert!(made.keys().all(|it| before.contains(it) || added.contains(it)));
        prop_assert!(added.iter().all(|it| made.contains_key(it) && !before.contains(it)));
        for bundle in Bundle::grown(old, size) {
            prop_assert!(added.contains(&bundle.tile()));
        }
    }

    #[test]
    fn an_edge_goes_on_from_any_size(size in 0u64..3000, cut: u64) {
        let all = leaves(size);
        let cut = (cut % (size + 1)) as usize;
        let mut whole = Edge::new();
        let full: Vec<_> = all.iter().flat_map(|leaf| whole.push(*leaf)).collect();
        prop_assert_eq!(whole.root(), mth(&all));
        prop_assert_eq!(whole.size(), size);

        let mut first = Edge::new();
        let mut again: Vec<_> = all[..cut].iter().flat_map(|leaf| first.push(*leaf)).collect();
        let mut second = Edge::from_bytes(&first.to_bytes()).unwrap();
        prop_assert_eq!(&second, &first);
        prop_assert_eq!(second.root(), mth(&all[..cut]));
        prop_assert_eq!(second.frontier(), first.frontier());
        again.extend(all[cut..].iter().flat_map(|leaf| second.push(*leaf)));
        prop_assert_eq!(&second, &whole);
        prop_assert_eq!(again, full);

        // Cut anywhere, or with a byte more: refused.
        let saved = whole.to_bytes();
        for length in (0..saved.len()).step_by(31) {
            prop_assert!(Edge::from_bytes(&saved[..length]).is_err());
        }
        let mut longer = saved.clone();
        longer.push(0);
        let is_length = matches!(Edge::from_bytes(&longer), Err(EdgeError::Length { .. }));
        prop_assert!(is_length);
    }

    #[test]
    fn paths_go_there_and_back(level in 0u8..8, index: u64, width in 1..=TILE_WIDTH, shift in 0u32..64) {
        let Some(tile) = Tile::new(level, index >> shift, width) else {
            return Ok(());
        };
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
        let bundle = Bundle::new(tile.index(), width).unwrap();
        prop_assert_eq!(bundle.to_string().parse(), Ok(bundle));
        prop_assert!(bundle.to_string().parse::<Tile>().is_err());
    }
}
