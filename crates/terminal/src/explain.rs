//! A verdict in plain words, for the person at the terminal: what works, why not, what to do.

use crate::decide::{Outcome, Reason, Ruling, Verdict};
use crate::device::Device;
use crate::kind::Kind;

/// The language of an explanation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Japanese.
    Japanese,
}

/// What becomes of the device, why, and what to do. The first line is the device's; where its
/// interfaces fare differently, a line for each follows.
#[must_use]
pub fn explain(device: &Device, verdict: &Verdict, language: Language) -> String {
    let name = if device.name.is_empty() {
        &device.key
    } else {
        &device.name
    };
    let place = format!(
        "{} {:04x}:{:04x}",
        device.key, device.vendor, device.product
    );
    let outcome = outcome(verdict, language);
    let why = why(verdict.kind, verdict.reason, language);
    let mut out = match language {
        Language::English => format!("{name} ({place}) {outcome}: {why}."),
        Language::Japanese => format!("{name}（{place}）は{outcome}。{why}。"),
    };
    if partly(verdict) {
        for ruling in &verdict.rulings {
            out.push('\n');
            out.push_str(&part(ruling, language));
        }
    }
    if let Some(todo) = todo(verdict, language) {
        out.push('\n');
        out.push_str(todo);
    }
    out
}

/// Whether some of its interfaces work and others do not.
fn partly(verdict: &Verdict) -> bool {
    let works = |it: &Ruling| it.reason.allows();
    verdict.rulings.iter().any(works) && !verdict.rulings.iter().all(works)
}

fn outcome(verdict: &Verdict, language: Language) -> &'static str {
    use Language::{English, Japanese};
    match (verdict.outcome, language) {
        (Outcome::Refuse, English) => "is refused",
        (Outcome::Refuse, Japanese) => "使用できません",
        (Outcome::ReadOnly, English) => "can be read, not written",
        (Outcome::ReadOnly, Japanese) => "読み取り専用です",
        (Outcome::Broker, English) => "can be read; only the broker writes to it, under a grant",
        (Outcome::Broker, Japanese) => {
            "読み取れます。書き込みは承認を得た上で、専用の機能からのみ行えます"
        }
        (Outcome::Allow, English) if partly(verdict) => "works in part",
        (Outcome::Allow, Japanese) if partly(verdict) => "一部の機能だけが使用できます",
        (Outcome::Allow, English) => "works",
        (Outcome::Allow, Japanese) => "使用できます",
    }
}

fn part(it: &Ruling, language: Language) -> String {
    let why = why(it.kind, it.reason, language);
    match (language, it.reason.allows()) {
        (Language::English, true) => format!("  interface {} works: {why}", it.number),
        (Language::English, false) => format!("  interface {} is refused: {why}", it.number),
        (Language::Japanese, true) => format!("  インターフェース{}：使用可（{why}）", it.number),
        (Language::Japanese, false) => {
            format!("  インターフェース{}：使用不可（{why}）", it.number)
        }
    }
}

fn why(kind: Kind, reason: Reason, language: Language) -> String {
    match language {
        Language::English => english(english_kind(kind), reason),
        Language::Japanese => japanese(japanese_kind(kind), reason),
    }
}

fn english(kind: &str, reason: Reason) -> String {
    match reason {
        Reason::Allowed => format!("the policy allows {kind}"),
        Reason::BuiltIn => format!("{kind}, part of this machine"),
        Reason::Known => format!("{kind}, in use since this terminal was enrolled"),
        Reason::LastOne => format!("{kind}, the last one here: without it nobody could work"),
        Reason::Confirmed => format!("{kind}, confirmed by its code"),
        Reason::Model => "the policy names this model".to_owned(),
        Reason::Company => "it carries the company's valid token".to_owned(),
        Reason::Disc => "the policy lets discs be read".to_owned(),
        Reason::Refused => format!("the policy does not allow {kind}"),
        Reason::Unconfirmed => format!("{kind} that nobody has confirmed yet"),
        Reason::Switched => "it was another kind of device a moment ago".to_owned(),
        Reason::Nothing => "it does not say what it is".to_owned(),
        Reason::Unreadable => "what it says about itself cannot be read".to_owned(),
        Reason::Hidden => "storage hidden in a device that is something else too".to_owned(),
        Reason::TokenUnread => "storage, not yet checked for the company's token".to_owned(),
        Reason::TokenMissing => {
            "storage without the company's token; its serial number proves nothing".to_owned()
        }
        Reason::TokenBad => {
            "its token is copied, damaged, expired or not signed by the company".to_owned()
        }
        Reason::Whole => {
            format!("{kind} in a device that as a whole is something the policy refuses")
        }
        Reason::Beyond => "it turned out to be more than it said it was".to_owned(),
    }
}

