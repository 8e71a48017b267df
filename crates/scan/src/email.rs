//! E-mail addresses within a line.

use event::Class;
use fingerprint::canonical;

use crate::fields::Span;
use crate::found::Sure;

/// Longest parts that are looked at, in characters (RFC 5321 section 4.5.3.1).
const LOCAL_CHARS_MAX: usize = 64;
const DOMAIN_CHARS_MAX: usize = 254;

/// The e-mail addresses of a line, in its order.
pub(crate) fn find(line: &str, spans: &mut Vec<Span>) {
    for (at, sign) in line.match_indices(['@', '＠', '﹫']) {
        let (before, after) = (&line[..at], &line[at + sign.len()..]);
        let plain = |c| half(c).is_ascii_alphanumeric() || "._+-".contains(half(c));
        let quoted = |c| plain(c) || "!#$%&'*/=?^`{|}~".contains(half(c));
        let latin = |c| half(c).is_ascii_alphanumeric() || ".-".contains(half(c));
        let any = |c: char| latin(c) || c.is_alphanumeric();
        let start = start(before, plain);
        let end = line.len() - after.len() + end(after, latin);
        let certain = push(line, start, end, spans);
        // What else RFC 5322 allows may be part of the address or stand around it.
        let (wide_start, wide_end) = (
            self::start(before, quoted),
            line.len() - after.len() + self::end(after, any),
        );
        if wide_start != start {
            push_possible(line, wide_start, end, spans);
        }
        if wide_end != end && !certain {
            push_possible(line, start, wide_end, spans);
        }
    }
}

/// Full-width ASCII in half width.
fn half(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

fn start(before: &str, fits: impl Fn(char) -> bool) -> usize {
    let local = before.chars().rev().take(LOCAL_CHARS_MAX);
    let length: usize = local.take_while(|&c| fits(c)).map(char::len_utf8).sum();
    before.len() - length
}

fn end(after: &str, fits: impl Fn(char) -> bool) -> usize {
    let domain = after.chars().take(DOMAIN_CHARS_MAX);
    let length: usize = domain.take_while(|&c| fits(c)).map(char::len_utf8).sum();
    // A sentence ends in a dot, too.
    after[..length]
        .trim_end_matches(|c| ".-".contains(half(c)))
        .len()
}

/// Takes an address; whether it was one. It is certain unless its last label has digits, as versions
/// and machines have.
fn push(line: &str, start: usize, end: usize, spans: &mut Vec<Span>) -> bool {
    if canonical(Class::Email, &line[start..end]).is_err() {
        return false;
    }
    let last = line[start..end].rsplit(['.', '．']).next();
    let letters = last.is_some_and(|label| label.chars().all(|c| half(c).is_ascii_alphabetic()));
    spans.push(Span {
        start,
        end,
        class: Class::Email,
        sure: if letters {
            Sure::Certain
        } else {
            Sure::Possible
        },
        value: None,
    });
    true
}

fn push_possible(line: &str, start: usize, end: usize, spans: &mut Vec<Span>) {
    if push(line, start, end, spans)
        && let Some(span) = spans.last_mut()
    {
        span.sure = Sure::Possible;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str, sure: Sure) -> Vec<&str> {
        let mut spans = Vec::new();
        find(line, &mut spans);
        let those = spans.iter().filter(|span| span.sure == sure);
        those.map(|span| &line[span.start..span.end]).collect()
    }

    #[test]
    fn addresses_in_lines() {
        for (line, address) in [
            ("taro@example.jp", "taro@example.jp"),
            (
                "連絡先はtaro.yamada@example.co.jpです。",
                "taro.yamada@example.co.jp",
            ),
            ("mailto:a..b.@docomo.ne.jp.", "a..b.@docomo.ne.jp"),
            ("'taro@example.jp'", "taro@example.jp"),
            ("mail=taro+x@example.jp&b=1", "taro+x@example.jp"),
            (
                "ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ、",
                "ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ",
            ),
        ] {
            assert_eq!(found(line, Sure::Certain), [address], "{line}");
        }
        assert_eq!(found("a@b.jp c@d.jp", Sure::Certain).len(), 2);
    }

    #[test]
    fn what_is_possible_and_what_is_not() {
        assert_eq!(found("react@18.2.0", Sure::Certain), [""; 0]);
        assert_eq!(
            found("x=taro@example.jp", Sure::Possible),
            ["x=taro@example.jp"]
        );
        assert_eq!(found("taro@日本.jp", Sure::Possible), ["taro@日本.jp"]);
        for line in [
            "@",
            "a@",
            "@b.jp",
            "taro@localhost",
            "a @ b.jp",
            "@media (x)",
        ] {
            assert_eq!(found(line, Sure::Certain), [""; 0], "{line}");
            assert_eq!(found(line, Sure::Possible), [""; 0], "{line}");
        }
        let long = format!("{}@example.jp", "a".repeat(200));
        assert_eq!(found(&long, Sure::Certain).len(), 1);
    }
}
