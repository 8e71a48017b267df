//! What is wrong with a policy or its masks, where, and what would be right.

use miette::Diagnostic;

/// Why a text is no policy, or no masks.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{part}, line {line}, column {column}: {problem}; allowed: {allowed}")]
pub struct PolicyError {
    /// `policy` or `masks`.
    pub part: &'static str,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub allowed: String,
}

impl PolicyError {
    /// An error at a byte of a text.
    pub(crate) fn at(
        part: &'static str,
        text: &str,
        byte: usize,
        problem: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        let mut end = byte.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        Self {
            part,
            line: 1 + before.matches('\n').count(),
            column: 1 + before.chars().rev().take_while(|&c| c != '\n').count(),
            problem: problem.into(),
            allowed: allowed.into(),
        }
    }

    /// An error of Cedar's, at the first place that it names.
    pub(crate) fn of_cedar(text: &str, error: &dyn Diagnostic) -> Self {
        let byte = error
            .labels()
            .and_then(|mut labels| labels.next())
            .map_or(0, |l| l.offset());
        let allowed = match error.help() {
            Some(help) => format!("{help}. {ALLOWED}"),
            None => ALLOWED.to_owned(),
        };
        Self::at("policy", text, byte, error.to_string(), allowed)
    }
}

/// The vocabulary of a policy, in one line.
pub(crate) const ALLOWED: &str = "permit or forbid rules over principal (Actor in Role), action \
    see_clear, see_masked, search, write (on Class in Client) or administer (on Sekisho), and \
    context.tls, .local, .terminal, .purpose, .grant, .healthy, .hour";
