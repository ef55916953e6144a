//! Store files that are not as they were left.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use realtime_server::hub::{Batch, Record, RestoreError};
use realtime_server::{Server, ServerConfig, SqliteStore, Store, StoreError};
use serde_json::json;

use crate::support::{Client, until};

fn message(number: u64) -> Record {
    let line = format!("{{\"n\":{number},\"padding\":\"{}\"}}", "x".repeat(3000));
    Record::Message { channel: 1, offset: number - 1, timestamp: 1, binary: false, line: line.into() }
}

/// Each a transaction of its own.
fn write(store: &mut SqliteStore, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let record = match number {
            1 => Record::Channel { name: "room".into(), epoch: "e".into(), last: 0 },
            _ => message(number),
        };
        let batch = Batch { number, changes: [(number, Some(record))].into() };
        store.commit(&[Arc::new(batch)]).unwrap();
    }
}

fn load(directory: &Path) -> Result<Vec<u64>, StoreError> {
    let mut found = Vec::new();
    SqliteStore::open(directory)?.load(&mut |number, _| {
        found.push(number);
        Ok(())
    })?;
    Ok(found)
}

/// A directory as `kill -9` leaves it: a log beside the file.
fn killed(count: u64) -> tempfile::TempDir {
    let (live, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = SqliteStore::open(live.path()).unwrap();
    store.load(&mut |_, _| Ok(())).unwrap();
    write(&mut store, 1..=count);
    for file in ["realtime.db", "realtime.db-wal"] {
        fs::copy(live.path().join(file), directory.path().join(file)).unwrap();
    }
    directory
}

/// A directory as a stop leaves it: one file.
fn stopped(count: u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(directory.path()).unwrap();
    store.load(&mut |_, _| Ok(())).unwrap();
    write(&mut store, 1..=count);
    drop(store);
    assert!(!directory.path().join("realtime.db-wal").exists());
    directory
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// It is refused, with what to do, again and again, and nothing is changed by looking at it.
fn refused(directory: &Path, problem: &str) {
    let snapshot = || -> Vec<_> {
        let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect()
    };
    let before = snapshot();
    for _ in 0..2 {
        match load(directory) {
            Err(error @ StoreError::Damaged { .. }) => {
                let text = error.to_string();
                assert!(text.contains(problem) && text.contains("Restore the directory from a copy"), "{text}");
            }
            other => panic!("{problem}: {other:?}"),
        }
        // An empty log may be new beside them.
        let after = snapshot();
        assert!(before.iter().all(|file| after.contains(file)), "{problem}: something was changed");
    }
}

#[test]
fn what_was_written_is_there() {
    assert_eq!(load(stopped(30).path()).unwrap(), (1..=30).collect::<Vec<_>>());
    assert_eq!(load(killed(30).path()).unwrap(), (1..=30).collect::<Vec<_>>());
}

#[test]
fn a_store_of_an_earlier_version_goes_on_and_one_of_a_later_version_is_refused() {
    let directory = stopped(5);
    let version = |set: Option<i64>| -> i64 {
        let file = rusqlite::Connection::open(directory.path().join("realtime.db")).unwrap();
        set.into_iter().for_each(|version| file.pragma_update(None, "user_version", version).unwrap());
        file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    };
    version(Some(1));
    assert_eq!(load(directory.path()).unwrap(), (1..=5).collect::<Vec<_>>());
    assert_eq!(version(None), 2, "an earlier version would not know what is in it from now on");
    version(Some(3));
    let refused = load(directory.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Format { found: 3, known: 2, .. }), "{refused}");
    assert_eq!(version(None), 3);
}

#[test]
fn a_file_that_is_empty_short_or_something_else_is_refused() {
    for (length, problem) in [(0, "only 0 bytes"), (100, "only 100 bytes"), (4096, "damaged"), (20 * 4096, "damaged")] {
        let directory = stopped(100);
        change(&directory.path().join("realtime.db"), |bytes| bytes.truncate(length));
        refused(directory.path(), problem);
    }
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("realtime.db"), "a letter to my bank".repeat(1000)).unwrap();
    refused(directory.path(), "not a database");
}

#[test]
fn a_file_that_is_gone_while_its_log_is_there_is_refused() {
    let directory = killed(5);
    fs::remove_file(directory.path().join("realtime.db")).unwrap();
    refused(directory.path(), "is missing");
}

