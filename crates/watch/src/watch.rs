//! The fold.

use std::collections::{BTreeMap, BTreeSet};

use event::{ActorId, ClientId, GrantId, Role, SessionId};

use crate::actor::Actor;
use crate::cases::{CaseNumber, Cases, Said, joined};
use crate::cohort::{self, Roles};
use crate::detect::chain::Terminals;
use crate::detect::silence::Parts;
use crate::finding::{Bits, Cause, Finding};
use crate::record::{Exposure, Record, TerminalId, What};
use crate::settings::Settings;
use crate::sketch::mix;

pub(crate) const MINUTE_MS: u64 = 60_000;
pub(crate) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;
/// A day ends when the fewest are at work.
const DAY_BEGINS_MS: u64 = 4 * HOUR_MS;
/// A day is judged so long after it ended, at noon: its calls are brought in by then, in the morning.
const JUDGED_AFTER_MS: u64 = 8 * HOUR_MS;
/// A record that is older than what was judged by more than this is not counted.
const LATE_MS: u64 = 2 * DAY_MS;
/// A jump forward that a second record has to confirm.
const JUMP_MS: u64 = 32 * DAY_MS;
/// Actors that are watched.
const ACTORS_MAX: usize = 1 << 17;
/// Sessions and grants that are remembered; the oldest are forgotten.
const SESSIONS_MAX: usize = 1 << 16;
const GRANTS_MAX: usize = 1 << 16;
/// Fictitious subjects.
const CANARIES_MAX: usize = 1 << 20;
/// Calls of a client in a day from which on its exposures are matched with calls.
const COVERED: u32 = 5;

/// Records that were not counted, by reason.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// More than two days older than the newest, or a call of a day that was judged.
    pub late: u64,
    /// The same sequence as, or one before, a record that was taken.
    pub repeated: u64,
    /// More than 32 days ahead of all others, and not confirmed by the next.
    pub future: u64,
    /// Numbers that cannot be: more new subjects than subjects, an end before its begin.
    pub impossible: u64,
    /// Beyond what is remembered: actors, fictitious subjects.
    pub beyond: u64,
}

/// A session that is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) terminal: TerminalId,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    actor: ActorId,
    client: ClientId,
    left: u64,
    until_ms: u64,
}

/// Detection over records in order.
#[derive(Debug)]
pub struct Watch {
    pub(crate) settings: Settings,
    skipped: Skipped,
    /// Records taken.
    pub(crate) taken: u64,
    /// The newest time that counts, ms.
    pub(crate) now_ms: u64,
    pub(crate) last_sequence: Option<u64>,
    /// A time far ahead that the next record may confirm, ms.
    ahead_ms: Option<u64>,
    /// The last day that was judged.
    pub(crate) judged: u32,
    pub(crate) actors: Vec<Actor>,
    places: BTreeMap<ActorId, u32>,
    /// `places` of the actors with small numbers: found without a search. 0: none.
    near_places: Vec<u32>,
    /// Actors with something in a day, by its parity.
    pub(crate) touched: [Vec<u32>; 2],
    /// Calls of each client in a day, by its parity.
    pub(crate) calls: [BTreeMap<ClientId, u32>; 2],
    /// Exposures of each client in a day, by its parity.
    pub(crate) shown: [BTreeMap<ClientId, u32>; 2],
    sessions: BTreeMap<SessionId, Session>,
    grants: BTreeMap<GrantId, Grant>,
    canaries: BTreeSet<u64>,
    pub(crate) roles: Roles,
    pub(crate) terminals: Terminals,
    pub(crate) parts: Parts,
    pub(crate) cases: Cases,
}

