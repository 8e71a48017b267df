//! Whose pace is too great from the first day on, and what two people may say to it.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use event::{ActorId, ClientId, Role};
use watch::{Detector, Exposure, Order, Record, Said, Settings, Watch, What};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// Midnight in Japan, 2024-01-08, a Monday.
const BEGIN: u64 = 1_704_639_600_000;
const FAST: u32 = 7;

struct Centre {
    watch: Watch,
    said: Vec<Said>,
    sequence: u64,
}

impl Centre {
    fn step(&mut self, at_ms: u64, what: What<'_>) {
        self.sequence += 1;
        let record = Record {
            sequence: self.sequence,
            at_ms,
            what,
        };
        self.watch.step(&record, &mut self.said);
    }

    /// Twenty people with 5 to 7 new subjects an hour, and one with 20.
    fn work(&mut self, days: std::ops::Range<u64>) {
        for day in days {
            for (hour, actor) in (9..17).flat_map(|hour| (1..=20).map(move |it| (hour, it))) {
                let at_ms = BEGIN + day * DAY + hour * HOUR + u64::from(actor) * 1_000;
                let subjects = match actor {
                    FAST => 20,
                    _ => 5 + (actor + day as u32 + hour as u32) % 3,
                };
                let exposure = Exposure {
                    actor: ActorId(actor),
                    role: Role::Operator,
                    session: None,
                    client: ClientId::new(1).unwrap(),
                    grant: None,
                    rows: subjects,
                    subjects,
                    new: Some(subjects),
                    masked: 0,
                    probes: 1,
                    missed: Some(0),
                    order: Order::default(),
                    shape: 1,
                    keys: &[],
                };
                self.step(at_ms, What::Exposure(exposure));
            }
        }
    }

    fn steps(&self) -> Vec<ActorId> {
        let steps = self
            .said
            .iter()
            .filter(|it| it.finding.cause.detector() == Detector::Step);
        steps.filter_map(|it| it.finding.actor).collect()
    }
}

#[test]
fn a_theft_from_the_first_day_on_does_not_become_usual_until_two_people_say_so() {
    let mut centre = Centre {
        watch: Watch::new(Settings::default()),
        said: Vec::new(),
        sequence: 0,
    };
    centre.work(0..20);
    assert_eq!(centre.steps().first(), Some(&ActorId(FAST)));
    let case = centre.said[0].case.case;
    // Closed without more, it comes again.
    centre.watch.close(case);
    centre.said.clear();
    centre.work(20..40);
    let steps = centre.steps();
    assert!(!steps.is_empty() && steps.iter().all(|it| *it == ActorId(FAST)));
    let case = centre.said[0].case.case;
    centre.watch.close(case);
    let actor = ActorId(FAST);
    centre.step(BEGIN + 40 * DAY, What::Rebaselined { actor });
    centre.said.clear();
    centre.work(40..75);
    assert_eq!(centre.steps(), Vec::new());
}
