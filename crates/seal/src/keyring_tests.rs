//! What must hold of the key folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use event::{Class, ClientId, Domain};
use fingerprint::{open_list, seal_list};
use proptest::prelude::*;

use super::{Cache, Keyring, Month};
use crate::master::{Master, tests::create};
use crate::{ClientKeys, Entropy, EntropyError, KeyError};

fn client(number: u32) -> ClientId {
    ClientId::new(number).unwrap()
}

fn keyring(folder: &Path) -> Keyring {
    Keyring::open(folder, create(folder, "")).unwrap()
}

fn reopened(folder: &Path) -> Keyring {
    Keyring::open(folder, Master::load(folder, "").unwrap()).unwrap()
}

#[test]
fn keys_come_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ring = keyring(folder.path());
    let keys = ring.create_client(client(7)).unwrap();
    let cell = keys.seal_random(Class::Name, Domain(1), 3, "山田").unwrap();
    let month = Month::new(2026, 11).unwrap();
    let list = seal_list(&ring.list_key(client(7), month).unwrap(), b"", b"list").unwrap();

    let ring = reopened(folder.path());
    let again = ring.client(client(7)).unwrap();
    assert_eq!(again.open(cell.as_bytes()).unwrap().value.expose(), "山田");
    let key = ring.list_key(client(7), month).unwrap();
    assert_eq!(open_list(&key, b"", &list).unwrap().expose(), b"list");
    let other = ring
        .list_key(client(7), Month::new(2026, 12).unwrap())
        .unwrap();
    assert!(open_list(&other, b"", &list).is_err());
    assert_eq!(ring.clients().unwrap(), [client(7)]);
    assert!(
        Arc::ptr_eq(&again, &ring.client(client(7)).unwrap()),
        "kept"
    );
}

#[test]
fn files_are_private_complete_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ring = keyring(folder.path());
    ring.create_client(client(7)).unwrap();
    ring.list_key(client(7), Month::new(2026, 11).unwrap())
        .unwrap();
    let mut found = Vec::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            if path.is_dir() {
                assert_eq!(mode, 0o700, "{path:?}");
                folders.push(path);
            } else {
                assert_eq!(mode, 0o600, "{path:?}");
                let name = path.strip_prefix(folder.path()).unwrap();
                found.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    assert_eq!(found, ["clients/7.key", "lists/7/202611.key", "master.key"]);
}

#[test]
fn a_client_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let ring = keyring(folder.path());
    ring.create_client(client(7)).unwrap();
    let before = fs::read(folder.path().join("clients/7.key")).unwrap();
    let error = ring.create_client(client(7)).unwrap_err();
    assert!(matches!(error, KeyError::Exists(_)), "{error}");
    assert_eq!(
        fs::read(folder.path().join("clients/7.key")).unwrap(),
        before
    );
}

/// Attack 4, one floor down: files of keys that are swapped, edited or of another master.
#[test]
fn moved_and_altered_files_do_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let ring = keyring(folder.path());
    ring.create_client(client(7)).unwrap();
    let month = Month::new(2026, 11).unwrap();
    ring.list_key(client(7), month).unwrap();
    let clients = folder.path().join("clients");
    let text = fs::read_to_string(clients.join("7.key")).unwrap();
    let write = |name: &str, text: &str| {
        let path = clients.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let fails = |number: u32| reopened(folder.path()).client(client(number)).unwrap_err();

    assert!(matches!(fails(9), KeyError::Missing(_)));
    write("8.key", &text);
    assert!(matches!(fails(8), KeyError::Malformed { .. }));
    write("8.key", &text.replace("client 7", "client 8"));
    assert!(matches!(fails(8), KeyError::DoesNotOpen(_)));
    write("7.key", &text.replace("epoch 1", "epoch 2"));
    assert!(matches!(fails(7), KeyError::DoesNotOpen(_)));
    let mut lines: Vec<_> = text.lines().collect();
    let (lasting, epoch) = (&lines[2][8..], &lines[3][8..]);
    write(
        "7.key",
        &text
            .replace(lasting, "X")
            .replace(epoch, lasting)
            .replace('X', epoch),
    );
    assert!(matches!(fails(7), KeyError::DoesNotOpen(_)));
    lines.truncate(3);
    write("7.key", &lines.join("\n"));
    assert!(matches!(fails(7), KeyError::Malformed { .. }));
    for bad in [
        "",
        "\n",
        "sekisho client key 1",
        "sekisho client key 2\nclient 7\n",
        &"é".repeat(40_000),
    ] {
        write("7.key", bad);
        assert!(matches!(fails(7), KeyError::Malformed { .. }));
    }
    write("7.key", &text);
    fs::set_permissions(clients.join("7.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(fails(7), KeyError::Exposed { .. }));
    write("7.key", &text);

    let lists = folder.path().join("lists/7");
    fs::copy(lists.join("202611.key"), lists.join("202612.key")).unwrap();
    let error = ring
        .list_key(client(7), Month::new(2026, 12).unwrap())
        .unwrap_err();
    assert!(matches!(error, KeyError::Malformed { .. }), "{error}");

    let other = tempfile::tempdir().unwrap();
    let ring = Keyring::open(folder.path(), create(other.path(), "")).unwrap();
    let error = ring.client(client(7)).unwrap_err();
    assert!(matches!(error, KeyError::DoesNotOpen(_)), "{error}");
}

#[test]
fn no_key_without_randomness() {
    struct Broken;
    impl Entropy for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let master = create(folder.path(), "");
    let ring = Keyring::open_with(folder.path(), master, Arc::new(Broken)).unwrap();
    let error = ring.create_client(client(7)).unwrap_err();
    assert!(matches!(error, KeyError::Entropy(_)), "{error}");
    assert_eq!(ring.clients().unwrap(), []);
}

#[test]
fn many_threads_get_one_list_key() {
    let folder = tempfile::tempdir().unwrap();
    let ring = keyring(folder.path());
    ring.create_client(client(7)).unwrap();
    let month = Month::new(2026, 11).unwrap();
    let sealed: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| seal_list(&ring.list_key(client(7), month).unwrap(), b"", b"")))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap().unwrap())
            .collect()
    });
    let key = reopened(folder.path()).list_key(client(7), month).unwrap();
    assert!(sealed.iter().all(|list| open_list(&key, b"", list).is_ok()));
}

