//! A running ledger has its root checkpoints stamped by a real authority: `openssl ts` behind HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests"
)]

// Each crate uses another part of the authority.
#[allow(dead_code, unreachable_pub)]
#[path = "../../stamp/tests/authority/mod.rs"]
mod authority;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use authority::server::{Mode, Server};
use authority::{EC, Plan, USUAL, verifies};
use event::record::{Body, decode};
use event::{ClientId, Digest, LogId, Plain, SessionId};
use ledger::logs::{Authority, DiskStore, LogKeys, Logs, Setup, stamping};
use ledger::{Handle, ListClosed, ListSealer, Options, Reader, Recorder};
use stamp::{Index, Over, Roots};
use zeroize::Zeroizing;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const DEADLINE: Duration = Duration::from_secs(120);

struct NoLists;

impl ListSealer for NoLists {
    fn seal_list(&self, _: ClientId, _: u32, _: &Digest, _: &[u8]) -> Result<Vec<u8>, ListClosed> {
        Err(ListClosed::Failed("there are none".into()))
    }

    fn open_list(
        &self,
        _: ClientId,
        _: u32,
        _: &Digest,
        _: &[u8],
    ) -> Result<Plain<Vec<u8>>, ListClosed> {
        Err(ListClosed::Failed("there are none".into()))
    }
}

/// A ledger's folder, an authority, and what the ledger said.
struct Rig {
    dir: tempfile::TempDir,
    authority: Arc<authority::Authority>,
    server: Server,
    said: Arc<Mutex<Vec<String>>>,
}

struct Running {
    recorder: Recorder,
    logs: Logs,
}

impl Rig {
    fn new(plan: Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Arc::new(authority::Authority::new(&dir.path().join("tsa"), plan));
        let server = Server::new(Arc::clone(&authority));
        let it = Self {
            dir,
            authority,
            server,
            said: Arc::default(),
        };
        Recorder::create(&it.folder(), "Stamped", &Options::default()).unwrap();
        it
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    fn file(&self, path: &str) -> PathBuf {
        self.folder().join("logs").join(path)
    }

    async fn start(&self, interval_ms: u64, ahead_ms: u64) -> Running {
        let folder = self.folder();
        let options = Options::default();
        let (recorder, _) = Recorder::open(&folder, Arc::new(NoLists), options).unwrap();
        let roots = Roots::from_pem(&self.authority.root()).unwrap();
        let authority = Authority::new(&self.server.url, roots, interval_ms, ahead_ms);
        let said = Arc::clone(&self.said);
        let setup = Setup {
            salt: Zeroizing::new([9; 32]),
            keys: Arc::new(|_| Ok(LogKeys::new(vec![Zeroizing::new([5; 32])]))),
            witnesses: None,
            authority: Some(Arc::new(authority)),
            say: Arc::new(move |line| said.lock().unwrap().push(line)),
        };
        let handle = recorder.handle();
        let logs = Logs::start(&folder, handle, setup, &mut |_, _| {}).await;
        Running {
            recorder,
            logs: logs.unwrap(),
        }
    }

    fn index(&self) -> Index {
        stamping::load(&DiskStore::new(&self.folder().join("logs")).unwrap()).unwrap()
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Digests of the stamps that the ledger records, in order.
    fn recorded(&self) -> Vec<[u8; 32]> {
        let mut reader = Reader::open(&self.folder()).unwrap();
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            if let Body::TimeStamped { digest, .. } = decode(&entry.record).unwrap() {
                assert_eq!(entry.log, LogId::Centre);
                found.push(digest.0);
            }
        }
        found
    }

    /// What OpenSSL thinks of every stored token.
    fn judge(&self) {
        let index = self.index();
        for (number, line) in index.lines().iter().enumerate() {
            let data = match line.over.note() {
                Some(path) => self.file(&path),
                None => {
                    let before = index.lines()[..number].iter().map(ToString::to_string);
                    let path = self.dir.path().join("before");
                    std::fs::write(&path, before.collect::<String>()).unwrap();
                    path
                }
            };
            let token = self.file(&line.over.token());
            assert!(verifies(&self.authority, &token, &data), "{token:?}");
        }
    }
}

impl Running {
    /// Records something until `done`: so there is a new checkpoint each second.
    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let handle: Handle = self.recorder.handle();
        let began = Instant::now();
        let mut durable = handle.durable();
        while !done() {
            assert!(began.elapsed() < DEADLINE, "not in time: {what}");
            let body = Body::SessionClosed {
                session: SessionId(1),
            };
            handle.record(LogId::Centre, body).await.unwrap();
            let leaf = tokio::time::timeout(Duration::from_millis(200), durable.changed()).await;
            assert!(!matches!(leaf, Ok(Err(_))), "the recorder ended");
        }
    }

    async fn stop(self) {
        self.recorder.close();
        self.logs.finish().await.unwrap();
    }

    fn published(&self) -> u64 {
        self.logs.progress().borrow().published
    }
}

