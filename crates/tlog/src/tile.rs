//! Names of tiles and entry bundles (C2SP tlog-tiles): which of them a tree of some size has, and
//! their paths. What is in a tile is 32-byte hashes; what is in a bundle, see [`crate::bundle`].

use std::fmt;
use std::str::FromStr;

use crate::hash::{Hash, hashes, node_hash};
use crate::text::{SIZE_MAX, decimal};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// Levels that a tree of at most [`SIZE_MAX`] entries can have.
pub const LEVELS: u8 = 8;

/// A tile: `width` hashes from number `index` x 256 on, each the root of 256^level leaves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// An entry bundle: `width` entries from number `index` x 256 on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Bundle {
    index: u64,
    width: u16,
}

/// Not the path of a tile or a bundle that can exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is not the path of a tile or entry bundle")]
pub struct PathError;

impl Tile {
    /// A tile; `None` if no tree of at most [`SIZE_MAX`] entries has it.
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        let possible = level < LEVELS
            && (1..=TILE_WIDTH).contains(&width)
            // The last hash of the tile ends at this leaf.
            && u128::from(index)
                .checked_mul(u128::from(TILE_WIDTH))
                .and_then(|first| first.checked_add(u128::from(width)))
                .and_then(|hashes| hashes.checked_mul(1 << (8 * u32::from(level))))
                .is_some_and(|leaves| leaves <= u128::from(SIZE_MAX));
        possible.then_some(Self {
            level,
            index,
            width,
        })
    }

    /// The tile that holds hash number `hash` of a level, as wide as it is in a tree of `size`
    /// entries; `None` if the tree has no such hash.
    pub fn holding(level: u8, hash: u64, size: u64) -> Option<Self> {
        if level >= LEVELS {
            return None;
        }
        let there = size >> (8 * u32::from(level));
        if hash >= there {
            return None;
        }
        let index = hash >> 8;
        let width = (there - (index << 8)).min(u64::from(TILE_WIDTH)) as u16;
        Self::new(level, index, width)
    }

    /// What a tree that grows from `old` to `new` entries must publish: the tiles that became full,
    /// and the partial tiles that changed. From 0, all tiles of a tree.
    pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Self> {
        (0..LEVELS).flat_map(move |level| {
            let shift = 8 * u32::from(level);
            let (old, new) = (old >> shift, new >> shift);
            slots(old, new).filter_map(move |(index, width)| Self::new(level, index, width))
        })
    }

    /// The partial tiles of a tree: at most one a level.
    pub fn partials(size: u64) -> impl Iterator<Item = Self> {
        (0..LEVELS).filter_map(move |level| {
            let there = size >> (8 * u32::from(level));
            Self::new(level, there >> 8, (there & 0xff) as u16)
        })
    }

    /// The level: 0 holds leaf hashes.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The tile's length in bytes.
    pub fn bytes(&self) -> usize {
        usize::from(self.width) * Hash::BYTES
    }
}

impl Bundle {
    /// A bundle; `None` if no tree of at most [`SIZE_MAX`] entries has it.
    pub fn new(index: u64, width: u16) -> Option<Self> {
        Tile::new(0, index, width).map(|tile| Self {
            index: tile.index,
            width: tile.width,
        })
    }

    /// The bundle with an entry, as wide as it is in a tree of `size` entries.
    pub fn holding(entry: u64, size: u64) -> Option<Self> {
        Tile::holding(0, entry, size).map(|tile| tile.bundle())
    }

    /// What a tree that grows from `old` to `new` entries must publish. From 0, all bundles.
    pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Self> {
        slots(old, new).filter_map(|(index, width)| Self::new(index, width))
    }

    /// The index of its first entry.
    pub fn first(&self) -> u64 {
        self.index << 8
    }

    /// The tile with its leaf hashes.
    pub fn tile(&self) -> Tile {
        Tile {
            level: 0,
            index: self.index,
            width: self.width,
        }
    }
}

impl Tile {
    fn bundle(self) -> Bundle {
        Bundle {
            index: self.index,
            width: self.width,
        }
    }
}

