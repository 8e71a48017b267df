//! The Japanese words.

use super::number::{self, Chance, bits, chance, in_units, percent, permille, thousands, times};
use super::{Told, always};
use crate::finding::{Cause, IdentityKind, TamperKind, Window};
use crate::record::Part;
use event::TerminalEvent;

pub(super) fn sentence(told: &Told<'_>) -> String {
    let what = what(told);
    let what = what.trim_start();
    match told.actor() {
        Some(actor) => format!("担当者 {actor}: {what}"),
        None => what.to_owned(),
    }
}

fn what(told: &Told<'_>) -> String {
    let client = of_client(told);
    match told.finding.cause {
        Cause::Burst {
            window,
            subjects,
            minutes,
            usual_max,
            granted,
        } => {
            let usual = match usual_max {
                0 => format!("この役割では{}の閲覧がこれまでありません", per(window)),
                _ => format!(
                    "この役割の過去 1 年の最多は{} {} 人です",
                    per(window),
                    thousands(usual_max)
                ),
            };
            let grant = match granted {
                0 => "特別許可はありません".to_owned(),
                _ => format!("特別許可の {} 人を超えた分です", thousands(granted)),
            };
            format!(
                "{client} {} 人を{}で閲覧しました。{usual}。{grant}",
                thousands(subjects),
                length(minutes)
            )
        }
        Cause::Step {
            subjects,
            days,
            expected,
        } => format!(
            "{client}初めて見る {} 人を {days} 日間で閲覧しました。通常のペースなら {} 人です",
            thousands(subjects),
            thousands(expected)
        ),
        Cause::Ledger {
            subjects,
            days,
            median,
            highest,
        } => format!(
            "{client}異なる {} 人を{}閲覧しました。同じ仕事量の同僚は中央値 {} 人、最多 {} 人です",
            thousands(subjects),
            span(days),
            thousands(median),
            thousands(highest)
        ),
        Cause::Walk {
            steps,
            ascending,
            near,
            days,
        } => format!(
            "{client}顧客を {days} 日間、順番に閲覧しました。次の人への移動 {} 回のうち、昇順が {} 回、すぐ隣が {} 回です",
            thousands(steps),
            thousands(ascending),
            thousands(near)
        ),
        Cause::Guess {
            probes,
            missed,
            usual_permille,
            days,
        } => format!(
            "{client} {days} 日間に {} 件を照会し、うち {} 件は該当者なしでした。この役割では通常 {} です",
            thousands(probes),
            thousands(missed),
            percent(usual_permille.into())
        ),
        Cause::Tamper { kind, count } => tampered(kind, count, &client),
        Cause::Chain {
            subjects,
            event,
            terminal,
            bytes,
            minutes,
        } => {
            let size = match bytes {
                0 => String::new(),
                _ => format!("（{}）", number::bytes(bytes)),
            };
            format!(
                "端末 {} に{client} {} 人が表示され、最初の表示から{}後に{}{size}",
                told.names.terminal(terminal),
                thousands(subjects),
                length(minutes),
                happened(event)
            )
        }
        Cause::Together {
            actors,
            subjects,
            expected,
            days,
        } => {
            let others = told.others("、");
            let with = match others.as_str() {
                "" => format!("{} 名で", thousands(actors.into())),
                others => format!("{others} と合わせて"),
            };
            format!(
                "{with}{client}異なる {} 人を {days} 日間で閲覧しました。同じ人数の同僚では {} 人です",
                thousands(subjects),
                thousands(expected)
            )
        }
        Cause::Identity { kind, count } => identity(kind, count),
        Cause::Silence {
            part,
            from_ms,
            until_ms,
            missing,
        } => silence(told, part, from_ms, until_ms, missing),
        Cause::Canary { count } => format!(
            "{client}誰も調べる理由のないおとりの顧客を {} 回閲覧しました",
            thousands(count.max(1))
        ),
        Cause::Balance {
            unexplained,
            subjects,
            usual_permille,
            days,
        } => format!(
            "{client} {days} 日間に閲覧した {} 人のうち {} 人に、通話・チケット・配送・特別許可の記録がありません。この役割では通常 {} です",
            thousands(subjects),
            thousands(unexplained),
            percent(usual_permille.into())
        ),
    }
}

