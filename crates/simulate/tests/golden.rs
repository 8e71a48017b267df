//! The same records give the same findings, byte for byte: on every platform, at every level of
//! optimisation, in ten years. A change of this digest is a new [`watch::FOLD_VERSION`].
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use simulate::{Family, Life, Simulation, Sink, cast};
use watch::{FOLD_VERSION, Record, Said, Settings, Watch};

const GOLDEN: (u16, u64, usize) = (3, 14_847_990_545_069_301_971, 1_372);

struct Fold {
    watch: Watch,
    said: Vec<Said>,
}

impl Sink for Fold {
    fn record(&mut self, record: &Record<'_>) {
        self.watch.step(record, &mut self.said);
    }
}

/// FNV-1a.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn the_same_records_give_the_same_findings() {
    let life = Life {
        seed: 7,
        actors: 60,
        days: 200,
        ..Life::default()
    };
    let families = [
        Family::Case,
        Family::Constant(20),
        Family::SharedAccount,
        Family::Walk,
        Family::Gap,
        Family::NoCalls,
    ];
    let (mut text, mut count) = (String::new(), 0);
    for family in families {
        let thieves = cast(life.seed, life.actors, family, 2, 60);
        let mut fold = Fold {
            watch: Watch::new(Settings::default()),
            said: Vec::new(),
        };
        Simulation::new(life, &thieves).run(&mut fold);
        fold.watch.finish(&mut fold.said);
        assert!(!fold.said.is_empty(), "{family}");
        count += fold.said.len();
        text.push_str(&format!("{:?}", fold.said));
    }
    assert_eq!((FOLD_VERSION, digest(&text), count), GOLDEN);
}
