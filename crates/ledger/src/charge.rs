//! Charging a batch and recording what was paid for: one step on the recorder's thread. And its
//! inverse, replaying a record into the budgets.
//!
//! Invariants: a batch's records are all made before the first is added, and lie in one commit;
//! what [`replay`] does with a record is what [`Core::append`] did when it made it. A charge is
//! never refunded, also when its record could not be made.

use std::collections::BTreeMap;

use aws_lc_rs::rand;
use budget::{Batch as Charges, Budgets, ClientEffects, Item, SetKind};
use event::record::{Body, ClassCount, Effects, Exposure, Grant, GrantKind, Order, Who};
use event::{Class, ClientId, LogId, Outcome};

use crate::batch::{BudgetRefusal, Charge, Probe, Refusal, Spent, StatementScope};
use crate::core::{Core, encode};
use crate::frame::frame_bytes;
use crate::list::{self, Entry, ListClosed, ListSealer, PURPOSE_BYTES_MAX, SALT_BYTES};
use crate::promised::Due;
use crate::replay::remember;
use crate::state::{Meta, State};

/// Most bytes of an exposure's record, by its fields: all numbers at their longest.
const EXPOSURE_BYTES_MAX: usize = 1024;
/// A case that lowers its actor's budgets leaves one part in so many of each limit.
pub(crate) const LOWERED: u64 = 10;
/// Subjects are counted in windows of minutes.
const MINUTE_MS: u64 = 60_000;

/// A batch without its payloads: those never leave the session's task.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) who: Who,
    pub(crate) scope: StatementScope,
    pub(crate) probes: Vec<Probe>,
    pub(crate) rows: Vec<Vec<Charge>>,
}

impl Ask {
    /// Whether it charges nothing, and so makes no record.
    pub(crate) fn is_free(&self) -> bool {
        self.probes.is_empty() && self.rows.iter().all(Vec::is_empty)
    }

    /// Whether it shows anything in clear, or confirms a guess.
    fn opens(&self) -> bool {
        let mut cells = self.rows.iter().flatten();
        !self.probes.is_empty() || cells.any(|charge| charge.outcome == Outcome::Clear)
    }

    /// Most bytes its frames take.
    pub(crate) fn bytes_bound(&self) -> usize {
        let mut entries: BTreeMap<ClientId, usize> = BTreeMap::new();
        for probe in &self.probes {
            let bytes = list::entry_bytes(1) * (1 + usize::from(probe.as_exposure));
            *entries.entry(probe.client).or_default() += bytes;
        }
        for charge in self.rows.iter().flatten() {
            let tag = if charge.tag == 0 {
                0
            } else {
                list::entry_bytes(1)
            };
            *entries.entry(charge.client).or_default() += list::entry_bytes(charge.weight) + tag;
        }
        let purpose = self.purpose_bytes();
        let exposures: usize = entries
            .values()
            .map(|&bytes| frame_bytes(EXPOSURE_BYTES_MAX, list::bytes_bound(bytes, purpose)))
            .sum();
        exposures + frame_bytes(self.scope.shape.1.len() + 64, 0)
    }

    fn purpose_bytes(&self) -> usize {
        let purpose = self.scope.purpose.as_ref();
        purpose.map_or(0, |purpose| purpose.expose().len())
    }
}

/// What was paid for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Paid {
    pub(crate) rows: usize,
    pub(crate) cut: Option<BudgetRefusal>,
    /// Receipts that the release may have to wait for.
    pub(crate) due: Vec<Due>,
}

/// What a charge came to, budgets and grants alike.
struct Outcomes {
    rows: usize,
    probes: bool,
    spent: Option<Spent>,
    effects: Vec<ClientEffects>,
    /// Units charged to the grant.
    granted: u64,
}

/// What a batch released of one client.
#[derive(Default)]
struct Group {
    probes: Vec<Item>,
    probe_count: u32,
    items: Vec<Item>,
    rows: u32,
    classes: BTreeMap<(Class, Outcome), u32>,
    row_tags_disagree: u32,
}

