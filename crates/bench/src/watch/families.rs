//! Families of theft: who is caught, when, and what was lost before; and how often somebody honest is
//! suspected.

use std::fmt;

use simulate::evaluate::{DETECTORS, First, Gang, Judge, Outcome, Score, Trial};
use simulate::{Family, cast};
use watch::Detector;

use super::super::figures::{Bound, Figure};
use super::{Plan, run_all};

const DAY_MS: f64 = 86_400_000.0;
/// Cases a day for 1,000 actors that are tried; targets are for the first.
const BUDGETS: [u32; 3] = [1, 3, 10];
/// The fixed threshold of the simple rule, subjects a day.
const FIXED: u32 = 200;
/// False cases that an actor may have in a year.
const FALSE_A_YEAR: f64 = 0.05;
/// Days that stand for never in a figure.
const NEVER_DAYS: f64 = 99_999.0;
/// The detectors, for names and for leaving one out.
pub(super) const ALL: [Detector; DETECTORS - 1] = [
    Detector::Burst,
    Detector::Step,
    Detector::Ledger,
    Detector::Walk,
    Detector::Guess,
    Detector::Tamper,
    Detector::Chain,
    Detector::Together,
    Detector::Identity,
    Detector::Silence,
    Detector::Canary,
    Detector::Balance,
];

/// All judges, the one that targets are for first; in a short run not all budgets.
pub(super) fn judges(short: bool) -> Vec<Judge> {
    let budgets = if short { &BUDGETS[..1] } else { &BUDGETS };
    let mut judges: Vec<Judge> = budgets.iter().copied().map(Judge::Watch).collect();
    judges.extend([Judge::Sigma, Judge::Fixed(FIXED)]);
    judges
}

fn words(judge: &Judge) -> String {
    match judge {
        Judge::Watch(1) => "1 case a day".to_owned(),
        Judge::Watch(cases) => format!("{cases} cases a day"),
        Judge::Sigma => "mean + 3 sigma".to_owned(),
        Judge::Fixed(most) => format!("over {most} a day"),
    }
}

/// What is run over all seeds.
#[derive(Clone, Copy)]
struct Kind {
    family: Family,
    /// In lives without records of calls and without fictitious subjects.
    bare: bool,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = if self.bare { ", bare" } else { "" };
        f.pad(&format!("{}{bare}", self.family))
    }
}

/// Families whose thieves calls and canaries give away: they are run without these, too.
fn also_bare(family: Family) -> bool {
    use Family::{ColludersClients, ColludersList, Constant, Poisoned, Ramp, Walk};
    matches!(
        family,
        Constant(..1000) | Ramp | ColludersClients | ColludersList | Poisoned | Walk
    )
}

/// One kind over all seeds.
struct Result {
    kind: Kind,
    /// By judge, all gangs of all seeds.
    gangs: Vec<Vec<Gang>>,
}

/// Runs all families, or one, and honest lives; gives the figures.
pub(super) fn judge(plan: &Plan, only: Option<Family>, families: bool) -> Vec<Figure> {
    let mut chosen: Vec<Family> = Family::ALL
        .into_iter()
        .filter(|it| !matches!(it, Family::Insider(_)))
        .collect();
    if let Some(only) = only {
        chosen = vec![only];
    }
    if !families {
        chosen.clear();
    }
    let kinds: Vec<Kind> = chosen
        .into_iter()
        .flat_map(|family| [false, true].map(|bare| Kind { family, bare }))
        .filter(|it| !it.bare || also_bare(it.family))
        .collect();
    let mut trials: Vec<Trial> = (0..)
        .zip(&kinds)
        .flat_map(|(n, kind)| plan.seeds.iter().map(move |seed| (seed * 1000 + n, kind)))
        .map(|(seed, kind)| kind.trial(plan, seed))
        .collect();
    let with_thieves = trials.len();
    for seed in plan.seeds.iter().filter(|_| only.is_none()) {
        trials.push(Trial {
            life: simulate::Life {
                actors: plan.honest_actors,
                ..plan.life(seed * 1000 + 999)
            },
            thieves: Vec::new(),
            judges: plan.judges.clone(),
        });
    }
    println!(
        "\n{} lives of {} people and {} days, thefts from day {} on",
        trials.len(),
        plan.actors,
        plan.days,
        plan.quiet_days
    );
    let outcomes = run_all(&trials, plan.jobs);
    let (stolen, honest) = outcomes.split_at(with_thieves);
    let results: Vec<Result> = kinds
        .iter()
        .zip(stolen.chunks(plan.seeds.len()))
        .map(|(kind, outcomes)| Result::of(*kind, outcomes))
        .collect();
    let mut figures = Vec::new();
    if !results.is_empty() {
        caught(&results);
        beside(plan, &results);
        left_out(&results);
        figures.extend(results.iter().flat_map(|it| it.figures(plan.judged)));
        figures.push(explained(&results));
    }
    if only.is_none() {
        figures.push(false_cases(plan, honest));
    }
    let innocent: u64 = stolen.iter().map(|it| it.scores[0].innocent).sum();
    if innocent > 0 {
        println!("\n{innocent} times an honest person is named in a finding about a thief");
    }
    let skipped: u64 = outcomes
        .iter()
        .flat_map(|it| it.scores.iter().map(|score| score.skipped))
        .sum();
    if skipped > 0 {
        println!("\n{skipped} records were not counted by the detectors");
    }
    figures
}

