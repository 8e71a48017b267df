//! The policy itself: its text, checked against the built-in schema, and single decisions.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use event::{ActorId, Class, ClientId, Outcome, Role};

use crate::compare::Reach;
use crate::error::ALLOWED;
use crate::judgement::ClientTable;
use crate::{Masks, PolicyError};

/// The longest Cedar text, in bytes: a record holds at most 65,535.
pub(crate) const CEDAR_BYTES_MAX: usize = 60_000;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let (schema, _) = Schema::from_cedarschema_str(include_str!("schema.cedarschema"))
        .expect("the built-in schema is checked by a test");
    schema
});

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let name = |name: &str| {
        name.parse::<EntityTypeName>()
            .expect("a constant type name")
    };
    Types {
        action: name("Action"),
        actor: name("Actor"),
        role: name("Role"),
        client: name("Client"),
        class: name("Class"),
        sekisho: name("Sekisho"),
    }
});

/// The names of the entity types, parsed once.
struct Types {
    action: EntityTypeName,
    actor: EntityTypeName,
    role: EntityTypeName,
    client: EntityTypeName,
    class: EntityTypeName,
    sekisho: EntityTypeName,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    /// The person.
    pub id: ActorId,
    /// The role that he has now.
    pub role: Role,
    /// The clients that he may touch.
    pub clients: Vec<ClientId>,
}

/// From where and how he asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Circumstances {
    /// The connection is under TLS.
    pub tls: bool,
    /// The connection came over a Unix socket or the loopback interface.
    pub local: bool,
    /// The peer's address without port, `unix` for a Unix socket, a terminal's number where it has
    /// an agent.
    pub terminal: String,
    /// The session gave a purpose.
    pub purpose: bool,
    /// A grant of this actor for the client is in force.
    pub grant: bool,
    /// It comes through an approved terminal that proves that it refuses storage.
    pub healthy: bool,
    /// 0 to 23, the centre's wall clock.
    pub hour: u8,
}

/// What a rule can be about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    SeeClear,
    SeeMasked,
    Search,
    Write,
    Administer,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::SeeClear => "see_clear",
            Self::SeeMasked => "see_masked",
            Self::Search => "search",
            Self::Write => "write",
            Self::Administer => "administer",
        }
    }
}

/// A policy and its masks, checked. Compare by [`Policy::looser_than`].
#[derive(Clone, Debug)]
pub struct Policy {
    cedar: String,
    masks_text: String,
    rules: PolicySet,
    masks: Masks,
    reach: Reach,
}

impl Policy {
    /// Reads a policy (Cedar) and its masks (TOML), and checks both whole.
    pub fn parse(cedar: &str, masks: &str) -> Result<Self, PolicyError> {
        if cedar.len() > CEDAR_BYTES_MAX {
            let problem = format!("the text has {} bytes", cedar.len());
            let allowed = format!("at most {CEDAR_BYTES_MAX} bytes");
            return Err(PolicyError::at(
                "policy",
                cedar,
                CEDAR_BYTES_MAX,
                problem,
                allowed,
            ));
        }
        let rules: PolicySet = cedar.parse().map_err(|errors: cedar_policy::ParseErrors| {
            match errors.iter().next() {
                Some(error) => PolicyError::of_cedar(cedar, error),
                None => PolicyError::at("policy", cedar, 0, errors.to_string(), ALLOWED),
            }
        })?;
        if rules.templates().next().is_some() {
            let byte = cedar
                .find("?principal")
                .or_else(|| cedar.find("?resource"))
                .unwrap_or(0);
            return Err(PolicyError::at(
                "policy",
                cedar,
                byte,
                "is a template",
                ALLOWED,
            ));
        }
        let result = Validator::new(SCHEMA.clone()).validate(&rules, ValidationMode::Strict);
        if let Some(error) = result.validation_errors().next() {
            return Err(PolicyError::of_cedar(cedar, error));
        }
        check_names(cedar, &rules)?;
        Ok(Self {
            cedar: cedar.to_owned(),
            masks_text: masks.to_owned(),
            reach: Reach::of(&rules),
            rules,
            masks: Masks::parse(masks)?,
        })
    }

