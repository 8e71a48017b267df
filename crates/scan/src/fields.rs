//! One line: values by their pattern, then cells and what they are made of.

use std::ops::Range;

use event::{Class, Plain};
use fingerprint::canonical;

use crate::found::{Collector, Sure};
use crate::numbers::{self, digit};
use crate::{Closed, address, email};

/// Characters of a name, and of its reading.
const NAME_CHARS: Range<usize> = 2..21;
const KANA_CHARS: Range<usize> = 2..41;
/// The longest cell that is looked at as one value, in bytes; longer ones are looked at in parts.
const CELL_BYTES_MAX: usize = 512;
const HONORIFICS: [&str; 6] = ["様", "さま", "殿", "氏", "さん", "御中"];

/// A value within a line.
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) class: Class,
    pub(crate) sure: Sure,
    /// The value, where the line writes it in a way that `normalise` does not read.
    pub(crate) value: Option<Plain<String>>,
}

impl Span {
    /// The value as it is written.
    pub(crate) fn written<'a>(&'a self, line: &'a str) -> &'a str {
        match &self.value {
            Some(value) => value.expose(),
            None => &line[self.start..self.end],
        }
    }
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    All,
    /// Telephone numbers and e-mail addresses that are certain by themselves: where the rest is
    /// looked at in another reading, and neighbours say nothing.
    Patterns,
}

/// Looks into a line, or a piece of one.
pub(crate) fn look(line: &str, scope: Scope, collector: &mut Collector) -> Result<(), Closed> {
    if line.trim().is_empty() {
        return Ok(());
    }
    let mut spans = Vec::new();
    email::find(line, &mut spans);
    numbers::find(line, &mut spans);
    if scope == Scope::Patterns {
        let mut certain = spans.iter().filter(|span| span.sure == Sure::Certain);
        return certain
            .try_for_each(|span| collector.take(span.sure, span.class, span.written(line)));
    }
    for range in cells(line) {
        addresses(&line[range.clone()], range.start, &mut spans);
    }
    spans.sort_unstable_by_key(|span| span.start);
    // A date beside a value that is certain is a date of birth.
    let certain = spans.iter().any(|span| span.sure == Sure::Certain);
    for span in &spans {
        let born = certain && span.class == Class::BirthDate;
        let sure = if born { Sure::Certain } else { span.sure };
        collector.take(sure, span.class, span.written(line))?;
    }
    let mut spans = spans.as_slice();
    for range in cells(line) {
        let (here, rest) = spans.split_at(spans.partition_point(|span| span.start < range.end));
        spans = rest;
        cell(line, range, here, collector)?;
    }
    Ok(())
}

/// The cells of a line, as ranges of its bytes.
fn cells(line: &str) -> impl Iterator<Item = Range<usize>> {
    let ends = line
        .match_indices(ends_cell)
        .map(|(at, it)| (at, at + it.len()));
    let mut start = 0;
    ends.chain([(line.len(), line.len())])
        .map(move |(end, next)| {
            let cell = start..end;
            start = next;
            cell
        })
}

/// What ends a cell of a table, of SQL, JSON and CSV.
fn ends_cell(c: char) -> bool {
    matches!(
        c,
        ',' | ';' | '\t' | '|' | '"' | '\'' | '`' | '，' | '；' | '｜' | '“' | '”'
    )
}

/// What ends a part of a cell.
fn ends_part(c: char) -> bool {
    matches!(
        c,
        ':' | '='
            | '{'
            | '}'
            | '['
            | ']'
            | '<'
            | '>'
            | '('
            | ')'
            | '（'
            | '）'
            | '「'
            | '」'
            | '『'
            | '』'
            | '【'
            | '】'
            | '：'
            | '＝'
            | '、'
            | '。'
            | '/'
            | '／'
            | '\\'
            | '＜'
            | '＞'
            | '〒'
    )
}

fn addresses(cell: &str, start: usize, spans: &mut Vec<Span>) {
    let mut rest = cell;
    while let Some((range, sure)) = address::find(rest.trim()) {
        let before = rest.len() - rest.trim_start().len();
        let from = start + cell.len() - rest.len() + before;
        spans.push(Span {
            start: from + range.start,
            end: from + range.end,
            class: Class::Address,
            sure,
            value: None,
        });
        rest = &rest[before + range.end..];
    }
}