impl Kind {
    /// A life of its own for each kind, so that no one's luck is everyone's.
    fn trial(self, plan: &Plan, seed: u64) -> Trial {
        let life = simulate::Life {
            calls: !self.bare,
            canaries: !self.bare,
            ..plan.life(seed)
        };
        Trial {
            life,
            thieves: cast(seed, life.actors, self.family, plan.gangs, plan.quiet_days),
            judges: plan.judges.clone(),
        }
    }
}

impl Result {
    fn of(kind: Kind, outcomes: &[Outcome]) -> Self {
        let judges = outcomes.first().map_or(0, |it| it.scores.len());
        let judged = |judge: usize| {
            outcomes
                .iter()
                .flat_map(|it| it.scores[judge].gangs.iter().copied())
                .filter(|it| it.began_ms.is_some())
                .collect()
        };
        Self {
            kind,
            gangs: (0..judges).map(judged).collect(),
        }
    }

    fn figures(&self, judged: bool) -> Vec<Figure> {
        let gangs = &self.gangs[0];
        let seen = Seen::of(gangs, |it| it.first);
        let at_most = |name: &str, value: (f64, &'static str), target: f64| {
            let name = format!("{}: {name}", self.kind);
            Figure::of(name, value, Bound::AtMost, target, judged)
        };
        let lost = |target| {
            vec![at_most(
                "most lost before a case",
                (seen.lost.worst, ""),
                target,
            )]
        };
        match self.kind.family {
            Family::Case => {
                let act = at_most(
                    "days until a case, at worst",
                    (seen.days.worst.min(NEVER_DAYS), " d"),
                    1.0,
                );
                vec![act]
            }
            Family::Constant(20) | Family::Ramp => lost(3000.0),
            Family::Constant(100) => lost(500.0),
            Family::ColludersClients | Family::ColludersList => lost(5000.0),
            Family::Constant(5) if !self.kind.bare => {
                let seen = Seen::of(gangs, |gang| {
                    let of = |it: Detector| gang.by[it as usize];
                    let both = [of(Detector::Canary), of(Detector::Balance)];
                    both.into_iter().flatten().min_by_key(|it| it.at_ms)
                });
                let name = "days until canary or balance, at worst";
                vec![at_most(
                    name,
                    (seen.days.worst.min(NEVER_DAYS), " d"),
                    365.0,
                )]
            }
            _ => Vec::new(),
        }
    }
}

/// Median and worst.
#[derive(Clone, Copy)]
struct Two {
    median: f64,
    worst: f64,
}

impl Two {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            worst: at(values.len().saturating_sub(1)),
        }
    }
}

/// Gangs as one judge saw them; who was not caught counts with all that was lost, and forever.
struct Seen {
    caught: usize,
    all: usize,
    days: Two,
    lost: Two,
}

impl Seen {
    fn of(gangs: &[Gang], first: impl Fn(&Gang) -> Option<First>) -> Self {
        let days = |gang: &Gang| match (first(gang), gang.began_ms) {
            (Some(first), Some(began)) => first.at_ms.saturating_sub(began) as f64 / DAY_MS,
            _ => f64::INFINITY,
        };
        let lost = |gang: &Gang| first(gang).map_or(gang.lost, |it| it.lost) as f64;
        Self {
            caught: gangs.iter().filter(|it| first(it).is_some()).count(),
            all: gangs.len(),
            days: Two::of(gangs.iter().map(days).collect()),
            lost: Two::of(gangs.iter().map(lost).collect()),
        }
    }
}

fn caught(results: &[Result]) {
    println!(
        "\nat one case a day for 1,000 people; days and people lost before the first case, median and worst\n\
         {:<23} {:>7} {:>17} {:>21}  first finding by",
        "family", "caught", "days", "lost"
    );
    for result in results {
        let gangs = &result.gangs[0];
        let seen = Seen::of(gangs, |it| it.first);
        let mut by = [0; DETECTORS];
        for first in gangs.iter().filter_map(|it| it.first) {
            by[first.detector.map_or(0, |it| it as usize)] += 1;
        }
        let by: Vec<String> = ALL
            .iter()
            .filter(|it| by[**it as usize] > 0)
            .map(|it| format!("{} {}", name(*it), by[*it as usize]))
            .collect();
        println!(
            "{:<23} {:>3}/{:<3} {:>8.1} {:>8.1} {:>10.0} {:>10.0}  {}",
            result.kind.to_string(),
            seen.caught,
            seen.all,
            seen.days.median,
            seen.days.worst,
            seen.lost.median,
            seen.lost.worst,
            by.join(", ")
        );
    }
}