    /// The Cedar text as it was given.
    pub fn cedar(&self) -> &str {
        &self.cedar
    }

    /// The masks.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// The bytes whose SHA-256 is the policy's digest in records: a version, and both texts, each
    /// after its length.
    pub fn bytes_to_digest(&self) -> Vec<u8> {
        let mut bytes = b"sekisho policy 1\n".to_vec();
        for text in [&self.cedar, &self.masks_text] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// What an actor gets for a class of a client. For rows use a [`crate::Judgement`].
    pub fn outcome(
        &self,
        actor: &Actor,
        client: ClientId,
        class: Class,
        context: &Circumstances,
    ) -> Outcome {
        self.table(actor, client, context).outcome(class)
    }

    /// Whether an actor may have exact cells computed of values he searches for.
    pub fn may_search(
        &self,
        actor: &Actor,
        client: ClientId,
        class: Class,
        context: &Circumstances,
    ) -> bool {
        self.table(actor, client, context).may_search(class)
    }

    /// Whether an actor may have values sealed that he writes.
    pub fn may_write(
        &self,
        actor: &Actor,
        client: ClientId,
        class: Class,
        context: &Circumstances,
    ) -> bool {
        self.table(actor, client, context).may_write(class)
    }

    /// Whether an actor may configure Sekisho. (What loosens needs two approvers besides.)
    pub fn may_administer(&self, actor: &Actor, context: &Circumstances) -> bool {
        match (Question::new(actor, None), cedar_context(context)) {
            (Some(question), Some(context)) => self.administers(&question, &context),
            _ => false,
        }
    }

    /// All decisions about one client. About 30 evaluations: cache it, as [`crate::Judgement`] does.
    pub fn table(&self, actor: &Actor, client: ClientId, context: &Circumstances) -> ClientTable {
        if touches_nothing(actor.role) || !actor.clients.contains(&client) {
            return ClientTable::default();
        }
        match (Question::new(actor, Some(client)), cedar_context(context)) {
            (Some(question), Some(context)) => self.answers(&question, &context),
            _ => ClientTable::default(),
        }
    }

    /// What Cedar says alone: the caller has looked at the role and the list of clients.
    pub(crate) fn answers(&self, question: &Question, context: &Context) -> ClientTable {
        let mut table = ClientTable::default();
        for &class in Class::ALL {
            let resource = uid(&TYPES.class, class.name());
            let allows = |action| self.allows(question, context, action, resource.clone());
            let outcome = if allows(Action::SeeClear) {
                Outcome::Clear
            } else if allows(Action::SeeMasked) {
                Outcome::Masked
            } else {
                Outcome::Sealed
            };
            table.set(
                class,
                outcome,
                allows(Action::Search),
                allows(Action::Write),
            );
        }
        table
    }

    pub(crate) fn administers(&self, question: &Question, context: &Context) -> bool {
        let resource = uid(&TYPES.sekisho, "sekisho");
        self.allows(question, context, Action::Administer, resource)
    }

    /// Whether a table of one client holds for every other in the actor's list.
    pub(crate) fn treats_clients_alike(&self) -> bool {
        !self.reach.beyond_table
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    pub(crate) fn rules(&self) -> &PolicySet {
        &self.rules
    }

    fn allows(
        &self,
        question: &Question,
        context: &Context,
        action: Action,
        resource: EntityUid,
    ) -> bool {
        let action = uid(&TYPES.action, action.name());
        let principal = question.principal.clone();
        let request = Request::new(principal, action, resource, context.clone(), None);
        let Ok(request) = request else {
            return false;
        };
        let answer = Authorizer::new().is_authorized(&request, &self.rules, &question.entities);
        // Cedar skips a rule that fails to evaluate. Were it a forbid, the rest would permit.
        answer.decision() == Decision::Allow && answer.diagnostics().errors().next().is_none()
    }
}

/// Roles that move cells or sign, and open none, whatever a policy says.
pub(crate) fn touches_nothing(role: Role) -> bool {
    matches!(
        role,
        Role::Maintainer | Role::Administrator | Role::Approver
    )
}

/// Who asks about which client: the part of a request that circumstances do not change.
pub(crate) struct Question {
    principal: EntityUid,
    entities: Entities,
}

impl Question {
    /// `None` if Cedar does not take it: nothing is permitted then.
    pub(crate) fn new(actor: &Actor, client: Option<ClientId>) -> Option<Self> {
        let principal = uid(&TYPES.actor, &actor.id.to_string());
        let role = uid(&TYPES.role, actor.role.name());
        let client_uid = |client: ClientId| uid(&TYPES.client, &client.to_string());
        let clients = actor.clients.iter().map(|&client| client_uid(client));
        let clients =
            RestrictedExpression::new_set(clients.map(RestrictedExpression::new_entity_uid));
        let person = Entity::new(
            principal.clone(),
            HashMap::from([("clients".to_owned(), clients)]),
            HashSet::from([role]),
        );
        let mut entities = vec![person.ok()?];
        if let Some(client) = client {
            let parents = HashSet::from([client_uid(client)]);
            entities.extend(Class::ALL.iter().map(|class| {
                Entity::new_no_attrs(uid(&TYPES.class, class.name()), parents.clone())
            }));
        }
        Some(Self {
            principal,
            entities: Entities::from_entities(entities, None).ok()?,
        })
    }
}

/// The circumstances as Cedar takes them; `None` if it does not: nothing is permitted then.
pub(crate) fn cedar_context(context: &Circumstances) -> Option<Context> {
    let flag = RestrictedExpression::new_bool;
    let terminal = RestrictedExpression::new_string(context.terminal.clone());
    let hour = RestrictedExpression::new_long(context.hour.into());
    Context::from_pairs([
        ("tls".to_owned(), flag(context.tls)),
        ("local".to_owned(), flag(context.local)),
        ("terminal".to_owned(), terminal),
        ("purpose".to_owned(), flag(context.purpose)),
        ("grant".to_owned(), flag(context.grant)),
        ("healthy".to_owned(), flag(context.healthy)),
        ("hour".to_owned(), hour),
    ])
    .ok()
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// Names of entities that do not exist would be rules that never match: refused.
fn check_names(cedar: &str, rules: &PolicySet) -> Result<(), PolicyError> {
    let names = |all: &[&str]| all.join(", ");
    for literal in rules
        .policies()
        .flat_map(cedar_policy::Policy::entity_literals)
    {
        let id = literal.id().unescaped();
        let kind = literal.type_name().basename();
        let (known, allowed) = match kind {
            "Role" => (
                id.parse::<Role>().is_ok(),
                names(&Role::ALL.iter().map(|role| role.name()).collect::<Vec<_>>()),
            ),
            "Class" => (
                id.parse::<Class>().is_ok(),
                names(
                    &Class::ALL
                        .iter()
                        .map(|class| class.name())
                        .collect::<Vec<_>>(),
                ),
            ),
            "Client" => (
                id.parse()
                    .ok()
                    .and_then(ClientId::new)
                    .is_some_and(|c| c.to_string() == id),
                format!("a client's number, 1 to {}", ClientId::MAX),
            ),
            "Actor" => (
                id.parse::<u32>()
                    .is_ok_and(|number| number.to_string() == id),
                "an actor's number".to_owned(),
            ),
            "Sekisho" => (id == "sekisho", "sekisho".to_owned()),
            _ => continue,
        };
        if !known {
            let byte = cedar.find(&literal.to_string()).unwrap_or(0);
            let problem = format!("there is no {literal}");
            return Err(PolicyError::at("policy", cedar, byte, problem, allowed));
        }
    }
    Ok(())
}
