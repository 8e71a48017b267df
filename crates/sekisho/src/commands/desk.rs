//! Where a command that changes something works: the office of a folder, the state it decides by,
//! and the person who signs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use base64_simd::STANDARD;
use event::{ActorId, ClientId};
use ledger::State;
use ledger::state::{Actor, Client};
use tokio::sync::OnceCell;

use super::{Sign, nearest, output};
use crate::admin::{Office, Signer};
use crate::folder::Folder;
use crate::people::SigningKey;
use crate::reading;
use crate::service::{Reply, Request};

/// A folder with whoever carries requests out.
pub struct Desk {
    /// The folder.
    pub folder: Folder,
    office: OnceCell<Office>,
    json: bool,
    login: String,
    key: Option<PathBuf>,
}

impl Desk {
    /// Of a command's arguments.
    pub fn open(sign: &Sign) -> Result<Self> {
        let folder = sign.look.at.folder()?;
        let (login, key) = (sign.login.clone(), sign.key.clone());
        Ok(Self {
            folder,
            office: OnceCell::new(),
            json: sign.look.json,
            login,
            key,
        })
    }

    /// Whoever carries requests out; found (or, without a running `serve`, opened, which asks for the
    /// master key's passphrase) when the first request is made: what is wrong is told before.
    pub async fn office(&self) -> Result<&Office> {
        self.office
            .get_or_try_init(|| Office::of(&self.folder))
            .await
    }

    /// The state as it is now.
    pub async fn state(&self) -> Result<State> {
        reading::current(&self.folder).await
    }

    /// Looks something up in it.
    pub async fn find<T>(&self, look: impl Fn(&State) -> Result<T>) -> Result<T> {
        look(&self.state().await?)
    }

    /// The person of `--as` with the key of `--key`.
    pub async fn signer(&self) -> Result<Signer> {
        let (id, known) = self
            .find(|state| actor(state, &self.login).map(|(id, known)| (id, known.clone())))
            .await?;
        let usual = || self.folder.path(&format!("people/{}.key", self.login));
        let path = self.key.clone().unwrap_or_else(usual);
        ensure!(
            self.key.is_some() || path.is_file(),
            "{0} signs this: give the file of {0}'s key with --key ({1} is not there)",
            self.login,
            path.display()
        );
        let key = SigningKey::load(&path)?;
        let in_force = known.signing_key.with_context(|| {
            format!(
                "{0} has no key in force; propose one with `sekisho actor key {0}`",
                self.login
            )
        })?;
        ensure!(
            in_force == key.public(),
            "{}: is not the key of {}; the ledger has {}",
            path.display(),
            self.login,
            STANDARD.encode_to_string(in_force)
        );
        Ok(Signer { actor: id.0, key })
    }

    /// Makes a signed request.
    pub async fn ask(&self, request: &Request) -> Result<Reply> {
        let signer = self.signer().await?;
        self.office().await?.ask(request, Some(&signer)).await
    }

    /// Says what came of a change, `done` if it is in force.
    pub fn told(&self, reply: &Reply, done: &str) -> Result<()> {
        if self.json {
            return output::json(reply);
        }
        for note in &reply.notes {
            output::line(note)?;
        }
        let Some(number) = reply.change else {
            return output::line(done);
        };
        if reply.in_force {
            return output::line(done);
        }
        let (missing, more) = match reply.missing {
            1 => ("one approval".to_owned(), "one more approver runs"),
            n => (format!("{n} approvals"), "each approver runs"),
        };
        output::line(format!(
            "Change {number} waits for {missing}: {more}\n  \
             sekisho approve {number} --as LOGIN --key FILE --dir {}",
            self.folder.root().display()
        ))
    }

    /// Whether JSON is wanted.
    pub fn json(&self) -> bool {
        self.json
    }
}

/// An actor by login.
pub fn actor<'a>(state: &'a State, login: &str) -> Result<(ActorId, &'a Actor)> {
    let found = state.actors.iter().find(|(_, actor)| actor.login == login);
    found.map(|(id, actor)| (*id, actor)).with_context(|| {
        let near = nearest::hint(
            login,
            state.actors.values().map(|actor| actor.login.as_str()),
        );
        format!("there is no actor {login}{near} (`sekisho actor list` shows them)")
    })
}

/// A client by code or number.
pub fn client<'a>(state: &'a State, text: &str) -> Result<(ClientId, &'a Client)> {
    let number = text.parse().ok().and_then(ClientId::new);
    let by_code = || state.clients.iter().find(|(_, client)| client.code == text);
    let found = by_code().or_else(|| number.and_then(|id| state.clients.get_key_value(&id)));
    found.map(|(id, client)| (*id, client)).with_context(|| {
        let near = nearest::hint(
            text,
            state.clients.values().map(|client| client.code.as_str()),
        );
        format!("there is no client {text}{near} (`sekisho client list` shows them)")
    })
}

/// Clients from `1,acme` or `all` or nothing.
pub fn clients(state: &State, text: &str) -> Result<Vec<ClientId>> {
    if text == "all" {
        return Ok(state.clients.keys().copied().collect());
    }
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let mut all: Vec<ClientId> = parts
        .map(|part| client(state, part).map(|(id, _)| id))
        .collect::<Result<_>>()?;
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// A public key from base64 or a file that holds it.
pub fn public_key(text: &str) -> Result<[u8; 32]> {
    let path = std::path::Path::new(text);
    let content = if path.is_file() {
        let content =
            std::fs::read_to_string(path).with_context(|| format!("{text}: cannot be read"))?;
        if content.starts_with("sekisho signing key") {
            bail!(
                "{text}: is a private key, which stays with its owner; give the public key, {text}.pub"
            );
        }
        content
    } else {
        text.to_owned()
    };
    let bytes = STANDARD.decode_to_vec(content.trim()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).with_context(|| {
        format!("{text}: neither a file nor a public key (32 bytes in base64); `sekisho actor keygen FILE` makes one")
    })
}