impl Core {
    /// Charges a batch and adds its records to the commit in hand.
    pub(crate) fn append(&mut self, ask: &Ask) -> Result<Paid, Refusal> {
        self.alive()?;
        let mut now = self.now();
        let mut grant = self.may(ask, now.0)?;
        if ask.is_free() {
            return Ok(Paid {
                rows: ask.rows.len(),
                cut: None,
                due: Vec::new(),
            });
        }
        self.check_covered(ask.rows.len() as u64, false)?;
        let shape = self.new_shape(&ask.scope)?;
        if self.make_room(ask.bytes_bound())? {
            now = self.now();
            grant = self.may(ask, now.0)?;
        }
        let (all, paid_by_budgets) = charges(ask, grant.as_ref().map(|(grant, _)| grant.what));
        let outcomes = self.charge(ask, grant.as_ref(), &paid_by_budgets, now.1 / MINUTE_MS);
        let groups = groups(ask, &all, &outcomes);
        let mut records = Vec::with_capacity(groups.len());
        let mut order = ask.scope.order;
        for (client, group) in &groups {
            order.missed = missed(ask, group);
            let order = std::mem::take(&mut order);
            let paid = (grant.as_ref(), &outcomes, order);
            records.push(self.exposure(ask, *client, group, paid, now)?);
        }
        if let Some((body, bytes)) = shape.filter(|_| !groups.is_empty()) {
            self.push(LogId::Centre, &body, &bytes, &[], now)?;
            remember(&mut self.shapes, ask.scope.shape.0);
        }
        let mut subjects_released = 0;
        let mut due = Vec::new();
        for (client, body, bytes, attachment) in records {
            let position = self.push(LogId::Client(client), &body, &bytes, &attachment, now)?;
            if let Body::Exposure(exposure) = &body {
                subjects_released += exposure.subjects.charged;
                due.extend(self.due(client, position.index, &body));
            }
        }
        Ok(Paid {
            rows: outcomes.rows,
            due,
            cut: outcomes.spent.map(|spent| BudgetRefusal {
                spent: match spent {
                    Spent::Grant { grant, limit, .. } => Spent::Grant {
                        grant,
                        limit,
                        used: self
                            .state
                            .grants
                            .get(&grant)
                            .map_or(limit, |grant| grant.used),
                    },
                    budget => budget,
                },
                subjects_released,
                lowered_by: self.state.cases.lowers(ask.who.actor),
            }),
        })
    }

    /// The record of a shape that has none yet.
    fn new_shape(&self, scope: &StatementScope) -> Result<Option<(Body, Vec<u8>)>, Refusal> {
        let (digest, text) = &*scope.shape;
        if self.shapes.contains(digest) {
            return Ok(None);
        }
        let body = Body::Shape {
            digest: *digest,
            text: text.clone(),
        };
        encode(&body).map(|bytes| Some((body, bytes)))
    }

    /// Whether the batch may be charged at all; the grant and what is left of it.
    fn may(&self, ask: &Ask, wall_ms: u64) -> Result<Option<(Grant, u64)>, Refusal> {
        ask.scope.check(&self.state)?;
        let actor = self.state.actors.get(&ask.who.actor);
        if !actor.is_some_and(|actor| actor.active && actor.role == ask.who.role) {
            return Err(Refusal::Revoked);
        }
        if let Some(case) = self.state.cases.suspends(ask.who.actor)
            && ask.opens()
        {
            return Err(Refusal::Suspended { case });
        }
        if let Some((case, since_ms)) = self.state.cases.asks(ask.who.actor)
            && ask.opens()
            && (ask.scope.purpose.is_none() || ask.scope.purpose_ms < since_ms)
        {
            return Err(Refusal::ReasonAsked { case });
        }
        let bytes = ask.purpose_bytes();
        if bytes > PURPOSE_BYTES_MAX {
            return Err(Refusal::TooLarge {
                what: "a purpose",
                bytes,
                limit: PURPOSE_BYTES_MAX,
            });
        }
        let Some(id) = ask.who.grant else {
            return Ok(None);
        };
        let no = |why| Err(Refusal::Grant { grant: id, why });
        let Some(granted) = self.state.grants.get(&id) else {
            return no("does not exist");
        };
        let grant = &granted.grant;
        if grant.actor != ask.who.actor {
            return no("is another actor's");
        }
        if granted.ended {
            return no("was ended");
        }
        if wall_ms >= grant.until_ms {
            return no("has expired");
        }
        let covered = match grant.what {
            GrantKind::See => ask.rows.iter().flatten().all(|c| c.client == grant.client),
            GrantKind::Import => ask.probes.iter().all(|p| p.client == grant.client),
            GrantKind::Carry => return no("is for files"),
        };
        if !covered {
            return no("is for another client");
        }
        let left = grant.amount.saturating_sub(granted.used);
        Ok(Some((grant.clone(), left)))
    }

