//! What is remembered of an actor.

use event::{ActorId, ClientId, Role};

use crate::cases::CaseNumber;
use crate::day::Day;
use crate::finding::{DAYS_MAX, RESTS_ON_MAX};
use crate::record::TerminalId;
use crate::rise::{Rise, Usual};
use crate::sketch::{Seen, Theta};

/// Leaves that are remembered.
const AWAY_MAX: usize = 4;
/// Clients by which an actor's own one is told.
const CLIENTS_MAX: usize = 8;
/// Blocks of 28 days in a year.
pub(crate) const YEAR: usize = 13;

/// A count that is judged day by day.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judged {
    pub(crate) usual: Usual,
    pub(crate) rise: Rise,
}

/// 28 days.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    /// New subjects.
    pub(crate) new: u32,
    /// Days with exposures.
    pub(crate) days: u32,
    /// Calls.
    pub(crate) calls: u32,
}

/// The last few numbers of a ring, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Last<T, const N: usize> {
    ring: [T; N],
    written: usize,
}

impl<T: Copy + Default, const N: usize> Default for Last<T, N> {
    fn default() -> Self {
        Self {
            ring: [T::default(); N],
            written: 0,
        }
    }
}

impl<T: Copy + Default, const N: usize> Last<T, N> {
    pub(crate) fn push(&mut self, value: T) {
        self.ring[self.written % N] = value;
        self.written += 1;
    }

    pub(crate) fn list(&self) -> Vec<T> {
        let from = self.written.saturating_sub(N);
        (from..self.written)
            .map(|place| self.ring[place % N])
            .collect()
    }
}

/// An actor.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) id: ActorId,
    pub(crate) role: Role,
    /// May log in. `None`: the roster does not say.
    pub(crate) active: Option<bool>,
    away: Vec<(u64, u64)>,
    /// Clients by exposures, so that the cohort is told.
    clients: Vec<(ClientId, u32)>,
    /// Two days by parity: one is judged some hours after it ended.
    pub(crate) days: [Day; 2],
    /// The hour since 1970 that is under way, its subjects beyond grants.
    pub(crate) hour: (u64, u64),
    /// The session under way, its subjects beyond grants, when it began to show, ms.
    pub(crate) session: (u64, u64, u64),
    /// The newest exposure's time, ms.
    pub(crate) last_ms: u64,
    pub(crate) last_terminal: Option<(TerminalId, u64)>,
    pub(crate) before_terminal: Option<(TerminalId, u64)>,
    /// New subjects a day; a call; subjects without call; missed probes; refused statements.
    pub(crate) per_day: Judged,
    pub(crate) per_call: Judged,
    pub(crate) unexplained: Judged,
    pub(crate) missed: Judged,
    pub(crate) refused: Judged,
    /// Swaps of terminals, fading: 1/256 a swap.
    pub(crate) swaps: u32,
    pub(crate) order: crate::order::Steps,
    pub(crate) blocks: Last<Block, YEAR>,
    pub(crate) block: Block,
    pub(crate) ever: (u64, u64, u64),
    seen: Option<Seen>,
    /// Subjects of the quarter that is under way, and of the one before.
    pub(crate) quarters: [Theta; 2],
    pub(crate) shown_by_day: Last<u32, DAYS_MAX>,
    pub(crate) unexplained_by_day: Last<u32, DAYS_MAX>,
    /// The newest exposures' sequences.
    pub(crate) rests_on: Last<u64, RESTS_ON_MAX>,
    /// Two people said that its pace is the usual one: others' tells nothing of it.
    pub(crate) vouched: bool,
    /// The case about it that is open.
    pub(crate) case: Option<CaseNumber>,
    /// Detectors that spoke in the open case since the day began, a bit each.
    pub(crate) spoke: u32,
}

impl Actor {
    pub(crate) fn new(id: ActorId, role: Role) -> Self {
        Self {
            id,
            role,
            active: None,
            away: Vec::new(),
            clients: Vec::new(),
            days: Default::default(),
            hour: (0, 0),
            session: (0, 0, 0),
            last_ms: 0,
            last_terminal: None,
            before_terminal: None,
            per_day: Judged::default(),
            per_call: Judged::default(),
            unexplained: Judged::default(),
            missed: Judged::default(),
            refused: Judged::default(),
            swaps: 0,
            order: crate::order::Steps::default(),
            blocks: Last::default(),
            block: Block::default(),
            ever: (0, 0, 0),
            seen: None,
            quarters: Default::default(),
            shown_by_day: Last::default(),
            unexplained_by_day: Last::default(),
            rests_on: Last::default(),
            vouched: false,
            case: None,
            spoke: 0,
        }
    }

    pub(crate) fn day(&mut self, number: u32) -> &mut Day {
        let day = &mut self.days[number as usize % 2];
        if day.number != number {
            day.begin(number);
        }
        day
    }

    /// Whether a subject is new to it, where records do not say.
    pub(crate) fn is_new(&mut self, hash: u64) -> bool {
        self.seen.get_or_insert_with(Seen::new).add(hash)
    }

    pub(crate) fn works_for(&mut self, client: ClientId) {
        if let Some((_, count)) = self.clients.iter_mut().find(|(it, _)| *it == client) {
            *count += 1;
        } else if self.clients.len() < CLIENTS_MAX {
            self.clients.push((client, 1));
        } else if let Some(rarest) = self.clients.iter_mut().min_by_key(|it| (it.1, it.0)) {
            *rarest = (client, 1);
        }
        if self.clients.iter().any(|it| it.1 >= 4_096) {
            self.clients.iter_mut().for_each(|it| it.1 /= 2);
        }
    }

    /// The client that it works for most.
    pub(crate) fn home(&self) -> Option<ClientId> {
        let most = self.clients.iter().max_by_key(|it| (it.1, it.0))?;
        Some(most.0)
    }

    pub(crate) fn goes(&mut self, from_ms: u64, until_ms: u64) {
        if self.away.len() == AWAY_MAX {
            self.away.remove(0);
        }
        self.away.push((from_ms, until_ms));
    }

    pub(crate) fn is_away(&self, at_ms: u64) -> bool {
        let holds = |&(from, until): &(u64, u64)| from <= at_ms && at_ms < until;
        self.away.iter().any(holds)
    }

    /// After its case was closed: rises begin anew.
    pub(crate) fn calm(&mut self) {
        for judged in [
            &mut self.per_day,
            &mut self.per_call,
            &mut self.unexplained,
            &mut self.missed,
            &mut self.refused,
        ] {
            judged.rise = Rise::default();
        }
        self.order.calm();
        self.swaps = 0;
        (self.case, self.spoke) = (None, 0);
    }

    /// Two people said that its pace is the usual one.
    pub(crate) fn rebase(&mut self) {
        self.calm();
        self.vouched = true;
        for judged in [
            &mut self.per_day,
            &mut self.per_call,
            &mut self.unexplained,
            &mut self.missed,
            &mut self.refused,
        ] {
            judged.usual = Usual::default();
        }
        (self.blocks, self.block, self.ever) = (Last::default(), Block::default(), (0, 0, 0));
    }
}
