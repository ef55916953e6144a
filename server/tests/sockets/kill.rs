//! The real thing: the binary, a real disk, `kill -9`.
#![cfg(unix)]
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::serve::Serve;
use crate::support::{Client, session, within};

/// What a publisher was told, and has not been told.
#[derive(Default)]
struct Publisher {
    epoch: String,
    acknowledged: BTreeMap<u64, u64>,
    open: Vec<u64>,
    next: u64,
}

impl Publisher {
    async fn publish(&self, client: &mut Client, ids: &[u64]) {
        let lines = ids.iter().map(|id| {
            json!({"type": "publish", "id": id, "channel": "room", "event": "e", "payload": {"id": id}}).to_string()
        });
        client.say_text(lines.collect::<Vec<_>>().join("\n")).await;
    }

    fn take(&mut self, receipt: &Value) {
        let (id, offset) = (receipt["id"].as_u64().unwrap(), receipt["offset"].as_u64().unwrap());
        let epoch = receipt["epoch"].as_str().unwrap();
        if self.epoch.is_empty() {
            self.epoch = epoch.to_owned();
        }
        assert_eq!(self.epoch, epoch, "the epoch stays");
        assert!(self.acknowledged.insert(id, offset).is_none(), "{id} was answered before");
        self.open.retain(|open| *open != id);
    }
}

pub async fn connect(serve: &Serve, name: &str) -> (Client, Value) {
    let stream = TcpStream::connect(&serve.addr).await.unwrap();
    let mut client = Client::over(stream, "/", &[("sec-websocket-protocol", "realtime.v1")]).await.unwrap();
    client.say(json!({"type": "hello", "session": session(name)})).await;
    let welcome = client.hear().await;
    (client, welcome)
}

/// Everything that the channel holds: payload ids by offset.
async fn history(serve: &Serve, epoch: &str, last: u64) -> BTreeMap<u64, u64> {
    let (mut reader, _) = connect(serve, "reader").await;
    let since = json!({"epoch": epoch, "offset": 0});
    reader.say(json!({"type": "subscribe", "id": 1, "channel": "room", "since": since})).await;
    assert_eq!(reader.hear_type("subscribed").await["recovered"], true);
    let mut found = BTreeMap::new();
    while found.len() < last as usize {
        let message = reader.hear_type("message").await;
        let before = found.insert(message["offset"].as_u64().unwrap(), message["payload"]["id"].as_u64().unwrap());
        assert_eq!(before, None);
    }
    found
}

#[tokio::test]
async fn what_was_acknowledged_or_seen_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data", directory.path().to_str().unwrap()];
    let mut publisher = Publisher::default();
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 0..8_u64 {
        let serve = Serve::start(&data);
        let (mut watcher, _) = connect(&serve, "watcher").await;
        watcher.say(json!({"type": "subscribe", "id": 1, "channel": "room"})).await;
        watcher.hear_type("subscribed").await;
        let (mut alice, welcome) = connect(&serve, "alice").await;
        assert_eq!(welcome["resumed"], round > 0);
        // What was not answered comes again, and more, without waiting: the end comes in the middle of it.
        let before = publisher.acknowledged.len();
        publisher.publish(&mut alice, &publisher.open.clone()).await;
        for _ in 0..10 {
            let ids: Vec<u64> = (publisher.next + 1..=publisher.next + 20).collect();
            publisher.next += 20;
            publisher.open.extend(&ids);
            publisher.publish(&mut alice, &ids).await;
        }
        // Another point of the commits and of the receipts each time.
        let wanted = before + 1 + (round as usize * 53) % 170;
        while publisher.acknowledged.len() < wanted {
            publisher.take(&alice.hear_type("receipt").await);
        }
        let message = watcher.hear_type("message").await;
        seen.insert(message["offset"].as_u64().unwrap(), message["payload"]["id"].as_u64().unwrap());
        serve.signal("KILL");
        // What was on the way counts as told.
        for (client, kind) in [(&mut alice, "receipt"), (&mut watcher, "message")] {
            while let Some(text) = client.text_or_end().await {
                for message in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
                    match kind {
                        _ if message["type"] != kind => {}
                        "receipt" => publisher.take(&message),
                        _ => {
                            let id = message["payload"]["id"].as_u64().unwrap();
                            seen.insert(message["offset"].as_u64().unwrap(), id);
                        }
                    }
                }
            }
        }
    }
    let serve = Serve::start(&data);
    let (mut alice, welcome) = connect(&serve, "alice").await;
    assert_eq!(welcome["resumed"], true);
    publisher.publish(&mut alice, &publisher.open.clone()).await;
    while !publisher.open.is_empty() {
        publisher.take(&alice.hear_type("receipt").await);
    }
    let again = *publisher.acknowledged.keys().last().unwrap();
    publisher.publish(&mut alice, &[again]).await;
    let receipt = alice.hear_type("receipt").await;
    let offset = publisher.acknowledged[&again];
    assert_eq!((&receipt["duplicate"], receipt["offset"].as_u64()), (&json!(true), Some(offset)));

    let found = history(&serve, &publisher.epoch, publisher.next).await;
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), (1..=publisher.next).collect::<Vec<_>>());
    let acknowledged: BTreeMap<u64, u64> = publisher.acknowledged.iter().map(|(id, offset)| (*offset, *id)).collect();
    assert_eq!(found, acknowledged, "each exactly once, where its receipt says, in order");
    assert!(found.values().is_sorted());
    assert!(!seen.is_empty() && seen.iter().all(|(offset, id)| found.get(offset) == Some(id)));
}

