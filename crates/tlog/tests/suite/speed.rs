//! How fast: run with `cargo test --release -p tlog --test suite -- --ignored --nocapture speed`.

use std::hint::black_box;
use std::time::Instant;

use tlog::{Edge, Frontier, Hash, leaf_hash};

#[test]
#[ignore = "a measurement; only a release build says something"]
fn speed() {
    let count = 4_000_000u32;
    let leaves: Vec<Hash> = (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect();
    let per_second = |what: &str, run: &mut dyn FnMut()| {
        let mut rates: Vec<f64> = (0..5)
            .map(|_| {
                let start = Instant::now();
                run();
                f64::from(count) / start.elapsed().as_secs_f64()
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        println!(
            "{what}: {:.2} million/s (of 5: {:.2} to {:.2})",
            rates[2] / 1e6,
            rates[0] / 1e6,
            rates[4] / 1e6
        );
    };
    per_second("Frontier::push", &mut || {
        let mut frontier = Frontier::new();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        black_box(frontier.root());
    });
    per_second("Edge::push", &mut || {
        let mut edge = Edge::new();
        for leaf in &leaves {
            black_box(edge.push(*leaf));
        }
        black_box(edge.root());
    });
    let mut entry = [7; 300];
    per_second("leaf_hash of 300 bytes", &mut || {
        for i in 0..count {
            entry[..4].copy_from_slice(&i.to_be_bytes());
            black_box(leaf_hash(&entry));
        }
    });
    per_second("leaf_hash of 300 bytes and Frontier::push", &mut || {
        let mut frontier = Frontier::new();
        for i in 0..count {
            entry[..4].copy_from_slice(&i.to_be_bytes());
            frontier.push(leaf_hash(&entry));
        }
        black_box(frontier.root());
    });
}
