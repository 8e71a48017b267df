//! What a run showed: checks that passed or failed, and numbers with their targets.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// One line of the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Line {
    /// `part/check`.
    pub(crate) name: String,
    /// The number; for a check 1 where it passed and 0 where it failed.
    pub(crate) value: f64,
    /// `check` for a check.
    pub(crate) unit: String,
    /// `< 5`; for a check what it demands.
    pub(crate) target: String,
    /// Whether it is as it has to be.
    pub(crate) ok: bool,
}

/// The lines of a run, printed as they come.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) lines: Vec<Line>,
    voice: Voice,
}

/// What becomes of what is said.
#[derive(Default)]
enum Voice {
    #[default]
    Aloud,
    /// Kept until another outcome takes it in: guests that run side by side.
    Held(Vec<String>),
    Quiet,
}

impl Outcome {
    /// Of a run that has to fail, whose lines would frighten.
    pub(crate) fn quiet() -> Self {
        Self {
            lines: Vec::new(),
            voice: Voice::Quiet,
        }
    }

    /// Of one that runs beside others.
    pub(crate) fn held() -> Self {
        Self {
            lines: Vec::new(),
            voice: Voice::Held(Vec::new()),
        }
    }

    /// Says and takes in what another one held.
    pub(crate) fn take(&mut self, other: Self) {
        if let Voice::Held(said) = other.voice {
            said.iter().for_each(|line| self.print(line));
        }
        self.lines.extend(other.lines);
    }

    /// Says a line, unless this outcome is quiet.
    pub(crate) fn print(&mut self, line: &str) {
        match &mut self.voice {
            Voice::Aloud => println!("{line}"),
            Voice::Held(said) => said.push(line.to_owned()),
            Voice::Quiet => {}
        }
    }

    /// Names of what failed.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .filter(|it| !it.ok)
            .map(|it| it.name.as_str())
    }

    /// Adds a check.
    pub(crate) fn check(&mut self, name: String, ok: bool, detail: &str) {
        let word = word(ok);
        let space = if detail.is_empty() { "" } else { "  " };
        self.print(&format!("{word} {name}{space}{detail}"));
        self.lines.push(Line {
            name,
            value: f64::from(u8::from(ok)),
            unit: "check".to_owned(),
            target: "1".to_owned(),
            ok,
        });
    }

    /// Adds a number that has to be below a bound.
    pub(crate) fn below(&mut self, name: String, value: f64, unit: &str, bound: f64) {
        let ok = value < bound;
        let word = word(ok);
        self.print(&format!(
            "{word} {name} {value:.3} {unit} (target < {bound})"
        ));
        self.lines.push(Line {
            name,
            value,
            unit: unit.to_owned(),
            target: format!("< {bound}"),
            ok,
        });
    }

    /// How many passed and failed.
    pub(crate) fn count(&self) -> (usize, usize) {
        let passed = self.lines.iter().filter(|it| it.ok).count();
        (passed, self.lines.len() - passed)
    }

    /// Writes the lines as a JSON list.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.lines)?;
        std::fs::write(file, text + "\n")
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

/// As test runners say it.
fn word(ok: bool) -> &'static str {
    if ok { "ok" } else { "not ok" }
}