/// The cell, its parts between the values that were found, and the words of those.
fn cell(
    line: &str,
    range: Range<usize>,
    spans: &[Span],
    collector: &mut Collector,
) -> Result<(), Closed> {
    let whole = line[range.clone()].trim();
    if whole.is_empty() {
        return Ok(());
    }
    let known = spans
        .iter()
        .find(|span| line[span.start..span.end].len() == whole.len());
    match known.map(|span| span.class) {
        Some(Class::Email | Class::Address) => return Ok(()),
        // A customer number may look like a telephone number or a date.
        Some(_) => return customer_number(whole, collector),
        None => {}
    }
    value(whole, collector)?;
    let mut at = range.start;
    for span in spans {
        if at < span.start {
            parts(&line[at..span.start], whole, collector)?;
        }
        at = at.max(span.end);
    }
    match line.get(at..range.end) {
        Some(rest) => parts(rest, whole, collector),
        None => Ok(()),
    }
}

fn parts(text: &str, whole: &str, collector: &mut Collector) -> Result<(), Closed> {
    for part in text.split(ends_part).map(str::trim) {
        if part.len() != whole.len() {
            value(part, collector)?;
        }
        words(part, collector)?;
    }
    Ok(())
}

/// Words, and pairs of Japanese ones: surname and given name.
fn words(part: &str, collector: &mut Collector) -> Result<(), Closed> {
    let mut last: Option<&str> = None;
    for word in part
        .split(char::is_whitespace)
        .filter(|word| !word.is_empty())
    {
        if word.len() < part.len() {
            customer_number(word, collector)?;
            if is_japanese(word) {
                value(word, collector)?;
                if let Some(last) = last {
                    let pair = Plain::new([last, " ", word].concat());
                    value(pair.expose(), collector)?;
                }
            }
        }
        last = is_japanese(word).then_some(word);
    }
    Ok(())
}

/// What a text may be as a whole.
fn value(text: &str, collector: &mut Collector) -> Result<(), Closed> {
    if text.is_empty() || text.len() > CELL_BYTES_MAX {
        return Ok(());
    }
    let characters = text.chars().count();
    if KANA_CHARS.contains(&characters) && text.chars().all(|c| is_kana(c) || is_between(c)) {
        collector.take(Sure::Possible, Class::Kana, text)?;
    }
    if NAME_CHARS.contains(&characters) && is_name(text) {
        collector.take(Sure::Possible, Class::Name, text)?;
        let bare = HONORIFICS.iter().find_map(|it| text.strip_suffix(it));
        if let Some(bare) = bare.map(str::trim_end).filter(|it| is_name(it)) {
            collector.take(Sure::Possible, Class::Name, bare)?;
        }
    }
    if characters == 8 && text.chars().all(|c| digit(c).is_some()) && numbers::is_date(text) {
        collector.take(Sure::Possible, Class::BirthDate, text)?;
    }
    number_without_start(text, characters, collector)?;
    customer_number(text, collector)
}

/// A telephone number that a spreadsheet took for a number: 9012345678. Or one whose plus is missing.
fn number_without_start(
    text: &str,
    digits: usize,
    collector: &mut Collector,
) -> Result<(), Closed> {
    if !(9..=12).contains(&digits) || !text.chars().all(|c| digit(c).is_some()) {
        return Ok(());
    }
    for start in ["0", "+"] {
        let number = Plain::new([start, text].concat());
        let japanese = start == "0" || text.starts_with("81");
        if japanese && canonical(Class::Phone, number.expose()).is_ok() {
            collector.take(Sure::Possible, Class::Phone, number.expose())?;
        }
    }
    Ok(())
}

fn customer_number(text: &str, collector: &mut Collector) -> Result<(), Closed> {
    // Shorter than what `canonical` costs.
    let may = text.len() <= CELL_BYTES_MAX && text.chars().any(char::is_numeric);
    if may && canonical(Class::CustomerNumber, text).is_ok() {
        collector.take(Sure::Possible, Class::CustomerNumber, text)?;
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    let letter = |c: char| c.is_alphabetic() || matches!(c, '々' | '〆' | 'ヶ');
    text.chars().any(letter)
        && text
            .chars()
            .all(|c| letter(c) || is_between(c) || "-.’".contains(c) || is_variant(c))
}

/// Selectors of a kanji's form: 葛󠄀.
fn is_variant(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

fn is_between(c: char) -> bool {
    matches!(c, ' ' | '\u{3000}' | '・' | '･')
}

fn is_kana(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30ff}' | '\u{ff66}'..='\u{ff9f}')
}

fn is_japanese(word: &str) -> bool {
    word.starts_with(|c| is_kana(c) || matches!(c, '々' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}'))
}