fn copy_of(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_stamped_recorded_and_not_twice() {
    for plan in [
        USUAL,
        Plan {
            key: EC,
            between: true,
            ..USUAL
        },
    ] {
        let rig = Rig::new(plan);
        let running = rig.start(1000, DAY_MS).await;
        running
            .until("two stamps", || rig.index().lines().len() >= 2)
            .await;
        running
            .until("their records", || rig.recorded().len() >= 2)
            .await;
        running.stop().await;
        rig.judge();
        let lines = rig.index().lines().to_vec();
        let digests: Vec<[u8; 32]> = lines.iter().map(|line| line.digest).collect();
        let mut recorded = rig.recorded();
        if recorded.len() < digests.len() {
            // Stopped between the two: the next start records it.
            let running = rig.start(HOUR_MS, DAY_MS).await;
            running
                .until("the last one", || rig.recorded().len() >= digests.len())
                .await;
            running.stop().await;
            recorded = rig.recorded();
        }
        // A stop between a record and the note of it has it recorded twice.
        recorded.dedup();
        assert_eq!(recorded, digests);

        // Within the hour nobody is asked again, however often it is started.
        let running = rig.start(HOUR_MS, DAY_MS).await;
        let leaves = running.published() + 2;
        running
            .until("two leaves", || running.published() >= leaves)
            .await;
        // Whoever was asked when it was stopped has answered by now.
        let asked = rig.server.asked();
        let leaves = running.published() + 3;
        running
            .until("three leaves", || running.published() >= leaves)
            .await;
        running.stop().await;
        assert_eq!(rig.server.asked(), asked);
        assert_eq!(rig.index().lines(), lines);

        // A crash between file and record; another in the middle of a line.
        let last = (lines.len() - 1).to_string();
        std::fs::write(rig.file("heads/stamps"), last).unwrap();
        let mut index = copy_of(&rig.file(stamp::INDEX));
        index.extend(b"stamp 12");
        std::fs::write(rig.file(stamp::INDEX), index).unwrap();
        let expected = rig.recorded().len() + 1;
        let running = rig.start(HOUR_MS, DAY_MS).await;
        running
            .until("the record", || rig.recorded().len() == expected)
            .await;
        running.stop().await;
        assert_eq!(rig.recorded().last(), digests.last());
        let running = rig.start(1000, DAY_MS).await;
        running
            .until("one more", || rig.index().lines().len() > lines.len())
            .await;
        running.stop().await;
        rig.judge();
        assert_eq!(rig.said(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_gone_or_lies_is_said_once_and_holds_up_nothing() {
    let rig = Rig::new(Plan { key: EC, ..USUAL });
    let elsewhere = authority::Authority::new(&rig.dir.path().join("else"), USUAL);
    let of_else = elsewhere.answer(&stamp::request(&[1; 32], 1));
    let others = [
        Mode::Gone,
        Mode::Status(503),
        Mode::Always(of_else),
        Mode::Always(vec![0x30; 100_000]),
        Mode::Always(Vec::new()),
    ];
    let running = rig.start(1000, DAY_MS).await;
    for (number, mode) in others.into_iter().enumerate() {
        let said = rig.said().len();
        let lines = rig.index().lines().to_vec();
        rig.server.set(mode);
        running
            .until("it is said", || rig.said().len() > said)
            .await;
        // Nothing waits for it.
        let leaves = running.published() + 2;
        running
            .until("two leaves", || running.published() >= leaves)
            .await;
        let asked = rig.server.asked();
        running
            .until("it is asked again", || rig.server.asked() > asked)
            .await;
        let news = rig.said()[said..].to_vec();
        assert_eq!(news.len(), 1, "{news:?}");
        assert!(news[0].contains(&rig.server.url), "{news:?}");
        // What was on its way when the mode changed may still have come.
        assert!(rig.index().lines().len() <= lines.len() + 1);
        rig.server.set(Mode::Honest);
        running
            .until("it is said that it is back", || {
                rig.said().len() == said + 2
            })
            .await;
        assert!(
            rig.said()[said + 1].contains("again"),
            "{number}: {:?}",
            rig.said()
        );
    }
    running.stop().await;
    rig.judge();
}

#[tokio::test(flavor = "multi_thread")]
async fn stamps_are_stamped_again_before_the_authoritys_key_ends() {
    let rig = Rig::new(Plan { days: 5, ..USUAL });
    let running = rig.start(1000, 30 * DAY_MS).await;
    running
        .until("two stamps", || rig.index().lines().len() >= 2)
        .await;
    // Its certificate ends soon, and there is no newer one: nothing to be done.
    let renewed = |index: &Index| {
        let over_index = |it: &stamp::Line| matches!(it.over, Over::Index(_));
        index.lines().iter().filter(|it| over_index(it)).count()
    };
    assert_eq!(renewed(&rig.index()), 0);
    running.stop().await;
    let first = rig.index().lines()[0];
    rig.authority.sign_with(USUAL, "root");
    let running = rig.start(1000, 30 * DAY_MS).await;
    running
        .until("a renewal", || renewed(&rig.index()) == 1)
        .await;
    let before = rig.index().lines().len();
    running
        .until("a stamp more", || rig.index().lines().len() > before + 1)
        .await;
    running
        .until("records", || rig.recorded().len() > before)
        .await;
    running.stop().await;
    let index = rig.index();
    assert_eq!(renewed(&index), 1, "once is enough");
    assert!(first.until_ms < first.time_ms + 6 * DAY_MS);
    assert!(index.proven_until()[0] > first.time_ms + 3000 * DAY_MS);
    rig.judge();
    assert_eq!(rig.said(), Vec::<String>::new());
}
