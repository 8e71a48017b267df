//! What commands do to an installation: signed requests, carried out by the one process that holds
//! the ledger (a running `serve`, or the command itself when none runs).
//!
//! Invariants: every change is a record before it has an effect; a request that changes something
//! is signed by the actor who makes it, is fresh, and is taken once; approvals are signatures of
//! the approvers' own keys, which no administrator holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use base64_simd::STANDARD;
use event::record::{Approval, Change, decode_change, encode_change};
use event::{ActorId, ChangeId, ClientId, ClientSource, Role};
use gate::{Upstream, UpstreamLogin};
use ledger::Progress;
use seal::Keyring;
use serde::{Deserialize, Serialize};

use crate::people::{VerifierFile, code_commitment, one_time_code, verifies};
use crate::sealing::{self, Table};
use crate::watching::desk::{self, Asked};
use crate::watching::live::Board;

/// How old a signed request may be, and how far in the future, in ms.
const FRESH_MS: u64 = 5 * 60 * 1000;
/// Requests remembered, so that none is taken twice.
const SEEN_MAX: usize = 10_000;
/// How long a one-time code holds, in ms.
const CODE_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What can be asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Whether it is there.
    Ping,
    /// A change, in canonical bytes, base64.
    Propose {
        /// The bytes.
        change: String,
    },
    /// A new client: number, keys, record.
    AddClient {
        /// Its code.
        code: String,
        /// Its name.
        name: String,
    },
    /// A new actor; its number is given.
    AddActor {
        /// Login name.
        login: String,
        /// Role.
        role: String,
        /// Numbers of its clients.
        clients: Vec<u32>,
        /// Public key, base64, for those who sign.
        key: Option<String>,
    },
    /// A one-time code for an actor.
    Code {
        /// Login name.
        login: String,
    },
    /// An approver's signature.
    Approve {
        /// Which change.
        change: u32,
        /// Who.
        approver: u32,
        /// Signature, base64.
        signature: String,
    },
    /// Withdraws a proposal.
    Withdraw {
        /// Which change.
        change: u32,
    },
    /// Changes a table's columns to sealed ones, and proposes its pin.
    Seal {
        /// The database.
        database: String,
        /// The table's schema.
        schema: String,
        /// The table.
        table: String,
        /// `COLUMN=CLASS[:MODE[:DOMAIN]]`.
        columns: Vec<String>,
        /// The column that holds the client's number.
        client_column: Option<String>,
        /// The client of all rows.
        client: Option<u32>,
    },
    /// Makes the officer's file that two approvers allowed.
    OfficerFile {
        /// The client.
        client: u32,
        /// Where to: an absolute path where nothing is.
        out: String,
    },
    /// Something of detection.
    Detection {
        /// What.
        asked: Asked,
    },
    /// Sets a password by a one-time code.
    Enrol {
        /// Login name.
        login: String,
        /// The code.
        code: String,
        /// SCRAM-SHA-256 verifier.
        verifier: String,
    },
}

/// A request with who makes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The actor, for requests that need one.
    pub actor: Option<u32>,
    /// When, ms since the Unix epoch.
    pub at_ms: u64,
    /// A random number.
    pub nonce: u64,
    /// The request in JSON.
    pub body: String,
    /// Ed25519 over [`Signed::message`], base64; empty without an actor.
    pub signature: String,
}

impl Signed {
    /// What is signed.
    pub fn message(ledger: &[u8; 16], actor: u32, at_ms: u64, nonce: u64, body: &str) -> Vec<u8> {
        let mut message = b"sekisho request v1\0".to_vec();
        message.extend_from_slice(ledger);
        message.extend_from_slice(&actor.to_be_bytes());
        message.extend_from_slice(&at_ms.to_be_bytes());
        message.extend_from_slice(&nonce.to_be_bytes());
        message.extend_from_slice(body.as_bytes());
        message
    }
}

