//! What a session looks up for each row: decisions made once, in a few bytes a client.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Class, ClientId, Outcome};

use crate::{Actor, Circumstances, Policy};

/// All decisions about one client for one actor: a nibble a class. The default permits nothing:
/// sealed, no search, no write.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct ClientTable(u32);

const CLEAR: u32 = 0b0001;
const MASKED: u32 = 0b0010;
const SEARCH: u32 = 0b0100;
const WRITE: u32 = 0b1000;

impl ClientTable {
    /// What is released of a class: clear, masked or sealed.
    pub fn outcome(self, class: Class) -> Outcome {
        match self.bits(class) & (CLEAR | MASKED) {
            CLEAR => Outcome::Clear,
            MASKED => Outcome::Masked,
            _ => Outcome::Sealed,
        }
    }

    /// Whether values of a class may be probed in a search.
    pub fn may_search(self, class: Class) -> bool {
        self.bits(class) & SEARCH != 0
    }

    /// Whether values of a class may be sealed on the way in.
    pub fn may_write(self, class: Class) -> bool {
        self.bits(class) & WRITE != 0
    }

    /// Whether it permits nothing at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether any class is more open here than there.
    pub(crate) fn looser_than(self, other: Self) -> bool {
        Class::ALL.iter().any(|&class| {
            self.outcome(class) > other.outcome(class)
                || self.may_search(class) && !other.may_search(class)
                || self.may_write(class) && !other.may_write(class)
        })
    }

    pub(crate) fn set(&mut self, class: Class, outcome: Outcome, search: bool, write: bool) {
        let mut bits = match outcome {
            Outcome::Clear => CLEAR,
            Outcome::Masked => MASKED,
            Outcome::Sealed | Outcome::Refused => 0,
        };
        bits |= if search { SEARCH } else { 0 } | if write { WRITE } else { 0 };
        self.0 &= !(0b1111 << shift(class));
        self.0 |= bits << shift(class);
    }

    fn bits(self, class: Class) -> u32 {
        self.0 >> shift(class) & 0b1111
    }
}

fn shift(class: Class) -> u32 {
    4 * (u32::from(class.code()) - 1)
}

/// The decisions of a session, evaluated when a client first comes up. Made anew when the policy,
/// the actor or the circumstances change; it never changes by itself.
#[derive(Clone, Debug)]
pub struct Judgement {
    policy: Arc<Policy>,
    actor: Actor,
    context: Circumstances,
    /// Clients with a grant in force; `context.grant` holds for these alone.
    granted: Vec<ClientId>,
    tables: BTreeMap<ClientId, ClientTable>,
    /// By whether there is a grant: where all clients of the list are treated alike.
    shared: [Option<ClientTable>; 2],
}

impl Judgement {
    /// For an actor in his circumstances. `granted`: the clients for which a grant of his is in
    /// force; `context.grant` is set for each client accordingly, its own value is not used.
    pub fn new(
        policy: Arc<Policy>,
        actor: Actor,
        context: Circumstances,
        granted: Vec<ClientId>,
    ) -> Self {
        Self {
            policy,
            actor,
            context,
            granted,
            tables: BTreeMap::new(),
            shared: [None; 2],
        }
    }

    /// The decisions about a client; for one outside the actor's list, none.
    pub fn client(&mut self, client: ClientId) -> ClientTable {
        if !self.actor.clients.contains(&client) {
            return ClientTable::default();
        }
        let grant = self.granted.contains(&client);
        let known = if self.policy.treats_clients_alike() {
            self.shared[usize::from(grant)]
        } else {
            self.tables.get(&client).copied()
        };
        known.unwrap_or_else(|| {
            self.context.grant = grant;
            let table = self.policy.table(&self.actor, client, &self.context);
            if self.policy.treats_clients_alike() {
                self.shared[usize::from(grant)] = Some(table);
            } else {
                self.tables.insert(client, table);
            }
            table
        })
    }

    /// The policy that it was made of.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The actor that it is about.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}
