//! How long a durable append takes beside a raw fdatasync of the same size, on the same disk:
//! `cargo run --release -p ledger --example append_rate [FOLDER]`.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::record::{Change, Who};
use event::{ActorId, Class, ClientId, Digest, Fingerprint, Outcome, Plain, Role};
use ledger::{
    Answer, Batch, Charge, Handle, ListClosed, ListSealer, Options, Recorder, Row, StatementScope,
};

const COUNT: u64 = 2000;
const SESSIONS: u64 = 64;

/// Lists are as long as sealed ones; their encryption is measured elsewhere.
struct Unsealed;

impl ListSealer for Unsealed {
    fn seal_list(
        &self,
        _: ClientId,
        _: u32,
        _: &Digest,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, ListClosed> {
        Ok(plaintext.to_vec())
    }

    fn open_list(
        &self,
        _: ClientId,
        _: u32,
        _: &Digest,
        sealed: &[u8],
    ) -> Result<Plain<Vec<u8>>, ListClosed> {
        Ok(Plain::new(sealed.to_vec()))
    }
}

#[expect(clippy::print_stdout, reason = "it prints its result")]
fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let folder = tempfile::tempdir_in(parent)?;
    let raw = raw(folder.path())?;
    println!(
        "raw fdatasync of 512 bytes   p50 {:>9.1?}  p99 {:>9.1?}",
        raw.0, raw.1
    );
    let options = Options::default();
    Recorder::create(folder.path(), "Bench", &options)?;
    let (recorder, _) = Recorder::open(folder.path(), Arc::new(Unsealed), options)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let handle = recorder.handle();
    runtime.block_on(set_up(&handle))?;
    for sessions in [1, SESSIONS] {
        let start = Instant::now();
        let tasks: Vec<_> = (0..sessions)
            .map(|session| runtime.spawn(appends(handle.clone(), session)))
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(runtime.block_on(task)?);
        }
        let rate = times.len() as f64 / start.elapsed().as_secs_f64();
        let (p50, p99) = percentiles(times);
        println!(
            "append, {sessions:>2} sessions          p50 {p50:>9.1?}  p99 {p99:>9.1?}  {rate:>8.0} a second  p50 {:.2} x raw",
            p50.as_secs_f64() / raw.0.as_secs_f64()
        );
    }
    recorder.close();
    Ok(())
}

fn raw(folder: &Path) -> Result<(Duration, Duration), Box<dyn Error>> {
    let file = File::create(folder.join("raw"))?;
    file.write_all_at(&vec![0; 4 << 20], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for turn in 0..COUNT {
        let start = Instant::now();
        file.write_all_at(&[1; 512], turn * 512)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(percentiles(times))
}

fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn client() -> ClientId {
    ClientId::new(1).expect("1 is a client number")
}

async fn set_up(handle: &Handle) -> Result<(), Box<dyn Error>> {
    let free = budget::Limits {
        hour: None,
        day: None,
        month: None,
        all: None,
    };
    let mut numbers = budget::Numbers::default();
    numbers.client.subjects = free;
    if let Some(operator) = numbers.roles.get_mut(&Role::Operator) {
        operator.subjects = free;
        operator.subjects_per_client = free;
    }
    for change in [
        Change::ClientAdded {
            client: client(),
            code: "c".into(),
            name: "C".into(),
        },
        Change::ActorSet {
            actor: ActorId(1),
            login: "o".into(),
            role: Role::Operator,
            clients: vec![client()],
            active: true,
        },
        Change::Numbers {
            toml: numbers.to_toml(),
        },
    ] {
        handle.propose(ActorId(1), change).await?;
    }
    Ok(())
}

/// One customer with three cells, again and again.
async fn appends(handle: Handle, session: u64) -> Vec<Duration> {
    let who = Who {
        actor: ActorId(1),
        role: Role::Operator,
        session: handle.new_session(),
        grant: None,
    };
    let scope = StatementScope {
        shape: Arc::new((Digest([1; 32]), "select".into())),
        purpose: None,
        policy: Digest([2; 32]),
        generation: handle.generation(),
    };
    let mut times = Vec::new();
    for turn in 0..COUNT {
        let subject = session * COUNT + turn;
        let charges = [Class::Name, Class::Phone, Class::Address].map(|class| Charge {
            client: client(),
            class,
            outcome: Outcome::Clear,
            fingerprint: Fingerprint(subject),
            weight: 1,
            tag: subject,
        });
        let batch = Batch {
            who: who.clone(),
            scope: scope.clone(),
            probes: Vec::new(),
            rows: vec![Row {
                charges: charges.to_vec(),
                payload: subject,
            }],
        };
        let start = Instant::now();
        let answer = handle.append(batch).await;
        times.push(start.elapsed());
        assert!(matches!(answer, Answer::Released(_)), "{answer:?}");
    }
    times
}
