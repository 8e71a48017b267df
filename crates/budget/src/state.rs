//! The state of all budgets, and charging a batch against it.
//!
//! Owned by the one recorder; nothing here locks. For each (actor, client) there are twelve sets
//! in four groups; what a group holds is the maximum over its sets. Invariants, between calls:
//! - an actor's sums are the sums over its pairs of what their groups hold, a client's likewise;
//! - every pair that a charge looks at, directly or in a sum, was moved to the charge's minute.
//!
//! Memory: 17 to 34 bytes for each remembered entry, at most `entries_max` of them; past that
//! everything new is counted as new each time, and never remembered. Beside them 16 bytes for each
//! minute of the last 30 days in which a set grew, and about 400 bytes for each (actor, client).

use std::sync::Arc;

use event::record::Effects;
use event::{ActorId, Class, ClientId, Role};

use crate::pair::{Group, Held, MASKED, PRIMARY_PROBES, PROBES, Pair, SETS, TAGS, place};
use crate::set::{Content, KeyMap, Released, Set};
use crate::{
    Batch, Charged, ClientEffects, Item, Kind, Level, Limits, Numbers, Refusal, RoleNumbers,
    SetKind, Totals, Window,
};

/// An actor over its clients, or a client over its actors.
#[derive(Clone, Default, Debug)]
struct Sum {
    /// Indexes into `Budgets::pairs`.
    pairs: Vec<u32>,
    held: Held,
    /// All pairs were moved to this minute.
    now: u32,
}

/// One client in the batch in hand.
#[derive(Clone, Copy, Debug)]
struct Touched {
    client: ClientId,
    pair: usize,
    charged: [u64; SETS],
    newly: [u64; SETS],
}

/// One step of the row in hand.
#[derive(Clone, Copy, Debug)]
struct Step {
    touched: usize,
    set: usize,
    key: u64,
    released: Released,
}

/// The state of all budgets.
#[derive(Clone, Debug)]
pub struct Budgets {
    entries_max: u64,
    entries: u64,
    now: u32,
    pairs: Vec<Pair>,
    pair_of: KeyMap<(u32, u32), u32>,
    actors: KeyMap<u32, Sum>,
    clients: KeyMap<u32, Sum>,
    /// Scratch of the charge in hand; empty between calls.
    touched: Vec<Touched>,
    steps: Vec<Step>,
}

