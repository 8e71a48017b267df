//! What commands print: lines and tables to standard output.
//!
//! Invariant: a line shows what it holds. Control characters and marks that reverse the direction
//! of text are written out as `\u{..}`: names, tickets and proposed files come from other people,
//! and an approver has to see what he signs.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

/// Prints a line, or several.
pub fn line(text: impl AsRef<str>) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", visible(text.as_ref()))?;
    Ok(out.flush()?)
}

/// Prints a value as JSON, on one line.
pub fn json(value: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(value)?)?;
    Ok(out.flush()?)
}

/// Prints rows under headings, columns aligned.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let head = headings
        .iter()
        .map(|heading| (*heading).to_owned())
        .collect();
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows.iter().cloned())
        .map(visible_cells)
        .collect();
    let widths: Vec<usize> = (0..headings.len())
        .map(|at| {
            rows.iter()
                .filter_map(|row| row.get(at))
                .map(|cell| width(cell))
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    for row in &rows {
        let mut text = String::new();
        for (cell, wide) in row.iter().zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(
                ' ',
                2 + wide.saturating_sub(width(cell)),
            ));
        }
        line(text.trim_end())?;
    }
    Ok(())
}

fn visible_cells(cells: Vec<String>) -> Vec<String> {
    cells.iter().map(|cell| visible(cell)).collect()
}

/// `1 row`, `2 rows`.
pub fn count(number: impl TryInto<u64>, one: &str, more: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {}", if number == 1 { one } else { more })
}

/// A text whose hidden characters are written out; line breaks and tabs stay.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if turns || (c.is_control() && !matches!(c, '\n' | '\t')) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Columns of a terminal that a text takes: East Asian wide characters take two.
fn width(text: &str) -> usize {
    let wide = |c: char| {
        matches!(u32::from(c),
            0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
            | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x20000..=0x3ffff)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::{visible, width};

    #[test]
    fn hidden_characters_are_written_out() {
        assert_eq!(
            visible("a\x1b[2Kb\u{202e}c\r\n"),
            "a\\u{1b}[2Kb\\u{202e}c\\u{d}\n"
        );
        assert_eq!(visible("山田商事\t1"), "山田商事\t1");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(width("山田 ab"), 7);
    }
}
