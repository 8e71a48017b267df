//! The command line: arguments, exit codes, languages.

mod check;
mod copy;
mod proof;
mod receipts;
mod report;
mod say;
mod witness;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use verify::check::{CheckError, Checked};
use verify::http::{Http, agent};
use verify::key::{KEY_FILE_BYTES_MAX, KeyFile};
use verify::lang::Lang;
use verify::platform;
use verify::problem::Severity;
use verify::state::Remembered;
use verify::store::{Folder, Store};

/// Checks a Sekisho log with public keys and files alone.
///
/// A client of a call centre holds a key file (given once, by a way of its own: on paper or in
/// person). With it this program checks that the client sees every recorded access to its customers'
/// data, that nothing was changed, left out, cut off or shown differently to someone else. It
/// believes nobody but the key file.
#[derive(Parser)]
#[command(name = "sekisho-verify", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  everything that was asked was checked and holds (there may be notices: read them)
  1  something is wrong with the log, the copy, the proof or the receipts
  2  used wrongly, or what was given is no log, no key file, no proof
  3  something could not be reached or is missing, so that not everything was checked";

#[derive(Subcommand)]
enum Command {
    Check(check::CheckArguments),
    Proof(proof::ProofArguments),
    Report(report::ReportArguments),
    Receipts(receipts::ReceiptsArguments),
    Copy(copy::CopyArguments),
    Witness(witness::WitnessArguments),
}

/// How answers are given.
#[derive(Args, Clone, Copy)]
struct Answer {
    /// Print JSON: one object, stable names.
    #[arg(long)]
    json: bool,
    /// The language of what is printed: ja or en. Without it that of the environment (LC_ALL, LANG).
    #[arg(long, value_name = "ja|en")]
    lang: Option<Lang>,
}

impl Answer {
    fn lang(self) -> Lang {
        self.lang
            .unwrap_or_else(|| Lang::of_environment(|name| std::env::var(name).ok()))
    }
}

/// Which log, and where.
#[derive(Args)]
struct Source {
    /// The key file that you were given.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The folder or the http(s) address of the log.
    #[arg(long, value_name = "FOLDER|URL")]
    from: String,
    /// PEM file with an authority to trust for https, besides those of this machine.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// An end with an exit code and a sentence.
struct Stop {
    code: u8,
    says: String,
}

/// Used wrongly.
fn misused(says: impl std::fmt::Display) -> Stop {
    Stop {
        code: 2,
        says: says.to_string(),
    }
}

/// Could not be reached.
fn unreachable(says: impl std::fmt::Display) -> Stop {
    Stop {
        code: 3,
        says: says.to_string(),
    }
}

type Ending = Result<u8, Stop>;

pub(crate) fn run() -> ExitCode {
    let (answer, ending) = match Arguments::parse().command {
        Command::Check(arguments) => (arguments.answer, check::run(&arguments)),
        Command::Proof(arguments) => (arguments.answer, proof::run(&arguments)),
        Command::Report(arguments) => (arguments.answer(), report::run(&arguments)),
        Command::Receipts(arguments) => (arguments.answer, receipts::run(&arguments)),
        Command::Copy(arguments) => (arguments.answer, copy::run(&arguments)),
        Command::Witness(arguments) => (arguments.answer(), witness::run(&arguments)),
    };
    match ending {
        Ok(code) => ExitCode::from(code),
        Err(Stop { code, says }) => {
            if answer.json {
                let json = serde_json::json!({ "verified": false, "error": says, "exit": code });
                print(&format!("{json}\n"));
            }
            eprintln!("sekisho-verify: {}", verify::lang::shown(&says));
            ExitCode::from(code)
        }
    }
}

/// Prints; a reader that has gone away is no error of ours.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let text = verify::lang::shown(text);
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn read_text(path: &Path, max: u64) -> Result<String, Stop> {
    platform::read_text(path, max).map_err(|error| misused(format!("{}: {error}", path.display())))
}

fn key_file(path: &Path) -> Result<KeyFile, Stop> {
    let text = read_text(path, KEY_FILE_BYTES_MAX)?;
    KeyFile::parse(&text).map_err(|error| misused(format!("{}: {error}", path.display())))
}

/// Opens a folder or an address.
fn store(from: &str, ca: Option<&Path>) -> Result<Box<dyn Store>, Stop> {
    if from.starts_with("http://") || from.starts_with("https://") {
        let ca = match ca {
            Some(path) => Some(read_text(path, KEY_FILE_BYTES_MAX)?),
            None => None,
        };
        let agent = agent(ca.as_deref().map(str::as_bytes)).map_err(misused)?;
        return Ok(Box::new(Http::new(agent, from).map_err(misused)?));
    }
    let folder = PathBuf::from(from);
    if !folder.is_dir() {
        return Err(misused(format!("{from}: there is no such folder")));
    }
    Ok(Box::new(Folder(folder)))
}

/// Beside the key file.
fn state_path(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push(".state");
    PathBuf::from(name)
}

fn remembered(path: &Path, key_file: &KeyFile) -> Result<Option<Remembered>, Stop> {
    Remembered::load(path, key_file)
        .map_err(|error| misused(format!("{}: {error}", path.display())))
}

fn now_ms() -> u64 {
    // A clock before 1970 is a clock that everything is in the future of.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
}

/// The exit code of what was found.
fn code(checked: &Checked) -> u8 {
    match checked.problems.worst() {
        Some(Severity::Wrong) => 1,
        Some(Severity::Incomplete) => 3,
        Some(Severity::Notice) | None => 0,
    }
}

fn no_log(error: &CheckError, from: &str, lang: Lang) -> Stop {
    misused(format!("{from}: {}", error.say(lang)))
}
