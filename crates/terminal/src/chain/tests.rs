use proptest::prelude::*;

use super::*;
use crate::heartbeat::tests::healthy;

const NOW: u64 = 1_795_000_000_000;

/// An agent that says what it is told to, in order.
#[derive(Clone)]
struct Agent {
    sequence: u64,
    before: Digest,
    boot: [u8; 16],
    at_ms: u64,
    uptime_ms: u64,
}

impl Agent {
    fn new() -> Self {
        Self {
            sequence: 0,
            before: [0; 32],
            boot: [1; 16],
            at_ms: NOW,
            uptime_ms: 10_000,
        }
    }

    fn passes(&mut self, ms: u64) {
        self.at_ms += ms;
        self.uptime_ms += ms;
    }

    fn says(&mut self, body: Said) -> Vec<u8> {
        self.sequence += 1;
        let bytes = Report {
            sequence: self.sequence,
            boot: self.boot,
            at_ms: self.at_ms,
            uptime_ms: self.uptime_ms,
            before: self.before,
            body,
        }
        .encode()
        .unwrap();
        self.before = digest(&bytes);
        bytes
    }

    fn starts(&mut self, clean: bool) -> Vec<u8> {
        self.says(Said::Started {
            version: "0.1.0".to_owned(),
            clean,
        })
    }

    fn beats(&mut self, change: impl FnOnce(&mut Heartbeat)) -> Vec<u8> {
        let mut heartbeat = healthy();
        heartbeat.boot = self.boot;
        change(&mut heartbeat);
        self.says(Said::Heartbeat(Box::new(heartbeat)))
    }

    fn hello(&self) -> Hello {
        Hello {
            name: "seat-14".to_owned(),
            boot: self.boot,
            next: self.sequence + 1,
            last: self.before,
            at_ms: self.at_ms,
            uptime_ms: self.uptime_ms,
        }
    }
}

/// The contradictions of a report that is taken, and whether it is live.
fn take(chain: &mut Chain, bytes: &[u8], now_ms: u64) -> (Vec<Contradiction>, bool) {
    match chain.take(bytes, now_ms).unwrap() {
        Taken::New {
            contradictions,
            live,
            ..
        } => (contradictions, live),
        Taken::Again => panic!("taken before"),
    }
}

fn started() -> (Chain, Agent) {
    let (mut chain, mut agent) = (Chain::default(), Agent::new());
    chain.hello(&agent.hello(), NOW).unwrap();
    assert_eq!(take(&mut chain, &agent.starts(false), NOW), (vec![], true));
    (chain, agent)
}

#[test]
fn a_chain_is_taken_once_and_repeats_are_recognised() {
    let (mut chain, mut agent) = started();
    let reports: Vec<Vec<u8>> = (0..5).map(|_| agent.says(Said::Overflow)).collect();
    for report in &reports {
        assert_eq!(take(&mut chain, report, NOW).0, []);
    }
    assert_eq!(chain.sequence(), 6);
    assert_eq!(chain.last(), digest(&reports[4]));
    for report in &reports {
        assert_eq!(chain.take(report, NOW), Ok(Taken::Again));
    }
    assert_eq!(chain.sequence(), 6);
}

#[test]
fn gaps_forks_and_replays_are_refused_and_change_nothing() {
    let (mut chain, mut agent) = started();
    let one = agent.clone().says(Said::Overflow);
    let other = agent.clone().says(Said::Stopping);
    take(&mut chain, &one, NOW);
    assert_eq!(chain.take(&other, NOW), Err(ChainError::Fork(2)));
    // Continues the other history.
    agent.says(Said::Stopping);
    let follows = agent.says(Said::Overflow);
    assert_eq!(chain.take(&follows, NOW), Err(ChainError::Fork(3)));
    let later = agent.says(Said::Overflow);
    assert_eq!(
        chain.take(&later, NOW),
        Err(ChainError::Gap {
            expected: 3,
            found: 4
        })
    );
    assert!(matches!(
        chain.take(&[1, 2, 3], NOW),
        Err(ChainError::Malformed(_))
    ));
    assert_eq!((chain.sequence(), chain.last()), (2, digest(&one)));

    let (mut chain, mut agent) = started();
    let first = agent.says(Said::Overflow);
    take(&mut chain, &first, NOW);
    for _ in 0..RECENT_MAX {
        let report = agent.says(Said::Overflow);
        take(&mut chain, &report, NOW);
    }
    assert_eq!(chain.recent().count(), RECENT_MAX);
    assert_eq!(chain.take(&first, NOW), Err(ChainError::Replay(2)));
}

