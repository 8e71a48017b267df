//! What was checked, in words and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};
use verify::check::Checked;
use verify::key::KeyFile;
use verify::lang::Lang;
use verify::places::hex;
use verify::problem::Severity;
use verify::stamps::Stamped;
use verify::state::Remembered;
use verify::time::At;

/// What no log can prove, whatever it holds.
pub(super) fn limits(key_file: &KeyFile, lang: Lang) -> Vec<&'static str> {
    let mut all = match lang {
        Lang::En => vec![
            "what was never recorded: a gate that was changed to record nothing shows nothing here; customers that you plant (canaries) and the database's own counters find it",
            "what was done with what was seen: a camera at a screen, a note on paper",
            "who sat behind a login: a record names an actor, not a face",
            "the last seconds: what no root leaf covers yet, and what no quorum has cosigned yet",
            "what is in the encrypted lists: `report` opens them with your officer's file",
        ],
        Lang::Ja => vec![
            "記録されなかったこと: 何も記録しないよう改変された関所は、ここに何も残しません。おとりの顧客やデータベースの計数で見つけます",
            "見た後に何をしたか: 画面の撮影や、紙への書き写し",
            "ログインの前に誰が座っていたか: 記録は担当者番号を示し、顔は示しません",
            "最後の数秒: まだルート葉に含まれない、または定足数の連署がまだない記録",
            "暗号化された一覧の中身: 責任者ファイルを使い `report` で開きます",
        ],
    };
    if key_file.policy.needs_none() {
        all.insert(0, lang.pick(
            "that others are shown the same log: your key file names no witness, so a second history for someone else would not be noticed",
            "他者にも同じログが示されていること: 鍵ファイルに証人がないため、別の履歴には気付けません",
        ));
    }
    all
}

fn title(key_file: &KeyFile, lang: Lang) -> String {
    let (tree, ledger) = (key_file.tree(), hex(&key_file.ledger));
    let (code, generation) = (&key_file.code, key_file.generation);
    match lang {
        Lang::En => format!("Log {tree} {code} of ledger {ledger}, generation {generation}"),
        Lang::Ja => format!("台帳 {ledger} 第 {generation} 世代のログ {tree} {code}"),
    }
}

/// What was checked, one sentence a line.
pub(super) fn sentences(
    key_file: &KeyFile,
    checked: &Checked,
    remembered: Option<&Remembered>,
    lang: Lang,
) -> Vec<String> {
    let it = &checked.summary;
    let records = &it.records;
    let newest = it.newest_ms.map_or("-".to_owned(), |ms| At(ms).to_string());
    let first = it.first_ms.map_or("-".to_owned(), |ms| At(ms).to_string());
    let leaves = it.root_leaves.saturating_sub(it.root_from);
    let (entries, slots, cosigned, covered) = (it.entries, it.slots, it.cosigned, it.covered);
    let mut all = match lang {
        Lang::En => vec![
            format!(
                "{entries} entries of your log, from the first ({first}) on, against every tile and every signed size"
            ),
            format!(
                "{leaves} root leaves, from leaf {} on; the newest is of {newest}",
                it.root_from
            ),
            format!("{slots} times what the root log says of your log, each with its proof"),
        ],
        Lang::Ja => vec![
            format!(
                "あなたのログの {entries} 件（最初は {first}）を、すべてのタイルと署名された大きさに照らしました"
            ),
            format!(
                "ルート葉 {leaves} 枚（葉 {} から）。最新は {newest}",
                it.root_from
            ),
            format!("ルートログがあなたのログについて述べた {slots} 回すべてを、証明とともに"),
        ],
    };
    if !key_file.policy.needs_none() {
        all.push(match lang {
            Lang::En => format!("{cosigned} kept checkpoints; a quorum of your witnesses has cosigned {covered} of {} root leaves", it.root_leaves),
            Lang::Ja => format!("保存された連署 {cosigned} 件。証人の定足数はルート葉 {} 枚のうち {covered} 枚に連署しています", it.root_leaves),
        });
    }
    if let Some(remembered) = remembered {
        let (at, size) = (At(remembered.checked_ms), remembered.own.size);
        all.push(match lang {
            Lang::En => {
                format!("what you saw on {at} ({size} entries): whether it is still the same")
            }
            Lang::Ja => format!("{at} に見た {size} 件が今も同じであるか"),
        });
    }
    let (exposures, probe_only, rows) = (records.exposures, records.probe_only, records.rows);
    let (probes, refusals, actors) = (records.probes, records.refusals, records.actors);
    all.push(match lang {
        Lang::En => format!("their content: {exposures} exposures of {rows} rows, {probes} probes ({probe_only} records of probes alone), {refusals} refusals, {actors} actors; times in order, numbers add up"),
        Lang::Ja => format!("内容: 閲覧 {exposures} 件（{rows} 行）、照会 {probes} 回（照会のみの記録 {probe_only} 件）、拒否 {refusals} 回、担当者 {actors} 名。時刻の順序と数の整合"),
    });
    if it.unread > 0 {
        let (unread, read) = (it.unread, entries.saturating_sub(it.unread));
        all.push(match lang {
            Lang::En => format!("of these, {unread} by their hashes alone: by age they are published no more (see below); {read} were reread"),
            Lang::Ja => format!("このうち {unread} 件は、保存期間の経過により公開されなくなったため（下記）、ハッシュ値のみ確認しました。{read} 件は読み直しました"),
        });
    }
    if let Some(pruned) = records.pruned.filter(|_| it.unread == 0) {
        let (below, index, at) = (pruned.below, pruned.index, At(pruned.at_ms));
        all.push(match lang {
            Lang::En => format!("all entries are here; by age those before entry {below} are published no more elsewhere, as entry {index} of {at} declares: keep this copy"),
            Lang::Ja => format!("すべての記録がここにあります。記録 {below} より前は保存期間の経過により公開されなくなったと、{at} の記録 {index} が届け出ています。この写しを保管してください"),
        });
    }
    if let Some(before) = records.lists_destroyed_before {
        let (year, month) = (before / 100, before % 100);
        all.push(match lang {
            Lang::En => format!("the lists of who was seen are destroyed by age for the months before {year}-{month:02}, as a record in your log says; what the records say stays"),
            Lang::Ja => format!("{year}年{month}月より前の一覧（誰の情報か）は保存期間の経過により破棄されたと、あなたのログに記録があります。記録自体は残ります"),
        });
    }
    all
}

