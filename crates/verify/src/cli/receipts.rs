//! `sekisho-verify receipts`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use verify::check::{Checked, Question, check_all};
use verify::lang::Lang;
use verify::receipt::{Matched, Mismatch, RECEIPTS_BYTES_MAX, Receipts};
use verify::time::At;

use super::{
    Answer, Ending, Source, code, key_file, misused, no_log, now_ms, print, read_text, say,
    state_path,
};

/// Matches the receipts that were pushed to you against the log.
///
/// Each receipt is a signed promise: this entry stands at this place, and a checkpoint will show it by
/// this time. Where the log breaks one, the receipt and the checkpoint together prove it to anyone.
/// The log is verified first. The file holds a receipt a line (docs/format/receipt.md).
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub(super) struct ReceiptsArguments {
    #[command(flatten)]
    source: Source,
    /// The receipts, a JSON object a line.
    #[arg(long, value_name = "FILE")]
    receipts: PathBuf,
    #[command(flatten)]
    pub(super) answer: Answer,
}

pub(super) fn run(arguments: &ReceiptsArguments) -> Ending {
    let lang = arguments.answer.lang();
    let source = &arguments.source;
    let key_file = key_file(&source.key)?;
    let text = read_text(&arguments.receipts, RECEIPTS_BYTES_MAX)?;
    let mut receipts = Receipts::parse(&text)
        .map_err(|error| misused(format!("{}: {error}", arguments.receipts.display())))?;
    let remembered = super::remembered(&state_path(&source.key), &key_file)?;
    let store = super::store(&source.from, source.ca.as_deref())?;
    let now_ms = now_ms();
    let question = Question {
        key_file: &key_file,
        store: &*store,
        remembered: remembered.as_ref(),
        whole: false,
        now_ms,
        current: false,
    };
    let checked =
        check_all(question, &mut receipts).map_err(|error| no_log(&error, &source.from, lang))?;
    let newest = checked.summary.newest_ms.unwrap_or(0);
    let (Some(keys), true) = (&checked.keys, checked.is_verified()) else {
        let code = code(&checked);
        print(&if arguments.answer.json {
            let json = say::json(&key_file, &checked, None, remembered.as_ref(), lang, code);
            format!("{json:#}\n")
        } else {
            say::problems(&checked, lang)
        });
        return Ok(code);
    };
    let matched = receipts.finish(&key_file, keys, At(newest), At(now_ms));
    let code = match (matched.wrong.is_empty(), matched.overdue.is_empty()) {
        (false, _) => 1,
        (true, false) => 3,
        (true, true) => 0,
    };
    print(&if arguments.answer.json {
        format!("{:#}\n", as_json(&matched, &checked, lang, code))
    } else {
        as_text(&matched, At(newest), lang) + &say::problems(&checked, lang)
    });
    Ok(code)
}

fn says(mismatch: &Mismatch, lang: Lang) -> &'static str {
    match mismatch {
        Mismatch::OtherLog => lang.pick("it is of another log", "別のログのものです"),
        Mismatch::Signature => lang.pick(
            "it is not signed by a log key that was in use",
            "使用中のログ鍵の署名がありません",
        ),
        Mismatch::OtherEntry => lang.pick(
            "the log holds another entry at this place: the promise was broken",
            "ログのその位置には別の記録があります。約束が破られています",
        ),
        Mismatch::OtherTime => lang.pick(
            "the entry at this place has another time: the promise was broken",
            "ログのその位置の記録は時刻が違います。約束が破られています",
        ),
        Mismatch::Absent => lang.pick(
            "the log does not hold it, and the time by which it had to is over: the promise was broken",
            "期限を過ぎてもログにありません。約束が破られています",
        ),
    }
}

fn as_text(matched: &Matched, newest: At, lang: Lang) -> String {
    let (held, not_due, wrong) = (matched.held, matched.not_due, matched.wrong.len());
    let overdue = matched.overdue.len();
    let mut out = lang.pick(
        format!("{held} receipts hold, {not_due} are not due yet, {overdue} are overdue, {wrong} are wrong\n"),
        format!("受領証 {held} 件が一致、{not_due} 件は期限前、{overdue} 件は期限超過、{wrong} 件が異常です\n"),
    );
    for (line, index) in &matched.overdue {
        out += &lang.pick(
            format!("  - line {line} (entry {index}): the time by which the log had to hold it is over, and the log that is shown ends before it, at {newest}: look at a newer copy; if there is none, the promise was broken\n"),
            format!("  - {line} 行目（記録 {index}）: 期限を過ぎていますが、示されたログはその前（{newest}）で終わっています。新しい写しで確認してください。なければ、約束が破られています\n"),
        );
    }
    for (line, index, mismatch) in &matched.wrong {
        let says = says(mismatch, lang);
        out += &lang.pick(
            format!("  - line {line} (entry {index}): {says}\n"),
            format!("  - {line} 行目（記録 {index}）: {says}\n"),
        );
    }
    out
}

fn as_json(matched: &Matched, checked: &Checked, lang: Lang, code: u8) -> Value {
    let wrong: Vec<Value> = matched
        .wrong
        .iter()
        .map(|(line, index, mismatch)| {
            let code = match mismatch {
                Mismatch::OtherLog => "other-log",
                Mismatch::Signature => "signature",
                Mismatch::OtherEntry => "other-entry",
                Mismatch::OtherTime => "other-time",
                Mismatch::Absent => "absent",
            };
            json!({ "line": line, "entry": index, "code": code, "says": says(mismatch, lang) })
        })
        .collect();
    let overdue: Vec<Value> = matched
        .overdue
        .iter()
        .map(|(line, index)| json!({ "line": line, "entry": index }))
        .collect();
    let notices = checked.problems.found().iter();
    let notices: Vec<Value> = notices.map(|it| it.json(lang)).collect();
    json!({ "verified": wrong.is_empty() && overdue.is_empty(), "exit": code, "held": matched.held,
            "not_due": matched.not_due, "overdue": overdue, "wrong": wrong, "notices": notices,
            "more": say::more(checked) })
}