#[test]
fn what_is_idle_is_dropped_and_what_is_held_stays() {
    let loads = AtomicU32::new(0);
    let load = || {
        loads.fetch_add(1, Ordering::Relaxed);
        Ok::<_, ()>(())
    };
    let mut cache: Cache<u32, ()> = Cache::new(2);
    let held = cache.get(1, load).unwrap();
    cache.get(2, load).unwrap();
    cache.sweep(1_000, 1_000);
    assert_eq!(cache.kept.keys().collect::<Vec<_>>(), [&1]);
    // Full of what is held: given out, not kept.
    let held_too = cache.get(2, load).unwrap();
    cache.get(3, load).unwrap();
    assert_eq!((cache.kept.len(), cache.kept.contains_key(&3)), (2, false));
    drop(held_too);
    cache.get(3, load).unwrap();
    assert!(cache.kept.contains_key(&3) && !cache.kept.contains_key(&2));
    assert_eq!(loads.load(Ordering::Relaxed), 5);
    drop(held);
    cache.sweep(1_500, 1_000);
    assert_eq!(cache.kept.len(), 2, "used at 1,000");
    cache.sweep(2_000, 1_000);
    assert!(cache.kept.is_empty());
    assert!(cache.get(4, || Err(())).is_err());
    assert!(cache.kept.is_empty());
}

#[test]
fn it_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Keyring>();
    shared::<ClientKeys>();
}

#[test]
fn months() {
    // Judged by `date -u -d @...`.
    for (unix_ms, month) in [
        (0, 197_001),
        (951_782_399_999, 200_002),
        (951_868_799_999, 200_002),
        (951_868_800_000, 200_003),
        (1_704_067_199_999, 202_312),
        (1_704_067_200_000, 202_401),
        (4_107_542_400_000, 210_003),
        (253_402_300_799_999, 999_912),
        (u64::MAX, 999_912),
    ] {
        assert_eq!(Month::of_ms(unix_ms).number(), month, "{unix_ms}");
    }
    assert_eq!(Month::new(2026, 13), None);
    assert_eq!(Month::new(2026, 11).map(Month::number), Some(202_611));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn hostile_key_files_are_errors(bytes: Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let ring = keyring(folder.path());
        let path = folder.path().join("clients/7.key");
        crate::keyfile::write_new(&path, "").unwrap();
        fs::write(&path, &bytes).unwrap();
        prop_assert!(ring.client(client(7)).is_err());
    }
}

#[test]
fn old_list_keys_are_destroyed_and_never_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let ring = keyring(folder.path());
    ring.create_client(client(7)).unwrap();
    ring.create_client(client(8)).unwrap();
    let month = |number| Month::new(2026, number).unwrap();
    let sealed: Vec<_> = (1..=4)
        .map(|number| {
            seal_list(
                &ring.list_key(client(7), month(number)).unwrap(),
                b"",
                b"list",
            )
        })
        .collect();
    let other = ring.list_key(client(8), month(1)).unwrap();
    drop(other);
    ring.destroy_lists(client(7), month(3)).unwrap();
    ring.destroy_lists(client(7), month(2)).unwrap();
    let is_gone = |ring: &Keyring| {
        for number in 1..=2 {
            let error = ring
                .list_key(client(7), month(number))
                .map(|_| ())
                .unwrap_err();
            assert!(
                matches!(error, KeyError::ListsDestroyed(_, 202_603)),
                "{error}"
            );
        }
        for number in 3..=4 {
            let key = ring.list_key(client(7), month(number)).unwrap();
            let sealed = sealed[number as usize - 1].as_ref().unwrap();
            assert!(open_list(&key, b"", sealed).is_ok());
        }
        assert_eq!(ring.list_months(client(7)).unwrap(), [month(3), month(4)]);
        assert!(ring.list_key(client(8), month(1)).is_ok());
    };
    is_gone(&ring);
    is_gone(&reopened(folder.path()));
}
