//! `sekisho-verify report`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use event::{LogId, Plain};
use verify::check::Question;
use verify::key::{KEY_FILE_BYTES_MAX, KeyFile, OfficerFile};
use verify::report::{Names, Period, Person, ReportError, Verified, make};
use verify::time::{Date, Offset};

use super::{
    Answer, Ending, Source, Stop, code, key_file, misused, no_log, now_ms, print, read_text, say,
    state_path,
};

/// The longest value that is looked for, in bytes.
const PERSON_BYTES_MAX: u64 = 8 << 10;

/// Tells who saw how many of your customers, when, by which right.
///
/// Computed from your own copy, which is verified first, always: a doctored copy gives no report. With
/// your officer's file it also says whether and by whom one person was seen; give that person on
/// standard input (--person -), so that the value is not in your shell's history.
///
///     sekisho-verify report --key acme.sekisho --from acme-log --since 2026-04-01 --until 2026-06-30
///     echo phone=090-1234-5678 | sekisho-verify report --key acme.sekisho --from acme-log \
///         --officer acme.officer --person - --format html --out answer.html
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub(super) struct ReportArguments {
    #[command(flatten)]
    source: Source,
    /// The first day; without it from the log's first on.
    #[arg(long, value_name = "YYYY-MM-DD")]
    since: Option<Date>,
    /// The last day, included; without it to the log's end.
    #[arg(long, value_name = "YYYY-MM-DD")]
    until: Option<Date>,
    /// What a day is: hours ahead of UTC.
    #[arg(
        long,
        value_name = "+HH:MM",
        default_value = "+09:00",
        allow_hyphen_values = true
    )]
    utc_offset: Offset,
    /// text, json, or html: one page that needs nothing else and prints on A4.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Write the report into this file, whole or not at all, in place of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Names of actors: a line each, NUMBER,NAME. The log has numbers only.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// The client officer's file, which opens the lists.
    #[arg(long, value_name = "FILE", requires = "person")]
    officer: Option<PathBuf>,
    /// The person to look for: CLASS=VALUE, or - to read that from standard input.
    #[arg(long, value_name = "CLASS=VALUE|-", requires = "officer")]
    person: Option<String>,
    #[command(flatten)]
    answer: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Html,
}

impl ReportArguments {
    /// `--format json` is `--json`.
    pub(super) fn answer(&self) -> Answer {
        Answer {
            json: self.answer.json || self.format == Format::Json,
            ..self.answer
        }
    }
}

pub(super) fn run(arguments: &ReportArguments) -> Ending {
    let answer = arguments.answer();
    let lang = answer.lang();
    let source = &arguments.source;
    let key_file = key_file(&source.key)?;
    let period = period(arguments)?;
    let names = arguments.names.as_deref().map_or(Ok(Names::new()), names)?;
    let officer = officer(arguments, &key_file)?;
    let person = match (&officer, &arguments.person) {
        (Some(officer), Some(given)) => Some((person(given, officer)?, officer)),
        _ => None,
    };
    let remembered = super::remembered(&state_path(&source.key), &key_file)?;
    let store = super::store(&source.from, source.ca.as_deref())?;
    let question = Question {
        key_file: &key_file,
        store: &*store,
        remembered: remembered.as_ref(),
        whole: true,
        now_ms: now_ms(),
        current: false,
    };
    let (checked, report, found) =
        make(question, period, person).map_err(|error| no_log(&error, &source.from, lang))?;
    let verified = match Verified::new(&key_file, &checked, report, found, &names) {
        Ok(verified) => verified,
        Err(ReportError::NotVerified) => {
            let code = code(&checked);
            if answer.json {
                let json = say::json(&key_file, &checked, None, remembered.as_ref(), lang, code);
                print(&format!("{json:#}\n"));
            } else {
                print(&say::problems(&checked, lang));
            }
            let says = lang.pick(
                "no report: the log is not verified (see above)",
                "報告しません: ログを検証できませんでした（上記参照）",
            );
            eprintln!("sekisho-verify: {says}");
            return Ok(code);
        }
        Err(error) => return Err(misused(error.say(lang))),
    };
    let text = match arguments.format {
        Format::Html => verified.html(lang),
        _ if answer.json => format!("{:#}\n", verified.json(lang)),
        _ => verified.text(lang),
    };
    match &arguments.out {
        None => print(&text),
        Some(path) => {
            use verify::platform::{Mode, write_atomically};
            write_atomically(path, text.as_bytes(), Mode::Private).map_err(|error| Stop {
                code: 3,
                says: format!("{}: {error}", path.display()),
            })?;
        }
    }
    Ok(0)
}

fn period(arguments: &ReportArguments) -> Result<Period, Stop> {
    let day = |date: Option<Date>| date.and_then(Date::to_day);
    let (since, until) = (day(arguments.since), day(arguments.until));
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(misused("--until is before --since"));
    }
    Ok(Period {
        since,
        until,
        offset: arguments.utc_offset,
    })
}

fn names(path: &Path) -> Result<Names, Stop> {
    let text = read_text(path, KEY_FILE_BYTES_MAX)?;
    let mut names = Names::new();
    for (at, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let pair = line
            .split_once(',')
            .and_then(|(number, name)| Some((number.trim().parse().ok()?, name.trim().to_owned())));
        let (number, name) = pair
            .ok_or_else(|| misused(format!("{}: line {at} is not NUMBER,NAME", path.display())))?;
        names.insert(number, name);
    }
    Ok(names)
}

fn officer(arguments: &ReportArguments, key_file: &KeyFile) -> Result<Option<OfficerFile>, Stop> {
    let Some(path) = &arguments.officer else {
        return Ok(None);
    };
    let text = Plain::new(read_text(path, KEY_FILE_BYTES_MAX)?);
    let officer = OfficerFile::parse(text.expose())
        .map_err(|error| misused(format!("{}: {error}", path.display())))?;
    if officer.ledger != key_file.ledger || LogId::Client(officer.client) != key_file.log {
        let path = path.display();
        return Err(misused(format!(
            "{path}: it is another client's officer's file"
        )));
    }
    Ok(Some(officer))
}

/// The person, never printed back.
fn person(given: &str, officer: &OfficerFile) -> Result<Person, Stop> {
    let mut value = Plain::new(given.to_owned());
    if given == "-" {
        let mut text = Plain::new(String::new());
        std::io::stdin()
            .lock()
            .take(PERSON_BYTES_MAX)
            .read_to_string(text.expose_mut())
            .map_err(|error| misused(format!("standard input: {error}")))?;
        value = Plain::new(text.expose().trim_end_matches(['\r', '\n']).to_owned());
    }
    Person::parse(&value, officer).map_err(|error| misused(format!("--person: {error}")))
}