/// What an authority vouches for.
fn stamped_sentence(it: &Stamped, lang: Lang) -> String {
    let (stamps, checked, authority) = (it.stamps, it.checked, &it.authority);
    let Some(proven) = &it.proven else {
        return match lang {
            Lang::En => format!(
                "{stamps} time stamps of an authority; none of them proves anything any more"
            ),
            Lang::Ja => {
                format!("認証局のタイムスタンプ {stamps} 件。いずれも、もう何も証明しません")
            }
        };
    };
    let (leaves, at, until) = (proven.leaves, At(proven.at_ms), At(proven.until_ms));
    match lang {
        Lang::En => format!(
            "{stamps} time stamps ({checked} of them read now): the authority {authority} vouches that the first {leaves} root leaves, and all entries below them, existed at {at} as they are here; good until {until}"
        ),
        Lang::Ja => format!(
            "タイムスタンプ {stamps} 件（今回 {checked} 件を確認）。認証局 {authority} により、最初のルート葉 {leaves} 枚とその下のすべての記録が {at} に今のまま存在したことが証明されます（{until} まで有効）"
        ),
    }
}

fn listed(out: &mut String, checked: &Checked, severity: Severity, lang: Lang) {
    for problem in checked.problems.found() {
        if problem.severity() == severity {
            let _ = writeln!(out, "  - {} [{}]", problem.say(lang), problem.code());
        }
    }
    for (code, more) in checked.problems.more() {
        let of = checked.problems.found().iter().find(|it| it.code() == code);
        if of.is_some_and(|it| it.severity() == severity) {
            let _ = match lang {
                Lang::En => writeln!(out, "  - and {more} more [{code}]"),
                Lang::Ja => writeln!(out, "  - ほか {more} 件 [{code}]"),
            };
        }
    }
}

/// Everything that was found, with headings.
pub(super) fn problems(checked: &Checked, lang: Lang) -> String {
    let mut out = String::new();
    let wrong = checked.problems.count(Severity::Wrong);
    let incomplete = checked.problems.count(Severity::Incomplete);
    if wrong > 0 {
        let _ = match lang {
            Lang::En => writeln!(out, "WRONG ({wrong})"),
            Lang::Ja => writeln!(out, "異常 ({wrong})"),
        };
        listed(&mut out, checked, Severity::Wrong, lang);
    }
    if incomplete > 0 {
        let _ = match lang {
            Lang::En => writeln!(out, "NOT CHECKED ({incomplete})"),
            Lang::Ja => writeln!(out, "未確認 ({incomplete})"),
        };
        listed(&mut out, checked, Severity::Incomplete, lang);
    }
    if checked.problems.count(Severity::Notice) > 0 {
        out += lang.pick("To know\n", "お知らせ\n");
        listed(&mut out, checked, Severity::Notice, lang);
    }
    out
}

/// For people.
pub(super) fn text(
    key_file: &KeyFile,
    from: &str,
    checked: &Checked,
    stamped: Option<&Stamped>,
    remembered: Option<&Remembered>,
    lang: Lang,
) -> String {
    let mut out = format!("{}\n{from}\n\n", title(key_file, lang));
    out += lang.pick("Checked\n", "確認したこと\n");
    let stamped = stamped.map(|it| stamped_sentence(it, lang));
    for sentence in sentences(key_file, checked, remembered, lang)
        .into_iter()
        .chain(stamped)
    {
        let _ = writeln!(out, "  - {sentence}");
    }
    out.push('\n');
    let problems = problems(checked, lang);
    if checked.problems.worst() < Some(Severity::Incomplete) {
        out += lang.pick(
            "VERIFIED: nothing is wrong.\n",
            "検証済み: 異常はありません。\n",
        );
    }
    out += &problems;
    out += lang.pick("\nWhat this cannot prove\n", "\nこれで証明できないこと\n");
    for limit in limits(key_file, lang) {
        let _ = writeln!(out, "  - {limit}");
    }
    out
}

/// How many more there are of each code than are named.
pub(super) fn more(checked: &Checked) -> Value {
    let more = checked.problems.more();
    let more: serde_json::Map<String, Value> = more
        .map(|(code, more)| (code.to_owned(), more.into()))
        .collect();
    more.into()
}

/// For programs.
pub(super) fn json(
    key_file: &KeyFile,
    checked: &Checked,
    stamped: Option<&Stamped>,
    remembered: Option<&Remembered>,
    lang: Lang,
    exit: u8,
) -> Value {
    let problems: Vec<Value> = checked
        .problems
        .found()
        .iter()
        .map(|it| it.json(lang))
        .collect();
    json!({
        "verified": checked.is_verified(),
        "exit": exit,
        "ledger": hex(&key_file.ledger),
        "generation": key_file.generation,
        "log": key_file.tree(),
        "checked": checked.summary,
        "timestamps": stamped,
        "last_look_ms": remembered.map(|it| it.checked_ms),
        "problems": problems,
        "more": more(checked),
        "cannot_prove": limits(key_file, lang),
    })
}
