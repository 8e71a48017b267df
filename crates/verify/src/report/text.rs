//! The report as text, and the sentences that text and page share.

use std::fmt::Write;

use event::{Class, Role};

use super::person::How;
use super::{Line, PersonAnswer, Right, Verified};
use crate::lang::Lang;
use crate::places::hex;
use crate::time::Date;

/// A table: its headings and rows.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// Columns from here on are numbers.
    pub(super) numbers: usize,
}

pub(super) fn role(role: Role, lang: Lang) -> &'static str {
    match (lang, role) {
        (Lang::En, role) => role.name(),
        (Lang::Ja, Role::Operator) => "オペレーター",
        (Lang::Ja, Role::Supervisor) => "管理者（SV）",
        (Lang::Ja, Role::Maintainer) => "保守",
        (Lang::Ja, Role::Administrator) => "システム管理者",
        (Lang::Ja, Role::Security) => "セキュリティ",
        (Lang::Ja, Role::Auditor) => "監査",
        (Lang::Ja, Role::ClientOfficer) => "委託元責任者",
        (Lang::Ja, Role::Approver) => "承認者",
        (Lang::Ja, Role::Importer) => "取込",
    }
}

fn class(class: Class, lang: Lang) -> &'static str {
    match (lang, class) {
        (Lang::En, class) => class.name(),
        (Lang::Ja, Class::Name) => "氏名",
        (Lang::Ja, Class::Kana) => "カナ",
        (Lang::Ja, Class::Address) => "住所",
        (Lang::Ja, Class::Phone) => "電話番号",
        (Lang::Ja, Class::Email) => "メールアドレス",
        (Lang::Ja, Class::BirthDate) => "生年月日",
        (Lang::Ja, Class::CustomerNumber) => "顧客番号",
        (Lang::Ja, Class::FreeText) => "自由記述",
    }
}

fn right(right: Right, lang: Lang) -> String {
    match (right, lang) {
        (Right::Role(it), lang) => role(it, lang).to_owned(),
        (Right::Grant(grant), Lang::En) => format!("grant {grant}"),
        (Right::Grant(grant), Lang::Ja) => format!("特別許可 {grant}"),
    }
}

fn numbers(line: &Line) -> Vec<String> {
    [
        line.rows,
        line.subjects,
        line.new,
        line.masked,
        line.probes,
        line.refusals,
        line.findings,
    ]
    .iter()
    .map(u64::to_string)
    .collect()
}

const NUMBERS_EN: [&str; 7] = [
    "rows", "people", "new", "masked", "probes", "refused", "findings",
];
const NUMBERS_JA: [&str; 7] = ["行", "人数", "初見", "伏字", "照会", "拒否", "検知"];

