//! Whether a policy is looser than another: by the finite table of role x class x action x
//! circumstances.
//!
//! The table samples actor and client by one of each, and no terminal. Rules that tell actors,
//! clients or terminals apart cannot be shown in it: if either policy has one, any change of the
//! rules counts as looser. So the answer errs only towards two signatures.

use cedar_policy::PolicySet;
use event::{ActorId, ClientId, Role};
use serde_json::Value;

use crate::engine::{Question, cedar_context, touches_nothing};
use crate::{Actor, Circumstances, Policy};

/// What the rules of a policy speak of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reach {
    /// They tell actors, clients or terminals apart.
    pub(crate) beyond_table: bool,
    /// They tell hours apart.
    pub(crate) hours: bool,
}

impl Reach {
    pub(crate) fn of(rules: &PolicySet) -> Self {
        let mut reach = Self {
            beyond_table: false,
            hours: false,
        };
        for rule in rules.policies() {
            let literals = rule.entity_literals();
            let mut types = literals
                .iter()
                .map(|literal| literal.type_name().basename());
            reach.beyond_table |= types.any(|name| !TABLE_TYPES.contains(&name));
            match rule.to_json() {
                Ok(json) => reach.look(&json),
                Err(_) => reach.beyond_table = true,
            }
        }
        reach
    }

    /// Looks for attributes that are read. Whatever reads the context or an entity other than by
    /// one of the known attributes is beyond the table.
    fn look(&mut self, json: &Value) {
        match json {
            Value::Object(object) => {
                for (key, value) in object {
                    match (key.as_str(), value) {
                        ("." | "has", Value::Object(access)) => self.access(access),
                        ("Var", Value::String(name)) if name == "context" => {
                            self.beyond_table = true;
                        }
                        _ => self.look(value),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.look(value)),
            _ => {}
        }
    }

    fn access(&mut self, access: &serde_json::Map<String, Value>) {
        let is_context = access
            .get("left")
            .and_then(|left| left.get("Var"))
            .is_some_and(|v| v == "context");
        let attribute = access.get("attr").and_then(Value::as_str);
        match (is_context, attribute) {
            (true, Some("tls" | "local" | "purpose" | "grant" | "healthy")) => {}
            (true, Some("hour")) => self.hours = true,
            _ => self.beyond_table = true,
        }
    }
}

/// Entity types whose every member is in the table.
const TABLE_TYPES: [&str; 4] = ["Action", "Role", "Class", "Sekisho"];

impl Policy {
    /// Whether anything is more open here than in `other`, masks included. What cannot be decided
    /// counts as looser.
    pub fn looser_than(&self, other: &Self) -> bool {
        if self.masks().looser_than(other.masks()) {
            return true;
        }
        if self.rules() == other.rules() {
            return false;
        }
        if self.reach().beyond_table || other.reach().beyond_table {
            return true;
        }
        let hours = if self.reach().hours || other.reach().hours {
            24
        } else {
            1
        };
        Role::ALL
            .iter()
            .any(|&role| self.looser_for(other, role, hours))
    }

    fn looser_for(&self, other: &Self, role: Role, hours: u8) -> bool {
        let Some(client) = ClientId::new(1) else {
            return true;
        };
        let actor = Actor {
            id: ActorId(1),
            role,
            clients: vec![client],
        };
        let Some(question) = Question::new(&actor, Some(client)) else {
            return true;
        };
        circumstances(hours).any(|context| {
            let Some(context) = cedar_context(&context) else {
                return true;
            };
            let administers = |policy: &Self| policy.administers(&question, &context);
            let answers = |policy: &Self| policy.answers(&question, &context);
            administers(self) && !administers(other)
                || !touches_nothing(role) && answers(self).looser_than(answers(other))
        })
    }
}

/// All combinations of (tls, local, purpose, grant, healthy, hour).
fn circumstances(hours: u8) -> impl Iterator<Item = Circumstances> {
    (0..hours).flat_map(|hour| {
        (0..32u8).map(move |bits| Circumstances {
            tls: bits & 1 != 0,
            local: bits & 2 != 0,
            terminal: String::new(),
            purpose: bits & 4 != 0,
            grant: bits & 8 != 0,
            healthy: bits & 16 != 0,
            hour,
        })
    })
}