fn beside(plan: &Plan, results: &[Result]) {
    print!(
        "\ncaught, and lost in the median, by others\n{:<23}",
        "family"
    );
    for judge in &plan.judges {
        print!(" {:>16}", words(judge));
    }
    println!();
    for result in results {
        print!("{:<23}", result.kind.to_string());
        for gangs in &result.gangs {
            let seen = Seen::of(gangs, |it| it.first);
            print!(
                " {:>3}/{:<3}{:>9.0}",
                seen.caught, seen.all, seen.lost.median
            );
        }
        println!();
    }
}

/// Findings of one detector are left out after the fact; the alert budget that they took stays taken.
fn left_out(results: &[Result]) {
    println!(
        "\nwithout one detector: what becomes worse at one case a day (caught; lost in the median)"
    );
    for detector in ALL {
        let mut worse = Vec::new();
        for result in results {
            let gangs = &result.gangs[0];
            let with = Seen::of(gangs, |it| it.first);
            let without = Seen::of(gangs, |it| it.first_without(&[detector]));
            if without.caught < with.caught || without.lost.median > with.lost.median {
                worse.push(format!(
                    "{} {}/{} {:.0} (with {:.0})",
                    result.kind, without.caught, without.all, without.lost.median, with.lost.median
                ));
            }
        }
        if worse.is_empty() {
            worse.push("nothing".to_owned());
        }
        println!("{:>10}: {}", name(detector), worse.join("; "));
    }
}

fn explained(results: &[Result]) -> Figure {
    let (mut named, mut all) = (0, 0);
    for result in results {
        for first in result.gangs[0].iter().filter_map(|it| it.first) {
            all += 1;
            let causes = result.kind.family.causes();
            named += usize::from(first.detector.is_some_and(|it| causes.contains(&it)));
        }
    }
    let share = named as f64 / all as f64;
    Figure::published(
        "first findings that name the true cause".to_owned(),
        (share, "ratio"),
    )
}

fn false_cases(plan: &Plan, honest: &[Outcome]) -> Figure {
    let lives = honest.len() as f64;
    let years = lives * f64::from(plan.honest_actors) * f64::from(plan.days) / 365.25;
    println!(
        "\nfalse cases in {} honest lives of {} people, {years:.0} years of a person",
        honest.len(),
        plan.honest_actors
    );
    let mut first = f64::NAN;
    for (judge, kind) in plan.judges.iter().enumerate() {
        let scores: Vec<&Score> = honest.iter().map(|it| &it.scores[judge]).collect();
        let cases: u64 = scores.iter().map(|it| it.false_cases).sum();
        let (low, high) = poisson(cases);
        let by = |detector: Detector| -> u64 {
            scores.iter().map(|it| it.false_by[detector as usize]).sum()
        };
        let by: Vec<String> = ALL
            .into_iter()
            .filter(|it| by(*it) > 0)
            .map(|it| format!("{} {}", name(it), by(it)))
            .collect();
        println!(
            "{:>16}  {:.4} a year and person [{:.4}-{:.4}], {cases} cases  {}",
            words(kind),
            cases as f64 / years,
            low / years,
            high / years,
            by.join(", ")
        );
        if judge == 0 {
            first = cases as f64 / years;
        }
    }
    Figure::of(
        "false cases a year and person".to_owned(),
        (first, ""),
        Bound::AtMost,
        FALSE_A_YEAR,
        plan.judged,
    )
}

/// 95 % of a Poisson mean (Garwood's interval, by the approximation of Wilson and Hilferty).
fn poisson(count: u64) -> (f64, f64) {
    let cube =
        |n: f64, sign: f64| n * (1.0 - 1.0 / (9.0 * n) + sign * 1.96 / (3.0 * n.sqrt())).powi(3);
    let low = if count == 0 {
        0.0
    } else {
        cube(count as f64, -1.0)
    };
    (low, cube(count as f64 + 1.0, 1.0))
}

pub(super) fn name(detector: Detector) -> String {
    format!("{detector:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{ALL, Two, poisson};

    #[test]
    fn garwoods_interval() {
        // Tables: 0: 0 to 3.69; 10: 4.80 to 18.39.
        let (low, high) = poisson(0);
        assert!(low == 0.0 && (high - 3.69).abs() < 0.03, "{high}");
        let (low, high) = poisson(10);
        assert!((low - 4.80).abs() < 0.03 && (high - 18.39).abs() < 0.03);
    }

    #[test]
    fn medians_of_none_reach_nothing() {
        assert!(Two::of(Vec::new()).worst.is_nan());
        assert_eq!(Two::of(vec![3.0, 1.0, 2.0]).median, 2.0);
    }

    #[test]
    fn each_detector_is_listed_at_its_number() {
        for (number, detector) in (1..).zip(ALL) {
            assert_eq!(detector as usize, number);
        }
    }
}
