//! Judges are held against the truth: what is caught, what is false, what is left out.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use simulate::evaluate::{Judge, Outcome, Trial, run};
use simulate::{Family, Life, cast};
use watch::Detector;

fn trial(family: Family) -> Outcome {
    let life = Life {
        seed: 5,
        actors: 30,
        days: 150,
        ..Life::default()
    };
    run(&Trial {
        life,
        thieves: cast(5, 30, family, 1, 100),
        judges: vec![Judge::Watch(1), Judge::Sigma, Judge::Fixed(200)],
    })
}

#[test]
fn a_burst_is_caught_by_all_and_slow_theft_not_by_a_fixed_threshold() {
    let outcome = trial(Family::Case);
    for score in &outcome.scores {
        let gang = score.gangs[0];
        let first = gang.first.unwrap();
        assert!(first.lost <= 93_000 && gang.lost >= 93_000, "{first:?}");
        assert!(first.at_ms - gang.began_ms.unwrap() < 86_400_000);
    }
    let outcome = trial(Family::Constant(5));
    assert!(outcome.scores[2].gangs[0].first.is_none());
    assert!(outcome.scores[2].gangs[0].lost > 100);
    assert_eq!(outcome.scores[2].false_cases, 0);
    assert!(outcome.scores.iter().all(|it| it.skipped == 0));
}

#[test]
fn leaving_out_who_spoke_first_leaves_the_next() {
    let outcome = trial(Family::Case);
    let gang = outcome.scores[0].gangs[0];
    let spoke = gang.first.unwrap().detector.unwrap();
    assert_eq!(spoke, Detector::Burst);
    let next = gang.first_without(&[spoke]).unwrap();
    assert!(next.at_ms >= gang.first.unwrap().at_ms);
    assert_ne!(next.detector, Some(spoke));
}

#[test]
fn the_same_trial_comes_to_the_same() {
    let say = || format!("{:?}", trial(Family::Walk).scores);
    assert_eq!(say(), say());
}