/// What came of a request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The change it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<u32>,
    /// Whether that is in force.
    #[serde(default)]
    pub in_force: bool,
    /// Approvals that are still missing.
    #[serde(default)]
    pub missing: usize,
    /// The number of what was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// A one-time code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How far the state is ([`ledger::State::decisions`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decisions: Option<u64>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
    /// What else there is to know, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The process's side of requests.
pub struct Service {
    recorder: ledger::Handle,
    keyring: Arc<Keyring>,
    verifiers: Arc<VerifierFile>,
    /// Requests that were taken, by nonce and time.
    seen: Mutex<BTreeMap<(u64, u64), ()>>,
    /// PostgreSQL and the account that owns sealed tables; not there while only the ledger is open.
    database: OnceLock<(Upstream, UpstreamLogin)>,
    /// The ledger's folder.
    ledger: PathBuf,
    /// Detection, while it runs.
    board: OnceLock<Arc<Board>>,
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Service {
    /// Of an open ledger, keyring and verifier file.
    pub fn new(
        recorder: ledger::Handle,
        keyring: Arc<Keyring>,
        verifiers: Arc<VerifierFile>,
        ledger: PathBuf,
    ) -> Self {
        verifiers.compare_with(recorder.clone());
        Self {
            recorder,
            keyring,
            verifiers,
            seen: Mutex::default(),
            database: OnceLock::new(),
            ledger,
            board: OnceLock::new(),
        }
    }

    /// Carries out a request.
    pub async fn carry_out(&self, signed: &Signed) -> Reply {
        self.try_carry_out(signed)
            .await
            .unwrap_or_else(|error| Reply {
                error: Some(format!("{error:#}")),
                ..Reply::default()
            })
    }

    async fn try_carry_out(&self, signed: &Signed) -> Result<Reply> {
        let request: Request =
            serde_json::from_str(&signed.body).context("the request cannot be read")?;
        match request {
            Request::Ping => Ok(Reply {
                decisions: Some(self.recorder.state().decisions),
                ..Reply::default()
            }),
            Request::Approve {
                change,
                approver,
                signature,
            } => self.approve(change, approver, &signature).await,
            Request::Enrol {
                login,
                code,
                verifier,
            } => self.enrol(&login, &code, &verifier).await,
            Request::Propose { change } => {
                let bytes = STANDARD
                    .decode_to_vec(&change)
                    .map_err(|_| anyhow::anyhow!("the change is no base64"))?;
                let change = decode_change(&bytes).context("the change cannot be read")?;
                let by = self.signer(signed, may_propose(&change))?;
                self.propose(by, change).await
            }
            Request::AddClient { code, name } => {
                let by = self.signer(signed, ADMINISTRATION)?;
                self.add_client(by, code, name).await
            }
            Request::AddActor {
                login,
                role,
                clients,
                key,
            } => {
                let by = self.signer(signed, ADMINISTRATION)?;
                self.add_actor(by, login, &role, &clients, key.as_deref())
                    .await
            }
            Request::Code { login } => {
                let by = self.signer(signed, ADMINISTRATION)?;
                self.new_code(by, &login).await
            }
            Request::Seal {
                database,
                schema,
                table,
                columns,
                client_column,
                client,
            } => {
                let by = self.signer(signed, ADMINISTRATION)?;
                let columns = columns
                    .iter()
                    .map(|column| sealing::parse_column(column))
                    .collect::<Result<_>>()?;
                let client = self.client_source(client_column, client)?;
                self.seal(
                    by,
                    &database,
                    Table {
                        schema,
                        name: table,
                        columns,
                        client,
                    },
                )
                .await
            }
            Request::OfficerFile { client, out } => {
                let by = self.signer(signed, ADMINISTRATION)?;
                let client = ClientId::new(client).context("the client's number is none")?;
                crate::officer::make(&self.recorder, &self.keyring, by, client, &out).await?;
                Ok(Reply {
                    number: Some(client.get()),
                    ..Reply::default()
                })
            }
            Request::Detection { asked } => {
                let by = self.signer(signed, asked.roles())?;
                desk::carry_out(self, by, asked).await
            }
            Request::Withdraw { change } => {
                let by = self.signer(signed, PROPOSERS)?;
                self.recorder.withdraw(ChangeId(change), by).await?;
                Ok(Reply {
                    change: Some(change),
                    ..Reply::default()
                })
            }
        }
    }

    /// Who signed; his role has to be one of `roles`.
    fn signer(&self, signed: &Signed, roles: &[Role]) -> Result<ActorId> {
        let actor = signed
            .actor
            .context("this request has to be signed: give --as and --key")?;
        let state = self.recorder.state();
        let known = state
            .actors
            .get(&ActorId(actor))
            .filter(|known| known.active);
        let known = known.with_context(|| format!("actor {actor} is not known"))?;
        let key = known
            .signing_key
            .with_context(|| format!("{} has no signing key in force", known.login))?;
        let message = Signed::message(
            &state.ledger,
            actor,
            signed.at_ms,
            signed.nonce,
            &signed.body,
        );
        let signature = STANDARD
            .decode_to_vec(&signed.signature)
            .unwrap_or_default();
        ensure!(
            verifies(&key, &message, &signature),
            "the signature is not {}'s",
            known.login
        );
        let now = now_ms();
        ensure!(
            signed.at_ms.abs_diff(now) <= FRESH_MS,
            "the request is too old, or the clocks differ by minutes"
        );
        let mut seen = self.seen.lock().expect("no panic while it is held");
        seen.retain(|(at, _), ()| at.abs_diff(now) <= 2 * FRESH_MS);
        ensure!(seen.len() < SEEN_MAX, "too many requests; wait a minute");
        ensure!(
            seen.insert((signed.at_ms, signed.nonce), ()).is_none(),
            "this request was made already"
        );
        let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        ensure!(
            roles.contains(&known.role),
            "a {} may not do this; it takes: {}",
            known.role,
            names.join(", ")
        );
        Ok(ActorId(actor))
    }

    /// Proposes; what does not loosen is in force at once.
    pub async fn propose(&self, by: ActorId, change: Change) -> Result<Reply> {
        let (number, progress) = self.recorder.propose(by, change).await?;
        Ok(told(number, progress))
    }

    /// A client with its keys.
    pub async fn add_client(&self, by: ActorId, code: String, name: String) -> Result<Reply> {
        let last = self
            .recorder
            .state()
            .clients
            .keys()
            .next_back()
            .map_or(0, |client| client.get());
        let client = ClientId::new(last + 1).context("there are too many clients")?;
        let reply = self
            .propose(by, Change::ClientAdded { client, code, name })
            .await?;
        let keyring = Arc::clone(&self.keyring);
        let keys = tokio::task::spawn_blocking(move || keyring.create_client(client)).await??;
        self.propose(
            by,
            Change::ClientKey {
                client,
                epoch: keys.epoch(),
            },
        )
        .await?;
        Ok(Reply {
            number: Some(client.get()),
            ..reply
        })
    }

    /// An actor, with a one-time code if it is in force at once.
    pub async fn add_actor(
        &self,
        by: ActorId,
        login: String,
        role: &str,
        clients: &[u32],
        key: Option<&str>,
    ) -> Result<Reply> {
        let role: Role = role.parse()?;
        let mut clients: Vec<ClientId> = clients
            .iter()
            .map(|&number| ClientId::new(number).with_context(|| format!("{number} is no client")))
            .collect::<Result<_>>()?;
        clients.sort_unstable();
        clients.dedup();
        let state = self.recorder.state();
        let proposed = state
            .proposals
            .values()
            .filter_map(|proposal| match proposal.what {
                Change::ActorSet { actor, .. } => Some(actor.0),
                _ => None,
            });
        let last = state
            .actors
            .keys()
            .map(|actor| actor.0)
            .chain(proposed)
            .max()
            .unwrap_or(0);
        let actor = ActorId(last + 1);
        let public_key = key
            .map(|key| {
                let bytes = STANDARD.decode_to_vec(key).ok();
                bytes
                    .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                    .context("the public key is not 32 bytes in base64")
            })
            .transpose()?;
        let name = login.clone();
        let set = Change::ActorSet {
            actor,
            login,
            role,
            clients,
            active: true,
        };
        let mut reply = self.propose(by, set).await?;
        reply.number = Some(actor.0);
        if let Some(public_key) = public_key {
            if reply.in_force {
                self.propose(by, Change::SigningKey { actor, public_key })
                    .await?;
            } else {
                reply.notes.push(format!(
                    "The key waits until {name} is in force: then `sekisho actor key {name} --public-key {}`.",
                    STANDARD.encode_to_string(public_key)
                ));
            }
        }
        if reply.in_force && role != Role::Approver {
            reply.code = self.make_code(by, actor).await?.code;
        }
        Ok(reply)
    }

    /// A one-time code for an actor.
    pub async fn new_code(&self, by: ActorId, login: &str) -> Result<Reply> {
        let actor = self.actor(login)?;
        self.make_code(by, actor).await
    }

    async fn make_code(&self, by: ActorId, actor: ActorId) -> Result<Reply> {
        let code = one_time_code()?;
        let commitment = code_commitment(actor, &code);
        let change = Change::EnrolmentCode {
            actor,
            commitment,
            until_ms: now_ms() + CODE_MS,
        };
        let reply = self.propose(by, change).await?;
        Ok(Reply {
            code: Some(code),
            number: Some(actor.0),
            ..reply
        })
    }

    fn actor(&self, login: &str) -> Result<ActorId> {
        let state = self.recorder.state();
        let found = state
            .actors
            .iter()
            .find(|(_, actor)| actor.login == login)
            .map(|(id, _)| *id);
        found.with_context(|| format!("there is no actor {login}; `sekisho actor list` shows them"))
    }

    /// Sets a password by a one-time code.
    pub async fn enrol(&self, login: &str, code: &str, verifier: &str) -> Result<Reply> {
        let wrong = "the login or its one-time code is wrong, used up or expired";
        let actor = self.actor(login).map_err(|_| anyhow::anyhow!(wrong))?;
        let state = self.recorder.state();
        let waiting = state.actors.get(&actor).and_then(|actor| actor.enrolment);
        let waiting = waiting
            .filter(|waiting| waiting.until_ms >= now_ms())
            .context(wrong)?;
        ensure!(waiting.commitment == code_commitment(actor, code), wrong);
        let commitment = self.verifiers.store(actor, verifier)?;
        self.propose(actor, Change::Credential { actor, commitment })
            .await
    }

    /// From now on tables can be sealed as this account.
    pub fn use_database(&self, upstream: Upstream, owner: UpstreamLogin) {
        // Given once, by whoever starts or names PostgreSQL.
        let _ = self.database.set((upstream, owner));
    }

    fn client_source(&self, column: Option<String>, client: Option<u32>) -> Result<ClientSource> {
        Ok(match (column, client) {
            (Some(_), Some(_)) => {
                bail!("a row's client is in a column or always the same; give one of them")
            }
            (Some(column), None) => ClientSource::Column(column),
            (None, Some(number)) => {
                let state = self.recorder.state();
                let known = ClientId::new(number).filter(|id| state.clients.contains_key(id));
                ClientSource::Fixed(known.with_context(|| format!("there is no client {number}"))?)
            }
            (None, None) => ClientSource::Scope,
        })
    }

    /// Changes the table, then proposes the pin with it. A pin of the database that waits already
    /// is the base: the newest one holds them all.
    async fn seal(&self, by: ActorId, database: &str, table: Table) -> Result<Reply> {
        let mut conversation = self.converse(database).await?;
        let relation = sealing::prepare(&mut conversation, &table).await?;
        let mut notes = vec![format!(
            "{}.{} has its types and CHECK constraints now.",
            relation.schema, relation.name
        )];
        for (column, sealing) in &table.columns {
            let (class, mode, domain) = (sealing.class, sealing.mode, sealing.domain);
            notes.push(format!("  {column}: {class}, {mode}, domain {domain}"));
        }
        let state = self.recorder.state();
        let waiting =
            state
                .proposals
                .iter()
                .rev()
                .find_map(|(number, proposal)| match &proposal.what {
                    Change::Pin(pin) if pin.database == database => Some((number, pin)),
                    _ => None,
                });
        if let Some((number, _)) = waiting {
            notes.push(format!(
                "The pin of change {number} waits too, and is part of this one: approve this one last."
            ));
        }
        let base = waiting
            .map(|(_, pin)| pin)
            .or_else(|| state.pins.get(database).map(|pin| &**pin));
        let pin = sealing::pin_with(base, database, relation);
        let reply = self
            .propose(by, Change::Pin(pin))
            .await
            .context("the table is changed, but its pin was not proposed; run the command again")?;
        Ok(Reply { notes, ..reply })
    }

    /// Adds an approver's signature, base64.
    pub async fn approve(&self, change: u32, approver: u32, signature: &str) -> Result<Reply> {
        let signature = STANDARD
            .decode_to_vec(signature)
            .ok()
            .and_then(|bytes| <[u8; 64]>::try_from(bytes).ok())
            .context("the signature is not 64 bytes in base64")?;
        let approval = Approval {
            approver: ActorId(approver),
            signature,
        };
        let progress = self.recorder.approve(ChangeId(change), approval).await?;
        if matches!(progress, Progress::InForce { .. }) {
            self.destroy_keys().await?;
        }
        Ok(told(ChangeId(change), progress))
    }

    /// Destroys the keys of clients whose destruction is in force. The record comes first: after a
    /// crash between the two the next start does it.
    pub async fn destroy_keys(&self) -> Result<()> {
        let state = self.recorder.state();
        let destroyed = state.clients.iter().filter(|(_, client)| client.destroyed);
        let destroyed: Vec<ClientId> = destroyed.map(|(id, _)| *id).collect();
        let keyring = Arc::clone(&self.keyring);
        let all = move || {
            destroyed
                .iter()
                .try_for_each(|id| keyring.destroy_client(*id))
        };
        Ok(tokio::task::spawn_blocking(all).await??)
    }

    /// From now on it can be asked how far detection is.
    pub fn use_board(&self, board: Arc<Board>) {
        // Given once, by whoever starts it.
        let _ = self.board.set(board);
    }

    /// How far detection is, while it runs.
    pub fn board(&self) -> Option<&Board> {
        self.board.get().map(|board| &**board)
    }

    /// The ledger's folder.
    pub fn ledger(&self) -> &Path {
        &self.ledger
    }

    /// The clients' keys.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// A connection as the account that owns sealed tables.
    pub async fn converse(&self, database: &str) -> Result<gate::Conversation> {
        let (upstream, owner) = self.database.get().context("PostgreSQL is not open here")?;
        let conversation = upstream.converse(owner, database).await;
        conversation.with_context(|| format!("database {database}, as {}", owner.user))
    }

    /// The ledger.
    pub fn recorder(&self) -> &ledger::Handle {
        &self.recorder
    }
}

fn told(number: ChangeId, progress: Progress) -> Reply {
    let (in_force, missing) = match progress {
        Progress::InForce { .. } => (true, 0),
        Progress::Waiting { approvals, needed } => (false, needed.saturating_sub(approvals)),
    };
    Reply {
        change: Some(number.0),
        in_force,
        missing,
        ..Reply::default()
    }
}

const ADMINISTRATION: &[Role] = &[Role::Administrator];
const PROPOSERS: &[Role] = &[Role::Administrator, Role::Security, Role::Supervisor];

fn may_propose(change: &Change) -> &'static [Role] {
    match change {
        Change::Grant(_) | Change::GrantEnded { .. } => PROPOSERS,
        _ => ADMINISTRATION,
    }
}

/// A change as a request.
pub fn propose_request(change: &Change) -> Request {
    Request::Propose {
        change: STANDARD.encode_to_string(encode_change(change)),
    }
}
