//! Which terminals live, and whether they are healthy.
//!
//! Invariants: health comes from a heartbeat taken here or from nothing; a change of it is a record
//! before anything follows from it; one connection a terminal counts, the newest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event::record::Body;
use event::{Digest, LogId, System};
use ledger::terminals::{Standing, Terminal, Terminals};
use ledger::{Handle, Refusal};
use terminal::chain::Chain;
use terminal::evidence::{Bounds, Evidence, Stale, fresh};
use terminal::heartbeat::{Expected, GUARD_PROGRAMS, Health, Heartbeat, health};
use terminal::policy::{GuardRule, Policy};

use super::agent::Offered;
use super::config::digest;
use crate::service::now_ms;

/// What lacks of a terminal that says nothing begins with this.
pub const SILENT: &str = "no heartbeat";
/// And of one whose reports cannot all be true.
pub const CONTRADICTS: &str = "its reports contradict each other";
/// And of one that says more than is taken: what it says last waits behind it.
pub const FLOODS: &str = "it reports more than one thing a second";

/// What lacks while no policy is in force.
const NO_POLICY: &str = "no policy of terminals is in force: `sekisho terminal policy set FILE`";

/// How often silence is looked for.
const TICK: Duration = Duration::from_secs(1);
/// Unannounced ends of an agent that are borne in one boot.
const UNCLEAN_ENDS_MAX: u32 = 3;
/// Longest phrase about what lacks, in bytes.
const LACK_BYTES_MAX: usize = 200;
/// Phrases of one record.
const LACKS_MAX: usize = 32;
/// One machine in so long may ask to be a terminal.
const ASKS_EVERY: Duration = Duration::from_secs(1);
/// A terminal is silent after so long at the latest.
const SILENCE_MAX: Duration = Duration::from_secs(55);
/// So long after two heartbeats' time.
const SILENCE_BEYOND: Duration = Duration::from_secs(10);
/// Records of one terminal's reports: so many at once, more than its queue holds after days without a
/// network,
const REPORTS_AT_ONCE: f64 = 50_000.0;
/// then so many a second. Each is kept for ever.
const REPORTS_A_SECOND: f64 = 1.0;

struct Live {
    connection: u64,
    heard: Instant,
}

/// What a terminal may still report at once, and as of when.
struct Allowance {
    left: f64,
    as_of: Instant,
}

impl Allowance {
    /// Takes one; gives how long to wait for it.
    fn take(&mut self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.as_of).as_secs_f64();
        self.left = (self.left + since * REPORTS_A_SECOND).min(REPORTS_AT_ONCE) - 1.0;
        self.as_of = now;
        Duration::from_secs_f64((-self.left / REPORTS_A_SECOND).max(0.0))
    }
}

/// A policy's text by its SHA-256, and what it says if this version can read it.
type Read = (Digest, Option<Arc<Policy>>);

/// The terminals that are connected.
pub(super) struct Board {
    /// Programs that may report.
    agents: Vec<[u8; 32]>,
    live: Mutex<(u64, HashMap<Digest, Live>)>,
    /// Where reports of terminals go on; terminals are bounded by those approved.
    chains: Mutex<HashMap<Digest, Chain>>,
    /// When a machine asked last.
    asked: Mutex<Option<Instant>>,
    /// How much terminals may report; bounded as the chains.
    allowances: Mutex<HashMap<Digest, Allowance>>,
    /// The policy that was in force at the last look.
    read: Mutex<Option<Read>>,
}

