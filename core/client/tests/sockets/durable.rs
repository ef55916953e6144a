//! The durable outbox: real files, a real process, a real `kill -9`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use futures_util::FutureExt;
use realtime_client::{Client, ClientEvent, Config, Error, ErrorKind, Events, Status, WhenFull};

use crate::support::{event, next_error, quick, server, until_status, within};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("realtime-outbox-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("outbox")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const NOWHERE: &str = "ws://127.0.0.1:9";

fn start(config: Config, path: &Path) -> Result<Client, Error> {
    Client::builder(config).outbox(path).start()
}

/// Publishes numbers without waiting for their receipts. Panics where one is not accepted.
fn publish(client: &Client, numbers: impl IntoIterator<Item = u64>) {
    let room = client.channel("room").unwrap();
    for n in numbers {
        assert!(room.publish("n", &n).now_or_never().is_none(), "{n} was refused");
    }
}

/// What a child process does: publishes until it is killed, and says what was accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of another test, which runs it in a process of its own"]
async fn child() {
    let Ok(path) = std::env::var("OUTBOX_PATH") else { return };
    let round: u64 = std::env::var("OUTBOX_ROUND").unwrap().parse().unwrap();
    let mut config = quick(&std::env::var("OUTBOX_URL").unwrap());
    config.queue_messages = 1_000_000;
    let mut out = std::io::stdout();
    let client = match start(config, Path::new(&path)) {
        Ok(client) => client,
        Err(error) => return writeln!(out, "\nerror {}", error.code()).unwrap(),
    };
    writeln!(out).unwrap();
    for n in 0..100_000 {
        publish(&client, [round << 32 | n]);
        writeln!(out, "accepted {n}").unwrap();
        if n % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    writeln!(out, "error all").unwrap();
    std::future::pending::<()>().await;
}

fn spawn(url: &str, path: &Path, round: u64) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durable::child", "--ignored", "--nocapture"])
        .env("OUTBOX_URL", url)
        .env("OUTBOX_PATH", path)
        .env("OUTBOX_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    (child, lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_survives_kill_9_and_arrives_exactly_once() {
    let folder = Folder::new("kill");
    let server = server().await;
    let watcher = Client::connect(quick(&server.url())).await.unwrap();
    let mut messages = watcher.channel("room").unwrap().subscribe().await.unwrap();
    let mut accepted: Vec<(u64, u64)> = Vec::new();
    for round in 0..8 {
        // The last one never reaches the server, so that it surely leaves something.
        let url = if round < 7 { server.url() } else { NOWHERE.to_owned() };
        let path = folder.file();
        let count = within(tokio::task::spawn_blocking(move || {
            let (mut child, mut lines) = spawn(&url, &path, round);
            // Another point each time, and the scheduler's whim on top.
            let until = 1 + (round * 389) % 1500;
            let mut accepted = 0;
            for line in lines.by_ref() {
                assert!(!line.starts_with("error"), "{line}");
                accepted += u64::from(line.starts_with("accepted"));
                if accepted == until {
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            accepted
        }))
        .await
        .unwrap();
        accepted.push((round, count));
    }
    let client = start(quick(&server.url()), &folder.file()).unwrap();
    let restored = client.stats().restored;
    client.channel("room").unwrap().publish("end", &()).await.unwrap();
    let last = accepted[7].1;
    let mut seen: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    loop {
        let message = within(messages.recv()).await.unwrap();
        if message.event() == "end" {
            break;
        }
        let number: u64 = message.json().unwrap();
        seen.entry(number >> 32).or_default().push(number & 0xffff_ffff);
    }
    for (round, count) in accepted {
        let seen = seen.remove(&round).unwrap_or_default();
        // The last one may have been accepted without the time to say so.
        let expected = seen.len() as u64;
        assert!((count..=count + 1).contains(&expected), "round {round}: {count} were accepted, {expected} came");
        assert_eq!(seen, (0..expected).collect::<Vec<_>>(), "round {round}: in order, each once");
    }
    assert!(restored >= last, "{restored} of at least {last}");
    assert_eq!((client.stats().queued, client.stats().failed), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_or_two_clients_do_not_share_a_file() {
    let folder = Folder::new("lock");
    let (server, path) = (server().await, folder.file());
    let client = start(quick(&server.url()), &path).unwrap();
    let second = start(quick(&server.url()), &path).unwrap_err();
    assert_eq!(second.code(), "outbox_in_use");
    assert!(second.message.contains("is in use by another client"), "{second}");
    let (url, theirs) = (server.url(), path.clone());
    let line = tokio::task::spawn_blocking(move || spawn(&url, &theirs, 0).1.find(|line| line.starts_with("error")));
    assert_eq!(within(line).await.unwrap().as_deref(), Some("error outbox_in_use"));
    // A client that is disconnected gives it back, and takes it again.
    client.ready().await.unwrap();
    within(client.disconnect()).await;
    let other = Client::builder(quick(&server.url())).outbox(&path).connect().await.unwrap();
    assert_eq!(client.reconnect().await.unwrap_err().code(), "outbox_in_use");
    within(other.disconnect()).await;
    client.reconnect().await.unwrap();
    drop((client, other));
}

#[tokio::test]
async fn a_disconnect_defers_what_is_left_to_the_next_connect() {
    let folder = Folder::new("defer");
    let client = start(quick(NOWHERE), &folder.file()).unwrap();
    let room = client.channel("room").unwrap();
    let sends: Vec<_> = (0..3)
        .map(|n| {
            tokio::spawn({
                let room = room.clone();
                async move { room.publish("n", &n).await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    within(client.disconnect()).await;
    for send in sends {
        let error = send.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "deferred");
        assert!(error.message.contains("goes out after the next connect"), "{error}");
    }
    assert_eq!(room.publish("n", &9).await.unwrap_err().kind, ErrorKind::Closed);
    drop((client, room));
    let server = server().await;
    let watcher = Client::connect(quick(&server.url())).await.unwrap();
    let mut messages = watcher.channel("room").unwrap().subscribe().await.unwrap();
    let _client = start(quick(&server.url()), &folder.file()).unwrap();
    for n in 0..3 {
        assert_eq!(within(messages.recv()).await.unwrap().json::<u64>().unwrap(), n);
    }
}

#[tokio::test]
async fn a_torn_end_is_recovered_told_and_put_aside() {
    let folder = Folder::new("torn");
    publish(&start(quick(NOWHERE), &folder.file()).unwrap(), 0..3);
    tokio::task::yield_now().await;
    let whole = std::fs::read(folder.file()).unwrap();
    let torn = &whole[..whole.len() - 5];
    std::fs::write(folder.file(), torn).unwrap();
    let client = start(quick(NOWHERE), &folder.file()).unwrap();
    let error = next_error(&mut client.events()).await;
    assert_eq!(error.code(), "outbox_damaged");
    assert!(error.message.contains("records before them were recovered"), "{error}");
    assert_eq!((client.stats().restored, client.stats().queued), (2, 2));
    let aside = std::fs::read(folder.0.join("outbox.damaged")).unwrap();
    assert_eq!(client.stats().torn_bytes, aside.len() as u64);
    assert!(torn.ends_with(&aside));
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let folder = Folder::new("damaged");
    publish(&start(quick(NOWHERE), &folder.file()).unwrap(), 0..3);
    tokio::task::yield_now().await;
    let whole = std::fs::read(folder.file()).unwrap();
    let flipped = |at: usize| {
        let mut file = whole.clone();
        file[at] ^= 1;
        file
    };
    for (file, says) in [
        (Vec::new(), "the file is empty"),
        (b"not an outbox at all".to_vec(), "does not begin as the file of an outbox"),
        (flipped(11), "its version is 0"),
        (flipped(40), "the record at byte 12 is damaged, and whole ones follow"),
        (whole[..20].to_vec(), "within its beginning"),
        (flipped(whole.len() - 100), "is damaged, and whole ones follow at byte"),
    ] {
        std::fs::write(folder.file(), &file).unwrap();
        let error = start(quick(NOWHERE), &folder.file()).unwrap_err();
        assert_eq!(error.code(), "outbox_damaged");
        assert!(error.message.contains(says) && error.message.contains("move it away to start without"), "{error}");
        assert!(error.message.contains(folder.file().to_str().unwrap()), "{error}");
        assert_eq!(std::fs::read(folder.file()).unwrap(), file);
    }
    std::fs::write(folder.file(), &whole).unwrap();
    assert_eq!(start(quick(NOWHERE), &folder.file()).unwrap().stats().restored, 3);
    let error = start(quick(NOWHERE), &folder.0.join("no/such/folder")).unwrap_err();
    assert_eq!(error.code(), "storage_failed");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_gone_takes_no_more_sends() {
    let folder = Folder::new("gone");
    let server = server().await;
    let client = Client::builder(quick(&server.url())).outbox(folder.file()).connect().await.unwrap();
    std::fs::remove_file(folder.file()).unwrap();
    let error = within(client.channel("room").unwrap().publish("n", &1)).await.unwrap_err();
    assert_eq!(error.code(), "storage_failed");
    assert!(error.message.contains("somebody has removed it"), "{error}");
    assert_eq!((client.stats().queued, client.stats().messages_sent), (0, 0));
}

/// A real disk that is full needs root.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_refuses_sends_and_loses_none() {
    struct Mounted(Folder);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("--lazy").arg(&self.0.0).status();
        }
    }
    let folder = Folder::new("full");
    let mount = |options: &str| {
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&folder.0).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !mount("size=256k") {
        return eprintln!("skipped: only root may mount a tiny disk");
    }
    let mounted = Mounted(folder);
    let client = start(quick(NOWHERE), &mounted.0.file()).unwrap();
    let room = client.channel("room").unwrap();
    let padding = "x".repeat(10_000);
    let mut taken = 0;
    let error = loop {
        match room.publish("n", &(taken, &padding)).now_or_never() {
            None => taken += 1,
            Some(outcome) => break outcome.unwrap_err(),
        }
        assert!(taken < 100, "the disk is never full");
    };
    assert_eq!(error.code(), "storage_failed");
    assert_eq!(client.stats().queued, taken);
    let grown = Command::new("mount").args(["-o", "remount,size=8m"]).arg(&mounted.0.0).status().unwrap();
    assert!(grown.success());
    assert!(room.publish("n", &(taken, &padding)).now_or_never().is_none(), "there is room again");
    drop((client, room));
    tokio::task::yield_now().await;
    let server = server().await;
    let watcher = Client::connect(quick(&server.url())).await.unwrap();
    let mut messages = watcher.channel("room").unwrap().subscribe().await.unwrap();
    let _client = start(quick(&server.url()), &mounted.0.file()).unwrap();
    for n in 0..=taken {
        assert_eq!(within(messages.recv()).await.unwrap().json::<(usize, String)>().unwrap().0, n);
    }
}

#[tokio::test]
async fn what_is_restored_is_bounded_by_the_policy_too() {
    let folder = Folder::new("policy");
    publish(&start(quick(NOWHERE), &folder.file()).unwrap(), 0..5);
    tokio::task::yield_now().await;
    let mut config = quick(NOWHERE);
    config.queue_messages = 3;
    config.when_full = WhenFull::Reject;
    let client = start(config.clone(), &folder.file()).unwrap();
    let error = client.channel("room").unwrap().publish("n", &6).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::QueueFull);
    drop(client);
    tokio::task::yield_now().await;
    config.when_full = WhenFull::DropOldest;
    let client = start(config, &folder.file()).unwrap();
    let mut events = client.events();
    publish(&client, [6]);
    for n in 0..3 {
        let error = dropped(&mut events).await;
        assert!(error.message.contains("which the outbox kept from before"), "{n}: {error}");
    }
    assert_eq!((client.stats().queued, client.stats().failed), (3, 3));
}

async fn dropped(events: &mut Events) -> Error {
    event(events, |event| match event {
        ClientEvent::Error(error) if error.kind == ErrorKind::Dropped => Some(error),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_large_outbox_is_written_anew_while_it_is_used() {
    let folder = Folder::new("anew");
    let server = server().await;
    let client = Client::builder(quick(&server.url())).outbox(folder.file()).connect().await.unwrap();
    let room = client.channel("room").unwrap();
    let padding = "x".repeat(200_000);
    for _ in 0..100 {
        within(room.publish("n", &padding)).await.unwrap();
    }
    let size = std::fs::metadata(folder.file()).unwrap().len();
    assert!(size < 5 << 20, "{size} bytes for nothing");
    within(client.disconnect()).await;
    let client = start(quick(&server.url()), &folder.file()).unwrap();
    assert_eq!(client.stats().restored, 0);
    until_status(&mut client.events(), Status::Connected).await;
}
