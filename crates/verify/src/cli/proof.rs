//! `sekisho-verify proof`.

use std::path::PathBuf;

use clap::Args;
use event::record::Body;
use serde_json::json;
use tlog::TlogProof;
use verify::entry::RootLeaf;
use verify::keys::KeyList;
use verify::lang::Lang;
use verify::places::NOTE_BYTES_MAX;
use verify::platform;
use verify::proof::{PROOF_FILE_BYTES_MAX, ProofFile, ProofFileError, Proven, root_holds};
use verify::time::At;

use super::{Answer, Ending, Stop, key_file, misused, print, read_text};

/// Checks the proof of one record, from one file, with no network.
///
/// The file is what `sekisho log proof` writes: a record, that it is in the log, that a root leaf
/// commits to that log, and that your witnesses cosigned the root log. Anyone with the key file can
/// check it. A plain C2SP tlog-proof of a root leaf is checked too, if --keys gives the list of log
/// keys; the leaf is the proof's extra data, or --leaf.
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub(super) struct ProofArguments {
    /// The proof.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The key file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// For a C2SP tlog-proof of the root log: the ledger's file `keys`.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// For a C2SP tlog-proof of the root log: the root leaf, 53 bytes.
    #[arg(long, value_name = "FILE", requires = "keys")]
    leaf: Option<PathBuf>,
    #[command(flatten)]
    pub(super) answer: Answer,
}

pub(super) fn run(arguments: &ProofArguments) -> Ending {
    let lang = arguments.answer.lang();
    let key_file = key_file(&arguments.key)?;
    let text = read_text(&arguments.file, PROOF_FILE_BYTES_MAX)?;
    if text.starts_with("c2sp.org/tlog-proof@v1\n") {
        return root_proof(arguments, &key_file, &text, lang);
    }
    let proven = ProofFile::parse(&text)
        .and_then(|proof| proof.verify(&key_file))
        .map_err(|error| Stop {
            code: match error {
                ProofFileError::Fails(_) => 1,
                _ => 2,
            },
            says: error.to_string(),
        })?;
    print(&if arguments.answer.json {
        let (kind, _) = proven.body.kind();
        let cosigned: Vec<_> = proven
            .cosigned
            .iter()
            .map(
                |(name, seconds)| json!({ "witness": name, "at_ms": seconds.saturating_mul(1000) }),
            )
            .collect();
        let json = json!({
            "verified": true, "exit": 0, "log": key_file.tree(), "entry": proven.index,
            "at_ms": proven.times.wall_ms, "elapsed_ms": proven.times.elapsed_ms, "kind": kind,
            "says": describe(&proven.body, lang), "root_leaf": proven.leaf,
            "root_leaf_at_ms": proven.leaf_times.wall_ms, "cosigned": cosigned,
        });
        format!("{json:#}\n")
    } else {
        as_text(&proven, &key_file.tree().to_string(), lang)
    });
    Ok(0)
}

fn witnesses(cosigned: &[(String, u64)], lang: Lang) -> String {
    if cosigned.is_empty() {
        return lang
            .pick(
                "No witness: the key file names none.\n",
                "証人: 鍵ファイルに指定がありません。\n",
            )
            .into();
    }
    let all: Vec<String> = cosigned
        .iter()
        .map(|(name, seconds)| format!("{name} ({})", At(seconds.saturating_mul(1000))))
        .collect();
    let all = all.join(", ");
    lang.pick(
        format!("Cosigned by a quorum of witnesses: {all}.\n"),
        format!("証人の定足数による連署: {all}。\n"),
    )
}

fn as_text(proven: &Proven, log: &str, lang: Lang) -> String {
    let (index, at) = (proven.index, At(proven.times.wall_ms));
    let (leaf, leaf_at) = (proven.leaf, At(proven.leaf_times.wall_ms));
    let says = describe(&proven.body, lang);
    let mut out = lang.pick(
        format!("PROVEN: entry {index} of {log}, of {at}:\n  {says}\nCommitted to by root leaf {leaf}, of {leaf_at}.\n"),
        format!("証明済み: {log} の記録 {index}（{at}）:\n  {says}\nルート葉 {leaf}（{leaf_at}）がこれを約束しています。\n"),
    );
    out += &witnesses(&proven.cosigned, lang);
    out
}