#[test]
fn a_report_with_number_zero_is_no_report_of_a_chain() {
    let (mut chain, _) = started();
    let report = Report {
        sequence: 0,
        boot: [1; 16],
        at_ms: NOW,
        uptime_ms: 0,
        before: [0; 32],
        body: Said::Overflow,
    };
    assert_eq!(
        chain.take(&report.encode().unwrap(), NOW),
        Err(ChainError::Fork(0))
    );
}

#[test]
fn a_terminal_that_forgot_or_has_another_history_is_found_at_hello() {
    let (mut chain, mut agent) = started();
    let unsent = agent.clone();
    for _ in 0..3 {
        let report = agent.says(Said::Overflow);
        take(&mut chain, &report, NOW);
    }
    // Acknowledgements that were lost: it continues where the gate has been before.
    chain.hello(&unsent.hello(), NOW).unwrap();
    let mut forged = agent.hello();
    forged.last = [5; 32];
    assert_eq!(chain.hello(&forged, NOW), Err(ChainError::Fork(4)));
    let mut ahead = agent.hello();
    ahead.next = 9;
    assert_eq!(
        chain.hello(&ahead, NOW),
        Err(ChainError::Gap {
            expected: 5,
            found: 9
        })
    );
    let mut none = agent.hello();
    none.next = 0;
    assert!(matches!(
        chain.hello(&none, NOW),
        Err(ChainError::Gap { .. })
    ));
    // After a restart the gate knows only what its records gave back.
    let mut resumed = Chain::resume(chain.sequence(), chain.recent().copied());
    resumed.hello(&unsent.hello(), NOW).unwrap();
    let mut resumed = Chain::resume(chain.sequence(), [chain.last()]);
    resumed.hello(&agent.hello(), NOW).unwrap();
    assert_eq!(
        resumed.hello(&Agent::new().hello(), NOW),
        Err(ChainError::Forgot { next: 1, taken: 4 })
    );
    let next = agent.says(Said::Overflow);
    assert_eq!(take(&mut resumed, &next, NOW).0, []);
}

#[test]
fn clocks_that_run_away_are_found() {
    let (mut chain, agent) = started();
    for (ms, fails) in [(CLOCK_MS_MAX, false), (CLOCK_MS_MAX + 1, true)] {
        assert_eq!(chain.hello(&agent.hello(), NOW + ms).is_err(), fails);
        assert_eq!(chain.hello(&agent.hello(), NOW - ms).is_err(), fails);
    }
    // Live, and the gate's clock went on while the terminal's stood still.
    let (mut chain, mut agent) = started();
    let report = agent.says(Said::Overflow);
    let away = CLOCK_MS_MAX.cast_signed() + 1;
    assert_eq!(
        take(&mut chain, &report, NOW + CLOCK_MS_MAX + 1),
        (vec![Contradiction::ClockAway(-away)], true)
    );
    // Moved within a boot: said once, not for each report after it.
    let (mut chain, mut agent) = started();
    agent.at_ms -= 86_400_000;
    let moved = agent.says(Said::Overflow);
    let found = take(&mut chain, &moved, NOW).0;
    assert!(
        found.contains(&Contradiction::ClockMoved(-86_400_000)),
        "{found:?}"
    );
    let again = agent.says(Said::Overflow);
    assert_eq!(take(&mut chain, &again, NOW - 86_400_000).0, []);
    agent.passes(CLOCK_MS_MAX + 1);
    let future = agent.says(Said::Overflow);
    assert_eq!(
        take(&mut chain, &future, NOW - 86_400_000).0,
        [Contradiction::Future(away)]
    );
}

#[test]
fn reports_that_waited_out_an_outage_contradict_nothing() {
    let (mut chain, mut agent) = started();
    let waited: Vec<Vec<u8>> = (0..10)
        .map(|_| {
            agent.passes(3_600_000);
            agent.beats(|_| {})
        })
        .collect();
    let now = agent.at_ms + 1000;
    let mut hello = agent.hello();
    hello.next = 2;
    hello.last = chain.last();
    hello.uptime_ms += 1000;
    hello.at_ms += 1000;
    chain.hello(&hello, now).unwrap();
    for report in &waited {
        // Not live: old heartbeats do not say how the terminal is now.
        assert_eq!(take(&mut chain, report, now), (vec![], false));
    }
    agent.passes(2000);
    let fresh = agent.beats(|_| {});
    assert_eq!(take(&mut chain, &fresh, now + 1000), (vec![], true));
}

