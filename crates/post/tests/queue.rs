//! The queue over restarts, power cuts, full disks and acknowledgements.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout
)]

use std::fs;
use std::path::Path;

use post::queue::{Queue, QueueError, Stamp};
use proptest::prelude::*;
use terminal::device::Bus;
use terminal::report::{Report, Said, digest};

const ROOM: u64 = 1 << 20;

fn stamp(at: u64) -> Stamp {
    Stamp {
        boot: [7; 16],
        at_ms: 1_000_000 + at,
        uptime_ms: at,
    }
}

fn tampered(at: u64) -> Said {
    Said::Tampered {
        what: format!("{at} {}", "x".repeat(200)),
    }
}

fn detached(at: u64) -> Said {
    Said::Detached {
        bus: Bus::Usb,
        key: format!("1-{at}"),
    }
}

/// Everything that waits, as a chain that holds together.
fn all(queue: &Queue, after: u64, mut before: Option<[u8; 32]>) -> Vec<Report> {
    let found = queue.after(after, usize::MAX).unwrap();
    found
        .into_iter()
        .map(|(sequence, bytes)| {
            let report = Report::decode(&bytes).unwrap();
            assert_eq!(report.sequence, sequence);
            if let Some(before) = before {
                assert_eq!(report.before, before);
            }
            before = Some(digest(&bytes));
            report
        })
        .collect()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "reports"))
        .collect();
    files.sort();
    files
}

#[test]
fn the_chain_goes_on_over_restarts_and_acknowledgements() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), 8 * ROOM).unwrap();
    assert!(queue.found().is_none());
    for at in 1..=3000 {
        assert_eq!(queue.push(stamp(at), tampered(at)).unwrap(), Some(at));
    }
    assert!(files(folder.path()).len() > 2);
    assert_eq!(all(&queue, 0, Some([0; 32])).len(), 3000);
    drop(queue);
    let mut queue = Queue::open(folder.path(), 8 * ROOM).unwrap();
    assert_eq!(queue.next(), 3001);
    assert_eq!(queue.found().unwrap().body, tampered(3000));
    let (oldest, before) = queue.oldest();
    assert_eq!((oldest, before), (1, [0; 32]));
    queue.acknowledge(2999);
    assert_eq!(files(folder.path()).len(), 1, "what is acknowledged goes");
    let (oldest, before) = queue.oldest();
    assert_eq!(oldest, 3000);
    assert_eq!(all(&queue, 2999, Some(before)).len(), 1);
    queue.acknowledge(9_999_999);
    assert_eq!(queue.waiting(), 0);
    drop(queue);
    // The last report stays, so that the chain goes on although everything was acknowledged.
    let mut queue = Queue::open(folder.path(), 8 * ROOM).unwrap();
    assert_eq!(queue.waiting(), 0);
    assert_eq!(queue.push(stamp(1), tampered(1)).unwrap(), Some(3001));
    let last = queue.after(2999, 1).unwrap().remove(0).1;
    assert_eq!(all(&queue, 3000, Some(digest(&last))).len(), 1);
}

#[test]
fn what_finds_no_room_is_counted_and_said_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), 64 * 1024).unwrap();
    let mut taken = 0;
    for at in 0..1000 {
        taken += u64::from(queue.push(stamp(at), detached(at)).unwrap().is_some());
    }
    // Above the share for all, essential ones still find room.
    assert!(taken < 1000);
    let refused = 1000 - taken;
    assert_eq!(queue.lost(), refused);
    assert_eq!(queue.push(stamp(0), tampered(0)).unwrap(), Some(taken + 2));
    let reports = all(&queue, 0, Some([0; 32]));
    assert_eq!(reports[taken as usize].body, Said::Lost { count: refused });
    let mut more = 0;
    while queue.push(stamp(0), tampered(0)).unwrap().is_some() {
        more += 1;
        assert!(more < 1000, "the queue is bounded");
    }
    assert!(more > 10);
    let used: u64 = files(folder.path())
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!(used <= 64 * 1024, "{used}");
    // The gate takes everything: there is room again.
    queue.acknowledge(queue.next() - 1);
    drop(queue);
    let mut queue = Queue::open(folder.path(), ROOM).unwrap();
    assert!(queue.push(stamp(1), detached(1)).unwrap().is_some());
}

#[test]
fn a_change_is_found_and_put_aside() {
    for flip in [40, 300, 1000] {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("queue");
        let mut queue = Queue::open(&folder, ROOM).unwrap();
        for at in 0..10 {
            queue.push(stamp(at), tampered(at)).unwrap();
        }
        drop(queue);
        let file = files(&folder).remove(0);
        let mut bytes = fs::read(&file).unwrap();
        bytes[flip] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let error = Queue::open(&folder, ROOM).unwrap_err();
        assert!(
            matches!(error, QueueError::Changed { .. }),
            "{flip}: {error}"
        );
        assert_eq!(Queue::open(&folder, ROOM).unwrap().next(), 1);
    }
}

#[test]
fn a_disk_that_refuses_loses_nothing_silently() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), ROOM).unwrap();
    queue.push(stamp(1), tampered(1)).unwrap();
    drop(queue);
    // A file where the next one has to be made: root is not stopped by permissions.
    let mut queue = Queue::open(folder.path(), ROOM).unwrap();
    let gone = folder.path().with_extension("moved");
    fs::rename(folder.path(), &gone).unwrap();
    assert_eq!(queue.push(stamp(2), tampered(2)).unwrap(), None);
    assert_eq!(queue.lost(), 1);
    fs::rename(&gone, folder.path()).unwrap();
    assert_eq!(queue.push(stamp(3), tampered(3)).unwrap(), Some(3));
    let bodies: Vec<Said> = all(&queue, 0, Some([0; 32]))
        .into_iter()
        .map(|it| it.body)
        .collect();
    assert_eq!(bodies, [tampered(1), Said::Lost { count: 1 }, tampered(3)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A power cut at any byte of the newest file: what was promised before it is there, and the
    /// chain goes on.
    #[test]
    fn a_torn_end(count in 1u64..40, cut in any::<prop::sample::Index>()) {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = Queue::open(folder.path(), ROOM).unwrap();
        let mut ends = vec![0];
        for at in 1..=count {
            queue.push(stamp(at), tampered(at)).unwrap();
            ends.push(fs::metadata(&files(folder.path())[0]).unwrap().len());
        }
        drop(queue);
        let file = files(folder.path()).remove(0);
        let bytes = fs::read(&file).unwrap();
        let cut = cut.index(bytes.len() + 1);
        fs::write(&file, &bytes[..cut]).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut as u64).count() as u64 - 1;
        let mut queue = Queue::open(folder.path(), ROOM).unwrap();
        prop_assert_eq!(queue.next(), whole + 1);
        prop_assert_eq!(queue.push(stamp(9), tampered(9)).unwrap(), Some(whole + 1));
        prop_assert_eq!(all(&queue, 0, Some([0; 32])).len() as u64, whole + 1);
    }

    #[test]
    fn hostile_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("queue");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{:020}.reports", 1)), &bytes).unwrap();
        let _ = Queue::open(&folder, ROOM);
        prop_assert!(Queue::open(&folder, ROOM).is_ok());
    }
}
