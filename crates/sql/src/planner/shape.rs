//! The shape of a statement: what of it may stand in the ledger. No literal, alias, comment or
//! name that is not pinned survives.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::Planner;
use super::function::is_text;
use crate::tree;

/// Longest shape, in bytes.
const SHAPE_BYTES_MAX: usize = 4096;

impl Planner<'_> {
    /// The shape of a statement or a part of one.
    pub(super) fn shape(&self, node: &SyntaxNode) -> String {
        let mut out = String::new();
        let mut space = false;
        let mut literal = false;
        for token in tree::tokens(node) {
            let kind = token.kind();
            if kind.is_trivia() {
                space = true;
                continue;
            }
            if kind == SyntaxKind::SEMICOLON {
                break;
            }
            if out.len() > SHAPE_BYTES_MAX {
                out.push_str(" ...");
                break;
            }
            let value = match kind {
                SyntaxKind::POSITIONAL_PARAM => false,
                SyntaxKind::INT_NUMBER
                | SyntaxKind::NUMERIC_NUMBER
                | SyntaxKind::BIT_STRING
                | SyntaxKind::BYTE_STRING => true,
                _ => is_text(kind),
            };
            // 'a'\n'b' is one literal.
            if value && literal {
                continue;
            }
            literal = value;
            if space && !out.is_empty() {
                out.push(' ');
            }
            space = false;
            if value {
                out.push('?');
            } else {
                self.push_token(&mut out, kind, token.text());
            }
        }
        folded(&out)
    }

    fn push_token(&self, out: &mut String, kind: SyntaxKind, text: &str) {
        let word = text.starts_with(|c: char| {
            c.is_ascii_alphabetic() || c == '_' || c == '"' || !c.is_ascii()
        });
        if !word {
            out.push_str(text);
            return;
        }
        let name = match text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
        {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => text.to_ascii_lowercase(),
        };
        if self.catalogue.is_pinned_word(&name) {
            match name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            {
                true => out.push_str(&name),
                false => out.push_str(&tree::quote(&name)),
            }
        } else if kind == SyntaxKind::IDENT {
            out.push('_');
        } else {
            out.push_str(&text.to_ascii_uppercase());
        }
    }
}

/// Lists of literals, and lists of lists of them, become one: else every length of an IN list
/// would be a shape of its own.
fn folded(shape: &str) -> String {
    let mut out = String::with_capacity(shape.len());
    for piece in shape.split_inclusive('?') {
        out.push_str(piece);
        if let Some(kept) = out.strip_suffix("?, ?").or_else(|| out.strip_suffix("?,?")) {
            let length = kept.len();
            out.truncate(length);
            out.push('?');
        }
    }
    for (many, one) in [("(?), (?)", "(?)"), ("(?),(?)", "(?)")] {
        while out.contains(many) {
            out = out.replace(many, one);
        }
    }
    out
}