fn root_proof(
    arguments: &ProofArguments,
    key_file: &verify::key::KeyFile,
    text: &str,
    lang: Lang,
) -> Ending {
    let fails = |says: String| Stop { code: 1, says };
    let keys = arguments.keys.as_ref().ok_or_else(|| {
        misused("a C2SP tlog-proof does not hold the list of log keys: give the ledger's file `keys` with --keys")
    })?;
    let bytes = platform::read_bytes(keys, NOTE_BYTES_MAX)
        .map_err(|error| misused(format!("{}: {error}", keys.display())))?;
    let keys = KeyList::open(&bytes, key_file).map_err(|error| fails(error.to_string()))?;
    let proof = TlogProof::parse(text.as_bytes()).map_err(misused)?;
    let leaf = match &arguments.leaf {
        Some(path) => platform::read_bytes(path, 4096)
            .map_err(|error| misused(format!("{}: {error}", path.display())))?,
        None => proof.extra.clone(),
    };
    let parsed = RootLeaf::parse(&leaf)
        .map_err(|error| misused(format!("the root leaf (extra data or --leaf): {error}")))?;
    let cosigned = root_holds(&proof, &leaf, &keys, key_file, parsed.times)
        .map_err(|error| fails(format!("the proof does not hold: {error}")))?;
    let (index, at) = (proof.index, At(parsed.times.wall_ms));
    print(&if arguments.answer.json {
        let json = json!({ "verified": true, "exit": 0, "log": "root", "entry": index,
                           "at_ms": parsed.times.wall_ms });
        format!("{json:#}\n")
    } else {
        let said = lang.pick(
            format!("PROVEN: leaf {index} of the root log, of {at}.\n"),
            format!("証明済み: ルートログの葉 {index}（{at}）。\n"),
        );
        said + &witnesses(&cosigned, lang)
    });
    Ok(0)
}

/// A record in a sentence.
fn describe(body: &Body, lang: Lang) -> String {
    match body {
        Body::Exposure(it) => {
            let (actor, session, rows) = (it.who.actor, it.who.session, it.rows);
            let (role, probes, people) = (it.who.role, it.probes, it.subjects.charged);
            let grant = it.who.grant.map_or(String::new(), |grant| {
                lang.pick(
                    format!(" under grant {grant}"),
                    format!("（特別許可 {grant}）"),
                )
            });
            lang.pick(
                format!("actor {actor} ({role}, session {session}){grant}: {rows} rows released, {people} people charged, {probes} probes"),
                format!("担当者 {actor}（{role}、セッション {session}）{grant}: {rows} 行を表示、{people} 人、照会 {probes} 回"),
            )
        }
        Body::Refused { who, count, .. } => {
            let actor = who
                .as_ref()
                .map_or("-".to_owned(), |who| who.actor.to_string());
            lang.pick(
                format!("actor {actor}: refused {count} times"),
                format!("担当者 {actor}: {count} 回拒否"),
            )
        }
        Body::TerminalCopy {
            who,
            bytes,
            subjects,
            refused,
            ..
        } => {
            let actor = who.actor;
            let became = match refused {
                None => lang.pick("let out", "許可"),
                Some(_) => lang.pick("refused", "拒否"),
            };
            lang.pick(
                format!("actor {actor}: a file for a company medium, {subjects} people, {bytes} bytes: {became}"),
                format!("担当者 {actor}: 会社媒体へのファイル、{subjects} 人、{bytes} バイト: {became}"),
            )
        }
        Body::LogOpened { slot, .. } => lang.pick(
            format!("the log was opened, in slot {slot}"),
            format!("ログの開始（スロット {slot}）"),
        ),
        Body::LossDeclared {
            generation, lost, ..
        } => {
            let lost = verify::lang::plain(lost);
            lang.pick(
                format!("a loss was declared, generation {generation} began: {lost}"),
                format!("消失の届け出、第 {generation} 世代の開始: {lost}"),
            )
        }
        body => {
            let (kind, _) = body.kind();
            lang.pick(
                format!("a record of kind {kind}"),
                format!("種類 {kind} の記録"),
            )
        }
    }
}