#[test]
fn a_changed_byte_anywhere_in_the_file_is_seen_or_harms_nothing() {
    let whole: Vec<u64> = (1..=40).collect();
    let file = fs::read(stopped(40).path().join("realtime.db")).unwrap();
    let mut seen = 0;
    for at in (0..file.len()).step_by(997) {
        let directory = tempfile::tempdir().unwrap();
        let mut changed = file.clone();
        changed[at] ^= 0x55;
        fs::write(directory.path().join("realtime.db"), changed).unwrap();
        match load(directory.path()) {
            Ok(found) => assert_eq!(found, whole, "byte {at}"),
            Err(_) => seen += 1,
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn a_log_that_ends_early_gives_its_whole_transactions() {
    let whole = killed(20);
    let size = fs::metadata(whole.path().join("realtime.db-wal")).unwrap().len() as usize;
    let mut most = 0;
    for length in (32..size).step_by(4321) {
        let directory = tempfile::tempdir().unwrap();
        for file in ["realtime.db", "realtime.db-wal"] {
            fs::copy(whole.path().join(file), directory.path().join(file)).unwrap();
        }
        change(&directory.path().join("realtime.db-wal"), |bytes| bytes.truncate(length));
        let found = load(directory.path()).unwrap();
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
        assert!(found.len() >= most, "a longer log has no less");
        most = found.len();
    }
    assert!((15..20).contains(&most), "{most}");
}

#[test]
fn damage_in_the_middle_of_the_log_is_refused_and_the_advice_helps() {
    let directory = killed(20);
    let log = directory.path().join("realtime.db-wal");
    change(&log, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    refused(directory.path(), "in its middle");
    let text = load(directory.path()).unwrap_err().to_string();
    let length: usize = text.split("truncate -s ").nth(1).unwrap().split(')').next().unwrap().parse().unwrap();
    change(&log, |bytes| bytes.truncate(length));
    let found = load(directory.path()).unwrap();
    assert!((5..15).contains(&found.len()), "{found:?}");
    assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());

    let directory = killed(20);
    change(&directory.path().join("realtime.db-wal"), |bytes| bytes[17] ^= 1);
    refused(directory.path(), "its beginning cannot be read");
}

#[test]
fn a_message_that_is_missing_is_refused() {
    let directory = stopped(1);
    let mut store = SqliteStore::open(directory.path()).unwrap();
    store.load(&mut |_, _| Ok(())).unwrap();
    write(&mut store, 2..=4);
    write(&mut store, 6..=7);
    drop(store);
    let config = ServerConfig { data: Some(directory.path().into()), ..ServerConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(Server::new(config).start()).unwrap_err().to_string();
    assert!(error.contains("record 6: messages before this one are missing"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(SqliteStore::open(&file.join("data")), Err(StoreError::Failed { .. })));
}

/// A store whose disk can be told to fail.
struct Flaky {
    fails: Arc<AtomicBool>,
}

impl Store for Flaky {
    fn load(&mut self, _: &mut dyn FnMut(u64, Record) -> Result<(), RestoreError>) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(&mut self, _: &[Arc<Batch>]) -> Result<(), StoreError> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(StoreError::Failed { path: "disk".into(), problem: "smoke".into() }),
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn trouble_is_told_and_ends_by_itself() {
    let fails = Arc::new(AtomicBool::new(true));
    let server = Server::default().start_with(Box::new(Flaky { fails: fails.clone() })).await.unwrap();
    let mut alice = Client::v1(&server, "alice").await;
    alice.say(json!({"type": "publish", "id": 1, "channel": "room", "event": "e", "payload": 1})).await;
    assert_eq!(alice.hear().await["code"], "unavailable");
    let mut trouble = server.store_trouble();
    assert_eq!(trouble.wait_for(Option::is_some).await.unwrap().as_deref(), Some("disk: smoke"));
    fails.store(false, Ordering::Relaxed);
    // Nobody publishes: the server asks.
    until(|| server.store_trouble().borrow().is_none()).await;
    alice.say(json!({"type": "publish", "id": 1, "channel": "room", "event": "e", "payload": 1})).await;
    assert_eq!(alice.hear().await["offset"], 1);
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_was_stopped_can_be_started_again_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = ServerConfig { data: Some(directory.path().into()), ..ServerConfig::default() };
    let server = Server::new(config.clone()).start().await.unwrap();
    let refused = Server::new(config.clone()).start().await.unwrap_err().to_string();
    assert!(refused.contains("in use by another server"), "{refused}");
    let mut alice = Client::v1(&server, "alice").await;
    alice.say(json!({"type": "publish", "id": 1, "channel": "room", "event": "e", "payload": 1})).await;
    let first = alice.hear_type("receipt").await;
    server.stop().await;
    let server = Server::new(config).start().await.unwrap();
    let mut alice = Client::v1(&server, "alice").await;
    alice.say(json!({"type": "publish", "id": 1, "channel": "room", "event": "e", "payload": 1})).await;
    let again = alice.hear_type("receipt").await;
    assert_eq!((&again["duplicate"], &again["epoch"]), (&json!(true), &first["epoch"]));
}
