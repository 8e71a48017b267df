//! Asking witnesses (C2SP tlog-witness) to cosign the root log's checkpoints.
//!
//! Each checkpoint that a quorum cosigned covers the leaves below it ([`crate::Handle::set_covered`]).
//! A witness that is slow, gone or wrong stops nothing here: what is not covered is capped in all by
//! the recorder, and named.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tlog::policy::{Policy, Witness};
use tlog::witness::{AddCheckpoint, parse_conflict};
use tlog::{Checkpoint, Hash, Note, NoteSignature, VerifierKey};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::places::hex;
use crate::list::sha256;

/// Longest answer of a witness, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How long a witness may take, all in all.
pub const WITNESS_MS_MAX: u64 = 2_000;

/// Makes the proof that the root log of `new` leaves continues the one of `old`.
pub type Prover<'a> = dyn Fn(u64, u64) -> Result<Vec<Hash>, String> + Send + Sync + 'a;

/// Why a witness did not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// It could not be reached, or took too long.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It refused.
    #[error("refused with status {status}: {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The first line of its answer.
        text: String,
    },
    /// It says that it cosigned a larger tree than there is. A number alone proves nothing.
    #[error("says that it cosigned {claimed} leaves, there are {known}")]
    Claims {
        /// Its number.
        claimed: u64,
        /// Leaves that there are.
        known: u64,
    },
    /// Its answer holds no cosignature of its key.
    #[error("gave no valid cosignature of its key")]
    Wrong,
    /// The proof could not be made.
    #[error("{0}")]
    Proof(String),
}

/// One witness of the policy.
struct Asked {
    name: String,
    key: VerifierKey,
    url: String,
    /// The size that it cosigned last, as far as we know.
    size: Mutex<u64>,
}

/// The witnesses of a policy, and how to ask them.
pub struct Witnesses {
    policy: Policy,
    asked: Vec<Arc<Asked>>,
    agent: ureq::Agent,
}

impl std::fmt::Debug for Witnesses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Witnesses({})", self.asked.len())
    }
}

/// What asking all witnesses gave.
#[derive(Debug)]
pub struct Cosigned {
    /// The checkpoint with the cosignatures.
    pub note: Note,
    /// Whether they are a quorum.
    pub quorum: bool,
    /// The first cosignature's time, seconds since the Unix epoch.
    pub first_s: Option<u64>,
    /// Witnesses that did not cosign, and why.
    pub missing: Vec<(String, WitnessError)>,
}

impl Witnesses {
    /// Of a policy. Those without a URL are not asked.
    pub fn new(policy: Policy) -> Self {
        let asked = policy.witnesses().iter().filter_map(asked).collect();
        let agent = agent(WITNESS_MS_MAX);
        Self {
            policy,
            asked,
            agent,
        }
    }

    /// Whether there is anyone to ask.
    pub fn is_empty(&self) -> bool {
        self.policy.needs_none()
    }

    /// Asks all of them at once; blocks for at most [`WITNESS_MS_MAX`] and a retry.
    pub fn cosign(&self, note: &Note, size: u64, prover: &Prover<'_>) -> Cosigned {
        let answers: Vec<(String, Result<NoteSignature, WitnessError>)> =
            std::thread::scope(|scope| {
                let threads: Vec<_> = self
                    .asked
                    .iter()
                    .map(|witness| {
                        let ask = || witness.ask(&self.agent, note, size, prover);
                        (witness.name.clone(), scope.spawn(ask))
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|(name, thread)| {
                        let gone = || Err(WitnessError::Proof("its thread ended".into()));
                        (name, thread.join().unwrap_or_else(|_| gone()))
                    })
                    .collect()
            });
        let mut cosigned = note.clone();
        let mut missing = Vec::new();
        for (name, answer) in answers {
            let added = answer
                .and_then(|signature| cosigned.add(signature).map_err(|_| WitnessError::Wrong));
            if let Err(error) = added {
                missing.push((name, error));
            }
        }
        let keys = self.policy.keys();
        let verified = cosigned.verify(&keys).unwrap_or_default();
        let quorum = self.policy.needs_none() || self.policy.quorum_of(&verified);
        let first_s = verified.iter().filter_map(|signature| signature.time).min();
        Cosigned {
            quorum,
            first_s,
            note: cosigned,
            missing,
        }
    }

    /// The newest checkpoint of the log `origin`, signed by one of `keys`, that any witness holds.
    /// What cannot be reached or does not verify is left out: nobody but us can make such a one.
    pub fn newest(&self, origin: &str, keys: &[VerifierKey]) -> Option<(String, Checkpoint, Note)> {
        let path = format!("/checkpoint/{}", hex(&sha256(origin.as_bytes()).0));
        let shown = self.asked.iter().filter_map(|witness| {
            let bytes = self.get(&format!("{}{path}", witness.url))?;
            let note = Note::parse(&bytes).ok()?;
            let checkpoint = Checkpoint::open(&note, keys).ok()?.checkpoint;
            (checkpoint.origin() == origin).then(|| (witness.name.clone(), checkpoint, note))
        });
        shown.max_by_key(|(_, checkpoint, _)| checkpoint.size())
    }

    /// Names of all witnesses, and whether each answers HTTP at its address.
    pub fn answer(&self) -> Vec<(String, bool)> {
        let asked = self.asked.iter();
        asked
            .map(|witness| {
                let url = format!("{}/checkpoint/", witness.url);
                (witness.name.clone(), self.agent.get(&url).call().is_ok())
            })
            .collect()
    }

    fn get(&self, url: &str) -> Option<Vec<u8>> {
        let mut answer = self.agent.get(url).call().ok()?;
        if answer.status() != 200 {
            return None;
        }
        body(&mut answer)
    }
}

/// What sends requests, each within so many ms; whatever the status, the answer is given.
pub(super) fn agent(ms_max: u64) -> ureq::Agent {
    let roots = rustls_native_certs::load_native_certs().certs;
    let roots = roots
        .iter()
        .map(|root| Certificate::from_der(root).to_owned());
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(Duration::from_millis(ms_max)))
        .http_status_as_error(false)
        .build()
        .into()
}