macro_rules! places {
    ($($ty:ident)+) => {$(
        impl $ty {
            /// The number: of a tile within its level.
            pub fn index(&self) -> u64 {
                self.index
            }

            /// How many hashes or entries: 1 to 256.
            pub fn width(&self) -> u16 {
                self.width
            }

            /// Fewer than 256.
            pub fn is_partial(&self) -> bool {
                self.width < TILE_WIDTH
            }

            /// The full one that this one is, or becomes: where to look when a partial one is gone.
            pub fn full(&self) -> Self {
                Self {
                    width: TILE_WIDTH,
                    ..*self
                }
            }
        }
    )+};
}

places! { Tile Bundle }

/// Full slots that became full between two counts, and the partial one at the end if it changed.
fn slots(old: u64, new: u64) -> impl Iterator<Item = (u64, u16)> {
    let full = ((old >> 8)..(new >> 8)).map(|index| (index, TILE_WIDTH));
    let rest = (new & 0xff) as u16;
    full.chain((new > old && rest > 0).then_some((new >> 8, rest)))
}

/// The root of the perfect subtree over 1, 2, 4, ... or 256 hashes. `None` for another number.
pub fn subtree_root(bytes: &[u8]) -> Option<Hash> {
    let count = bytes.len() / Hash::BYTES;
    let whole = bytes.len().is_multiple_of(Hash::BYTES);
    if !whole || !count.is_power_of_two() || count > usize::from(TILE_WIDTH) {
        return None;
    }
    let mut row: Vec<Hash> = hashes(bytes).collect();
    fold(&mut row);
    row.first().copied()
}

/// Folds a power of two of hashes in place into the first.
pub(crate) fn fold(row: &mut [Hash]) {
    let mut count = row.len();
    while count > 1 {
        count /= 2;
        for i in 0..count {
            row[i] = node_hash(&row[2 * i], &row[2 * i + 1]);
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_place(f, self.index, self.width)
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_place(f, self.index, self.width)
    }
}

/// `x001/x234/067`, and `.p/8` if partial.
fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut power = 1;
    while index / power >= 1000 {
        power *= 1000;
    }
    while power > 1 {
        write!(f, "x{:03}/", index / power % 1000)?;
        power /= 1000;
    }
    write!(f, "{:03}", index % 1000)?;
    if width < TILE_WIDTH {
        write!(f, ".p/{width}")?;
    }
    Ok(())
}

impl FromStr for Tile {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        let rest = path.strip_prefix("tile/").ok_or(PathError)?;
        let (level, place) = rest.split_once('/').ok_or(PathError)?;
        let level = decimal(level).and_then(|it| u8::try_from(it).ok());
        let (index, width) = read_place(place)?;
        Self::new(level.ok_or(PathError)?, index, width).ok_or(PathError)
    }
}

impl FromStr for Bundle {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        let place = path.strip_prefix("tile/entries/").ok_or(PathError)?;
        let (index, width) = read_place(place)?;
        Self::new(index, width).ok_or(PathError)
    }
}

fn read_place(place: &str) -> Result<(u64, u16), PathError> {
    let (number, width) = match place.split_once(".p/") {
        None => (place, TILE_WIDTH),
        Some((number, width)) => {
            let width = decimal(width).filter(|it| (1..u64::from(TILE_WIDTH)).contains(it));
            (number, width.ok_or(PathError)? as u16)
        }
    };
    let mut index: u64 = 0;
    let mut parts = number.split('/').peekable();
    // `x000/...` would be a second path of the same tile.
    if number.starts_with("x000") {
        return Err(PathError);
    }
    while let Some(part) = parts.next() {
        let digits = match parts.peek() {
            Some(_) => part.strip_prefix('x').ok_or(PathError)?,
            None => part,
        };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PathError);
        }
        let value: u64 = digits.parse().map_err(|_| PathError)?;
        index = index
            .checked_mul(1000)
            .and_then(|it| it.checked_add(value))
            .ok_or(PathError)?;
    }
    Ok((index, width))
}