fn japanese(kind: &str, reason: Reason) -> String {
    match reason {
        Reason::Allowed => format!("{kind}はポリシーで許可されています"),
        Reason::BuiltIn => format!("この端末に内蔵された{kind}です"),
        Reason::Known => format!("端末の登録時から使われている{kind}です"),
        Reason::LastOne => format!("最後の{kind}であり、止めると誰も操作できなくなります"),
        Reason::Confirmed => format!("確認コードが入力された{kind}です"),
        Reason::Model => "この機種はポリシーで許可されています".to_owned(),
        Reason::Company => "会社の有効な証明が記録された媒体です".to_owned(),
        Reason::Disc => "光ディスクの読み取りはポリシーで許可されています".to_owned(),
        Reason::Refused => format!("{kind}はポリシーで許可されていません"),
        Reason::Unconfirmed => format!("まだ確認されていない{kind}です"),
        Reason::Switched => "直前まで別の種類の機器でした".to_owned(),
        Reason::Nothing => "機器が自分の種類を示していません".to_owned(),
        Reason::Unreadable => "機器の自己記述を読み取れません".to_owned(),
        Reason::Hidden => "別の機器の中に隠された記憶装置です".to_owned(),
        Reason::TokenUnread => "会社の媒体かどうか、まだ確認していません".to_owned(),
        Reason::TokenMissing => {
            "会社の証明がない記憶媒体です。シリアル番号だけでは証明になりません".to_owned()
        }
        Reason::TokenBad => {
            "媒体の証明が、複製・破損・期限切れ、または会社の署名ではありません".to_owned()
        }
        Reason::Whole => {
            format!("{kind}ですが、機器全体としてはポリシーで許可されていない種類です")
        }
        Reason::Beyond => "自己申告とは異なる機能が見つかりました".to_owned(),
    }
}

/// What the person can do about it.
fn todo(verdict: &Verdict, language: Language) -> Option<&'static str> {
    use Language::{English, Japanese};
    let reason = verdict.reason;
    Some(match (reason, language) {
        _ if verdict.ask_confirmation => match (verdict.confirm_on_itself, language) {
            (false, English) => {
                "If you have just plugged it in, type the code that is shown on the keyboard that already works."
            }
            (false, Japanese) => {
                "ご自身で接続した場合は、画面のコードを、すでに使えているキーボードで入力してください。"
            }
            (true, English) => {
                "If you have just plugged it in, type the code that is shown on this keyboard."
            }
            (true, Japanese) => {
                "ご自身で接続した場合は、画面のコードを、このキーボードで入力してください。"
            }
        },
        (Reason::Switched, English) => "Unplug it, wait ten seconds, and tell security.",
        (Reason::Switched, Japanese) => "抜いて10秒待ち、セキュリティ担当に連絡してください。",
        (Reason::Hidden | Reason::Beyond, English) => "Do not use it; give it to security.",
        (Reason::Hidden | Reason::Beyond, Japanese) => {
            "使用せず、セキュリティ担当に渡してください。"
        }
        (Reason::TokenMissing | Reason::TokenBad, English) => {
            "Use a medium of the company, or have this one signed."
        }
        (Reason::TokenMissing | Reason::TokenBad, Japanese) => {
            "会社の媒体を使うか、この媒体の登録を依頼してください。"
        }
        (Reason::Refused, English) if carries(verdict.kind) => {
            "Data is handed over under a grant, by company media or not at all."
        }
        (Reason::Refused, Japanese) if carries(verdict.kind) => {
            "データの受け渡しには承認が必要です。会社の媒体以外は使用できません。"
        }
        (Reason::Refused | Reason::Whole, English) => {
            "If it is needed for work, ask for its model in the policy."
        }
        (Reason::Refused | Reason::Whole, Japanese) => {
            "業務に必要な場合は、機種の許可を申請してください。"
        }
        _ => return None,
    })
}

