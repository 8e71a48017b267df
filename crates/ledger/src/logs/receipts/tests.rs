//! The source of receipts: every entry once and in order, wherever it begins and however much of the
//! log is published.

use std::sync::Arc;

use event::record::{Body, Change};
use event::{ActorId, LogId, SessionId};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::source::Source;
use super::{ReceiptSetup, Receipts, Receiver, SpanKey};
use crate::io::Io;
use crate::logs::publish::Tail;
use crate::logs::sequence::entry_bytes;
use crate::logs::{DiskStore, Generation, LogKeys, Logs, Publisher, Setup, Store};
use crate::recorder::{Durable, Options, Recorder};
use crate::tests::{Rig, client, entries, numbers};

/// Batches: one subject of client 1, or 2, each.
const BATCHES: u64 = 700;

struct World {
    rig: Rig,
    /// How far it was durable, at each leaf and between.
    marks: Vec<Durable>,
    folder: tempfile::TempDir,
}

fn world() -> World {
    let mut rig = Rig::new();
    rig.propose(numbers(1 << 20)).unwrap();
    let mut marks = Vec::new();
    for batch in 0..BATCHES {
        let ask = rig.batch([(1 + u32::from(batch % 5 == 0), batch)]);
        rig.append(ask).unwrap();
        if batch % 50 == 0 {
            rig.clock.pass(1_000);
            rig.core.tick();
        }
        marks.push(*rig.core.shared().durable_now());
    }
    let folder = tempfile::tempdir().unwrap();
    World { rig, marks, folder }
}

/// Client 1's entries as the write-ahead log has them.
fn expected(world: &World) -> Vec<Vec<u8>> {
    let of_one = |entry: &crate::Entry| entry.log == LogId::Client(client(1));
    let mut all = entries(&world.rig.sim);
    all.retain(of_one);
    let bytes = |entry: &crate::Entry| entry_bytes(entry.wall_ms, entry.elapsed_ms, &entry.record);
    all.iter().map(bytes).collect()
}

/// A receiver that takes a request and says nothing holds up no stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_receiver_holds_up_no_stop() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::default();
    Recorder::create(folder.path(), "Centre", &options).unwrap();
    let sealer = Arc::new(crate::tests::TestSealer::default());
    let (recorder, _) = Recorder::open(folder.path(), sealer, options).unwrap();
    let handle = recorder.handle();
    let added = Change::ClientAdded {
        client: client(1),
        code: "one".into(),
        name: "One".into(),
    };
    handle.propose(ActorId(1), added).await.unwrap();
    let setup = Setup {
        salt: Zeroizing::new([9; 32]),
        keys: Arc::new(|_| Ok(LogKeys::new(vec![Zeroizing::new([3; 32])]))),
        witnesses: None,
        authority: None,
        say: Arc::new(|_| {}),
    };
    let mut progress = |_, _| {};
    let logs = Logs::start(folder.path(), handle.clone(), setup, &mut progress);
    let logs = logs.await.unwrap();
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let receiver = Receiver {
        client: client(1),
        url: format!("http://{}/", silent.local_addr().unwrap()),
        shown_ms: 60_000,
        before_release_above: None,
        wait_ms_max: 1_000,
        certificates: Vec::new(),
    };
    let key = || SpanKey {
        seed: Zeroizing::new([3; 32]),
        from_ms: 0,
        until_ms: None,
    };
    let setup = ReceiptSetup {
        receivers: vec![receiver],
        keys: Arc::new(move || Ok(vec![key()])),
        say: Arc::new(|_| {}),
    };
    let receipts = Receipts::start(folder.path(), &handle, &logs, setup)
        .await
        .unwrap();
    let body = Body::SessionClosed {
        session: SessionId(1),
    };
    handle.record(LogId::Client(client(1)), body).await.unwrap();
    // It has the request, and keeps the connection.
    let (_connection, _) = silent.accept().await.unwrap();
    recorder.close();
    logs.finish().await.unwrap();
    let limit = std::time::Duration::from_secs(6);
    tokio::time::timeout(limit, receipts.finish())
        .await
        .expect("it gives up the request");
}

#[test]
fn every_entry_once_and_in_order() {
    let mut world = world();
    world.rig.clock.pass(1_000);
    world.rig.core.tick();
    let all = expected(&world);
    assert!(all.len() > 512, "more than two bundles");
    let io: Arc<dyn Io> = Arc::new(world.rig.sim.clone());
    let store: Arc<dyn Store> = Arc::new(DiskStore::new(world.folder.path()).unwrap());
    let mut publisher = Publisher::open(Arc::clone(&io), Arc::clone(&store), [7; 16], &[9; 32]);
    let keys = LogKeys::new(vec![Zeroizing::new([3; 32])]);
    let generation = Generation {
        ledger: [7; 16],
        number: 1,
    };
    let (tail, tails) = watch::channel::<Option<Tail>>(None);
    let (durable, durables) = watch::channel(Durable::default());
    let source = || {
        let both = (tails.clone(), durables.clone());
        Source::new(Arc::clone(&io), Arc::clone(&store), client(1), both)
    };
    let (mut live, mut taken) = (source(), Vec::new());
    for (step, mark) in world.marks.iter().enumerate() {
        durable.send_replace(*mark);
        // Publishing comes later, or not at all for a while.
        if step % 37 == 0
            && let Some(_published) = publisher.advance(*mark, &generation, &keys).unwrap()
        {
            tail.send_replace(Some(publisher.tail()));
        }
        let most = step % 4;
        let next = taken.len() as u64;
        live.entries(next, &mut |index, entry| {
            assert_eq!(index, taken.len() as u64);
            taken.push(entry.to_vec());
            Ok(taken.len() - (next as usize) < most)
        })
        .unwrap();
        if step % 101 == 0 {
            live = source();
        }
    }
    // What lies behind is caught up with, a part at a time, by a source that knows nothing.
    durable.send_replace(*world.rig.core.shared().durable_now());
    live = source();
    while taken.len() < all.len() {
        let next = taken.len();
        live.entries(next as u64, &mut |_, entry| {
            taken.push(entry.to_vec());
            Ok(taken.len() - next < 100)
        })
        .unwrap();
        assert!(taken.len() > next, "it goes on");
    }
    assert_eq!(taken, all);
    // What is published no more comes from the write-ahead log, a part at a time, too.
    let gone = "client/1/tile/entries/001";
    store.remove_file(gone).unwrap();
    for begin in [0, 300, 511] {
        let (mut late, mut again) = (source(), all[..begin].to_vec());
        while again.len() < all.len() {
            let next = again.len();
            late.entries(next as u64, &mut |index, entry| {
                assert_eq!(index, again.len() as u64);
                again.push(entry.to_vec());
                Ok(again.len() - next < 100)
            })
            .unwrap();
            assert!(again.len() > next, "it goes on");
        }
        assert!(again == all, "from {begin}");
    }
    // A refusal loses nothing: it is given again. A look takes nothing.
    let first = all.len() as u64 - 1;
    let mut live = source();
    let failed = live.entries(first, &mut |_, _| {
        Err(crate::LedgerError::Setting("no key".into()))
    });
    assert!(failed.is_err());
    for look in [true, false] {
        let mut given = Vec::new();
        let take = &mut |index: u64, _: &[u8]| {
            given.push(index);
            Ok(true)
        };
        match look {
            true => live.peek(first, take).unwrap(),
            false => live.entries(first, take).unwrap(),
        }
        assert_eq!(given, [first]);
    }
}