#[test]
fn boots_and_lives_have_a_start() {
    let (mut chain, mut agent) = (Chain::default(), Agent::new());
    let report = agent.says(Said::Overflow);
    assert_eq!(
        take(&mut chain, &report, NOW).0,
        [Contradiction::FirstNotStarted]
    );

    let (mut chain, mut agent) = started();
    agent.boot = [2; 16];
    agent.uptime_ms = 5;
    let report = agent.says(Said::Overflow);
    assert_eq!(
        take(&mut chain, &report, NOW).0,
        [Contradiction::BootWithoutStart]
    );

    let (mut chain, mut agent) = started();
    agent.boot = [2; 16];
    agent.uptime_ms = 5;
    assert_eq!(take(&mut chain, &agent.clone().starts(false), NOW).0, []);

    let (mut chain, mut agent) = started();
    assert_eq!(
        take(&mut chain, &agent.starts(true), NOW).0,
        [Contradiction::EndNotSaid]
    );
    let stop = agent.says(Said::Stopping);
    assert_eq!(take(&mut chain, &stop, NOW).0, []);
    assert_eq!(take(&mut chain, &agent.clone().starts(true), NOW).0, []);

    let (mut chain, mut agent) = started();
    let stop = agent.says(Said::Stopping);
    take(&mut chain, &stop, NOW);
    let report = agent.says(Said::Overflow);
    assert_eq!(take(&mut chain, &report, NOW).0, [Contradiction::AfterEnd]);
}

#[test]
fn what_only_grows_does_not_shrink_within_a_boot() {
    type Set = fn(&mut Heartbeat, u64);
    let cases: [(&str, Set); 4] = [
        ("refused", |it, n| it.refused = n),
        ("attached", |it, n| it.attached = n),
        ("unclean ends", |it, n| {
            it.unclean_ends = u32::try_from(n).unwrap()
        }),
        ("guard", |it, n| {
            it.guard = Guard::Pinned {
                programs: 9,
                refused: n,
            };
        }),
    ];
    for (name, set) in cases {
        let (mut chain, mut agent) = started();
        let high = agent.beats(|it| set(it, 1_000_000));
        assert_eq!(take(&mut chain, &high, NOW).0, [], "{name}");
        let low = agent.beats(|it| set(it, 999_999));
        let found = take(&mut chain, &low, NOW).0;
        assert_eq!(found, [Contradiction::CounterDown(name)]);
        // Another boot begins at zero.
        agent.boot = [2; 16];
        take(&mut chain, &agent.starts(false), NOW);
        let next = agent.beats(|it| set(it, 1));
        assert_eq!(take(&mut chain, &next, NOW).0, [], "{name}");
    }
    let (mut chain, mut agent) = started();
    agent.uptime_ms -= 1;
    let report = agent.says(Said::Overflow);
    assert_eq!(
        take(&mut chain, &report, NOW).0,
        [Contradiction::UptimeBack]
    );
    let beat = agent.beats(|it| it.boot = [9; 16]);
    assert_eq!(
        take(&mut chain, &beat, NOW).0,
        [Contradiction::BootOfHeartbeat]
    );
}

proptest! {
    /// Whatever is left out, repeated or swapped of a history: what is taken is a prefix of it.
    #[test]
    fn what_is_taken_is_a_prefix(order in proptest::collection::vec(0_usize..12, 0..60)) {
        let mut agent = Agent::new();
        let mut history = vec![agent.starts(false)];
        for count in 0..11 {
            agent.passes(1000);
            history.push(agent.says(Said::Lost { count }));
        }
        let (mut chain, mut taken) = (Chain::default(), 0);
        for at in order {
            match chain.take(&history[at], NOW) {
                Ok(Taken::New { contradictions, .. }) => {
                    prop_assert_eq!(at, taken);
                    prop_assert_eq!(contradictions, []);
                    taken += 1;
                }
                Ok(Taken::Again) => prop_assert!(at < taken),
                Err(ChainError::Gap { .. }) => prop_assert!(at > taken),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
        prop_assert_eq!(chain.sequence(), taken as u64);
    }

    #[test]
    fn times_at_their_ends_do_not_overflow(at_ms: u64, uptime_ms: u64, now_ms: u64, next: u64) {
        let (mut chain, mut agent) = started();
        (agent.at_ms, agent.uptime_ms) = (at_ms, uptime_ms);
        let mut hello = agent.hello();
        hello.next = next;
        let _ = chain.hello(&hello, now_ms);
        let report = agent.says(Said::Overflow);
        prop_assert!(chain.take(&report, now_ms).is_ok());
    }
}