impl Budgets {
    /// An empty state that remembers at most `entries_max` entries.
    pub fn new(entries_max: u64) -> Self {
        Self {
            entries_max,
            entries: 0,
            now: 0,
            pairs: Vec::new(),
            pair_of: KeyMap::default(),
            actors: KeyMap::default(),
            clients: KeyMap::default(),
            touched: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// New numbers came into force. What is remembered already stays.
    pub fn set_entries_max(&mut self, entries_max: u64) {
        self.entries_max = entries_max;
    }

    /// How many entries are remembered.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Charges a batch: the probes first (all or nothing, and nothing without them), then row by
    /// row until one would pass a limit. `minute` is elapsed time.
    pub fn charge(
        &mut self,
        numbers: &Numbers,
        actor: ActorId,
        role: Role,
        minute: u64,
        batch: &Batch,
    ) -> Charged {
        self.now = self.now.max(u32::try_from(minute).unwrap_or(u32::MAX));
        self.touched.clear();
        self.steps.clear();
        let limits = Judge {
            role: numbers.role(role),
            numbers,
        };
        let mut charged = Charged {
            rows: 0,
            probes_granted: false,
            effects: Vec::new(),
            refusal: None,
        };
        match self.charge_items(&limits, actor, batch.probes()) {
            Ok(()) => charged.probes_granted = true,
            Err(refusal) => charged.refusal = Some(refusal),
        }
        if charged.probes_granted {
            while charged.rows < batch.rows() {
                match self.charge_items(&limits, actor, batch.row(charged.rows)) {
                    Ok(()) => charged.rows += 1,
                    Err(refusal) => {
                        charged.refusal = Some(refusal);
                        break;
                    }
                }
            }
        }
        charged.effects = self.effects();
        charged
    }

    /// Takes what a record says was released, without limits: the same state as when it was
    /// charged, given the same entries in the same order ([`Batch::released`]). (Past
    /// `entries_max` the order between clients decides which entries are remembered.)
    pub fn replay(
        &mut self,
        minute: u64,
        actor: ActorId,
        client: ClientId,
        entries: impl IntoIterator<Item = (SetKind, u64, u32)>,
    ) -> Option<ClientEffects> {
        self.now = self.now.max(u32::try_from(minute).unwrap_or(u32::MAX));
        self.touched.clear();
        for (kind, fingerprint, weight) in entries {
            self.steps.clear();
            self.release(
                actor,
                &Item {
                    client,
                    kind,
                    fingerprint,
                    weight,
                },
            );
        }
        self.steps.clear();
        self.effects().pop()
    }

    /// What the windows of an actor for a client hold at a minute.
    pub fn totals(&self, actor: ActorId, client: ClientId, minute: u64) -> Totals {
        let pair = self.pair_of.get(&(actor.0, client.get()));
        totals(self.sum_at(pair, minute), Group::Probes)
    }

    /// What the windows of an actor hold over all clients; a value probed over several clients
    /// counts once.
    pub fn actor_totals(&self, actor: ActorId, minute: u64) -> Totals {
        let pairs = self
            .actors
            .get(&actor.0)
            .into_iter()
            .flat_map(|sum| &sum.pairs);
        totals(self.sum_at(pairs, minute), Group::PrimaryProbes)
    }

    /// What the windows of a client hold over all actors.
    pub fn client_totals(&self, client: ClientId, minute: u64) -> Totals {
        let pairs = self
            .clients
            .get(&client.get())
            .into_iter()
            .flat_map(|sum| &sum.pairs);
        totals(self.sum_at(pairs, minute), Group::Probes)
    }

    /// Whether a value of a client was shown in clear to anybody, as far as sets remember: what a grant
    /// to see paid for is in none.
    pub fn was_shown(&self, client: ClientId, class: Class, fingerprint: u64) -> bool {
        let item = Item {
            client,
            kind: SetKind::Clear(class),
            fingerprint,
            weight: 1,
        };
        let (set, key) = place(&item);
        let of = self.clients.get(&client.get()).into_iter();
        of.flat_map(|sum| &sum.pairs)
            .filter_map(|pair| self.pairs.get(*pair as usize))
            .any(|pair| pair.holds(set, key))
    }

    /// Whether both remember and hold the same at `minute`; order of arrival aside.
    pub fn same_state(&self, other: &Self, minute: u64) -> bool {
        self.content(minute) == other.content(minute)
    }

    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    pub(crate) fn set_now(&mut self, now: u32) {
        self.now = now;
    }

    pub(crate) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    pub(crate) fn pair_of(&self, actor: ActorId, client: ClientId) -> Option<&Pair> {
        let pair = self.pair_of.get(&(actor.0, client.get()))?;
        self.pairs.get(*pair as usize)
    }

    /// The pair, made at `now` if it is not there: its sums do not hold it yet.
    pub(crate) fn pair_for(&mut self, actor: ActorId, client: ClientId, now: u32) -> &mut Pair {
        let made = self.pairs.len();
        let pair = self.pair(actor, client);
        if pair == made {
            self.pairs[pair].now = now;
        }
        &mut self.pairs[pair]
    }

    pub(crate) fn set_for(
        &mut self,
        actor: ActorId,
        client: ClientId,
        set: usize,
    ) -> Option<&mut Set> {
        let pair = *self.pair_of.get(&(actor.0, client.get()))?;
        let pair = self.pairs.get_mut(pair as usize)?;
        pair.sets.get_mut(set)?.as_mut().map(Arc::make_mut)
    }

    /// Makes all that is derived from the sets.
    pub(crate) fn sum_up(&mut self) {
        let mut entries = 0;
        for pair in &mut self.pairs {
            pair.held = pair.maxima();
            entries += pair
                .sets
                .iter()
                .flatten()
                .map(|set| set.len() as u64)
                .sum::<u64>();
            let sums = [
                self.actors.get_mut(&pair.actor.0),
                self.clients.get_mut(&pair.client.get()),
            ];
            for sum in sums.into_iter().flatten() {
                add(&mut sum.held, &pair.held);
            }
        }
        self.entries = entries;
    }

    fn sum_at<'a>(&self, pairs: impl IntoIterator<Item = &'a u32>, minute: u64) -> Held {
        let now = self.now.max(u32::try_from(minute).unwrap_or(u32::MAX));
        let mut sum = Held::default();
        for &pair in pairs {
            add(&mut sum, &self.pairs[pair as usize].held_at(now));
        }
        sum
    }

    /// All or nothing.
    fn charge_items(
        &mut self,
        limits: &Judge<'_>,
        actor: ActorId,
        items: &[Item],
    ) -> Result<(), Refusal> {
        self.steps.clear();
        let touched_before = self.touched.len();
        for item in items {
            self.release(actor, item);
        }
        let Some(refusal) = self.passed(limits, actor) else {
            return Ok(());
        };
        while let Some(step) = self.steps.pop() {
            self.undo(actor, step);
        }
        self.touched.truncate(touched_before);
        Err(refusal.before(self.used(actor, &refusal)))
    }

    /// Releases one item, with its step noted.
    fn release(&mut self, actor: ActorId, item: &Item) {
        let touched = self.touch(actor, item.client);
        let (set, key) = place(item);
        self.release_in(actor, touched, set, key, item.weight.max(1));
        if item.kind == (SetKind::Probe { primary: true }) {
            self.release_in(actor, touched, PRIMARY_PROBES, key, item.weight.max(1));
        }
    }

    fn release_in(&mut self, actor: ActorId, touched: usize, set: usize, key: u64, weight: u32) {
        let remember = self.entries < self.entries_max;
        let Touched { client, pair, .. } = self.touched[touched];
        let pair = &mut self.pairs[pair];
        let released = pair.set(set).release(key, weight, remember);
        self.entries += u64::from(released.remembered_more());
        let growth = pair.raise(set);
        if growth != [0; 4] {
            let group = Group::of_set(set) as usize;
            for sum in [
                self.actors.get_mut(&actor.0),
                self.clients.get_mut(&client.get()),
            ] {
                let sum = sum.expect("a pair is in its actor's and its client's sum");
                sum.held[group]
                    .iter_mut()
                    .zip(growth)
                    .for_each(|(held, grown)| *held += grown);
            }
        }
        self.touched[touched].charged[set] += u64::from(released.charged);
        self.touched[touched].newly[set] += u64::from(released.newly);
        self.steps.push(Step {
            touched,
            set,
            key,
            released,
        });
    }

    fn undo(&mut self, actor: ActorId, step: Step) {
        let Step {
            touched,
            set,
            key,
            released,
        } = step;
        let touched = &mut self.touched[touched];
        touched.charged[set] -= u64::from(released.charged);
        touched.newly[set] -= u64::from(released.newly);
        self.entries -= u64::from(released.remembered_more());
        let client = touched.client;
        let pair = &mut self.pairs[touched.pair];
        pair.set(set).undo(key, released);
        let before = pair.held;
        pair.held = pair.maxima();
        let after = pair.held;
        for sum in [
            self.actors.get_mut(&actor.0),
            self.clients.get_mut(&client.get()),
        ] {
            let sum = sum.expect("a pair is in its actor's and its client's sum");
            replace(&mut sum.held, &before, &after);
        }
    }

    /// The budget that the row in hand passes, if it does.
    fn passed(&self, limits: &Judge<'_>, actor: ActorId) -> Option<Refusal> {
        let mut judged: Option<(usize, Kind)> = None;
        for step in &self.steps {
            let kind = match Group::of_set(step.set) {
                Group::Subjects => Kind::Subjects,
                Group::Probes | Group::PrimaryProbes => Kind::Probes,
                Group::Masked => Kind::Masked,
            };
            if judged == Some((step.touched, kind)) {
                continue;
            }
            judged = Some((step.touched, kind));
            let client = self.touched[step.touched].client;
            for level in [Level::ActorAndClient, Level::Actor, Level::Client] {
                let (limit, held) = (
                    limits.limits(kind, level),
                    self.held(kind, level, actor, client),
                );
                for window in Window::ALL.into_iter().rev() {
                    let (limit, used) = (limit.window(window), held[window as usize]);
                    if let Some(limit) = limit
                        && used > limit
                    {
                        let wanted = used;
                        return Some(Refusal {
                            kind,
                            level,
                            window,
                            client,
                            limit,
                            used,
                            wanted,
                        });
                    }
                }
            }
        }
        None
    }

    fn used(&self, actor: ActorId, refusal: &Refusal) -> u64 {
        let held = self.held(refusal.kind, refusal.level, actor, refusal.client);
        held[refusal.window as usize]
    }

    /// What a budget's windows hold now; its pairs were moved to now.
    fn held(&self, kind: Kind, level: Level, actor: ActorId, client: ClientId) -> [u64; 4] {
        let group = kind.group(level) as usize;
        let held = match level {
            Level::ActorAndClient => self
                .pair_of
                .get(&(actor.0, client.get()))
                .map(|&pair| &self.pairs[pair as usize].held),
            Level::Actor => self.actors.get(&actor.0).map(|sum| &sum.held),
            Level::Client => self.clients.get(&client.get()).map(|sum| &sum.held),
        };
        held.map_or([0; 4], |held| held[group])
    }

    /// The place in `touched` of a client; on the first time everything that its budgets sum over
    /// is moved to now.
    fn touch(&mut self, actor: ActorId, client: ClientId) -> usize {
        if let Some(place) = self
            .touched
            .iter()
            .rposition(|touched| touched.client == client)
        {
            return place;
        }
        let pair = self.pair(actor, client);
        self.refresh(Sums::Actor(actor));
        self.refresh(Sums::Client(client));
        self.touched.push(Touched {
            client,
            pair,
            charged: [0; SETS],
            newly: [0; SETS],
        });
        self.touched.len() - 1
    }

    /// The pair's index; made if it is the first time.
    fn pair(&mut self, actor: ActorId, client: ClientId) -> usize {
        let next = u32::try_from(self.pairs.len()).expect("fewer than 2^32 pairs fit in memory");
        let pair = *self.pair_of.entry((actor.0, client.get())).or_insert(next);
        if pair == next {
            self.pairs.push(Pair {
                actor,
                client,
                now: self.now,
                held: Held::default(),
                sets: Default::default(),
            });
            self.actors.entry(actor.0).or_default().pairs.push(pair);
            self.clients
                .entry(client.get())
                .or_default()
                .pairs
                .push(pair);
        }
        pair as usize
    }

    /// Moves all pairs of a sum to now, once a minute.
    fn refresh(&mut self, which: Sums) {
        let now = self.now;
        let Some(sum) = self.sum_mut(which) else {
            return;
        };
        if sum.now == now {
            return;
        }
        sum.now = now;
        let pairs = std::mem::take(&mut sum.pairs);
        for &index in &pairs {
            let pair = &mut self.pairs[index as usize];
            if pair.now == now {
                continue;
            }
            let before = pair.held;
            pair.advance(now);
            let (after, actor, client) = (pair.held, pair.actor, pair.client);
            for sum in [Sums::Actor(actor), Sums::Client(client)] {
                if let Some(sum) = self.sum_mut(sum) {
                    replace(&mut sum.held, &before, &after);
                }
            }
        }
        if let Some(sum) = self.sum_mut(which) {
            sum.pairs = pairs;
        }
    }

    fn sum_mut(&mut self, which: Sums) -> Option<&mut Sum> {
        match which {
            Sums::Actor(actor) => self.actors.get_mut(&actor.0),
            Sums::Client(client) => self.clients.get_mut(&client.get()),
        }
    }

    /// The effects of the batch in hand.
    fn effects(&mut self) -> Vec<ClientEffects> {
        let mut all: Vec<_> = self
            .touched
            .iter()
            .map(|touched| {
                let held = &self.pairs[touched.pair].held;
                let effects = |sets: std::ops::RangeInclusive<usize>, group: Group| Effects {
                    charged: touched.charged[sets.clone()]
                        .iter()
                        .copied()
                        .max()
                        .unwrap_or(0),
                    newly_distinct: touched.newly[sets].iter().copied().max().unwrap_or(0),
                    windows: held[group as usize],
                };
                ClientEffects {
                    client: touched.client,
                    subjects: effects(0..=TAGS, Group::Subjects),
                    probes: effects(PROBES..=PROBES, Group::Probes),
                    masked: effects(MASKED..=MASKED, Group::Masked),
                }
            })
            .collect();
        all.sort_unstable_by_key(|effects| effects.client);
        self.touched.clear();
        all
    }

    fn content(&self, minute: u64) -> Vec<PairContent> {
        let now = self.now.max(u32::try_from(minute).unwrap_or(u32::MAX));
        let mut pairs: Vec<_> = self
            .pairs
            .iter()
            .map(|pair| {
                let mut moved = pair.clone();
                moved.advance(now);
                let sets = moved.sets.iter().enumerate().filter_map(|(index, set)| {
                    let content = set.as_ref()?.content();
                    (content.all > 0).then_some((index, content))
                });
                (
                    pair.actor,
                    pair.client,
                    moved.held,
                    sets.collect::<Vec<_>>(),
                )
            })
            .filter(|(_, _, _, sets)| !sets.is_empty())
            .collect();
        pairs.sort_unstable_by_key(|&(actor, client, ..)| (actor, client));
        pairs
    }
}

/// A pair's key, what it holds, and its sets that are not empty: for comparing states.
type PairContent = (ActorId, ClientId, Held, Vec<(usize, Content)>);

/// A key of `Budgets::actors` or `Budgets::clients`.
#[derive(Clone, Copy)]
enum Sums {
    Actor(ActorId),
    Client(ClientId),
}

/// The limits of the charge in hand.
struct Judge<'a> {
    role: &'a RoleNumbers,
    numbers: &'a Numbers,
}

