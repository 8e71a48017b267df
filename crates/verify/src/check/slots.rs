//! The proofs of what each root leaf says of one log, a bundle in memory.

use tlog::{Bundle, TILE_WIDTH, bundle};

use super::reader::taken;
use crate::places::{self, BUNDLE_BYTES_MAX, Tree};
use crate::problem::{Problem, Problems};
use crate::store::Store;

/// Reads slot proofs in the order of the root leaves.
pub(crate) struct SlotReader<'a> {
    store: &'a dyn Store,
    tree: Tree,
    root_size: u64,
    loaded: Option<(u64, Loaded)>,
}

/// A bundle of proofs, and where each one is.
#[derive(Default)]
struct Loaded {
    bytes: Vec<u8>,
    spans: Vec<(usize, usize)>,
}

impl<'a> SlotReader<'a> {
    pub(crate) fn new(store: &'a dyn Store, tree: Tree, root_size: u64) -> Self {
        Self {
            store,
            tree,
            root_size,
            loaded: None,
        }
    }

    /// The proof for a leaf: `None` if it cannot be had (said once for its bundle).
    pub(crate) fn get(&mut self, leaf: u64, problems: &mut Problems) -> Option<&[u8]> {
        let bundle = Bundle::holding(leaf, self.root_size)?;
        if self.loaded.as_ref().is_none_or(|it| it.0 != bundle.index()) {
            let loaded = self.load(bundle, problems).unwrap_or_default();
            self.loaded = Some((bundle.index(), loaded));
        }
        let (_, Loaded { bytes, spans }) = self.loaded.as_ref()?;
        let &(start, end) = spans.get((leaf & 0xff) as usize)?;
        bytes.get(start..end)
    }

    fn load(&self, bundle: Bundle, problems: &mut Problems) -> Option<Loaded> {
        let mut path = places::slots(self.tree, bundle);
        let mut found = self.store.read(&path, BUNDLE_BYTES_MAX);
        if matches!(found, Ok(None)) && bundle.is_partial() {
            let full = places::slots(self.tree, bundle.full());
            let other = self.store.read(&full, BUNDLE_BYTES_MAX);
            if !matches!(other, Ok(None)) {
                (path, found) = (full, other);
            }
        }
        let bytes = taken(&path, found, problems)?;
        let (mut spans, mut end, mut why) = (Vec::new(), 0, None);
        for proof in bundle::entries(&bytes).take(usize::from(TILE_WIDTH) + 1) {
            match proof {
                Ok(proof) => {
                    spans.push((end + 2, end + 2 + proof.len()));
                    end += 2 + proof.len();
                }
                Err(error) => why = Some(error.to_string()),
            }
        }
        let width = usize::from(bundle.width());
        let full = usize::from(TILE_WIDTH);
        if why.is_none() && spans.len() != width && spans.len() != full {
            why = Some(format!("{} proofs in place of {width}", spans.len()));
        }
        if let Some(why) = why {
            let first = bundle.first();
            problems.add(Problem::SlotProofs { path, first, why });
        }
        Some(Loaded { bytes, spans })
    }
}