#[tokio::test]
async fn a_stop_keeps_everything_too_and_two_servers_do_not_share() {
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data", directory.path().to_str().unwrap(), "--drain", "0"];
    let mut serve = Serve::start(&data);
    let second =
        Command::new(env!("CARGO_BIN_EXE_realtime")).args(["serve", "--port", "0"]).args(data).output().unwrap();
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(error.starts_with("realtime: /") && error.contains("is in use by another server"), "{error}");
    let (mut alice, _) = connect(&serve, "alice").await;
    let mut publisher = Publisher { next: 1, open: vec![1], ..Publisher::default() };
    publisher.publish(&mut alice, &[1]).await;
    publisher.take(&alice.hear_type("receipt").await);
    drop(alice);
    serve.signal("TERM");
    let stopped = tokio::task::spawn_blocking(move || serve.child.wait().unwrap());
    assert!(within(stopped).await.unwrap().success());
    assert!(!directory.path().join("realtime.db-wal").exists(), "it is closed");
    let serve = Serve::start(&data);
    assert_eq!(history(&serve, &publisher.epoch, 1).await, BTreeMap::from([(1, 1)]));
}

async fn health(serve: &Serve) -> Value {
    let mut stream = TcpStream::connect(&serve.addr).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Publishes until the disk takes no more, heals it, and goes on.
async fn fill(data: &Path, serve: Serve, heal: impl FnOnce(&Serve)) {
    let (mut alice, _) = connect(&serve, "alice").await;
    let mut publisher = Publisher::default();
    let padding = "x".repeat(60_000);
    let message = |id: u64| json!({"type": "publish", "id": id, "channel": "room", "event": "e", "payload": {"id": id, "padding": padding}});
    let refusal = loop {
        publisher.next += 1;
        assert!(publisher.next < 2000, "the disk is never full");
        alice.say(message(publisher.next)).await;
        let answer = alice.hear().await;
        match answer["type"].as_str() {
            Some("receipt") => publisher.take(&answer),
            _ => break answer,
        }
    };
    assert_eq!((&refusal["code"], &refusal["retry_after"]), (&json!("unavailable"), &json!(1000)));
    assert!(publisher.next > 2);
    let sick = health(&serve).await;
    assert_eq!(sick["store"], "failing");
    assert!(sick["store_error"].as_str().unwrap().contains("realtime.db"), "{sick}");
    heal(&serve);
    // What was refused comes again until it is taken.
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(100));
    within(async {
        loop {
            pace.tick().await;
            alice.say(message(publisher.next)).await;
            let answer = alice.hear().await;
            if answer["type"] == "receipt" {
                return publisher.take(&answer);
            }
            assert_eq!(answer["code"], "unavailable");
        }
    })
    .await;
    let well = health(&serve).await;
    assert_eq!((&well["store"], well.get("store_error")), (&json!("ok"), None));
    serve.signal("KILL");
    drop(serve);
    let serve = Serve::start(&["--data", data.to_str().unwrap()]);
    let found = history(&serve, &publisher.epoch, publisher.next).await;
    assert_eq!(found, publisher.acknowledged.iter().map(|(id, offset)| (*offset, *id)).collect());
}

/// Every user may limit the size of files.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_disk_that_takes_no_more_refuses_for_now_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"trap '' XFSZ; ulimit -S -f 1024; exec "$0" "$@""#;
    let serve = Serve::run(
        Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_realtime"), "serve", "--port", "0"])
            .arg("--data")
            .arg(directory.path()),
    );
    fill(directory.path(), serve, |serve| {
        let unlimited = ["--fsize=unlimited:", "--pid", &serve.child.id().to_string()].map(str::to_owned);
        assert!(Command::new("prlimit").args(unlimited).status().unwrap().success());
    })
    .await;
}

/// A real disk that is full needs root.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_refuses_for_now_and_loses_nothing() {
    struct Mounted(tempfile::TempDir);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(directory.path()).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !mount("size=1m") {
        eprintln!("skipped: only root may mount a tiny disk");
        return;
    }
    let mounted = Mounted(directory);
    let data = mounted.0.path().to_owned();
    let serve = Serve::start(&["--data", data.to_str().unwrap()]);
    fill(&data, serve, |_| {
        let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&data).status().unwrap();
        assert!(grown.success());
    })
    .await;
}
