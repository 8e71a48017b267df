//! Cases in records: what a finding says.

use crate::{ActorId, ClientId};

/// A finding of a detector, as it stands in a record. Its numbers: `watch::numbers`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaseFinding {
    /// The detector's code.
    pub detector: u8,
    /// About whom; `None`: about no actor.
    pub actor: Option<ActorId>,
    /// Others whom it concerns, ascending.
    pub others: Vec<ActorId>,
    /// About which client; `None`: about several, or none.
    pub client: Option<ClientId>,
    /// How surprising it is, in 1/256 bits.
    pub bits: u32,
    /// Version of the meaning of `numbers`.
    pub version: u8,
    /// The finding's numbers, as its detector means them.
    pub numbers: Vec<u64>,
    /// The record at which it was said: in the centre's log its sequence, in a client's log its index
    /// there; `None`: it stands in another log.
    pub cause: Option<u64>,
    /// That record's time, ms since the Unix epoch.
    pub at_ms: u64,
    /// Records that it rests on, ascending, counted as `cause` is; those of other logs are left out.
    pub rests_on: Vec<u64>,
    /// What the detector counts, by day, up to the finding's.
    pub days: Vec<u32>,
}
