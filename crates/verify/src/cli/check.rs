//! `sekisho-verify check`.

use std::path::{Path, PathBuf};

use clap::Args;
use verify::check::{Question, check};
use verify::key::KEY_FILE_BYTES_MAX;
use verify::stamps;

use super::{
    Answer, Ending, Source, Stop, code, key_file, misused, no_log, now_ms, print, read_text, say,
    state_path,
};

/// Checks your log: that it is whole, unchanged, witnessed and up to date.
///
/// Reads your log from the first entry on, the root log from where you last looked, and what the root
/// log says of your log at every point between. Remembers what it saw (in a file beside the key file),
/// so that the next look notices if history was changed since. Run it regularly: once a day, from
/// different networks if you can.
///
///     sekisho-verify check --key acme.sekisho --from https://logs.example.com/ledger
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    source: Source,
    /// What was seen before; without it FILE.state beside the key file.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Read the root log again from its first leaf on, not only from the last look.
    #[arg(long)]
    again: bool,
    /// Judge as of this time (ms since 1970) and not as of now: for a copy of an earlier day.
    #[arg(long, value_name = "MS")]
    at_ms: Option<u64>,
    /// PEM file with the certificates to trust for time stamps, in place of those in the key file.
    #[arg(long, value_name = "FILE")]
    timestamp_roots: Option<PathBuf>,
    #[command(flatten)]
    pub(super) answer: Answer,
}

pub(super) fn run(arguments: &CheckArguments) -> Ending {
    let lang = arguments.answer.lang();
    let source = &arguments.source;
    let key_file = key_file(&source.key)?;
    let state = arguments.state.clone();
    let state = state.unwrap_or_else(|| state_path(&source.key));
    let remembered = super::remembered(&state, &key_file)?;
    let store = super::store(&source.from, source.ca.as_deref())?;
    let roots = match &arguments.timestamp_roots {
        Some(path) => Some(timestamp_roots(path)?),
        None => key_file.timestamps.as_ref().map(|it| it.roots.clone()),
    };
    let question = Question {
        key_file: &key_file,
        store: &*store,
        remembered: remembered.as_ref(),
        whole: arguments.again,
        now_ms: arguments.at_ms.unwrap_or_else(now_ms),
        current: true,
    };
    let mut checked =
        check(question, &mut |_| {}).map_err(|error| no_log(&error, &source.from, lang))?;
    let stamped = stamps::check(question, roots.as_ref(), &mut checked);
    let now = key_file.generation;
    let former = remembered.as_ref().filter(|it| it.generation != now);
    if let (Some(_), Some(former)) = (&checked.remember, former) {
        // What was seen before a declared loss is the only memory of it.
        let kept = state.with_extension(format!("generation-{}", former.generation));
        former.save(&kept).map_err(|error| Stop {
            code: 3,
            says: format!(
                "{}: what was seen before cannot be kept: {error}",
                kept.display()
            ),
        })?;
    }
    let remembered = remembered.filter(|it| it.generation == now);
    if let Some(remember) = &checked.remember {
        remember.save(&state).map_err(|error| Stop {
            code: 3,
            says: format!("{}: what was seen cannot be kept: {error}", state.display()),
        })?;
    }
    let code = code(&checked);
    print(&if arguments.answer.json {
        let json = say::json(
            &key_file,
            &checked,
            stamped.as_ref(),
            remembered.as_ref(),
            lang,
            code,
        );
        format!("{json:#}\n")
    } else {
        let stamped = stamped.as_ref();
        say::text(
            &key_file,
            &source.from,
            &checked,
            stamped,
            remembered.as_ref(),
            lang,
        )
    });
    Ok(code)
}

fn timestamp_roots(path: &Path) -> Result<stamp::Roots, Stop> {
    let pem = read_text(path, KEY_FILE_BYTES_MAX)?;
    stamp::Roots::from_pem(pem.as_bytes())
        .map_err(|error| misused(format!("{}: {error}", path.display())))
}
