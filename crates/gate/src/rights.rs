//! What this session may do: scope, purpose, grant, and the decisions of the policy for them.
//!
//! Decided when a session's context or what is in force changes, never per row; a row looks its
//! decision up here. Invariant: `generation` is the ledger's at the time the decisions were made,
//! and goes into every append, which fails if something came into force since.

use std::collections::HashMap;
use std::sync::Arc;

use event::record::{RefusalReason as Reason, Who};
use event::{ActorId, Class, ClientId, Digest, GrantId, Outcome, Plain, Role};
use ledger::StatementScope;
use ledger::terminals::Standing;
use policy::{Circumstances, ClientTable, Judgement};
use seal::ClientKeys;

use crate::engine::Person;
use crate::errors::GateError;
use crate::order::Sequence;
use crate::rules::Rules;
use crate::shared::Shared;

/// The clients that a session touches, ascending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Scope(Arc<[ClientId]>);

impl Scope {
    pub(crate) fn new(mut clients: Vec<ClientId>) -> Self {
        clients.sort_unstable();
        clients.dedup();
        Self(clients.into())
    }

    pub(crate) fn clients(&self) -> &[ClientId] {
        &self.0
    }

    pub(crate) fn holds(&self, client: ClientId) -> bool {
        self.0.binary_search(&client).is_ok()
    }
}

/// One client, decided.
struct Decided {
    table: ClientTable,
    keys: Option<Arc<ClientKeys>>,
}

/// The rights of one session.
pub(crate) struct Rights {
    shared: Arc<Shared>,
    actor: ActorId,
    role: Role,
    /// All clients of the actor, as the state in force has them.
    clients: Vec<ClientId>,
    active: bool,
    /// Whether the database has a pin.
    pinned: bool,
    scope: Scope,
    purpose: Option<Arc<Plain<String>>>,
    /// When it was set, ms since the Unix epoch.
    purpose_ms: u64,
    grant: Option<GrantId>,
    tls: bool,
    terminal: String,
    terminal_id: Option<Digest>,
    passed_on: bool,
    /// The epoch of the terminal at the time of the decisions.
    terminal_epoch: Option<u64>,
    rules: Arc<Rules>,
    generation: u64,
    /// The hour of the decisions, 0 to 23.
    hour: u8,
    judgement: Option<Judgement>,
    decided: HashMap<ClientId, Decided>,
    /// How what was shown and searched for lies to what was before.
    sequence: Sequence,
}

impl Rights {
    pub(crate) fn new(shared: Arc<Shared>, person: &Person) -> Result<Self, GateError> {
        let rules = shared.rules();
        let mut rights = Self {
            actor: person.actor,
            role: person.role,
            clients: Vec::new(),
            active: true,
            pinned: false,
            scope: Scope::new(Vec::new()),
            purpose: None,
            purpose_ms: 0,
            grant: None,
            tls: person.tls,
            terminal: person.terminal.clone(),
            terminal_id: person.terminal_id,
            passed_on: person.passed_on,
            terminal_epoch: None,
            generation: 0,
            hour: 0,
            judgement: None,
            decided: HashMap::new(),
            sequence: Sequence::default(),
            rules,
            shared,
        };
        rights.decide()?;
        rights.scope = Scope::new(rights.clients.clone());
        Ok(rights)
    }

    /// Decides anew if something came into force, or the context changed. Called at the beginning
    /// of each sealed statement.
    pub(crate) fn refresh(&mut self) -> Result<(), GateError> {
        if self.judgement.is_none()
            || self.generation != self.shared.recorder.generation()
            || self.hour != self.shared.hour()
            || self.terminal_epoch != self.epoch_now()
        {
            self.decide()?;
        }
        if self.active {
            return Ok(());
        }
        Err(
            GateError::new("42501", "this account or terminal may not be used any more")
                .hint("Ask the security team.")
                .because(Reason::Revoked),
        )
    }

    /// A session that an agent passes on ends with its terminal.
    fn is_of_a_terminal(&self, state: &ledger::State) -> bool {
        let standing = self.terminal_id.and_then(|of| state.terminals.all.get(&of));
        !self.passed_on || standing.is_some_and(|it| it.standing == Standing::Approved)
    }

    /// What decisions for the session's terminal rest on; looked at for sessions of one only.
    fn epoch_now(&self) -> Option<u64> {
        let terminal = self.terminal_id?;
        self.shared.recorder.state().terminals.epoch(&terminal)
    }

    fn decide(&mut self) -> Result<(), GateError> {
        self.decided.clear();
        // The generation is read first: what comes into force meanwhile makes the append fail.
        self.generation = self.shared.recorder.generation();
        self.hour = self.shared.hour();
        let state = self.shared.recorder.state();
        self.rules = self.shared.rules();
        let actor = state.actors.get(&self.actor);
        self.active = actor.is_some_and(|actor| actor.active && actor.role == self.role)
            && self.is_of_a_terminal(&state);
        let terminals = &state.terminals;
        if !self.passed_on {
            // Another machine may have the address now.
            self.terminal_id = terminals.at_address(&self.terminal);
        }
        self.terminal_epoch = self.terminal_id.and_then(|it| terminals.epoch(&it));
        let healthy = self.terminal_id.is_some_and(|it| terminals.is_healthy(&it));
        self.clients = actor.map(|actor| actor.clients.clone()).unwrap_or_default();
        let granted = state
            .grants
            .values()
            .filter(|grant| {
                !grant.ended
                    && grant.grant.actor == self.actor
                    && Some(grant.grant.grant) == self.grant
            })
            .map(|grant| grant.grant.client)
            .collect();
        let actor = policy::Actor {
            id: self.actor,
            role: self.role,
            clients: self.clients.clone(),
        };
        let circumstances = Circumstances {
            tls: self.tls,
            local: crate::shared::is_local(&self.terminal),
            terminal: self.terminal.clone(),
            purpose: self.purpose.is_some(),
            grant: false,
            healthy,
            hour: self.hour,
        };
        let policy = Arc::clone(&self.rules.policy);
        self.judgement = Some(Judgement::new(policy, actor, circumstances, granted));
        Ok(())
    }

