//! `sekisho doctor`: what a new user gets wrong, and what to do.

use crate::admin::Opened;
use crate::folder::Folder;
use crate::init::APPROVERS;

/// What a start says aloud.
pub fn at_start(folder: &Folder, opened: &Opened) -> Vec<String> {
    let mut lines = Vec::new();
    if !opened.keyring.has_passphrase() {
        lines.push("the master key has no passphrase: for demo and trial only".to_owned());
    }
    if APPROVERS.iter().any(|name| folder.path(&format!("people/{name}.key")).exists()) {
        lines.push(
            "the approvers' keys still lie in people/: hand each to its approver and remove it here".to_owned(),
        );
    }
    lines
}
