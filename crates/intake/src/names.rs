//! Names to numbers and back: people, clients, grants, terminals.
//!
//! A whole number keeps itself where it can, so that files with numbers and records written from a
//! ledger mean the same; a text gets the lowest number that is free when it first appears. So the same
//! files give the same numbers.

use std::borrow::Cow;
use std::collections::HashMap;

use event::{ActorId, ClientId, GrantId, Role, SessionId};
use watch::TerminalId;

use crate::key;
use crate::summary::Reason;

/// Most different names of a sort.
pub const NAMES_MAX: usize = 1_000_000;
/// Longest name, bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// A name as it stands in a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name<'a> {
    /// A whole number, or a text of its digits.
    Number(u64),
    /// Any other text.
    Text(&'a str),
}

impl<'a> Name<'a> {
    /// A text as a name; `None`: it is empty or too long.
    pub fn of(text: &'a str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return None;
        }
        let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'));
        let number = canonical.then(|| text.parse().ok()).flatten();
        Some(number.map_or(Self::Text(text), Self::Number))
    }
}

/// One sort of names.
#[derive(Debug)]
struct Interner {
    field: &'static str,
    /// The greatest number.
    max: u32,
    texts: HashMap<Box<str>, u32>,
    /// Numbers that could not keep themselves.
    moved: HashMap<u64, u32>,
    /// What stands for each number that was given; `None`: itself.
    given: HashMap<u32, Option<Box<str>>>,
    /// No number below it is free.
    free: u32,
}

impl Interner {
    fn new(field: &'static str, max: u32) -> Self {
        Self {
            field,
            max,
            texts: HashMap::new(),
            moved: HashMap::new(),
            given: HashMap::new(),
            free: 1,
        }
    }

    fn number(&mut self, name: Name<'_>) -> Result<u32, Reason> {
        match name {
            Name::Text(text) => {
                if let Some(number) = self.texts.get(text) {
                    return Ok(*number);
                }
                let number = self.fresh(text)?;
                self.texts.insert(text.into(), number);
                Ok(number)
            }
            Name::Number(wanted) => {
                let own = u32::try_from(wanted)
                    .ok()
                    .filter(|own| (1..=self.max).contains(own));
                match own.map(|own| (own, self.given.get(&own))) {
                    Some((own, Some(None))) => Ok(own),
                    Some((own, None)) => {
                        self.has_room()?;
                        self.given.insert(own, None);
                        Ok(own)
                    }
                    _ => {
                        if let Some(number) = self.moved.get(&wanted) {
                            return Ok(*number);
                        }
                        let number = self.fresh(&wanted.to_string())?;
                        self.moved.insert(wanted, number);
                        Ok(number)
                    }
                }
            }
        }
    }

    fn has_room(&self) -> Result<(), Reason> {
        if self.given.len() >= NAMES_MAX {
            return Err(Reason::TooManyNames(self.field));
        }
        Ok(())
    }

    /// The lowest free number, for a name.
    fn fresh(&mut self, name: &str) -> Result<u32, Reason> {
        self.has_room()?;
        while self.given.contains_key(&self.free) {
            self.free += 1;
        }
        self.given.insert(self.free, Some(name.into()));
        Ok(self.free)
    }

    fn name(&self, number: u32) -> Cow<'_, str> {
        match self.given.get(&number) {
            Some(Some(name)) => Cow::Borrowed(name),
            _ => Cow::Owned(number.to_string()),
        }
    }
}

/// The names of all sources that are read together.
#[derive(Debug)]
pub struct Names {
    actors: Interner,
    clients: Interner,
    grants: Interner,
    /// Names of terminals whose numbers are hashes; at most [`NAMES_MAX`].
    terminals: HashMap<u64, Box<str>>,
    /// The role that each actor's last record gave.
    roles: HashMap<ActorId, Role>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            actors: Interner::new("actor", u32::MAX),
            clients: Interner::new("client", ClientId::MAX),
            grants: Interner::new("grant", u32::MAX),
            terminals: HashMap::new(),
            roles: HashMap::new(),
        }
    }
}

impl Names {
    /// The number of an actor.
    ///
    /// # Errors
    /// [`Reason::TooManyNames`].
    pub fn actor(&mut self, name: Name<'_>) -> Result<ActorId, Reason> {
        self.actors.number(name).map(ActorId)
    }

