//! `sekisho-verify copy`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use verify::lang::Lang;
use verify::mirror::{Contradiction, Copied, MirrorError, mirror};

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
            MirrorError::Missing(_) | MirrorError::OtherLog { .. } => misused(error),
            MirrorError::Forged { .. } | MirrorError::Older { .. } | MirrorError::Forked { .. } => {
                Stop {
                    code: 1,
                    says: error.to_string(),
                }
            }
            _ => unreachable(error),
        })?;
    let code = u8::from(!copied.contradictions.is_empty());
    print(&if arguments.answer.json {
        format!("{:#}\n", json!({ "copied": copied, "exit": code }))
    } else {
        said(&copied, &arguments.to, arguments.answer.lang())
    });
    Ok(code)
}

fn said(copied: &Copied, to: &Path, lang: Lang) -> String {
    let (files, bytes, entries) = (copied.files, copied.bytes, copied.entries);
    let (leaves, gone, to) = (copied.root_leaves, copied.gone, to.display());
    let mut out = lang.pick(
            format!("{to}: {files} files written ({bytes} bytes); your log has {entries} entries, the root log {leaves} leaves. Not checked yet: run `sekisho-verify check`.\n"),
            format!("{to}: {files} ファイル（{bytes} バイト）を書きました。ログは {entries} 件、ルート葉は {leaves} 枚です。まだ検証していません: `sekisho-verify check` を実行してください。\n"),
    );
    if gone > 0 {
        out += &lang.pick(
            format!("{gone} bundles of old entries are published no more there and not in your copy; `check` says whether your log declares that.\n"),
            format!("古い記録のファイル {gone} 個は公開されておらず、写しにもありません。あなたのログにその届け出があるかは `check` が示します。\n"),
        );
    }
    for Contradiction { path, beside } in &copied.contradictions {
        out += &lang.pick(
            format!("CONTRADICTION: {path} may only grow, and is another one there. Yours was kept; theirs is {beside}. Keep both, and show them to your auditor.\n"),
            format!("矛盾: {path} は増えるだけのはずですが、先方のものは内容が違います。あなたのものは残し、先方のものを {beside} に保存しました。両方を保管し、監査人に示してください。\n"),
        );
    }
    out
}