fn tampered(kind: TamperKind, count: u64, client: &str) -> String {
    let count = thousands(count);
    match kind {
        TamperKind::Cells => format!(
            "{client}封印された値 {count} 件が検証できません。関所を通さずにデータベースが変更されました"
        ),
        TamperKind::Moved => format!(
            "{client}封印された値 {count} 件が本来と違う場所にあります。関所を通さずに移されました"
        ),
        TamperKind::Schema => {
            format!("{client}封印された表の形が承認されたものと違います（{count} 回）")
        }
        TamperKind::Unexpected => {
            format!("{client}求めていないところに封印された値 {count} 件が返されました")
        }
        TamperKind::Literals => {
            format!("{client}封印された列の近くの値 {count} 件が拒否されました")
        }
    }
}

fn identity(kind: IdentityKind, count: u64) -> String {
    let count = thousands(count);
    match kind {
        IdentityKind::Terminals => {
            format!("このアカウントが同時に {count} 台の端末で使われました")
        }
        IdentityKind::Hours => format!(
            "このアカウントが 1 日のうち {count} 時間使われました。1 人の働く時間を超えています"
        ),
        IdentityKind::Away => format!("本人の不在中にアカウントが使われました（閲覧 {count} 件）"),
        IdentityKind::Left => {
            format!("本人の退職後にアカウントが使われました（閲覧 {count} 件）")
        }
    }
}

fn silence(
    told: &Told<'_>,
    part: Option<Part>,
    from_ms: u64,
    until_ms: u64,
    missing: u64,
) -> String {
    let when = format!(
        "{} から {} まで（{}）",
        told.clock(from_ms),
        told.clock(until_ms),
        length(until_ms.saturating_sub(from_ms) / 60_000).trim()
    );
    let Some(part) = part else {
        return format!(
            "データベースが封印された表の {} 行を、関所を通さずに返しました。{when}",
            thousands(missing)
        );
    };
    let who = match part {
        Part::Counters => {
            return format!(
                "封印された表について PostgreSQL 自身が数えた行数が、{} より前に元に戻されました。それまでに何が読まれたかは分かりません",
                told.clock(until_ms)
            );
        }
        Part::Gate => "関所と台帳".to_owned(),
        Part::Witness(number) => format!("証人 {number} "),
        Part::Terminal(terminal) => format!("端末 {} ", told.names.terminal(terminal)),
        Part::Calls(client) => format!("委託元 {} の通話記録", told.names.client(client)),
        Part::Source => "取り込んだ記録の出所".to_owned(),
    };
    let lacks = match missing {
        0 => String::new(),
        _ => format!("。記録 {} 件が欠けています", thousands(missing)),
    };
    format!("{who}が沈黙していました。{when}{lacks}")
}

pub(super) fn arithmetic(told: &Told<'_>) -> Vec<String> {
    let mut lines = compared(&told.finding.cause);
    lines.push(surprise(told));
    lines
}

