//! A bit flipped anywhere in any file that is read is never accepted silently.

use std::sync::LazyLock;

use proptest::prelude::*;
use verify::check::{Question, check};
use verify::store::Memory;

use crate::producer::World;

static WORLD: LazyLock<(World, Memory)> = LazyLock::new(|| {
    let mut world = World::new(300, 40);
    // While keys rotate two signatures stand under each checkpoint, and one is enough.
    world.keys.remove(0);
    world.keys[0].from_ms = 0;
    let files = world.publish();
    (world, files)
});

/// Files that `check` reads for client 1: all of its own, the root log, the list of keys. Not other
/// logs', and not the encrypted lists, which only an officer's file opens (`report` does).
fn is_read(path: &str) -> bool {
    let own = path.starts_with("client/1/") && !path.contains("/lists/");
    own || path.starts_with("root/") || path == "keys"
}

fn is_silent(files: &Memory) -> bool {
    let question = Question {
        key_file: &WORLD.0.key_file(),
        store: files,
        remembered: None,
        whole: false,
        now_ms: WORLD.0.now_ms(),
        current: true,
    };
    match check(question, &mut |_| {}) {
        Ok(checked) => checked.problems.found().is_empty(),
        Err(_) => false,
    }
}

fn paths() -> Vec<String> {
    let files = WORLD.1.0.keys();
    files.filter(|path| is_read(path)).cloned().collect()
}

#[test]
fn the_untouched_files_are_accepted() {
    assert!(is_silent(&WORLD.1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_flipped_bit_is_noticed(
        path in prop::sample::select(paths()),
        at: prop::sample::Index,
        bit in 0..8_u8,
    ) {
        let mut files = WORLD.1.clone();
        let bytes = files.0.get_mut(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(!is_silent(&files), "{} byte {} bit {}", path, at, bit);
    }

    #[test]
    fn a_truncated_or_longer_file_is_noticed(
        path in prop::sample::select(paths()),
        at: prop::sample::Index,
        longer: bool,
    ) {
        // Cosigned checkpoints may be fewer, at the border of one: that is what was cosigned.
        prop_assume!(!path.starts_with("root/cosigned"));
        let mut files = WORLD.1.clone();
        let bytes = files.0.get_mut(&path).unwrap();
        if longer {
            bytes.extend_from_slice(&[0; 3]);
        } else {
            bytes.truncate(at.index(bytes.len()));
        }
        prop_assert!(!is_silent(&files), "{}", path);
    }

    #[test]
    fn garbage_never_panics(
        path in prop::sample::select(paths()),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut files = WORLD.1.clone();
        files.0.insert(path, bytes);
        let _ = is_silent(&files);
    }
}

#[test]
fn any_file_taken_away_is_noticed() {
    for path in paths() {
        // The newest root checkpoint carries the same cosignatures.
        if path.starts_with("root/cosigned") {
            continue;
        }
        let mut files = WORLD.1.clone();
        files.0.remove(&path).unwrap();
        assert!(!is_silent(&files), "{path}");
    }
}