impl Watch {
    /// Before the first record.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            skipped: Skipped::default(),
            taken: 0,
            now_ms: 0,
            last_sequence: None,
            ahead_ms: None,
            judged: 0,
            actors: Vec::new(),
            places: BTreeMap::new(),
            near_places: vec![0; 1 << 14],
            touched: Default::default(),
            calls: Default::default(),
            shown: Default::default(),
            sessions: BTreeMap::new(),
            grants: BTreeMap::new(),
            canaries: BTreeSet::new(),
            roles: Roles::new(),
            terminals: Terminals::default(),
            parts: Parts::default(),
            cases: Cases::new(&settings),
        }
    }

    /// Takes a record; adds what it led to.
    pub fn step(&mut self, record: &Record<'_>, said: &mut Vec<Said>) {
        if !self.take(record, said) {
            return;
        }
        match record.what {
            What::Tick => {}
            What::Actor {
                actor,
                role,
                active,
            } => {
                if let Some(actor) = self.actor(actor, role) {
                    (actor.role, actor.active) = (role, Some(active));
                }
            }
            What::Away {
                actor,
                from_ms,
                until_ms,
            } => {
                if let Some(place) = self.place(actor) {
                    self.actors[place].goes(from_ms, until_ms);
                }
            }
            What::SessionOpened {
                actor,
                role,
                session,
                terminal,
            } => {
                self.actor(actor, role);
                if self.sessions.len() == SESSIONS_MAX {
                    self.sessions.pop_first();
                }
                self.sessions.insert(session, Session { terminal });
            }
            What::SessionClosed { session } => {
                self.sessions.remove(&session);
            }
            What::Exposure(exposure) => self.expose(record, &exposure, said),
            What::Refused { .. } | What::Gate { .. } => self.sign(record, said),
            What::Granted {
                grant,
                actor,
                client,
                amount,
                until_ms,
            } => {
                if self.grants.len() == GRANTS_MAX {
                    self.grants.pop_first();
                }
                let granted = Grant {
                    actor,
                    client,
                    left: amount,
                    until_ms,
                };
                self.grants.insert(grant, granted);
            }
            What::GrantEnded { grant } => {
                self.grants.remove(&grant);
            }
            What::Canary { client, subject } => {
                if self.canaries.len() < CANARIES_MAX {
                    self.canaries.insert(mix(client.get(), subject));
                } else {
                    self.skipped.beyond += 1;
                }
            }
            What::Call(call) => {
                // Brought in later, it counts on its own day; on none if that was judged.
                let day = self.day_of(call.from_ms.min(record.at_ms));
                if day <= self.judged {
                    self.skipped.late += 1;
                    return;
                }
                *self.calls[day as usize % 2].entry(call.client).or_default() += 1;
                if let Some(place) = self.touch(call.actor, Role::Operator, day) {
                    self.actors[place].day(day).call(call);
                }
            }
            What::Terminal { .. } => self.on_terminal(record, said),
            What::Returned { .. } | What::Gap { .. } => self.missing(record, said),
            What::Alive { part } => self.parts.alive(part, record.at_ms),
            What::Stopped { part } => self.parts.stopped(part),
            What::Rebaselined { actor } => {
                if let Some(place) = self.place(actor) {
                    self.actors[place].rebase();
                }
            }
            // Charges carry what is new; where lists are gone, keys are absent in the records.
            What::ListsDestroyed { .. } => {}
        }
    }

    /// Ends the day of the newest record, as when a later one came: at the end of an import.
    pub fn finish(&mut self, said: &mut Vec<Said>) {
        if self.taken > 0 {
            let last = self.day_of(self.now_ms);
            self.judge_days(last, said);
        }
    }

    /// What it is told.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// What is in force from now on.
    pub fn set_cases_per_day(&mut self, cases_per_day: u32) {
        self.settings.cases_per_day = cases_per_day;
        self.cases.set(&self.settings);
    }

    /// A case was closed: later findings about its actor open a new one.
    pub fn close(&mut self, case: CaseNumber) {
        if let Some(actor) = self.cases.close(case)
            && let Some(place) = self.place(actor)
        {
            self.actors[place].calm();
        }
    }

    /// What was not counted.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Records that were taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Actors that are known.
    pub fn actors(&self) -> usize {
        self.actors.len()
    }

    /// Whether the record counts; lets time go on.
    fn take(&mut self, record: &Record<'_>, said: &mut Vec<Said>) -> bool {
        let Record { at_ms, .. } = *record;
        if self
            .last_sequence
            .is_some_and(|last| record.sequence <= last)
        {
            self.skipped.repeated += 1;
            return false;
        }
        self.last_sequence = Some(record.sequence);
        if !is_possible(record) {
            self.skipped.impossible += 1;
            return false;
        }
        if self.taken == 0 {
            self.judged = self.day_of(at_ms) - 1;
            self.now_ms = at_ms;
        } else if at_ms > self.now_ms.saturating_add(JUMP_MS) {
            let confirmed = self
                .ahead_ms
                .is_some_and(|ahead| ahead.abs_diff(at_ms) < DAY_MS);
            if !confirmed {
                self.skipped.future += 1;
                self.ahead_ms = Some(at_ms);
                return false;
            }
        } else if at_ms.saturating_add(LATE_MS) < self.now_ms {
            self.skipped.late += 1;
            return false;
        }
        self.taken += 1;
        if at_ms > self.now_ms {
            self.ahead_ms = None;
            self.now_ms = at_ms;
            let over = self.day_of(at_ms.saturating_sub(JUDGED_AFTER_MS)) - 1;
            if over > self.judged {
                self.judge_days(over, said);
            }
            self.look_for_silence(record, said);
        }
        true
    }

    /// The day's number of a time, from 1.
    pub(crate) fn day_of(&self, at_ms: u64) -> u32 {
        let offset = i64::from(self.settings.offset_minutes) * MINUTE_MS as i64;
        let local = (at_ms as i64).saturating_add(offset) - DAY_BEGINS_MS as i64;
        u32::try_from((local / DAY_MS as i64).max(1)).unwrap_or(u32::MAX - 2) + 1
    }

    /// When a day ends, ms.
    pub(crate) fn end_of(&self, day: u32) -> u64 {
        let offset = i64::from(self.settings.offset_minutes) * MINUTE_MS as i64;
        (i64::from(day) * DAY_MS as i64 + DAY_BEGINS_MS as i64 - offset).max(0) as u64
    }

    /// The day that a record of this time counts in: its own, or where that was judged already, the
    /// next.
    pub(crate) fn open_day(&self, at_ms: u64) -> u32 {
        self.day_of(at_ms).max(self.judged + 1)
    }

    pub(crate) fn place(&self, actor: ActorId) -> Option<usize> {
        if let Some(&place) = self.near_places.get(actor.0 as usize) {
            return (place as usize).checked_sub(1);
        }
        self.places.get(&actor).map(|&place| place as usize)
    }

    /// The actor, which is remembered from now on.
    fn place_or_new(&mut self, actor: ActorId, role: Role) -> Option<usize> {
        if let Some(place) = self.place(actor) {
            return Some(place);
        }
        let place = self.actors.len();
        if place == ACTORS_MAX {
            self.skipped.beyond += 1;
            return None;
        }
        self.actors.push(Actor::new(actor, role));
        match self.near_places.get_mut(actor.0 as usize) {
            Some(near) => *near = place as u32 + 1,
            None => {
                self.places.insert(actor, place as u32);
            }
        }
        Some(place)
    }

    fn actor(&mut self, actor: ActorId, role: Role) -> Option<&mut Actor> {
        let place = self.place_or_new(actor, role)?;
        self.actors.get_mut(place)
    }

    /// The actor, which did something on a day.
    pub(crate) fn touch(&mut self, actor: ActorId, role: Role, day: u32) -> Option<usize> {
        let place = self.place_or_new(actor, role)?;
        if self.actors[place].days[day as usize % 2].number != day {
            self.actors[place].day(day);
            self.touched[day as usize % 2].push(place as u32);
        }
        Some(place)
    }

    fn expose(&mut self, record: &Record<'_>, exposure: &Exposure<'_>, said: &mut Vec<Said>) {
        let day = self.open_day(record.at_ms);
        let Some(place) = self.touch(exposure.actor, exposure.role, day) else {
            return;
        };
        let subjects = u64::from(exposure.subjects);
        let (granted, by_grant) = self.granted(record.at_ms, exposure);
        let beyond = subjects - granted;
        let client = exposure.client.get();
        let canaries = match self.canaries.is_empty() {
            true => 0,
            false => {
                let known = |&&key: &&u64| self.canaries.contains(&mix(client, key));
                exposure.keys.iter().filter(known).count()
            }
        };
        let session = exposure
            .session
            .and_then(|it| self.sessions.get(&it).copied());
        let actor = &mut self.actors[place];
        actor.role = exposure.role;
        actor.works_for(exposure.client);
        actor.rests_on.push(record.sequence);
        actor.last_ms = record.at_ms;
        let new = match exposure.new {
            Some(new) => u64::from(new),
            None if exposure.keys.is_empty() => subjects,
            None => {
                let new = |&&key: &&u64| actor.is_new(mix(client, key));
                exposure.keys.iter().filter(new).count() as u64
            }
        };
        for &key in exposure.keys {
            actor.quarters[0].add(mix(client, key));
        }
        let minute_of_day = (record.at_ms / MINUTE_MS
            + (self.settings.offset_minutes + 24 * 60) as u64)
            % (24 * 60);
        let today = actor.day(day);
        if subjects > 0 {
            today.hours |= 1 << (minute_of_day / 60);
        }
        today.granted += granted;
        if let Some(missed) = exposure.missed
            && !by_grant
        {
            today.probes += u64::from(exposure.probes);
            today.missed += u64::from(missed);
        }
        if beyond > 0 {
            if today.subjects == 0 {
                today.first_ms = record.at_ms;
            }
            today.subjects += beyond;
            today.new += new.min(beyond);
            today.show(record.at_ms, exposure, beyond);
        }
        self.look_at_burst(record, place, day, exposure, beyond, said);
        if !by_grant {
            self.look_at_order(record, place, exposure, said);
        }
        self.look_at_identity(record, place, day, subjects, session, said);
        // A list that a grant allows holds its fictitious subjects too.
        if canaries > 0 && beyond > 0 {
            let cause = Cause::Canary {
                count: canaries as u64,
            };
            self.find(
                record,
                place,
                Some(exposure.client),
                Bits(24 << 8),
                cause,
                said,
            );
        }
        if let Some(session) = session
            && beyond > 0
        {
            let id = self.actors[place].id;
            self.terminals
                .show(session.terminal, id, record.at_ms, beyond);
        }
        if subjects > 0 {
            self.parts.exposure();
            *self.shown[day as usize % 2]
                .entry(exposure.client)
                .or_default() += 1;
        }
    }

    /// How many of an exposure's subjects its grant allows, and whether it allows all of it. A grant
    /// for an import allows so many probes.
    fn granted(&mut self, at_ms: u64, exposure: &Exposure<'_>) -> (u64, bool) {
        let Some(grant) = exposure.grant.and_then(|it| self.grants.get_mut(&it)) else {
            return (0, false);
        };
        let fits = grant.actor == exposure.actor
            && grant.client == exposure.client
            && at_ms < grant.until_ms;
        if !fits {
            return (0, false);
        }
        let subjects = u64::from(exposure.subjects);
        let asked = if subjects > 0 {
            subjects
        } else {
            u64::from(exposure.probes)
        };
        let allowed = asked.min(grant.left);
        grant.left -= allowed;
        (allowed.min(subjects), allowed == asked)
    }

    /// A finding about an actor that cannot wait for the end of the day.
    pub(crate) fn find(
        &mut self,
        record: &Record<'_>,
        place: usize,
        client: Option<ClientId>,
        bits: Bits,
        cause: Cause,
        said: &mut Vec<Said>,
    ) {
        let finding = self.finding(record.sequence, record.at_ms, place, client, bits, cause);
        self.say(finding, place, true, said);
    }

    pub(crate) fn finding(
        &self,
        sequence: u64,
        at_ms: u64,
        place: usize,
        client: Option<ClientId>,
        bits: Bits,
        cause: Cause,
    ) -> Finding {
        let actor = &self.actors[place];
        let days = match cause {
            Cause::Balance { .. } => &actor.unexplained_by_day,
            _ => &actor.shown_by_day,
        };
        Finding {
            sequence,
            at_ms,
            actor: Some(actor.id),
            others: Vec::new(),
            client,
            bits,
            cause,
            rests_on: actor.rests_on.list(),
            days: days.list(),
        }
    }

    /// Takes a finding about an actor to its case; once a day for each detector.
    pub(crate) fn say(
        &mut self,
        finding: Finding,
        place: usize,
        at_once: bool,
        said: &mut Vec<Said>,
    ) {
        let actor = &mut self.actors[place];
        let bit = 1 << (finding.cause.detector() as u8);
        if let Some(case) = actor.case {
            if actor.spoke & bit == 0 && finding.bits >= self.cases.floor() {
                actor.spoke |= bit;
                said.push(joined(finding, case));
            }
            return;
        }
        if let Some(opened) = self.cases.take(finding, at_once) {
            actor.spoke |= bit;
            actor.case = Some(opened.case.case);
            said.push(opened);
        }
    }

    pub(crate) fn say_about_thing(&mut self, finding: Finding, said: &mut Vec<Said>) {
        said.extend(self.cases.take(finding, true));
    }

    /// Judges all days up to this one.
    fn judge_days(&mut self, last: u32, said: &mut Vec<Said>) {
        // What is far back holds nothing: only the first days after a jump can.
        for day in self.judged + 1..=last {
            self.judge(day, said);
            self.judged = day;
        }
    }

    fn judge(&mut self, day: u32, said: &mut Vec<Said>) {
        let parity = day as usize % 2;
        let mut touched = std::mem::take(&mut self.touched[parity]);
        touched.sort_unstable();
        let calls = std::mem::take(&mut self.calls[parity]);
        let covered = |client: ClientId| calls.get(&client).is_some_and(|&it| it >= COVERED);
        let outcomes: Vec<_> = touched
            .iter()
            .map(|&place| self.actors[place as usize].end_day(day, covered))
            .collect();
        let mut cohort = cohort::Day::default();
        for (&place, outcome) in touched.iter().zip(&outcomes) {
            let actor = &self.actors[place as usize];
            let priors = actor.heeds(self.roles.of(actor.role).priors);
            let (expected, _) = outcome.expected(actor, &priors);
            cohort.add(actor.role, actor.home(), outcome.new, expected);
        }
        for (&place, outcome) in touched.iter().zip(&outcomes) {
            self.judge_actor(day, place as usize, outcome, &cohort, said);
        }
        let shown = std::mem::take(&mut self.shown[parity]);
        self.look_for_calls(day, &calls, &shown, said);
        touched.clear();
        self.touched[parity] = touched;
        self.end_windows();
        if day.is_multiple_of(7) {
            self.roles.measure(&self.actors);
            self.look_together(day, said);
        }
        if day.is_multiple_of(28) {
            self.end_block(day, said);
        }
        let working = self.working();
        for opened in self.cases.end_day(working) {
            if let Some(place) = opened.finding.actor.and_then(|actor| self.place(actor)) {
                let actor = &mut self.actors[place];
                actor.spoke |= 1 << (opened.finding.cause.detector() as u8);
                actor.case = Some(opened.case.case);
            }
            said.push(opened);
        }
        for actor in &mut self.actors {
            actor.spoke = 0;
        }
    }

    /// Actors that may log in, as far as is known.
    fn working(&self) -> usize {
        let recently = self.now_ms.saturating_sub(60 * DAY_MS);
        let works = |it: &&Actor| it.active != Some(false) && it.last_ms >= recently;
        self.actors.iter().filter(works).count()
    }
}

/// Whether a record's numbers can be.
fn is_possible(record: &Record<'_>) -> bool {
    /// The year 2200.
    const LATEST_MS: u64 = 7_258_118_400_000;
    if record.at_ms < 2 * DAY_MS || record.at_ms > LATEST_MS {
        return false;
    }
    match record.what {
        What::Exposure(it) => {
            it.new.is_none_or(|new| new <= it.subjects)
                && it.missed.is_none_or(|missed| missed <= it.probes)
                && it.order.ascending <= it.order.pairs
                && it.order.near <= it.order.pairs
        }
        What::Call(it) => it.from_ms <= it.until_ms,
        What::Away {
            from_ms, until_ms, ..
        }
        | What::Gap {
            from_ms, until_ms, ..
        } => from_ms <= until_ms,
        _ => true,
    }
}
