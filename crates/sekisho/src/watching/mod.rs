//! Detection in an installation: the ledger's records go into [`watch::Watch`], and what it says goes
//! back into the ledger as cases.

pub mod adapt;
pub mod canary;
pub mod config;
pub mod counters;
pub mod desk;
pub mod feed;
pub mod live;
pub mod names;
pub mod notices;
pub mod own;
pub mod replay;
pub mod show;

use std::sync::Arc;

use anyhow::Result;
use event::Role;
use event::record::Change;
use ledger::beside::CENTRE_KEYS;

use self::live::{Live, Setup};
use self::notices::Notices;
use crate::admin::Opened;
use crate::config::Config;
use crate::folder::Folder;
use crate::keys::Lists;

/// Begins detection. There is no way to switch it off: whoever configures the gate is watched, too.
pub async fn start(
    folder: &Folder,
    config: &Config,
    opened: &Opened,
    say: Arc<dyn Fn(String) + Send + Sync>,
) -> Result<Live> {
    in_force(config, opened, &*say).await?;
    let setup = Setup {
        lists: Arc::new(Lists(Arc::clone(&opened.keyring))),
        offset_minutes: config.watch.offset_minutes,
        notices: Notices::start(folder, &config.watch, Arc::clone(&say))?,
        say,
    };
    let live = Live::start(&folder.ledger(), opened.recorder.handle(), setup)?;
    opened.service.use_board(live.board());
    Ok(live)
}

/// Proposes what the configuration says where it differs from what is in force. What is tighter is
/// taken; what is looser waits for two approvers.
async fn in_force(
    config: &Config,
    opened: &Opened,
    say: &(dyn Fn(String) + Send + Sync),
) -> Result<()> {
    let handle = opened.recorder.handle();
    let state = handle.state();
    let (cases_per_day, response) = (config.watch.cases_per_day, config.watch.response.into());
    if (state.watch.cases_per_day, state.watch.response) == (cases_per_day, response) {
        return Ok(());
    }
    let what = Change::Watch {
        cases_per_day,
        response,
    };
    let waiting = state.proposals.iter().find(|(_, it)| it.what == what);
    let mut waiting = waiting.map(|(number, _)| *number);
    if waiting.is_none() {
        let mut actors = state.actors.iter();
        let administrator = actors.find(|(_, it)| it.active && it.role == Role::Administrator);
        let Some((by, _)) = administrator else {
            say("[watch] in sekisho.toml differs from what is in force, and there is no administrator to propose it".to_owned());
            return Ok(());
        };
        let (change, progress) = handle.propose(*by, what).await?;
        if matches!(progress, ledger::Progress::Waiting { .. }) {
            waiting = Some(change);
        }
    }
    match waiting {
        None => say("[watch] of sekisho.toml is in force now".to_owned()),
        Some(change) => say(format!(
            "[WATCH] OF sekisho.toml IS LOOSER than what is in force and waits as change {change}: `sekisho approve {change}`"
        )),
    }
    Ok(())
}

/// Sees to it that the centre's own texts have a key.
pub fn centre_keys(keyring: &seal::Keyring) -> Result<()> {
    let Some(centre) = event::ClientId::new(CENTRE_KEYS) else {
        return Ok(());
    };
    if !keyring.clients()?.contains(&centre) {
        keyring.create_client(centre)?;
    }
    Ok(())
}
