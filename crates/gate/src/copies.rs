//! Copies to company media that wait for a person: the broker of a terminal shows a code, the person
//! says it in a session through that terminal (`SET sekisho.copy`), and so is known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use event::Digest;
use event::record::Who;
use tokio::sync::oneshot;

/// Copies that wait at once, over all terminals.
const WAITING_MAX: usize = 256;

type Waiting = HashMap<(Digest, String), oneshot::Sender<Who>>;

/// The copies that wait. The lock is held for a look-up only.
#[derive(Clone, Debug, Default)]
pub struct Copies(Arc<Mutex<Waiting>>);

impl Copies {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for somebody who says this code in a session through this terminal; `None`: the code is
    /// taken, or too many wait.
    pub fn wait(&self, terminal: Digest, code: &str) -> Option<oneshot::Receiver<Who>> {
        let mut waiting = self.lock();
        waiting.retain(|_, it| !it.is_closed());
        let key = (terminal, code.to_owned());
        if waiting.len() >= WAITING_MAX || waiting.contains_key(&key) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        waiting.insert(key, sender);
        Some(receiver)
    }

    /// Whether a copy with this code waits at this terminal.
    pub(crate) fn waits(&self, terminal: Digest, code: &str) -> bool {
        let waiting = self.lock();
        let copy = waiting.get(&(terminal, code.to_owned()));
        copy.is_some_and(|it| !it.is_closed())
    }

    /// Somebody said the code. It is good for one copy.
    pub(crate) fn confirm(&self, terminal: Digest, code: String, who: Who) {
        if let Some(copy) = self.lock().remove(&(terminal, code)) {
            // It may have been given up just now.
            let _ = copy.send(who);
        }
    }
}

#[cfg(test)]
mod tests {
    use event::{ActorId, Role, SessionId};

    use super::*;

    fn who() -> Who {
        Who {
            actor: ActorId(7),
            role: Role::Operator,
            session: SessionId(1),
            grant: None,
        }
    }

    #[test]
    fn a_code_is_good_for_one_copy_at_its_own_terminal() {
        let copies = Copies::default();
        let (here, elsewhere) = (Digest([1; 32]), Digest([2; 32]));
        let mut first = copies.wait(here, "ABCD2345").unwrap();
        assert!(copies.wait(here, "ABCD2345").is_none(), "taken");
        assert!(copies.waits(here, "ABCD2345") && !copies.waits(elsewhere, "ABCD2345"));
        copies.confirm(elsewhere, "ABCD2345".into(), who());
        assert!(first.try_recv().is_err());
        copies.confirm(here, "ABCD2345".into(), who());
        assert_eq!(first.try_recv().unwrap(), who());
        assert!(!copies.waits(here, "ABCD2345"));
    }

    #[test]
    fn who_gave_up_waits_no_more_and_places_are_bounded() {
        let copies = Copies::default();
        drop(copies.wait(Digest([1; 32]), "ABCD2345"));
        assert!(!copies.waits(Digest([1; 32]), "ABCD2345"));
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|it| copies.wait(Digest([1; 32]), &it.to_string()))
            .collect();
        assert!(waiting.iter().all(Option::is_some));
        assert!(copies.wait(Digest([1; 32]), "one more").is_none());
    }
}