    fn charge(
        &mut self,
        ask: &Ask,
        grant: Option<&(Grant, u64)>,
        paid_by_budgets: &Charges,
        minute: u64,
    ) -> Outcomes {
        let nothing = |spent| Outcomes {
            rows: 0,
            probes: false,
            spent: Some(spent),
            effects: Vec::new(),
            granted: 0,
        };
        let ended = |grant: &Grant| Spent::Grant {
            grant: grant.grant,
            limit: grant.amount,
            used: 0,
        };
        // An import's probes are paid before anything else: all or nothing.
        let mut granted = 0;
        if let Some((grant, left)) = grant
            && grant.what == GrantKind::Import
        {
            granted = ask.probes.iter().filter(|probe| probe.primary).count() as u64;
            if granted > *left {
                return nothing(ended(grant));
            }
        }
        let lowered = self.state.cases.lowers(ask.who.actor);
        let lowered = lowered.map(|_| self.numbers.lowered(ask.who.role, LOWERED));
        let charged = self.budgets.charge(
            lowered.as_ref().unwrap_or(&self.numbers),
            ask.who.actor,
            ask.who.role,
            minute,
            paid_by_budgets,
        );
        let mut outcomes = Outcomes {
            rows: charged.rows,
            probes: charged.probes_granted,
            spent: charged.refusal.map(Spent::Budget),
            effects: charged.effects,
            granted,
        };
        if let Some((grant, left)) = grant
            && grant.what == GrantKind::See
        {
            outcomes.rows = 0;
            if outcomes.probes {
                let (rows, units) = rows_within(&ask.rows, *left);
                (outcomes.rows, outcomes.granted) = (rows, units);
                if rows < ask.rows.len() {
                    outcomes.spent = Some(ended(grant));
                }
            }
        }
        outcomes
    }

    /// One client's record with its encrypted list.
    fn exposure(
        &mut self,
        ask: &Ask,
        client: ClientId,
        group: &Group,
        (grant, outcomes, order): (Option<&(Grant, u64)>, &Outcomes, Order),
        (wall_ms, elapsed_ms): (u64, u64),
    ) -> Result<(ClientId, Body, Vec<u8>, Vec<u8>), Refusal> {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt)
            .map_err(|_| Refusal::Unavailable("the system gave no random bytes".into()))?;
        let purpose = ask.scope.purpose.as_deref();
        let list = list::encode(&salt, purpose, group.probes.iter(), group.items.iter());
        let commitment = list::commitment(list.expose());
        let key = |why| Refusal::Key { client, why };
        if self
            .state
            .clients
            .get(&client)
            .is_some_and(|client| client.destroyed)
        {
            return Err(key(ListClosed::Destroyed));
        }
        let sealed = self
            .sealer
            .seal_list(client, list::month(wall_ms), &commitment, list.expose())
            .map_err(key)?;
        let minute = elapsed_ms / MINUTE_MS;
        let mut effects = self.effects(ask, client, outcomes, minute);
        let grant = grant
            .map(|(grant, _)| grant)
            .filter(|grant| grant.client == client);
        match grant.map(|grant| grant.what) {
            Some(GrantKind::See) => effects.subjects = granted_effects(outcomes.granted),
            Some(GrantKind::Import) => effects.probes = granted_effects(outcomes.granted),
            Some(GrantKind::Carry) | None => {}
        }
        let body = Body::Exposure(Exposure {
            who: ask.who.clone(),
            rows: group.rows,
            classes: group
                .classes
                .iter()
                .map(|(&(class, outcome), &cells)| ClassCount {
                    class,
                    outcome,
                    cells,
                })
                .collect(),
            probes: group.probe_count,
            row_tags_disagree: group.row_tags_disagree,
            subjects: effects.subjects,
            probed: effects.probes,
            masked: effects.masked,
            shape: ask.scope.shape.0,
            policy: ask.scope.policy,
            list: commitment,
            purpose: purpose.map(|purpose| list::purpose_commitment(&salt, purpose)),
            order,
        });
        let bytes = encode(&body)?;
        debug_assert!(bytes.len() <= EXPOSURE_BYTES_MAX);
        Ok((client, body, bytes, sealed))
    }

    /// What the charge did to a client's budgets; where it charged nothing, what they hold.
    fn effects(
        &self,
        ask: &Ask,
        client: ClientId,
        outcomes: &Outcomes,
        minute: u64,
    ) -> ClientEffects {
        let found = outcomes
            .effects
            .iter()
            .find(|effects| effects.client == client);
        found.copied().unwrap_or_else(|| {
            let totals = self.budgets.totals(ask.who.actor, client, minute);
            let only = |windows| Effects {
                windows,
                ..Effects::default()
            };
            ClientEffects {
                client,
                subjects: only(totals.subjects),
                probes: only(totals.probes),
                masked: only(totals.masked),
            }
        })
    }
}

