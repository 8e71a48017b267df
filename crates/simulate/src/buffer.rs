//! A day's records before they are put in order.

use event::{ClientId, GrantId, Role, SessionId};
use watch::{Exposure, Order, What};

use crate::people::Person;
use crate::random::Rng;

/// What will be a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) at_ms: u64,
    pub(crate) what: What<'static>,
    /// Seat and place of the client, for exposures.
    pub(crate) seat: u32,
    pub(crate) client: u16,
    /// Its subjects: from, and how many.
    pub(crate) subjects: (u32, u32),
    pub(crate) stolen: Stolen,
}

/// Whether a thief took what was shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stolen {
    No,
    Yes,
    /// And no record of it is left, but the place it had in the numbering.
    Erased,
    /// And it never was a record.
    Unrecorded,
}

/// Who looks, from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desk {
    pub(crate) seat: u32,
    pub(crate) actor: event::ActorId,
    pub(crate) role: Role,
    pub(crate) session: SessionId,
    pub(crate) grant: Option<GrantId>,
    pub(crate) stolen: Stolen,
}

/// How something is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// One value searched for.
    Search,
    /// A list on the screen, or a whole table.
    List,
    /// Values searched for in sequence.
    Sequence,
}

/// A day's records, in no order.
#[derive(Default, Debug)]
pub(crate) struct Buffer {
    pub(crate) items: Vec<Item>,
    pub(crate) subjects: Vec<u32>,
}

impl Buffer {
    /// A record that is no exposure.
    pub(crate) fn push(&mut self, at_ms: u64, what: What<'static>) {
        self.items.push(Item {
            at_ms,
            what,
            seat: u32::MAX,
            client: u16::MAX,
            subjects: (0, 0),
            stolen: Stolen::No,
        });
    }

    /// Subjects of one client are shown by one statement; `probes` values were searched for.
    pub(crate) fn look(
        &mut self,
        at_ms: u64,
        desk: &Desk,
        (place, client): (u16, ClientId),
        (way, probes): (Way, u32),
        subjects: &[u32],
        rng: &mut Rng,
    ) {
        let shown = subjects.len() as u32;
        let from = self.subjects.len() as u32;
        self.subjects.extend_from_slice(subjects);
        self.items.push(Item {
            at_ms,
            what: What::Exposure(Exposure {
                actor: desk.actor,
                role: desk.role,
                session: Some(desk.session),
                client,
                grant: desk.grant,
                rows: shown,
                subjects: shown,
                new: None,
                masked: 0,
                probes,
                missed: Some(probes.saturating_sub(shown)),
                order: order(way, probes, rng),
                shape: 0x5ea0 + way as u64,
                keys: &[],
            }),
            seat: desk.seat,
            client: place,
            subjects: (from, shown),
            stolen: desk.stolen,
        });
    }
}

/// By chance half go up, and one of 2,000 lies next to one before it (a household, a retry).
fn order(way: Way, probes: u32, rng: &mut Rng) -> Order {
    match way {
        Way::Sequence => Order {
            pairs: probes.max(1),
            ascending: probes.max(1),
            near: probes.max(1),
        },
        Way::Search | Way::List => {
            let chance = rng.next();
            Order {
                pairs: 1,
                ascending: (chance & 1) as u32,
                near: u32::from((chance >> 1).is_multiple_of(2000)),
            }
        }
    }
}

impl Desk {
    pub(crate) fn new(seat: u32, role: Role, person: &Person, session: SessionId) -> Self {
        Self {
            seat,
            actor: person.actor,
            role,
            session,
            grant: None,
            stolen: Stolen::No,
        }
    }

    pub(crate) fn under(self, grant: GrantId) -> Self {
        Self {
            grant: Some(grant),
            ..self
        }
    }

    pub(crate) fn stealing(self, stolen: Stolen) -> Self {
        Self { stolen, ..self }
    }
}