    fn decided(&mut self, client: ClientId) -> &mut Decided {
        let judgement = &mut self.judgement;
        let in_scope = self.scope.holds(client) && self.active && self.pinned;
        self.decided.entry(client).or_insert_with(|| {
            let table = match judgement {
                Some(judgement) if in_scope => judgement.client(client),
                _ => ClientTable::default(),
            };
            Decided { table, keys: None }
        })
    }

    /// What the actor gets for a class of a client.
    pub(crate) fn outcome(&mut self, client: ClientId, class: Class) -> Outcome {
        self.decided(client).table.outcome(class)
    }

    /// Whether a value may be probed (`search`) or sealed.
    pub(crate) fn may(&mut self, client: ClientId, class: Class, search: bool) -> bool {
        let table = self.decided(client).table;
        if search {
            table.may_search(class)
        } else {
            table.may_write(class)
        }
    }

    /// The same as an error.
    pub(crate) fn demand(
        &mut self,
        client: ClientId,
        class: Class,
        search: bool,
        column: &str,
    ) -> Result<(), GateError> {
        if self.may(client, class, search) {
            return Ok(());
        }
        if !self.pinned {
            return Err(GateError::new(
                "42501",
                format!("this database has no pin: column {column} takes only cells"),
            )
            .hint("`sekisho seal` pins a database's sealed tables, with two approvals.")
            .because(Reason::Pin)
            .about(client));
        }
        if self.moves_cells() {
            return Err(self.only_cells(column, class).about(client));
        }
        let role = self.role;
        let (what, hint) = match (search, self.role) {
            (true, _) => (
                "search by",
                "Search by an unsealed column, or ask for the right.",
            ),
            (false, _) => ("write", "Ask for the right, or for an import grant."),
        };
        Err(GateError::new(
            "42501",
            format!("role {role} may not {what}: column {column} (class {class}), client {client}"),
        )
        .hint(hint)
        .because(Reason::Policy)
        .about(client))
    }

    /// A role that moves cells handed in something else.
    pub(crate) fn only_cells(&self, column: &str, class: Class) -> GateError {
        GateError::new(
            "42501",
            format!(
                "role {} may not probe or seal values: column {column} (class {class})",
                self.role
            ),
        )
        .hint("A maintainer moves cells: hand in whole cells, or search by unsealed columns.")
        .because(Reason::Policy)
    }

    /// Whether there is nothing that this session could get opened.
    pub(crate) fn opens_nothing(&self) -> bool {
        !self.pinned || self.scope.clients().is_empty() || self.moves_cells()
    }

    pub(crate) fn set_pinned(&mut self, pinned: bool) {
        if self.pinned != pinned {
            self.pinned = pinned;
            self.judgement = None;
        }
    }

    /// Whether the role moves cells and opens none.
    pub(crate) fn moves_cells(&self) -> bool {
        self.role == Role::Maintainer
    }

    /// The keys of a client in scope.
    pub(crate) fn keys(&mut self, client: ClientId) -> Result<Arc<ClientKeys>, GateError> {
        if !self.scope.holds(client) {
            return Err(GateError::new(
                "42501",
                format!("client {client} is not in the session's scope"),
            )
            .because(Reason::Policy)
            .about(client));
        }
        self.keys_of_any(client)
    }

    /// The keys of any client, to verify a cell that is moved.
    pub(crate) fn keys_of_any(&mut self, client: ClientId) -> Result<Arc<ClientKeys>, GateError> {
        if let Some(keys) = &self.decided(client).keys {
            return Ok(Arc::clone(keys));
        }
        let keys = self.shared.keyring.client(client).map_err(|error| {
            GateError::new(
                "58000",
                format!("the key of client {client} cannot be used: {error}"),
            )
            .hint("`sekisho doctor` names the file.")
            .because(Reason::Key)
            .about(client)
        })?;
        self.decided(client).keys = Some(Arc::clone(&keys));
        Ok(keys)
    }

    pub(crate) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// All clients that the actor may have in scope.
    pub(crate) fn clients(&self) -> &[ClientId] {
        &self.clients
    }

    pub(crate) fn set_scope(&mut self, scope: Scope) {
        self.scope = scope;
        self.judgement = None;
    }

    pub(crate) fn set_purpose(&mut self, purpose: Option<Arc<Plain<String>>>) {
        self.purpose = purpose;
        self.purpose_ms = self.shared.now_ms();
        self.judgement = None;
    }

    pub(crate) fn set_grant(&mut self, grant: Option<GrantId>) {
        self.grant = grant;
        self.judgement = None;
    }

    pub(crate) fn who(&self, person: &Person) -> Who {
        Who {
            actor: person.actor,
            role: person.role,
            session: person.session,
            grant: self.grant,
        }
    }

    /// Where values are noted as they are shown or searched for.
    pub(crate) fn sequence(&mut self) -> &mut Sequence {
        &mut self.sequence
    }

    pub(crate) fn statement_scope(&mut self, shape: &Arc<(Digest, String)>) -> StatementScope {
        StatementScope {
            order: self.sequence.take(),
            found: None,
            shape: Arc::clone(shape),
            purpose: self.purpose.clone(),
            purpose_ms: self.purpose_ms,
            policy: self.rules.digest,
            generation: self.generation,
            terminal: self.terminal_id.zip(self.terminal_epoch),
        }
    }
}