/// What no policy allows by its model.
fn carries(kind: Kind) -> bool {
    matches!(kind, Kind::Storage | Kind::Phone)
}

fn english_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Hub => "a hub",
        Kind::Keyboard => "a keyboard",
        Kind::Pointer => "a mouse or other pointer",
        Kind::Headset => "a headset",
        Kind::SmartCard => "a smart card reader",
        Kind::Storage => "storage",
        Kind::Phone => "a telephone, camera or player",
        Kind::Network => "a network adapter",
        Kind::Serial => "a serial port or modem",
        Kind::Printer => "a printer",
        Kind::Camera => "a video camera",
        Kind::Bluetooth => "a Bluetooth adapter",
        Kind::Vendor => "a device of the vendor's own class",
        Kind::Other => "a device of another class",
    }
}

fn japanese_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Hub => "ハブ",
        Kind::Keyboard => "キーボード",
        Kind::Pointer => "マウスなどのポインター",
        Kind::Headset => "ヘッドセット",
        Kind::SmartCard => "ICカードリーダー",
        Kind::Storage => "記憶装置",
        Kind::Phone => "スマートフォンやカメラ",
        Kind::Network => "ネットワークアダプター",
        Kind::Serial => "シリアルポートやモデム",
        Kind::Printer => "プリンター",
        Kind::Camera => "ビデオカメラ",
        Kind::Bluetooth => "Bluetoothアダプター",
        Kind::Vendor => "メーカー独自の機器",
        Kind::Other => "その他の機器",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests::{device, interface};
    use crate::decide::{Known, decide, unreadable};
    use crate::policy::Policy;

    #[test]
    fn a_stick_and_a_keyboard_with_hidden_storage() {
        let stick = device("1-5", &[interface(0, [8, 6, 0x50])]).named("Ultra Fit", "4C53");
        let verdict = decide(&stick, &Known::default(), &Policy::standard());
        assert_eq!(
            explain(&stick, &verdict, Language::English),
            "Ultra Fit (1-5 1234:5678) is refused: the policy does not allow storage.\n\
             Data is handed over under a grant, by company media or not at all."
        );
        assert_eq!(
            explain(&stick, &verdict, Language::Japanese),
            "Ultra Fit（1-5 1234:5678）は使用できません。記憶装置はポリシーで許可されていません。\n\
             データの受け渡しには承認が必要です。会社の媒体以外は使用できません。"
        );
        let mut both = device(
            "1-2",
            &[interface(0, [3, 1, 1]), interface(1, [8, 6, 0x50])],
        );
        both.built_in = true;
        let verdict = decide(&both, &Known::default(), &Policy::standard());
        assert_eq!(
            explain(&both, &verdict, Language::English),
            "1-2 (1-2 1234:5678) works in part: storage hidden in a device that is something else too.\n  \
             interface 0 works: a keyboard, part of this machine\n  \
             interface 1 is refused: storage hidden in a device that is something else too\n\
             Do not use it; give it to security."
        );
    }

    #[test]
    fn every_reason_and_outcome_is_said_in_both_languages_and_shows_no_serial() {
        let device = device("1-5", &[interface(0, [8, 6, 0x50])]).named("Stick", "SERIAL77");
        let mut said = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            for language in [Language::English, Language::Japanese] {
                let mut verdict = unreadable();
                verdict.kind = Kind::Storage;
                verdict.reason = *reason;
                verdict.outcome = if reason.allows() {
                    Outcome::Allow
                } else {
                    Outcome::Refuse
                };
                let text = explain(&device, &verdict, language);
                assert!(!text.contains("SERIAL77"), "{text}");
                assert_eq!(text.is_ascii(), language == Language::English, "{text}");
                assert!(said.insert(text));
            }
        }
        let mut verdict = unreadable();
        verdict.ask_confirmation = true;
        for itself in [false, true] {
            verdict.confirm_on_itself = itself;
            for language in [Language::English, Language::Japanese] {
                assert!(said.insert(explain(&device, &verdict, language)));
            }
        }
    }
}
