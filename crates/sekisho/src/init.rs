//! `sekisho init`: a data folder with configuration, policy, keys, a certificate and the ledger.

use std::path::Path;

use anyhow::{Context, Result};
use event::record::Change;
use event::{ActorId, Role};

use crate::admin;
use crate::config;
use crate::folder::{Folder, write_private};
use crate::people::SigningKey;

/// The people that `init` makes: administrator and two approvers.
pub const ADMINISTRATOR: &str = "admin";
/// The first approvers.
pub const APPROVERS: [&str; 2] = ["approver-1", "approver-2"];

/// What a new folder is made of.
pub struct Plan<'a> {
    /// The centre's name.
    pub centre: &'a str,
    /// The master key's passphrase; empty: none, for demo and trial.
    pub passphrase: &'a str,
    /// A PostgreSQL of Sekisho's own.
    pub embedded: bool,
    /// Size of segments of the write-ahead log; `None`: the default.
    pub segment_bytes: Option<u32>,
    /// Numbers other than the default ones.
    pub numbers: Option<budget::Numbers>,
}

/// Makes the folder.
pub async fn init(root: &Path, plan: &Plan<'_>) -> Result<Folder> {
    let folder = Folder::create(root)?;
    let mut text = config::template(plan.centre, plan.embedded);
    if let Some(bytes) = plan.segment_bytes {
        text = text.replace("# segment_bytes", "segment_bytes");
        text = text.replace(
            &format!("segment_bytes = {}", ledger::SEGMENT_BYTES),
            &format!("segment_bytes = {bytes}"),
        );
    }
    folder.write_secret("sekisho.toml", text.as_bytes())?;
    let numbers = plan.numbers.clone().unwrap_or_default();
    let (cedar, masks) = (policy::default_policy_text(), policy::default_masks());
    folder.write_secret("policy/policy.cedar", cedar.as_bytes())?;
    folder.write_secret("policy/masks.toml", masks.as_bytes())?;
    folder.write_secret("policy/numbers.toml", numbers.to_toml().as_bytes())?;
    seal::Master::create(&folder.path("keys"), plan.passphrase)
        .context("the master key cannot be made")?;
    certificate(&folder)?;
    folder.secret("secrets/mock")?;
    let config = folder.config()?;
    let options = ledger::Options {
        segment_bytes: config.ledger.segment_bytes,
        ..ledger::Options::default()
    };
    ledger::Recorder::create(&folder.ledger(), plan.centre, &options)?;
    first_people(&folder, cedar, masks, numbers.to_toml(), plan.passphrase).await?;
    Ok(folder)
}

/// The first records: policy, numbers, administrator, two approvers. Once both approvers have their
/// keys nothing that loosens comes into force without them.
async fn first_people(
    folder: &Folder,
    cedar: String,
    masks: String,
    numbers: String,
    passphrase: &str,
) -> Result<()> {
    let opened = admin::open_with(folder, passphrase)?;
    let service = &opened.service;
    let by = ActorId(1);
    let people = [
        (ADMINISTRATOR, Role::Administrator),
        (APPROVERS[0], Role::Approver),
        (APPROVERS[1], Role::Approver),
    ];
    let state = service.recorder().state();
    let public_key = crate::logs::create_keys(folder, &state.ledger)?;
    let first = Change::LogKey {
        number: 1,
        public_key,
    };
    service.propose(by, first).await?;
    let mut keys = Vec::new();
    for (number, (login, role)) in (1..).zip(people) {
        let key = SigningKey::create(&folder.path(&format!("people/{login}.key")))?;
        let actor = ActorId(number);
        let set = Change::ActorSet {
            actor,
            login: login.to_owned(),
            role,
            clients: Vec::new(),
            active: true,
        };
        service.propose(by, set).await?;
        keys.push(Change::SigningKey {
            actor,
            public_key: key.public(),
        });
    }
    service.propose(by, Change::Policy { cedar, masks }).await?;
    service
        .propose(by, Change::Numbers { toml: numbers })
        .await?;
    for key in keys {
        service.propose(by, key).await?;
    }
    Ok(())
}

/// A self-signed certificate for this machine: ECDSA P-256, so that it has a channel binding.
fn certificate(folder: &Folder) -> Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let host = host.trim();
    if !host.is_empty() && host != "localhost" {
        names.push(host.to_owned());
    }
    let made =
        rcgen::generate_simple_self_signed(names).context("the certificate cannot be made")?;
    write_private(
        &folder.path("tls/certificate.pem"),
        made.cert.pem().as_bytes(),
    )?;
    write_private(
        &folder.path("tls/key.pem"),
        made.signing_key.serialize_pem().as_bytes(),
    )
}
