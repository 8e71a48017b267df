//! What stands for the numbers in findings.

use event::{ActorId, ClientId};
use ledger::State;
use watch::TerminalId;
use watch::words::Names;

use super::adapt::Adapter;
use crate::commands::describe::{client_name, login};

/// Names of a ledger.
pub struct OfLedger<'a> {
    /// The state, as of what is told.
    pub state: &'a State,
    /// What saw the terminals.
    pub adapter: &'a Adapter,
    /// Minutes that the place's clocks are ahead of UTC.
    pub offset_minutes: i32,
}

impl Names for OfLedger<'_> {
    fn actor(&self, actor: ActorId) -> String {
        login(self.state, actor)
    }

    fn client(&self, client: ClientId) -> String {
        client_name(self.state, client)
    }

    fn terminal(&self, terminal: TerminalId) -> String {
        let address = self.adapter.terminal(terminal);
        address.map_or_else(|| terminal.0.to_string(), str::to_owned)
    }

    fn offset_minutes(&self) -> i32 {
        self.offset_minutes
    }
}

/// Names of imported records.
pub struct OfImport<'a> {
    /// The names that were read.
    pub names: &'a intake::Names,
    /// Minutes that the place's clocks are ahead of UTC.
    pub offset_minutes: i32,
}

impl Names for OfImport<'_> {
    fn actor(&self, actor: ActorId) -> String {
        self.names.actor_name(actor).into_owned()
    }

    fn client(&self, client: ClientId) -> String {
        self.names.client_name(client).into_owned()
    }

    fn terminal(&self, terminal: TerminalId) -> String {
        self.names.terminal_name(terminal).into_owned()
    }

    fn offset_minutes(&self) -> i32 {
        self.offset_minutes
    }
}
