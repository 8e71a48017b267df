//! The logs that leave the system: who signs, who witnesses, whether they go on.

use tlog::{Checkpoint, Note};

use super::Check;
use crate::config::Config;
use crate::folder::Folder;
use crate::logs;

/// What a start says, too.
pub(super) const IDENTITY_LEFT: &str = "the identity key still lies in offline/: keep it elsewhere, where nobody who runs this machine has it";

/// The identity key signs the list of log keys: with it on the machine, root can make new ones.
pub(super) fn identity(folder: &Folder) -> Check {
    if folder.path(logs::IDENTITY).exists() {
        return Check::warn(
            "identity key",
            IDENTITY_LEFT,
            format!(
                "Move {} to two media in two safes.",
                folder.path(logs::IDENTITY).display()
            ),
        );
    }
    Check::ok("identity key", "it is kept elsewhere")
}

/// Whether witnesses are named, and answer.
pub(super) async fn witnesses(folder: &Folder, config: &Config) -> Check {
    let named = match logs::witnesses(folder, config) {
        Ok(Some(named)) if !named.is_empty() => named,
        Ok(_) => {
            return Check::warn(
                "witnesses",
                "none: a copy of an old ledger, or two views of one log, are found only by clients that compare",
                "Let clients or auditors run `sekisho-verify witness`, and name them in [logs] witnesses.",
            );
        }
        Err(error) => {
            return Check::fail("witnesses", format!("{error:#}"), "Correct that file.");
        }
    };
    let answers = tokio::task::spawn_blocking(move || named.answer()).await;
    let answers = answers.unwrap_or_default();
    let silent: Vec<_> = answers
        .iter()
        .filter(|it| !it.1)
        .map(|it| it.0.as_str())
        .collect();
    if silent.is_empty() {
        return Check::ok("witnesses", format!("{} answer", answers.len()));
    }
    Check::warn(
        "witnesses",
        format!(
            "{} of {} do not answer: {}",
            silent.len(),
            answers.len(),
            silent.join(", ")
        ),
        "Ask who runs them. Without a quorum reads stop at logs.uncovered_subjects_max.",
    )
}

/// What the logs are at.
pub(super) fn published(folder: &Folder, running: bool) -> Option<Check> {
    let path = folder.ledger().join("logs/root/checkpoint");
    let Ok(bytes) = std::fs::read(&path) else {
        return running.then(|| {
            Check::fail(
                "logs",
                "`serve` runs, but nothing is published",
                "Look at what `serve` says.",
            )
        });
    };
    let checkpoint = Note::parse(&bytes)
        .ok()
        .and_then(|note| Checkpoint::parse(note.text()).ok());
    Some(match checkpoint {
        Some(checkpoint) => Check::ok(
            "logs",
            format!("published up to leaf {} of the root log", checkpoint.size()),
        ),
        None => Check::fail(
            "logs",
            format!("{} is no checkpoint", path.display()),
            "Remove that file: the next start derives it again.",
        ),
    })
}
