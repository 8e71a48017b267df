//! What a call centre notes: an opening, a matter, an end.

use crate::SplitMix;

const OPENINGS: [&str; 8] = [
    "ご本人様より入電。",
    "ご家族様より入電。",
    "折り返しの電話。",
    "メールで受付。",
    "店舗からの取次ぎ。",
    "先月に続き2回目の問い合わせ。",
    "ご主人様より代理で入電。",
    "留守番電話に伝言あり。",
];
const MATTERS: [&str; 16] = [
    "配送日の変更を希望、",
    "請求額の内訳の確認、",
    "住所変更の届け出、",
    "解約手続きの案内、",
    "商品の初期不良、交換を手配、",
    "契約者の名義変更の相談、",
    "ログインできないとのこと、再設定を案内、",
    "料金プランの見直しの相談、",
    "領収書の再発行を希望、",
    "ポイントの有効期限の確認、",
    "工事日の調整、",
    "カタログの送付を希望、",
    "口座振替の用紙を送付、",
    "キャンペーンの対象か確認、",
    "担当者の対応について苦情、お詫びした、",
    "定期便の一時停止を希望、",
];
const ENDS: [&str; 10] = [
    "完了。",
    "平日18時以降に折り返し希望。",
    "土日は不在。",
    "次回の連絡は翌営業日。",
    "書面で回答予定。",
    "上席へ引き継ぎ。",
    "ご納得いただいた。",
    "耳が遠いためゆっくり話すこと。",
    "本人確認済み。",
    "再度入電の予定。",
];

/// A note; one customer in five has none.
pub(crate) fn note(random: &mut SplitMix) -> String {
    if random.below(5) == 0 {
        return String::new();
    }
    let (month, day) = (random.below(12) + 1, random.below(28) + 1);
    let mut note = format!(
        "{month}/{day} {}{}{}",
        random.pick(&OPENINGS),
        random.pick(&MATTERS),
        random.pick(&ENDS)
    );
    if random.below(8) == 0 {
        note.push_str(&format!("受付番号{:06}。", random.below(1_000_000)));
    }
    note
}