/// Probes of a record that found nobody, where its rows do not tell: those of a search that showed
/// nothing though it found somebody found him.
fn missed(ask: &Ask, group: &Group) -> Option<u32> {
    match ask.scope.found? {
        false if group.probe_count > 0 => Some(group.probe_count),
        true if group.probe_count > 0 && group.rows == 0 => Some(0),
        _ => None,
    }
}

/// How many subjects an exposure shows: those that were seen before count again, and what a column
/// of free text may hold.
fn released_subjects(exposure: &Exposure) -> u64 {
    exposure.subjects.charged.max(u64::from(exposure.rows))
}

/// How many subjects a record lets out: shown, or in a file for a company medium.
pub(crate) fn let_out(body: &Body) -> u64 {
    match body {
        Body::Exposure(exposure) => released_subjects(exposure),
        Body::TerminalCopy {
            subjects,
            refused: None,
            ..
        } => *subjects,
        _ => 0,
    }
}

/// Units of a grant; it has no windows.
fn granted_effects(charged: u64) -> Effects {
    Effects {
        charged,
        ..Effects::default()
    }
}

/// How many rows a grant with so much left pays for, and with how many units: a row that shows a
/// cell costs one, or its longest free text's weight.
fn rows_within(rows: &[Vec<Charge>], left: u64) -> (usize, u64) {
    let mut units = 0_u64;
    for (place, row) in rows.iter().enumerate() {
        let cost = row
            .iter()
            .map(|charge| u64::from(charge.weight.max(1)))
            .max();
        let after = units.saturating_add(cost.unwrap_or(0));
        if after > left {
            return (place, units);
        }
        units = after;
    }
    (rows.len(), units)
}

/// All that the batch would charge, and what of it budgets pay.
fn charges(ask: &Ask, grant: Option<GrantKind>) -> (Charges, Charges) {
    let (mut all, mut budgets) = (Charges::new(), Charges::new());
    for probe in &ask.probes {
        let put = |to: &mut Charges| {
            to.probe(
                probe.client,
                probe.class,
                probe.fingerprint.0,
                probe.primary,
                probe.as_exposure,
            );
        };
        put(&mut all);
        if grant != Some(GrantKind::Import) {
            put(&mut budgets);
        }
    }
    for row in &ask.rows {
        put_row(&mut all, row);
        if grant != Some(GrantKind::See) {
            put_row(&mut budgets, row);
        }
    }
    (all, budgets)
}

fn put_row(to: &mut Charges, row: &[Charge]) {
    let any_clear = row.iter().any(|charge| charge.outcome == Outcome::Clear);
    for (place, charge) in row.iter().enumerate() {
        to.cell(
            charge.client,
            charge.class,
            charge.outcome,
            charge.fingerprint.0,
            charge.weight,
        );
        let known = |before: &Charge| before.client == charge.client && before.tag == charge.tag;
        if any_clear && !row[..place].iter().any(known) {
            to.row_tag(charge.client, charge.tag);
        }
    }
    to.end_row();
}

/// What was released, client by client.
fn groups(ask: &Ask, all: &Charges, outcomes: &Outcomes) -> BTreeMap<ClientId, Group> {
    let mut groups: BTreeMap<ClientId, Group> = BTreeMap::new();
    if outcomes.probes {
        for item in all.probes() {
            groups.entry(item.client).or_default().probes.push(*item);
        }
        for probe in &ask.probes {
            groups.entry(probe.client).or_default().probe_count += 1;
        }
    }
    for (place, row) in ask.rows.iter().take(outcomes.rows).enumerate() {
        for item in all.row(place) {
            groups.entry(item.client).or_default().items.push(*item);
        }
        // (Client, its first tag, whether another one differs), of the few clients in a row.
        let mut tags: Vec<(ClientId, u64, bool)> = Vec::new();
        for charge in row {
            let group = groups.entry(charge.client).or_default();
            *group
                .classes
                .entry((charge.class, charge.outcome))
                .or_default() += 1;
            match tags
                .iter_mut()
                .find(|(client, ..)| *client == charge.client)
            {
                None => tags.push((charge.client, charge.tag, false)),
                Some((_, tag, _)) if *tag == 0 => *tag = charge.tag,
                Some((_, tag, differ)) => *differ |= charge.tag != 0 && charge.tag != *tag,
            }
        }
        for (client, _, differ) in tags {
            let group = groups.entry(client).or_default();
            group.rows += 1;
            group.row_tags_disagree += u32::from(differ);
        }
    }
    groups
}

