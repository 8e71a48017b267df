//! `sekisho-verify witness`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use verify::witness::{self, Limits, Witness, heads, make_key, read_key, read_logs, serve};

use super::{Answer, Ending, Stop, misused, print};

/// A witness: cosigns the root log's checkpoints, so that nobody can be shown another history.
///
/// A client or an auditor runs one, best on a machine and network of its own. It speaks the C2SP
/// tlog-witness protocol over plain HTTP; put a reverse proxy with TLS before it. Never restore its
/// folder from a backup and never run two on one folder: a witness that forgets can be tricked. If
/// its folder is lost, make a new witness with a new key and tell those who trust it.
///
///     sekisho-verify witness key --dir /var/lib/witness --name example.com/witness-1
///     (put the log's public keys into /var/lib/witness/logs, one a line)
///     sekisho-verify witness run --dir /var/lib/witness --listen 127.0.0.1:8780
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub(super) struct WitnessArguments {
    #[command(subcommand)]
    command: WitnessCommand,
}

#[derive(Subcommand)]
enum WitnessCommand {
    /// Makes the witness's key and prints its public key, for the policies of those who trust it.
    Key {
        /// The witness's folder; made if it is not there.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        /// Its name: a host and path that it has for good, such as example.com/witness-1.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        answer: Answer,
    },
    /// Runs it: POST /add-checkpoint, GET /checkpoint/HEX (SHA-256 of a log's origin).
    Run {
        /// The witness's folder.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        /// Where to listen.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8780")]
        listen: SocketAddr,
        #[command(flatten)]
        answer: Answer,
    },
    /// Prints the public key, the logs that it knows, and what it cosigned last.
    Show {
        /// The witness's folder.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        #[command(flatten)]
        answer: Answer,
    },
}

impl WitnessArguments {
    pub(super) fn answer(&self) -> Answer {
        match &self.command {
            WitnessCommand::Key { answer, .. }
            | WitnessCommand::Run { answer, .. }
            | WitnessCommand::Show { answer, .. } => *answer,
        }
    }
}

pub(super) fn run(arguments: &WitnessArguments) -> Ending {
    let answer = arguments.answer();
    match &arguments.command {
        WitnessCommand::Key { dir, name, .. } => {
            let key = make_key(dir, name).map_err(misused)?;
            print(&if answer.json {
                format!("{}\n", json!({ "key": key.to_string() }))
            } else {
                format!("{key}\n")
            });
            Ok(0)
        }
        WitnessCommand::Run { dir, listen, .. } => {
            let witness = Witness::open(dir).map_err(misused)?;
            listening(Arc::new(witness), *listen)
        }
        WitnessCommand::Show { dir, .. } => {
            let key = read_key(dir).map_err(misused)?;
            let logs = read_logs(dir).map_err(misused)?;
            let heads = heads(dir).map_err(misused)?;
            if answer.json {
                let heads: Vec<_> = heads
                    .iter()
                    .map(|(origin, head)| {
                        let name = witness::origin_hex(origin);
                        json!({ "origin": origin, "name": name, "size": head.size,
                                "root": head.root.to_string() })
                    })
                    .collect();
                let logs: Vec<String> = logs.iter().map(ToString::to_string).collect();
                let key = key.verifier().to_string();
                print(&format!(
                    "{:#}\n",
                    json!({ "key": key, "logs": logs, "heads": heads })
                ));
                return Ok(0);
            }
            let mut text = format!("{}\n", key.verifier());
            for log in &logs {
                text += &format!("log {log}\n");
            }
            for (origin, head) in &heads {
                text += &format!("cosigned {origin} {} {}\n", head.size, head.root);
            }
            print(&text);
            Ok(0)
        }
    }
}

fn listening(witness: Arc<Witness>, listen: SocketAddr) -> Ending {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(misused)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .map_err(|error| misused(format!("{listen}: {error}")))?;
        let address = listener.local_addr().map_err(misused)?;
        print(&format!(
            "witness {} listens on http://{address}\n",
            witness.verifier()
        ));
        serve(witness, listener, Limits::default())
            .await
            .map_err(|error| Stop {
                code: 1,
                says: error.to_string(),
            })?;
        Ok(0)
    })
}