    /// The number of a client.
    ///
    /// # Errors
    /// [`Reason::TooManyNames`].
    pub fn client(&mut self, name: Name<'_>) -> Result<ClientId, Reason> {
        let number = self.clients.number(name)?;
        ClientId::new(number).ok_or(Reason::TooManyNames("client"))
    }

    /// The number of a grant.
    ///
    /// # Errors
    /// [`Reason::TooManyNames`].
    pub fn grant(&mut self, name: Name<'_>) -> Result<GrantId, Reason> {
        self.grants.number(name).map(GrantId)
    }

    /// A terminal: a number stands for itself, a text is hashed.
    pub fn terminal(&mut self, name: Name<'_>) -> TerminalId {
        match name {
            Name::Number(number) => TerminalId(number),
            Name::Text(text) => {
                let hash = key::of_text(text);
                if self.terminals.len() < NAMES_MAX {
                    self.terminals.entry(hash).or_insert_with(|| text.into());
                }
                TerminalId(hash)
            }
        }
    }

    /// A session: a number stands for itself, a text is hashed.
    pub fn session(&self, name: Name<'_>) -> SessionId {
        SessionId(match name {
            Name::Number(number) => number,
            Name::Text(text) => key::of_text(text),
        })
    }

    /// What stands for an actor; the number itself if nothing else.
    pub fn actor_name(&self, actor: ActorId) -> Cow<'_, str> {
        self.actors.name(actor.0)
    }

    /// What stands for a client.
    pub fn client_name(&self, client: ClientId) -> Cow<'_, str> {
        self.clients.name(client.get())
    }

    /// What stands for a grant.
    pub fn grant_name(&self, grant: GrantId) -> Cow<'_, str> {
        self.grants.name(grant.0)
    }

    /// What stands for a terminal.
    pub fn terminal_name(&self, terminal: TerminalId) -> Cow<'_, str> {
        match self.terminals.get(&terminal.0) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(terminal.0.to_string()),
        }
    }

    /// The role of an actor: the one that is given, which is kept, or the one that was last given.
    pub(crate) fn role(&mut self, actor: ActorId, given: Option<Role>) -> Role {
        match given {
            Some(role) => {
                self.roles.insert(actor, role);
                role
            }
            None => self.roles.get(&actor).copied().unwrap_or(Role::Operator),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(names: &mut Names, text: &str) -> u32 {
        names.actor(Name::of(text).unwrap()).unwrap().0
    }

    #[test]
    fn numbers_keep_themselves_and_texts_come_in_order() {
        let mut names = Names::default();
        let given: Vec<u32> = [
            "sato", "7", "ito", "3", "1", "sato", "0", "1", "suzuki", "07",
        ]
        .iter()
        .map(|text| actor(&mut names, text))
        .collect();
        // `1` was taken by sato; `0` is no number of an actor; `07` is a text.
        assert_eq!(given, [1, 7, 2, 3, 4, 1, 5, 4, 6, 8]);
        let back: Vec<_> = [1, 2, 3, 4, 5, 6, 7, 8, 99]
            .iter()
            .map(|number| names.actor_name(ActorId(*number)).into_owned())
            .collect();
        assert_eq!(
            back,
            ["sato", "ito", "3", "1", "0", "suzuki", "7", "07", "99"]
        );
    }

    #[test]
    fn terminals_are_named_again() {
        let mut names = Names::default();
        let terminal = names.terminal(Name::of(" pc-17 ").unwrap());
        assert_eq!(names.terminal_name(terminal), "pc-17");
        assert_eq!(names.terminal(Name::of("17").unwrap()), TerminalId(17));
        assert_eq!(names.terminal_name(TerminalId(17)), "17");
    }

    #[test]
    fn names_have_bounds() {
        assert_eq!(Name::of(" "), None);
        assert_eq!(Name::of(&"x".repeat(NAME_BYTES_MAX + 1)), None);
        let mut names = Names::default();
        for number in 1..=NAMES_MAX as u64 {
            names.grant(Name::Number(number)).unwrap();
        }
        let refused = Err(Reason::TooManyNames("grant"));
        assert_eq!(names.grant(Name::Text("one more")), refused);
        assert_eq!(names.grant(Name::Number(5)), Ok(GrantId(5)));
    }
}
