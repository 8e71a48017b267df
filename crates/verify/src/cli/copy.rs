//! `sekisho-verify copy`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use verify::mirror::{MirrorError, mirror};

use super::{Answer, Ending, Source, Stop, key_file, misused, now_ms, print, unreachable};

/// Copies what you may read into a folder of your own, or brings that copy up to date.
///
/// With it `check`, `report` and `receipts` work with the network unplugged, and nobody can take away
/// what you hold. Interrupted, it goes on where it was. It believes nothing and proves nothing: run
/// `check` on the copy.
///
///     sekisho-verify copy --key acme.sekisho --from https://logs.example.com/ledger --to acme-log
///     sekisho-verify check --key acme.sekisho --from acme-log
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub(super) struct CopyArguments {
    #[command(flatten)]
    source: Source,
    /// Your folder; made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    #[command(flatten)]
    pub(super) answer: Answer,
}

pub(super) fn run(arguments: &CopyArguments) -> Ending {
    let source = &arguments.source;
    let key_file = key_file(&source.key)?;
    let store = super::store(&source.from, source.ca.as_deref())?;
    let copied =
        mirror(&key_file, &*store, &arguments.to, now_ms()).map_err(|error| match error {
            MirrorError::Missing(_) => misused(error),
            MirrorError::Forged { .. } | MirrorError::Older { .. } => Stop {
                code: 1,
                says: error.to_string(),
            },
            _ => unreachable(error),
        })?;
    let (files, bytes, entries) = (copied.files, copied.bytes, copied.entries);
    let leaves = copied.root_leaves;
    print(&if arguments.answer.json {
        format!("{:#}\n", json!({ "copied": copied, "exit": 0 }))
    } else {
        let to = arguments.to.display();
        arguments.answer.lang().pick(
            format!("{to}: {files} files written ({bytes} bytes); your log has {entries} entries, the root log {leaves} leaves. Not checked yet: run `sekisho-verify check`.\n"),
            format!("{to}: {files} ファイル（{bytes} バイト）を書きました。ログは {entries} 件、ルート葉は {leaves} 枚です。まだ検証していません: `sekisho-verify check` を実行してください。\n"),
        )
    });
    Ok(0)
}
