//! What is in force, parsed: policy, masks and numbers of the ledger's state.

use event::Digest;
use std::sync::Arc;

use budget::Numbers;
use policy::Policy;

/// The policy and numbers in force.
#[derive(Debug)]
pub struct Rules {
    /// Digest of the policy's text.
    pub digest: Digest,
    /// The policy with its masks.
    pub policy: Arc<Policy>,
    /// The numbers.
    pub numbers: Arc<Numbers>,
}

impl Rules {
    /// From a ledger's state. Without a policy nothing is permitted; without numbers every budget
    /// is zero.
    ///
    /// # Errors
    /// A text in force that this version cannot read: nothing may be released then.
    pub fn of(state: &ledger::State) -> Result<Self, String> {
        let (digest, policy) = match &state.policy {
            Some(text) => (
                text.digest,
                Policy::parse(&text.cedar, &text.masks)
                    .map_err(|error| format!("the policy in force cannot be read: {error}"))?,
            ),
            None => (
                Digest([0; 32]),
                Policy::parse("", "")
                    .map_err(|error| format!("an empty policy cannot be read: {error}"))?,
            ),
        };
        let numbers = match &state.numbers {
            Some(text) => Numbers::parse(text)
                .map_err(|error| format!("the numbers in force cannot be read: {error}"))?,
            None => Numbers {
                roles: std::collections::BTreeMap::new(),
                ..Numbers::default()
            },
        };
        Ok(Self {
            digest,
            policy: Arc::new(policy),
            numbers: Arc::new(numbers),
        })
    }
}
