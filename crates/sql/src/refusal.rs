//! Refusals: what the driver is told instead of a plan.

/// Why a statement is not sent. Carries no value of the statement: names of pinned relations and
/// columns at most.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// SQLSTATE: `0A000` not possible on sealed columns, `42601` not parsed, `54001` nested too
    /// deeply, `54000` too many values, `42501` not allowed through the gate, `22P02`/`22021` a
    /// literal that cannot be decoded.
    pub code: &'static str,
    /// What was refused.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What can be asked instead.
    pub hint: Option<String>,
    /// Where in the whole text that was given to [`crate::plan`], in characters from 1.
    pub position: Option<usize>,
    /// The sealed column, `relation.column`.
    pub column: Option<String>,
}

impl Refusal {
    /// A refusal with a code and a message.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            column: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}