fn asked(witness: &Witness) -> Option<Arc<Asked>> {
    let url = witness.url.as_ref()?;
    Some(Arc::new(Asked {
        name: witness.name.clone(),
        key: witness.key.clone(),
        url: url.trim_end_matches('/').to_owned(),
        size: Mutex::new(0),
    }))
}

fn body(answer: &mut ureq::http::Response<ureq::Body>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let reader = answer.body_mut().as_reader();
    reader
        .take(ANSWER_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .ok()?;
    (bytes.len() as u64 <= ANSWER_BYTES_MAX).then_some(bytes)
}

impl Asked {
    fn ask(
        &self,
        agent: &ureq::Agent,
        note: &Note,
        size: u64,
        prover: &Prover<'_>,
    ) -> Result<NoteSignature, WitnessError> {
        let mut old = *self.size.lock().unwrap_or_else(PoisonError::into_inner);
        // A second try with the size that the witness names.
        for last in [false, true] {
            let (status, bytes) = self.send(agent, note, old.min(size), size, prover)?;
            match status {
                200 => {
                    let signature = self.signature(note, &bytes).ok_or(WitnessError::Wrong)?;
                    *self.size.lock().unwrap_or_else(PoisonError::into_inner) = size;
                    return Ok(signature);
                }
                409 if !last => match parse_conflict(&bytes) {
                    Some(claimed) if claimed <= size => old = claimed,
                    Some(claimed) => {
                        return Err(WitnessError::Claims {
                            claimed,
                            known: size,
                        });
                    }
                    None => return Err(WitnessError::Wrong),
                },
                _ => {
                    let text = String::from_utf8_lossy(&bytes);
                    let text = text.lines().next().unwrap_or_default();
                    let text = text.chars().filter(|c| !c.is_control()).take(200).collect();
                    return Err(WitnessError::Refused { status, text });
                }
            }
        }
        Err(WitnessError::Wrong)
    }

    fn send(
        &self,
        agent: &ureq::Agent,
        note: &Note,
        old: u64,
        size: u64,
        prover: &Prover<'_>,
    ) -> Result<(u16, Vec<u8>), WitnessError> {
        let request = AddCheckpoint {
            old_size: old,
            proof: prover(old, size).map_err(WitnessError::Proof)?,
            checkpoint: note.clone(),
        };
        let unreachable = |error: ureq::Error| WitnessError::Unreachable(error.to_string());
        let mut answer = agent
            .post(format!("{}/add-checkpoint", self.url))
            .send(request.encode())
            .map_err(unreachable)?;
        let bytes = body(&mut answer).ok_or(WitnessError::Wrong)?;
        Ok((answer.status().as_u16(), bytes))
    }

    /// The cosignature of this witness in its answer, verified.
    fn signature(&self, note: &Note, answer: &[u8]) -> Option<NoteSignature> {
        let lines = std::str::from_utf8(answer).ok()?;
        tlog::parse_signatures(lines)
            .ok()?
            .into_iter()
            .find(|signature| {
                Note::new(note.text(), vec![signature.clone()]).is_ok_and(|alone| {
                    alone
                        .verify(std::slice::from_ref(&self.key))
                        .is_ok_and(|verified| verified.iter().any(|it| it.time.is_some()))
                })
            })
    }
}