impl Board {
    pub(super) fn new(agents: Vec<String>) -> Self {
        Self {
            agents: agents.iter().filter_map(|it| digest(it)).collect(),
            live: Mutex::default(),
            chains: Mutex::default(),
            asked: Mutex::default(),
            allowances: Mutex::default(),
            read: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, HashMap<Digest, Live>)> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of a terminal; those before it do not count any more.
    pub(super) fn enter(&self, of: Digest) -> u64 {
        let mut live = self.lock();
        live.0 += 1;
        let connection = live.0;
        // A connection is no heartbeat.
        live.1
            .entry(of)
            .and_modify(|it| it.connection = connection)
            .or_insert_with(|| Live {
                connection,
                heard: Instant::now(),
            });
        connection
    }

    /// Whether another machine may ask now. Each is a record for ever.
    pub(super) fn may_ask(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let may = asked.is_none_or(|at| at.elapsed() >= ASKS_EVERY);
        if may {
            *asked = Some(Instant::now());
        }
        may
    }

    /// Whether the connection is its terminal's newest.
    pub(super) fn counts(&self, of: &Digest, connection: u64) -> bool {
        let live = self.lock();
        live.1.get(of).is_some_and(|it| it.connection == connection)
    }

    /// Where a terminal's reports go on.
    pub(super) fn chain(&self, of: &Digest) -> Option<Chain> {
        let chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        chains.get(of).cloned()
    }

    /// Keeps it for the next connection.
    pub(super) fn keep_chain(&self, of: Digest, chain: &Chain) {
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        chains.insert(of, chain.clone());
    }

    /// How long one more record of a terminal's reports has to wait.
    pub(super) fn wait(&self, of: Digest) -> Duration {
        let now = Instant::now();
        let mut all = self
            .allowances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let full = || Allowance {
            left: REPORTS_AT_ONCE,
            as_of: now,
        };
        all.entry(of).or_insert_with(full).take(now)
    }

    /// The policy in force, read when it came into force; `None`: as [`policy`].
    pub(super) fn policy(&self, terminals: &Terminals) -> Option<Arc<Policy>> {
        let (digest, _) = terminals.policy.as_ref()?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = read.as_ref().filter(|(of, _)| of == digest);
        if let Some((_, it)) = known {
            return it.clone();
        }
        let it = policy(terminals).map(Arc::new);
        *read = Some((*digest, it.clone()));
        it
    }

    /// A heartbeat came.
    pub(super) fn heard(&self, of: &Digest) {
        if let Some(live) = self.lock().1.get_mut(of) {
            live.heard = Instant::now();
        }
    }

    /// Since when nothing was heard of a terminal; `None`: it never connected.
    fn since(&self, of: &Digest) -> Option<Duration> {
        self.lock().1.get(of).map(|it| it.heard.elapsed())
    }
}

/// The policy in force, read; `None`: there is none, or it is not readable by this version.
pub fn policy(terminals: &Terminals) -> Option<Policy> {
    let (_, text) = terminals.policy.as_ref()?;
    Policy::parse(text).ok()
}

/// How long a terminal may say nothing.
fn silence(policy: Option<&Policy>) -> Duration {
    let beat = policy.map_or(20, |it| it.heartbeat_s);
    (Duration::from_secs(u64::from(beat)) * 2 + SILENCE_BEYOND).min(SILENCE_MAX)
}

/// What a heartbeat lacks.
pub(super) fn lacks(
    board: &Board,
    terminals: &Terminals,
    heartbeat: &Heartbeat,
    offered: &Offered,
) -> Vec<String> {
    let Some(policy) = board.policy(terminals) else {
        return vec![NO_POLICY.into()];
    };
    let expected = Expected {
        policy: match offered.is_taking(&heartbeat.policy) {
            true => heartbeat.policy,
            false => policy.digest(),
        },
        agents: board.agents.clone(),
        guard_required: policy.guard == GuardRule::Required,
        guard_programs: GUARD_PROGRAMS,
        unclean_ends_max: UNCLEAN_ENDS_MAX,
        age_ms: 0,
        age_ms_max: u64::MAX,
    };
    match health(heartbeat, &expected) {
        Health::Healthy => Vec::new(),
        Health::Unhealthy(lacks) => lacks.iter().take(LACKS_MAX).map(short).collect(),
    }
}

/// What a terminal without an agent lacks: its evidence has to be fresh, and to agree.
fn evidence_lacks(policy: Option<&Policy>, terminal: &Terminal, now_ms: u64) -> Vec<String> {
    let Some(policy) = policy else {
        return vec![NO_POLICY.into()];
    };
    let mut evidence = Evidence::default();
    if let Some(it) = terminal.settings {
        evidence.registry(it.at_ms, it.policy.0, it.differences);
    }
    if let Some(until_ms) = terminal.events_until_ms {
        evidence.events(until_ms);
    }
    let bounds = Bounds {
        age_ms_max: u64::from(policy.evidence_h) * 3_600_000,
        ..Bounds::default()
    };
    let judged = fresh(&evidence, &policy.digest(), now_ms, &bounds);
    judged.map_or_else(|lacks| lacks.iter().map(stale).collect(), |()| Vec::new())
}

/// What follows from a report for health: lacks that are recorded before anything else is done about it,
/// and those, none, that are recorded last. `late`: it had to wait, and so what comes next, a stick
/// perhaps, is heard late.
pub(super) fn follows(
    mut lacks: Option<Vec<String>>,
    late: bool,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    if late {
        lacks.get_or_insert_default().push(FLOODS.into());
    }
    match lacks {
        Some(lacks) if lacks.is_empty() => (None, Some(lacks)),
        lacks => (lacks, None),
    }
}

/// Ages grow while nothing changes: what lacks is told without them.
fn stale(lack: &Stale) -> String {
    match lack {
        Stale::Old { sort, .. } => format!("the newest {sort} is too old; import it anew"),
        Stale::Ahead { sort, .. } => format!("the newest {sort} is of the future"),
        other => short(other),
    }
}

fn short(lack: &impl ToString) -> String {
    let mut text = lack.to_string();
    cut(&mut text);
    text
}

fn cut(text: &mut String) {
    if text.len() <= LACK_BYTES_MAX {
        return;
    }
    let end = (0..=LACK_BYTES_MAX)
        .rev()
        .find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
}

/// Records what lacks, where that is something else than is known.
///
/// # Errors
/// If it could not be recorded.
pub(super) async fn tell(
    handle: &Handle,
    of: Digest,
    mut lacks: Vec<String>,
) -> Result<(), Refusal> {
    // More would not be a record, and the terminal would stay healthy.
    lacks.truncate(LACKS_MAX);
    lacks.iter_mut().for_each(cut);
    let state = handle.state();
    let known = state.terminals.all.get(&of);
    if known.is_none_or(|it| it.healthy == lacks.is_empty() && it.lacks == lacks) {
        return Ok(());
    }
    let body = Body::TerminalHealth {
        terminal: of,
        healthy: lacks.is_empty(),
        lacks,
    };
    handle.record(LogId::Centre, body).await.map(|_| ())
}

/// Finds terminals that stopped speaking.
pub(super) async fn keep(board: Arc<Board>, handle: Handle) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let state = handle.state();
        let policy = board.policy(&state.terminals);
        let most = silence(policy.as_deref());
        let now = now_ms();
        let all = state.terminals.all.iter();
        let by_evidence = all
            .clone()
            .filter(|(_, it)| it.system != System::Linux && it.standing == Standing::Approved);
        for (of, terminal) in by_evidence {
            let lacks = evidence_lacks(policy.as_deref(), terminal, now);
            let _ = tell(&handle, *of, lacks).await;
        }
        let healthy = all.filter(|(_, it)| it.healthy && it.system == System::Linux);
        for (of, terminal) in healthy {
            let is_silent = board.since(of).is_none_or(|since| since > most);
            if is_silent && terminal.standing == Standing::Approved {
                let lacks = vec![format!("{SILENT} for {} s", most.as_secs())];
                // A ledger that takes no records releases nothing either.
                let _ = tell(&handle, *of, lacks).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_lost_first_gained_last_and_never_gained_late() {
        let lacks = |what: &[&str]| Some(what.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(follows(None, false), (None, None));
        assert_eq!(follows(lacks(&[]), false), (None, lacks(&[])));
        assert_eq!(follows(lacks(&["a"]), false), (lacks(&["a"]), None));
        assert_eq!(follows(None, true), (lacks(&[FLOODS]), None));
        assert_eq!(follows(lacks(&[]), true), (lacks(&[FLOODS]), None));
        assert_eq!(follows(lacks(&["a"]), true), (lacks(&["a", FLOODS]), None));
    }

    #[test]
    fn the_policy_says_how_old_evidence_may_be() {
        const HOUR: u64 = 3_600_000;
        let policy = Policy::parse("version = 1\n[terminal]\nevidence_h = 2\n").unwrap();
        let now_ms = 1_000 * HOUR;
        let of = |hours: u64| Terminal {
            name: "seat-7".into(),
            system: System::Windows,
            address: String::new(),
            standing: Standing::Approved,
            healthy: false,
            lacks: Vec::new(),
            epoch: 0,
            reported: 0,
            head: Digest([0; 32]),
            said_ms: 0,
            settings: Some(ledger::terminals::Settings {
                at_ms: now_ms - hours * HOUR,
                policy: Digest(policy.digest()),
                differences: 0,
            }),
            events_until_ms: Some(now_ms - hours * HOUR),
        };
        assert_eq!(evidence_lacks(Some(&policy), &of(1), now_ms), [""; 0]);
        assert_eq!(evidence_lacks(Some(&policy), &of(3), now_ms).len(), 2);
    }

    #[test]
    fn who_reports_without_end_has_to_wait() {
        let begin = Instant::now();
        let mut allowance = Allowance {
            left: 3.0,
            as_of: begin,
        };
        for _ in 0..3 {
            assert_eq!(allowance.take(begin), Duration::ZERO);
        }
        assert_eq!(allowance.take(begin), Duration::from_secs(1));
        // Who waited has paid for it.
        let later = begin + Duration::from_secs(2);
        assert_eq!(allowance.take(later), Duration::ZERO);
        // Silence does not save up for ever.
        let much_later = later + Duration::from_secs(1 << 30);
        allowance.take(much_later);
        assert!(allowance.left < REPORTS_AT_ONCE);
    }
}
