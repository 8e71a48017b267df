//! Detection while the gate serves: a thread follows the durable records from the disk, and what
//! detection says goes into the ledger as cases.
//!
//! Invariants: nothing here runs on the recorder's thread or holds anything that it waits for; after a
//! start everything is replayed, and what stands in the ledger already is not recorded again: a case's
//! record names the record, detector and people that it is about. A crash between a finding and its
//! record costs nothing: it is said again. What detection wrote itself is not its input, but that
//! people closed a case is.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use event::Response;
use event::record::{Body, CaseFinding};
use event::{ActorId, ClientId, LogId, Role};
use ledger::beside::Found;
use ledger::{Entry, Handle, ListSealer, State, Tail};
use watch::{CaseNumber, Detector, Finding, Said, Skipped};

use super::counters::Look;
use super::feed::Feed;
use super::notices::{Notice, Notices};

/// Between two looks at what became durable.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Records taken between two looks at whether to stop.
const RECORDS_MAX: usize = 4096;
/// Between two words about how far the replay is.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// After a failure it is tried again so much later.
const RETRY: Duration = Duration::from_secs(1);
/// Newest records whose place in their log is known, for the copies in clients' logs.
const PLACES_MAX: usize = 1 << 16;
/// A finding that is older than this when it is recorded asks for nothing but a person: it comes from
/// a replay.
const FRESH_MS: u64 = 86_400_000;
/// At most one in so many who may log in is suspended at the same time, or so many; whoever comes after
/// has less budget instead.
const SUSPENDED_SHARE: usize = 10;
const SUSPENDED_MIN: usize = 3;

/// How far detection is.
#[derive(Clone, Default, Debug)]
pub struct Status {
    /// Records of the ledger that it took.
    pub records: u64,
    /// Whether it has taken all that were durable when it last looked.
    pub caught_up: bool,
    /// Findings that are said and not recorded yet.
    pub waiting: usize,
    /// Findings in the ledger that this version does not say: of another version or other settings.
    pub others: u64,
    /// Planted customers that are not recognised any more: their lists were destroyed.
    pub forgotten: u64,
    /// Lists that should have opened and did not.
    pub closed: u64,
    /// What it did not count.
    pub skipped: Skipped,
    /// Why it stands still.
    pub failed: Option<String>,
}

/// What others see of it.
#[derive(Debug, Default)]
pub struct Board {
    stop: AtomicBool,
    status: Mutex<Status>,
    /// Looks at PostgreSQL's own counters, by database.
    counters: Mutex<BTreeMap<String, Look>>,
    /// Keys of fictitious people, as of the records taken.
    planted: Mutex<HashSet<(ClientId, u64)>>,
}

impl Board {
    /// Whether a fictitious person of the client has this key, as far as records were taken.
    pub fn is_planted(&self, client: ClientId, key: u64) -> bool {
        let planted = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
        planted.contains(&(client, key))
    }

    /// How far it is.
    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    /// Looks at PostgreSQL's own counters, by database.
    pub fn counters(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Look>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Detection that runs.
#[derive(Debug)]
pub struct Live {
    board: Arc<Board>,
    thread: JoinHandle<()>,
}

/// What it needs.
pub struct Setup {
    /// Opens lists.
    pub lists: Arc<dyn ListSealer>,
    /// Minutes that the place's days are ahead of UTC.
    pub offset_minutes: i32,
    /// Who is told.
    pub notices: Option<Notices>,
    /// Hears what a person should know.
    pub say: Arc<dyn Fn(String) + Send + Sync>,
}

impl Live {
    /// Begins at the first record of the ledger in `folder`.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(folder: &Path, handle: Handle, setup: Setup) -> Result<Self> {
        let board = Arc::new(Board::default());
        let runtime = tokio::runtime::Handle::current();
        let follow = Follow::new(folder, setup);
        let shared = Arc::clone(&board);
        let thread = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || run(follow, &handle, &runtime, &shared))
            .context("detection's thread cannot be started")?;
        Ok(Self { board, thread })
    }

