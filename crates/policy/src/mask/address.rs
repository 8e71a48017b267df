//! Prefecture and city of a Japanese address, and nothing after them.

/// The 47 prefectures (JIS X 0401), in their order.
const PREFECTURES: [&str; 47] = [
    "北海道",
    "青森県",
    "岩手県",
    "宮城県",
    "秋田県",
    "山形県",
    "福島県",
    "茨城県",
    "栃木県",
    "群馬県",
    "埼玉県",
    "千葉県",
    "東京都",
    "神奈川県",
    "新潟県",
    "富山県",
    "石川県",
    "福井県",
    "山梨県",
    "長野県",
    "岐阜県",
    "静岡県",
    "愛知県",
    "三重県",
    "滋賀県",
    "京都府",
    "大阪府",
    "兵庫県",
    "奈良県",
    "和歌山県",
    "鳥取県",
    "島根県",
    "岡山県",
    "広島県",
    "山口県",
    "徳島県",
    "香川県",
    "愛媛県",
    "高知県",
    "福岡県",
    "佐賀県",
    "長崎県",
    "熊本県",
    "大分県",
    "宮崎県",
    "鹿児島県",
    "沖縄県",
];

/// Cities in whose names 市, 町 or 村 stands before the end: the first such sign does not end them.
const CITIES: [&str; 15] = [
    "四日市市",
    "廿日市市",
    "野々市市",
    "市川市",
    "市原市",
    "十日町市",
    "大町市",
    "町田市",
    "村山市",
    "武蔵村山市",
    "東村山市",
    "羽村市",
    "大村市",
    "田村市",
    "村上市",
];

/// The longest name of a city, ward, town or village, with its district, in characters.
const CITY_CHARS_MAX: usize = 12;

/// The address up to its city (ward, town, village); up to its prefecture if no city is found;
/// `None` if it does not begin with a prefecture (a postal code before it is left out).
pub(super) fn city(value: &str) -> Option<&str> {
    let postal = |c: char| c.is_numeric() || c.is_whitespace() || "〒-−－ー".contains(c);
    let value = value.trim_start_matches(postal);
    let prefecture = PREFECTURES
        .into_iter()
        .find(|name| value.starts_with(name))?;
    let rest = &value[prefecture.len()..];
    let gap = rest.len() - rest.trim_start().len();
    let length = city_length(rest.trim_start());
    let end = prefecture.len() + if length == 0 { 0 } else { gap + length };
    Some(&value[..end])
}

/// Bytes of the city's name at the start; 0 if there is none.
fn city_length(rest: &str) -> usize {
    if let Some(city) = CITIES.into_iter().find(|city| rest.starts_with(city)) {
        return city.len();
    }
    let ends = |&(index, c): &(usize, char)| index > 0 && "市区町村".contains(c);
    match rest.char_indices().take(CITY_CHARS_MAX).find(ends) {
        Some((index, sign)) => index + sign.len_utf8(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::city;

    #[test]
    fn ends_at_the_city() {
        for (address, shown) in [
            ("東京都千代田区丸の内1-9-1", Some("東京都千代田区")),
            ("東京都町田市原町田1-1", Some("東京都町田市")),
            ("東京都武蔵村山市本町1-1-1", Some("東京都武蔵村山市")),
            ("三重県四日市市諏訪町1-5", Some("三重県四日市市")),
            ("千葉県市川市八幡1-1-1", Some("千葉県市川市")),
            ("京都府京都市中京区寺町通", Some("京都府京都市")),
            ("〒150-0001 東京都渋谷区神宮前", Some("東京都渋谷区")),
            ("東京都 渋谷区神宮前", Some("東京都 渋谷区")),
            ("東京都西多摩郡瑞穂町箱根ケ崎", Some("東京都西多摩郡瑞穂町")),
            ("北海道余市郡余市町朝日町26", Some("北海道余市")),
            ("東京都", Some("東京都")),
            (
                "東京都どこかの長い名前の場所だが終わりがない町",
                Some("東京都"),
            ),
            ("横浜市西区みなとみらい", None),
            ("somewhere", None),
            ("", None),
        ] {
            assert_eq!(city(address), shown, "{address}");
        }
    }
}
