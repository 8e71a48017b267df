//! The most that somebody who knows all thresholds can take in ten years without a case: one insider
//! for each of several rates, from the first day on, within the pattern of his work.

use simulate::evaluate::{Gang, Judge, Trial};
use simulate::{Family, Life, cast};
use watch::Detector;

use super::super::figures::Figure;
use super::families::name;
use super::{Plan, run_all};

/// People of a thousand working days.
const RATES: [u32; 10] = [250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 10_000, 20_000];
/// Lives where calls or canaries are not to be had: what is left without these detectors.
const WITHOUT: [&[Detector]; 4] = [
    &[],
    &[Detector::Canary],
    &[Detector::Balance],
    &[Detector::Canary, Detector::Balance],
];

/// Runs insiders; gives the figures.
pub(super) fn judge(plan: &Plan) -> Vec<Figure> {
    let years = f64::from(plan.insider_days) / 365.25;
    println!(
        "\ninsiders who know everything, {years:.1} years: taken before the first case (median over lives), by the rate a working day"
    );
    let trials: Vec<Trial> = plan.seeds.iter().map(|seed| trial(plan, *seed)).collect();
    let outcomes = run_all(&trials, plan.jobs);
    let mut figures = Vec::new();
    for without in WITHOUT {
        let mut most = 0;
        let mut line = String::new();
        for (place, rate) in RATES.iter().enumerate() {
            let gangs: Vec<&Gang> = outcomes
                .iter()
                .map(|it| &it.scores[0].gangs[place])
                .collect();
            let mut taken: Vec<u64> = gangs.iter().map(|it| taken(it, without)).collect();
            taken.sort_unstable();
            let caught = gangs
                .iter()
                .filter(|it| it.first_without(without).is_some())
                .count();
            let median = taken.get((taken.len().max(1) - 1) / 2).copied();
            let median = median.unwrap_or_default();
            most = most.max(median);
            let rate = f64::from(*rate) / 1000.0;
            line += &format!("  {rate}: {median} ({caught}/{})", gangs.len());
        }
        let names: Vec<String> = without.iter().map(|it| name(*it)).collect();
        let words = if names.is_empty() {
            "with everything".to_owned()
        } else {
            format!("without {}", names.join(" and "))
        };
        println!("{words:>27}:{line}");
        let what = format!("an insider's most in {years:.1} years, {words}");
        figures.push(Figure::published(what, (most as f64, "")));
    }
    figures
}

fn taken(gang: &Gang, without: &[Detector]) -> u64 {
    gang.first_without(without).map_or(gang.lost, |it| it.lost)
}

fn trial(plan: &Plan, seed: u64) -> Trial {
    let life = Life {
        actors: plan.insider_actors,
        days: plan.insider_days,
        ..plan.life(seed * 1000 + 998)
    };
    let count = RATES.len() as u32;
    let mut thieves = cast(life.seed, life.actors, Family::Insider(0), count, 0);
    for (thief, rate) in thieves.iter_mut().zip(RATES) {
        thief.family = Family::Insider(rate);
    }
    Trial {
        life,
        thieves,
        judges: vec![Judge::Watch(1)],
    }
}