/// Takes a record into the budgets; `false` if its list's key was destroyed, and it counted by its
/// effects.
pub(crate) fn replay(
    budgets: &mut Budgets,
    sealer: &dyn ListSealer,
    state: &State,
    meta: &Meta,
    exposure: &Exposure,
    attachment: Option<&[u8]>,
) -> Result<bool, String> {
    let LogId::Client(client) = meta.log else {
        return Err("an exposure stands in the centre's log".into());
    };
    let minute = meta.elapsed_ms / MINUTE_MS;
    let actor = exposure.who.actor;
    let grant = match exposure.who.grant {
        Some(grant) => state.grants.get(&grant).map(|grant| grant.grant.what),
        None => None,
    };
    let month = list::month(meta.wall_ms);
    let opened = attachment.map_or(Err(ListClosed::Destroyed), |attachment| {
        sealer.open_list(client, month, &exposure.list, attachment)
    });
    let plaintext = match opened {
        Ok(plaintext) => plaintext,
        Err(ListClosed::Destroyed) => {
            let entries = by_effects(meta.sequence, exposure, grant);
            let _ = budgets.replay(minute, actor, client, entries);
            return Ok(false);
        }
        Err(ListClosed::Failed(why)) => {
            return Err(format!("the list of client {client} does not open: {why}"));
        }
    };
    if list::commitment(plaintext.expose()) != exposure.list {
        return Err(format!(
            "the list of client {client} is not what the record commits to"
        ));
    }
    let list = list::decode(plaintext.expose())
        .ok_or_else(|| format!("the list of client {client} is malformed"))?;
    let probes = list
        .probes
        .into_iter()
        .filter(|_| grant != Some(GrantKind::Import));
    let rows = list
        .rows
        .into_iter()
        .filter(|_| grant != Some(GrantKind::See));
    let _ = budgets.replay(minute, actor, client, probes.chain(rows));
    Ok(true)
}

/// Entries that count what a record whose list is gone may have released: one that nobody else has,
/// of that weight, in every set that it may have counted in.
///
/// Never less than the list would count, now or later. A release of what was seen before charges
/// nothing, but holds it in the windows for longer; so what counts is not what was charged but what
/// was released: at most as many units as cells and probes, or where a free text weighs more, and in
/// any case, what the shortest window held then, since all of it was released just then. A subject
/// that was seen before counts again.
fn by_effects(sequence: u64, exposure: &Exposure, grant: Option<GrantKind>) -> Vec<Entry> {
    let shown = |of: &dyn Fn(&ClassCount) -> bool| -> u64 {
        let classes = exposure.classes.iter().filter(|count| of(count));
        classes.map(|count| u64::from(count.cells)).sum()
    };
    let free_text = |outcome| {
        let of = |count: &ClassCount| count.class == Class::FreeText && count.outcome == outcome;
        shown(&of) > 0
    };
    let units = |effects: &Effects, most: u64, weighs: bool| {
        let held = effects.windows[0];
        let released = if weighs { held } else { held.min(most) };
        u32::try_from(released.max(effects.charged)).unwrap_or(u32::MAX)
    };
    let probed = u64::from(exposure.probes);
    let subjects = match grant {
        // Its effects are the grant's; probes for masked values count as exposures all the same.
        Some(GrantKind::See) => exposure.probes,
        _ => {
            let most = shown(&|_| true).saturating_add(probed);
            units(&exposure.subjects, most, free_text(Outcome::Clear))
        }
    };
    let probes = match grant {
        Some(GrantKind::Import) => 0,
        _ => units(&exposure.probed, probed, false),
    };
    let masked = match grant {
        Some(GrantKind::See) => 0,
        _ => {
            let most = shown(&|count| count.outcome == Outcome::Masked);
            units(&exposure.masked, most, free_text(Outcome::Masked))
        }
    };
    let mut entries = Vec::new();
    if subjects > 0 {
        entries.push((SetKind::RowTag, sequence, subjects));
        let clear = Class::ALL.iter();
        entries.extend(clear.map(|&class| (SetKind::Clear(class), sequence, subjects)));
    }
    if probes > 0 {
        entries.push((SetKind::Probe { primary: true }, sequence, probes));
    }
    if masked > 0 {
        // One set holds masked values of all classes.
        entries.push((SetKind::Masked(Class::FreeText), sequence, masked));
    }
    entries
}
