//! Writing a planned statement out again, with cells in place of values.

use event::Plain;

use crate::types::{Part, Rendered, Site, Statement, Value};

impl Statement {
    /// The text to send. `cells` is asked once for each literal value of each literal site and
    /// gives one cell, or, where [`Site::each_client`], one for each client of the scope; a
    /// write of more than one cell is a defect of the caller and takes the first. All other
    /// string literals are written as `E'...'`, so that they mean the same whatever
    /// `standard_conforming_strings` is.
    ///
    /// # Errors
    /// What `cells` gives.
    pub fn render<E>(
        &self,
        mut cells: impl FnMut(&Site, &Plain<String>) -> Result<Vec<String>, E>,
    ) -> Result<Rendered, E> {
        let mut out = Output {
            text: String::with_capacity(self.text.len() + 64),
            pieces: Vec::new(),
        };
        let mut copied = 0;
        for edit in &self.edits {
            out.copy(&self.text, copied, edit.start);
            out.pieces.push((out.text.len(), edit.start, false));
            for part in &edit.parts {
                match part {
                    Part::Text(text) => out.text.push_str(text),
                    Part::Literal(value) => push_literal(&mut out.text, value.expose()),
                    Part::Cells(index) => self.push_cells(*index, &mut out.text, &mut cells)?,
                }
            }
            copied = edit.end;
        }
        out.copy(&self.text, copied, self.text.len());
        Ok(Rendered {
            text: out.text,
            pieces: out.pieces,
            source: self.text.clone(),
            offset: self.offset,
            inserted: self.inserted.clone(),
        })
    }

    fn push_cells<E>(
        &self,
        index: usize,
        out: &mut String,
        cells: &mut impl FnMut(&Site, &Plain<String>) -> Result<Vec<String>, E>,
    ) -> Result<(), E> {
        let Some(site) = self.sites.get(index) else {
            return Ok(());
        };
        let values: Vec<Option<&Plain<String>>> = match &site.value {
            Value::Literal(value) => vec![Some(value)],
            Value::ListLiteral(values) => values.iter().map(Option::as_ref).collect(),
            Value::Parameter(_) | Value::ArrayParameter(_) => Vec::new(),
        };
        let mut first = true;
        for value in values {
            let Some(value) = value else {
                out.push_str(if first { "NULL" } else { ", NULL" });
                first = false;
                continue;
            };
            let wanted = if site.each_client { usize::MAX } else { 1 };
            let given = cells(site, value)?;
            if given.is_empty() {
                out.push_str(if first { "NULL" } else { ", NULL" });
                first = false;
            }
            for cell in given.iter().take(wanted) {
                if !first {
                    out.push_str(", ");
                }
                push_literal(out, cell);
                first = false;
            }
        }
        Ok(())
    }
}

struct Output {
    text: String,
    pieces: Vec<(usize, usize, bool)>,
}

impl Output {
    fn copy(&mut self, source: &str, start: usize, end: usize) {
        if let Some(piece) = source.get(start..end).filter(|piece| !piece.is_empty()) {
            self.pieces.push((self.text.len(), start, true));
            self.text.push_str(piece);
        }
    }
}

/// Appends `E'...'`: no byte of the value can end it, whatever the settings.
fn push_literal(out: &mut String, value: &str) {
    out.push_str("E'");
    for character in value.chars() {
        match character {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            other => out.push(other),
        }
    }
    out.push('\'');
}

impl Rendered {
    /// The position (in characters from 1, as in the error field P) in the whole text that the
    /// driver sent, of a position in the rendered text. Within a replaced literal: where that
    /// began.
    pub fn original_position(&self, position: usize) -> usize {
        let wanted = position.saturating_sub(1);
        let byte = self
            .text
            .char_indices()
            .nth(wanted)
            .map_or(self.text.len(), |(byte, _)| byte);
        let piece = self.pieces.partition_point(|(start, _, _)| *start <= byte);
        let (start, source, copy) = piece
            .checked_sub(1)
            .and_then(|index| self.pieces.get(index))
            .copied()
            .unwrap_or((0, 0, true));
        let source = if copy {
            source + (byte - start)
        } else {
            source
        };
        let before = self
            .source
            .get(..source.min(self.source.len()))
            .unwrap_or(&self.source);
        let inserted = self
            .inserted
            .iter()
            .filter(|at| **at < before.len())
            .count();
        self.offset + before.chars().count() + 1 - inserted
    }
}