    /// What others see of it.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// Takes what is durable by now, and ends.
    pub async fn finish(self) {
        self.board.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let thread = self.thread;
        // A panic was reported by its hook.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

fn run(mut follow: Follow, handle: &Handle, runtime: &tokio::runtime::Handle, board: &Board) {
    let durable = handle.durable();
    let mut said_at = Instant::now();
    loop {
        let stop = board.stop.load(Ordering::Acquire);
        let mark = durable.borrow().mark;
        let step = follow.read(mark).and_then(|given| {
            if given == 0 {
                runtime.block_on(follow.record(handle))?;
            }
            Ok(given)
        });
        let given = match step {
            Ok(given) => given,
            Err(error) => {
                let error = format!("{error:#}");
                let news = board.lock().failed.as_deref() != Some(error.as_str());
                if news {
                    (follow.say)(format!(
                        "detection stands still: {error}; it is tried again"
                    ));
                }
                board.lock().failed = Some(error);
                if stop {
                    return;
                }
                std::thread::park_timeout(RETRY);
                continue;
            }
        };
        let first = follow.tell(board, given == 0);
        if first {
            (follow.say)(format!(
                "detection has taken all {} records that there were",
                follow.records
            ));
        } else if given > 0 && !follow.caught_up && said_at.elapsed() >= SAY_EVERY {
            said_at = Instant::now();
            (follow.say)(format!("detection: {} records replayed", follow.records));
        }
        if given == 0 {
            if stop {
                return;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

/// Where the newest records stand.
#[derive(Default)]
struct Places {
    first: u64,
    held: VecDeque<(LogId, u64)>,
}

impl Places {
    fn saw(&mut self, entry: &Entry) {
        if self.held.is_empty() {
            self.first = entry.sequence;
        } else if self.held.len() == PLACES_MAX {
            self.held.pop_front();
            self.first += 1;
        }
        self.held.push_back((entry.log, entry.index));
    }

    /// The index of a record in a client's log, if it stands there.
    fn index(&self, sequence: u64, client: ClientId) -> Option<u64> {
        let place = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        let (log, index) = self.held.get(place)?;
        (*log == LogId::Client(client)).then_some(*index)
    }
}

/// The fold with its place in the ledger.
struct Follow {
    tail: Tail,
    feed: Feed,
    places: Places,
    notices: Option<Notices>,
    say: Arc<dyn Fn(String) + Send + Sync>,
    records: u64,
    caught_up: bool,
    /// It was told that a list does not open.
    told_closed: bool,
}

impl Follow {
    fn new(folder: &Path, setup: Setup) -> Self {
        let settings = watch::Settings {
            offset_minutes: setup.offset_minutes,
            // What the records say from their place on.
            ..watch::Settings::default()
        };
        Self {
            tail: Tail::new(folder),
            feed: Feed::new(Some(setup.lists), settings),
            places: Places::default(),
            notices: setup.notices,
            say: setup.say,
            records: 0,
            caught_up: false,
            told_closed: false,
        }
    }

    /// Shows how far it is; whether it caught up for the first time.
    fn tell(&mut self, board: &Board, caught_up: bool) -> bool {
        let planted = self.feed.adapter.planted();
        {
            let mut shown = board.planted.lock().unwrap_or_else(PoisonError::into_inner);
            // They are never taken back.
            if shown.len() != planted.len() {
                shown.clone_from(planted);
            }
        }
        let waiting = self.feed.waiting.values();
        let mut status = board.lock();
        *status = Status {
            records: self.records,
            caught_up,
            waiting: waiting.filter(|it| !it.recorded).count(),
            others: self.feed.others,
            forgotten: self.feed.forgotten,
            closed: self.feed.closed.as_ref().map_or(0, |it| it.0),
            skipped: self.feed.watch.skipped(),
            failed: None,
        };
        let first = caught_up && !self.caught_up;
        self.caught_up |= caught_up;
        first
    }

    /// Takes records that are durable; says how many.
    fn read(&mut self, durable: ledger::frame::Mark) -> Result<usize> {
        let Self {
            tail,
            feed,
            places,
            notices,
            records,
            ..
        } = self;
        let mut said = Vec::new();
        let given = tail.entries(durable, RECORDS_MAX, &mut |entry: Entry| {
            let body = feed.take(&entry, &mut said)?;
            said.clear();
            places.saw(&entry);
            *records += 1;
            if let (LogId::Centre, Body::Case { .. }, Some(notices)) = (entry.log, &body, &notices)
            {
                notices.offer(Notice::of(&feed.state, &entry, &body));
            }
            Ok::<_, anyhow::Error>(())
        })?;
        if let Some((count, why)) = &self.feed.closed
            && !std::mem::replace(&mut self.told_closed, true)
        {
            (self.say)(format!("detection: {count} lists do not open: {why}"));
        }
        Ok(given)
    }

    /// Records what waits.
    async fn record(&mut self, handle: &Handle) -> Result<()> {
        let Feed {
            waiting, numbers, ..
        } = &mut self.feed;
        for waiting in waiting.values_mut().filter(|it| !it.recorded) {
            let found = found(&handle.state(), &self.places, numbers, &waiting.said);
            let recorded = handle.record_found(found).await;
            let (case, _) = recorded.context("a finding is not recorded")?;
            waiting.recorded = true;
            numbers.insert(waiting.said.case.case, case);
        }
        Ok(())
    }
}

/// A finding as it is to be recorded.
fn found(
    state: &State,
    places: &Places,
    numbers: &BTreeMap<CaseNumber, u32>,
    said: &Said,
) -> Found {
    let finding = &said.finding;
    let role = finding
        .actor
        .and_then(|actor| state.actors.get(&actor))
        .map(|actor| actor.role);
    let administrator = role == Some(Role::Administrator);
    let detector = finding.cause.detector();
    let grave = administrator
        || matches!(
            detector,
            Detector::Burst | Detector::Chain | Detector::Silence | Detector::Canary
        );
    let fresh = state.times.wall_ms.saturating_sub(finding.at_ms) <= FRESH_MS;
    let response = match finding.actor {
        // Whoever read what another one changed is not to blame.
        Some(actor) if fresh && detector != Detector::Tamper => response_to(state, actor),
        _ => Response::Nothing,
    };
    let clients: Vec<ClientId> = match finding.client {
        // What an administrator did is every client's business.
        _ if administrator => state.clients.keys().copied().collect(),
        Some(client) => vec![client],
        None => Vec::new(),
    };
    let copies = clients.into_iter().map(|client| {
        let index = |sequence: &u64| places.index(*sequence, client);
        let rests_on = finding.rests_on.iter().filter_map(index).collect();
        let cause = index(&finding.sequence);
        (client, recorded(finding, cause, rests_on))
    });
    Found {
        join: join(state, numbers, said),
        copies: copies.collect(),
        finding: recorded(finding, Some(finding.sequence), finding.rests_on.clone()),
        grave,
        response,
    }
}

/// What is done about an actor: what is in force, within [`SUSPENDED_SHARE`].
fn response_to(state: &State, actor: ActorId) -> Response {
    let others = state.cases.suspended().filter(|it| *it != actor).count();
    let working = state.actors.values().filter(|it| it.active).count();
    within_cap(state.watch.response, others, working)
}

/// Whoever makes findings about others does not stop the centre.
fn within_cap(response: Response, others: usize, working: usize) -> Response {
    let full = others >= SUSPENDED_MIN.max(working / SUSPENDED_SHARE);
    match response {
        Response::Suspend if full => Response::LowerBudget,
        response => response,
    }
}

/// The case that a finding belongs to: detection's own, else an open one about the same actor.
fn join(state: &State, numbers: &BTreeMap<CaseNumber, u32>, said: &Said) -> Option<u32> {
    let actor = said.finding.actor;
    let open = |number: &u32| {
        let case = state.cases.all.get(number);
        case.is_some_and(|it| it.closed.is_none() && it.actor == actor)
    };
    let own = numbers.get(&said.case.case).copied().filter(open);
    own.or_else(|| {
        actor?;
        state.cases.all.keys().copied().find(open)
    })
}

fn recorded(finding: &Finding, cause: Option<u64>, rests_on: Vec<u64>) -> CaseFinding {
    let (version, numbers) = finding.cause.numbers();
    CaseFinding {
        detector: finding.cause.detector().code(),
        actor: finding.actor,
        others: finding.others.clone(),
        client: finding.client,
        bits: finding.bits.0,
        version,
        numbers,
        cause,
        at_ms: finding.at_ms,
        rests_on,
        days: finding.days.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody who makes findings about everybody suspends some, and slows the others down.
    #[test]
    fn a_response_suspends_so_many_at_most() {
        for (others, working, then) in [
            (2, 5, Response::Suspend),
            (3, 5, Response::LowerBudget),
            (5, 60, Response::Suspend),
            (6, 60, Response::LowerBudget),
        ] {
            assert_eq!(within_cap(Response::Suspend, others, working), then);
        }
        for response in [
            Response::Nothing,
            Response::AskReason,
            Response::LowerBudget,
        ] {
            assert_eq!(within_cap(response, 60, 60), response);
        }
    }
}