/// What was counted, and against what.
fn compared(cause: &Cause) -> Vec<String> {
    let ratio = |number, of| match times(number, of) {
        Some(times) => format!("{times} 倍"),
        None => "比べるものがまだありません".to_owned(),
    };
    let two = |counted: String, against: String| {
        vec![
            format!("数: {}", counted.trim_start()),
            format!("比較: {against}"),
        ]
    };
    match *cause {
        Cause::Burst {
            window,
            subjects,
            usual_max,
            granted,
            ..
        } => two(
            format!(
                "{}に閲覧した異なる人数。特別許可を超えた分 {}、特別許可の分 {}",
                per(window),
                thousands(subjects),
                thousands(granted)
            ),
            format!(
                "この役割の過去 1 年の最多 {}（{}）",
                thousands(usual_max),
                ratio(subjects, usual_max)
            ),
        ),
        Cause::Step {
            subjects,
            days,
            expected,
        } => two(
            format!(
                "増え始めてから {days} 日間に初めて見た人 {}",
                thousands(subjects)
            ),
            format!(
                "通常とみなすペースで {}（{}）",
                thousands(expected),
                ratio(subjects, expected)
            ),
        ),
        Cause::Ledger {
            subjects,
            median,
            highest,
            days,
        } => two(
            format!("{}閲覧した異なる人 {}", span(days), thousands(subjects)),
            format!(
                "同じ仕事量の同僚の中央値 {}（{}）、最多 {}（{}）",
                thousands(median),
                ratio(subjects, median),
                thousands(highest),
                ratio(subjects, highest)
            ),
        ),
        Cause::Walk {
            steps,
            ascending,
            near,
            ..
        } => two(
            format!(
                "移動 {} 回のうち昇順 {}、隣 {}",
                thousands(steps),
                percent(permille(ascending, steps)),
                percent(permille(near, steps))
            ),
            "偶然なら昇順は半分、隣はほぼありません".to_owned(),
        ),
        Cause::Guess {
            probes,
            missed,
            usual_permille,
            ..
        } => two(
            format!(
                "照会 {} 件のうち該当者なし {} 件（{}）",
                thousands(probes),
                thousands(missed),
                percent(permille(missed, probes))
            ),
            format!("この役割の通常 {}", percent(usual_permille.into())),
        ),
        Cause::Together {
            actors,
            subjects,
            expected,
            days,
        } => two(
            format!(
                "{} 名が {days} 日間に閲覧した異なる人 {}",
                thousands(actors.into()),
                thousands(subjects)
            ),
            format!(
                "同じ役割の同じ人数で {}（{}）",
                thousands(expected),
                ratio(subjects, expected)
            ),
        ),
        Cause::Balance {
            unexplained,
            subjects,
            usual_permille,
            ..
        } => two(
            format!(
                "閲覧 {} 人のうち理由の記録がない人 {}（{}）",
                thousands(subjects),
                thousands(unexplained),
                percent(permille(unexplained, subjects))
            ),
            format!("この役割の通常 {}", percent(usual_permille.into())),
        ),
        Cause::Tamper { count, .. } => two(
            format!("関所自身が見つけた {} 件", thousands(count)),
            "関所の検証が偶然に失敗することはありません".to_owned(),
        ),
        Cause::Chain { subjects, .. } => two(
            format!("その前に端末に表示された {} 人", thousands(subjects)),
            "持ち出しには必要で、業務には不要な順序です".to_owned(),
        ),
        Cause::Identity { kind, count } => two(
            thousands(count),
            match kind {
                IdentityKind::Terminals => "1 人が座る端末は 1 台です",
                IdentityKind::Hours => "1 人には休む時間があります",
                IdentityKind::Away | IdentityKind::Left => "本人のいないアカウントの利用は 0 です",
            }
            .to_owned(),
        ),
        Cause::Silence { missing, .. } => two(
            match missing {
                0 => "応答のない時間".to_owned(),
                _ => format!("あるはずの {} 件", thousands(missing)),
            },
            "絶えず応答するもの、または通し番号のあるもの".to_owned(),
        ),
        Cause::Canary { count } => two(
            format!("おとりの顧客の閲覧 {} 回", thousands(count)),
            "通話も注文もない顧客の閲覧は 0 です".to_owned(),
        ),
    }
}

fn surprise(told: &Told<'_>) -> String {
    let of = told.finding.bits;
    if of.0 == 0 {
        return "意外さ: 偶然の問題ではありません。必ず報告します".to_owned();
    }
    const UNITS: [(u64, &str); 4] = [
        (10_000_000_000_000_000, " 京"),
        (1_000_000_000_000, " 兆"),
        (100_000_000, " 億"),
        (10_000, " 万"),
    ];
    let one_in = match chance(of) {
        Chance::OneIn(number) => in_units(number, &UNITS),
        Chance::PowerOfTen(power) => format!("10^{power}"),
    };
    let always = match always(&told.finding.cause) {
        true => "。必ず報告します",
        false => "",
    };
    format!(
        "意外さ: {} ビット。異常がなければ約 {one_in}回に 1 回{always}",
        bits(of)
    )
}

fn of_client(told: &Told<'_>) -> String {
    told.client()
        .map_or_else(String::new, |client| format!("委託元 {client} の"))
}

/// `0` days: ever.
fn span(days: u32) -> String {
    match days {
        0 => "これまでに".to_owned(),
        days => format!(" {days} 日間に"),
    }
}

fn per(window: Window) -> &'static str {
    match window {
        Window::Session => " 1 セッション",
        Window::Hour => " 1 時間",
        Window::Day => " 1 日",
    }
}

/// A length of time.
fn length(minutes: u64) -> String {
    match minutes {
        0 => " 1 分未満".to_owned(),
        1..=119 => format!(" {minutes} 分"),
        120..=2879 => match minutes % 60 {
            0 => format!(" {} 時間", minutes / 60),
            rest => format!(" {} 時間 {rest} 分", minutes / 60),
        },
        _ => format!(" {} 日", thousands(minutes / 1440)),
    }
}

fn happened(event: TerminalEvent) -> &'static str {
    match event {
        TerminalEvent::FileWritten => "ファイルが書き込まれました",
        TerminalEvent::MediaAttached => "外部媒体が接続されました",
        TerminalEvent::MediaRefused => "外部媒体の接続が拒否されました",
        TerminalEvent::MediaWritten => "外部媒体に書き込みがありました",
        TerminalEvent::Sent => "外部へ送信されました",
    }
}