impl Judge<'_> {
    fn limits(&self, kind: Kind, level: Level) -> &Limits {
        match (level, kind) {
            (Level::ActorAndClient, Kind::Subjects) => &self.role.subjects_per_client,
            (Level::ActorAndClient, Kind::Probes) => &self.role.probes_per_client,
            (Level::ActorAndClient, Kind::Masked) => &self.role.masked_per_client,
            (Level::Actor, Kind::Subjects) => &self.role.subjects,
            (Level::Actor, Kind::Probes) => &self.role.probes,
            (Level::Actor, Kind::Masked) => &self.role.masked,
            (Level::Client, Kind::Subjects) => &self.numbers.client.subjects,
            (Level::Client, Kind::Probes) => &self.numbers.client.probes,
            (Level::Client, Kind::Masked) => &self.numbers.client.masked,
        }
    }
}

fn totals(held: Held, probes: Group) -> Totals {
    Totals {
        subjects: held[Group::Subjects as usize],
        probes: held[probes as usize],
        masked: held[Group::Masked as usize],
    }
}

fn add(sum: &mut Held, held: &Held) {
    sum.iter_mut()
        .flatten()
        .zip(held.iter().flatten())
        .for_each(|(sum, held)| *sum += held);
}

fn replace(sum: &mut Held, before: &Held, after: &Held) {
    let pairs = before.iter().flatten().zip(after.iter().flatten());
    sum.iter_mut()
        .flatten()
        .zip(pairs)
        .for_each(|(sum, (before, after))| {
            *sum = *sum - before + after;
        });
}