impl Verified<'_> {
    pub(super) fn title(&self, lang: Lang) -> String {
        let code = &self.key_file.code;
        match lang {
            Lang::En => format!("Who saw the customers of {code}"),
            Lang::Ja => format!("{code} の顧客を誰が見たか"),
        }
    }

    /// What the report is about and rests on, one sentence a line.
    pub(super) fn basis(&self, lang: Lang) -> Vec<String> {
        let (since, until) = self.days();
        let offset = self.report.period.offset;
        let summary = &self.checked.summary;
        let (entries, leaves) = (summary.entries, summary.root_leaves);
        let covered = summary.covered;
        let at = |ms: Option<u64>| ms.map_or("-".into(), |ms| offset.show(crate::time::At(ms)));
        let (first, last) = (at(summary.first_ms), at(summary.newest_ms));
        let (log, ledger) = (self.key_file.tree(), hex(&self.key_file.ledger));
        let generation = self.key_file.generation;
        let mut all = match lang {
            Lang::En => vec![
                format!("{since} to {until}, days at UTC{offset}"),
                format!(
                    "Log {log} of ledger {ledger}, generation {generation}, from {first} to {last}"
                ),
                format!(
                    "Verified before anything was counted: all {entries} records, {leaves} root leaves, {covered} of them cosigned by your witnesses"
                ),
            ],
            Lang::Ja => vec![
                format!("{since} から {until} まで（日付は UTC{offset}）"),
                format!("台帳 {ledger} 第 {generation} 世代のログ {log}、{first} から {last} まで"),
                format!(
                    "集計の前に検証済み: 記録 {entries} 件すべて、ルート葉 {leaves} 枚（うち証人の連署 {covered} 枚）"
                ),
            ],
        };
        if summary.unread > 0 {
            let (unread, read) = (summary.unread, entries.saturating_sub(summary.unread));
            all.push(match lang {
                Lang::En => format!("Counted: {read} records. {unread} old ones are published no more and could not be reread (below): this report says nothing of them"),
                Lang::Ja => format!("集計の対象は記録 {read} 件です。古い {unread} 件は公開されなくなり読み直せないため（下記）、この報告には含まれません"),
            });
        }
        let begun = summary.first_ms.map(|ms| Date::of_day(self.day(ms)));
        let asked = self.report.period.since.map(Date::of_day);
        if let (Some(begun), Some(asked)) = (begun, asked)
            && asked < begun
        {
            all.push(match lang {
                Lang::En => format!("Asked from {asked} on: your log begins on {begun}, and says nothing of the time before"),
                Lang::Ja => format!("{asked} からの依頼ですが、ログは {begun} に始まり、それ以前のことは分かりません"),
            });
        }
        let ended = summary.newest_ms.map(|ms| Date::of_day(self.day(ms)));
        let asked = self.report.period.until.map(Date::of_day);
        if let (Some(ended), Some(asked)) = (ended, asked)
            && ended < asked
        {
            all.push(match lang {
                Lang::En => format!("Asked up to {asked}: your copy ends on {ended}"),
                Lang::Ja => format!("{asked} までの依頼ですが、写しは {ended} までです"),
            });
        }
        for (at, by) in &self.report.officer_files {
            let (at, by) = (offset.show(*at), self.actor(*by));
            all.push(match lang {
                Lang::En => format!("The file with which your officer opens lists was made on {at} by actor {by}: who else has it?"),
                Lang::Ja => format!("責任者用の鍵ファイルが {at} に担当者 {by} により作成されました。受け取ったのは貴社だけか確認してください"),
            });
        }
        for ((actor, grant), files) in &self.report.files {
            let (first, last) = (offset.show(files.span.0), offset.show(files.span.1));
            let actor = self.actor(*actor);
            let grant = grant.map_or(0, |grant| grant.0);
            let super::Files {
                let_out,
                bytes,
                people,
                refused,
                ..
            } = files;
            all.push(match lang {
                Lang::En => format!("FILES for company media, by actor {actor} under grant {grant}, from {first} to {last}: {let_out} let out ({people} of your customers, {bytes} bytes), {refused} refused"),
                Lang::Ja => format!("会社媒体へのファイル持ち出し: 担当者 {actor}、特別許可 {grant}、{first} から {last} まで: 許可 {let_out} 件（お客様 {people} 人、{bytes} バイト）、拒否 {refused} 件"),
            });
        }
        for (at, cap) in &self.report.receipt_caps {
            let at = offset.show(*at);
            all.push(match (lang, cap) {
                (Lang::En, Some(cap)) => format!("From {at} on, at most {cap} of your customers are shown before you have acknowledged their receipts"),
                (Lang::En, None) => format!("From {at} on, any number of your customers may be shown before you have acknowledged their receipts"),
                (Lang::Ja, Some(cap)) => format!("{at} から、受領確認前に表示されるお客様は {cap} 人までです"),
                (Lang::Ja, None) => format!("{at} から、受領確認前に表示されるお客様の人数に上限はありません"),
            });
        }
        let cases = &self.report.cases;
        all.extend(cases.said(lang, &|at| offset.show(at), &|actor| self.actor(actor)));
        let total = &self.report.total;
        let (rows, subjects, new) = (total.rows, total.subjects, total.new);
        let (probes, refusals, actors) = (total.probes, total.refusals, self.report.actors.len());
        all.push(match lang {
            Lang::En => format!("In all: {actors} actors, {rows} rows, {subjects} people counted ({new} for the first time), {probes} probes, {refusals} refusals"),
            Lang::Ja => format!("合計: 担当者 {actors} 名、{rows} 行、延べ {subjects} 人（初見 {new} 人）、照会 {probes} 回、拒否 {refusals} 回"),
        });
        all
    }

    /// How the numbers are to be read.
    pub(super) fn notes(lang: Lang) -> [&'static str; 3] {
        match lang {
            Lang::En => [
                "people: distinct customers charged to the actor's budget; one who is read again within an hour's, a day's or a month's window is not counted again",
                "probes: values searched for or written, hit or miss; under a grant every row counts",
                "the log holds numbers of actors, not names; what was never recorded is not here",
            ],
            Lang::Ja => [
                "人数: 担当者の予算に数えられた顧客の数。期間（時間・日・月）内に再び見た人は数え直しません",
                "照会: 検索または書込みされた値の数（該当の有無によらず）。特別許可では行ごとに数えます",
                "ログにあるのは担当者番号で、氏名はありません。記録されなかったことは含まれません",
            ],
        }
    }

    pub(super) fn doubts_said(&self, lang: Lang) -> Vec<String> {
        let mut all: Vec<String> = self.doubts().iter().map(|it| it.say(lang)).collect();
        for (code, more) in self.checked.problems.more() {
            all.push(match lang {
                Lang::En => format!("and {more} more [{code}]"),
                Lang::Ja => format!("ほか {more} 件 [{code}]"),
            });
        }
        all
    }

    pub(super) fn tables(&self, lang: Lang) -> Vec<Table> {
        let offset = self.report.period.offset;
        let numbers_head = lang.pick(NUMBERS_EN, NUMBERS_JA);
        let head = |first: &[&'static str]| [first, &numbers_head].concat();
        let rows = self.report.lines.iter().map(|((day, actor, by), line)| {
            let mut row = vec![
                Date::of_day(*day).to_string(),
                self.actor(*actor),
                right(*by, lang),
            ];
            row.extend(numbers(line));
            row
        });
        let mut rows: Vec<Vec<String>> = rows.collect();
        for (day, count) in &self.report.nobody {
            let line = Line {
                refusals: *count,
                ..Line::default()
            };
            let mut row = vec![Date::of_day(*day).to_string(), "-".into(), "-".into()];
            row.extend(numbers(&line));
            rows.push(row);
        }
        rows.sort_by(|a, b| a[0].cmp(&b[0]));
        let by_day = Table {
            title: lang.pick("By day and actor", "日・担当者ごと").into(),
            head: head(&lang.pick(["day", "actor", "right"], ["日", "担当者", "権限"])),
            rows,
            numbers: 3,
        };
        let rows = self.report.sessions.iter().map(|(number, it)| {
            let mut row = vec![
                number.to_string(),
                self.actor(it.actor),
                offset.show(it.span.0),
                offset.show(it.span.1),
            ];
            row.extend(numbers(&it.line));
            row
        });
        let first = lang.pick(
            ["session", "actor", "first", "last"],
            ["セッション", "担当者", "最初", "最後"],
        );
        let sessions = Table {
            title: lang.pick("Sessions", "セッション").into(),
            head: head(&first),
            rows: rows.collect(),
            numbers: 4,
        };
        let mut all = vec![by_day, sessions];
        if let Some(person) = &self.person {
            all.insert(0, self.sightings(person, lang));
        }
        all
    }

    fn sightings(&self, person: &PersonAnswer, lang: Lang) -> Table {
        let how = |how: How| match how {
            How::Clear => lang.pick("shown", "表示"),
            How::Masked => lang.pick("masked", "伏字"),
            How::Probed => lang.pick("searched or written", "照会"),
            How::Filed => lang.pick("in a file for a company medium", "会社媒体へのファイル"),
            How::Refused => lang.pick("in a file that was refused", "拒否されたファイル"),
        };
        let offset = self.report.period.offset;
        let rows = person.sightings.iter().map(|it| {
            vec![
                offset.show(it.at),
                self.actor(it.actor),
                right(it.right, lang),
                it.session.to_string(),
                how(it.how).to_owned(),
                it.index.to_string(),
            ]
        });
        let what = class(person.class, lang);
        Table {
            title: match lang {
                Lang::En => format!("The person asked for (by {what})"),
                Lang::Ja => format!("お尋ねの人（{what}による）"),
            },
            head: lang
                .pick(
                    ["when", "actor", "right", "session", "how", "record"],
                    ["日時", "担当者", "権限", "セッション", "方法", "記録"],
                )
                .to_vec(),
            rows: rows.collect(),
            numbers: 6,
        }
    }

    /// What the answer about the person rests on.
    pub(super) fn person_said(&self, lang: Lang) -> Vec<String> {
        let Some(person) = &self.person else {
            return Vec::new();
        };
        let (times, opened, more) = (person.sightings.len(), person.opened, person.more);
        let mut all = vec![match lang {
            Lang::En if times == 0 => format!("Not in any of the {opened} lists that were opened"),
            Lang::En => format!(
                "{times} times in the {opened} lists that were opened{}",
                if more > 0 {
                    format!(", and {more} more")
                } else {
                    String::new()
                }
            ),
            Lang::Ja if times == 0 => format!("開いた一覧 {opened} 件のいずれにもありません"),
            Lang::Ja => format!(
                "開いた一覧 {opened} 件の中に {times} 回{}",
                if more > 0 {
                    format!("（ほか {more} 回）")
                } else {
                    String::new()
                }
            ),
        }];
        for ((month, why), (lists, rows)) in &person.closed {
            let because = why_closed(why, lang);
            all.push(match lang {
                Lang::En => format!(
                    "UNKNOWN: {lists} lists of {month} ({rows} rows) could not be opened: {because}"
                ),
                Lang::Ja => {
                    format!("不明: {month} の一覧 {lists} 件（{rows} 行）は開けません（{because}）")
                }
            });
        }
        all
    }

    /// For people.
    pub fn text(&self, lang: Lang) -> String {
        let mut out = format!("{}\n\n", self.title(lang));
        for sentence in self.basis(lang) {
            let _ = writeln!(out, "  {sentence}");
        }
        let doubts = self.doubts_said(lang);
        if !doubts.is_empty() {
            out += lang.pick("\nTo know\n", "\nお知らせ\n");
            for doubt in doubts {
                let _ = writeln!(out, "  - {doubt}");
            }
        }
        for table in self.tables(lang) {
            let _ = writeln!(out, "\n{}", table.title);
            out += &columns(&table);
        }
        let said = self.person_said(lang);
        if !said.is_empty() {
            out.push('\n');
        }
        for sentence in said {
            let _ = writeln!(out, "  {sentence}");
        }
        out.push('\n');
        for note in Self::notes(lang) {
            let _ = writeln!(out, "  * {note}");
        }
        out
    }
}

fn why_closed(why: &str, lang: Lang) -> &'static str {
    match why {
        "no-key" => lang.pick(
            "the month's key is not there or was destroyed",
            "月の鍵がないか、破棄されています",
        ),
        "by-age" => lang.pick(
            "destroyed by age, as a record in your log says",
            "保存期間の経過により破棄（あなたのログに記録があります）",
        ),
        "bad-key" => lang.pick(
            "the month's key does not open with your officer's file",
            "月の鍵が責任者ファイルで開きません",
        ),
        "missing" => lang.pick("the list is not there", "一覧がありません"),
        "unreadable" => lang.pick("the file cannot be read", "ファイルを読めません"),
        "does-not-open" | "other-list" => lang.pick(
            "the list was altered or is another record's",
            "一覧が改変されているか、別の記録のものです",
        ),
        _ => lang.pick("it is of a later version", "後の版のものです"),
    }
}

/// The width of a text on a terminal: wide characters count two.
fn width(text: &str) -> usize {
    text.chars()
        .map(|it| if it < '\u{1100}' { 1 } else { 2 })
        .sum()
}

fn columns(table: &Table) -> String {
    let mut widths: Vec<usize> = table.head.iter().map(|it| width(it)).collect();
    for row in &table.rows {
        for (max, cell) in widths.iter_mut().zip(row) {
            *max = width(cell).max(*max);
        }
    }
    let mut out = String::new();
    let head: Vec<String> = table.head.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&head).chain(&table.rows) {
        let mut line = String::from(" ");
        for (at, (cell, max)) in row.iter().zip(&widths).enumerate() {
            let space = " ".repeat(max - width(cell));
            let _ = if at >= table.numbers {
                write!(line, " {space}{cell}")
            } else {
                write!(line, " {cell}{space}")
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}
