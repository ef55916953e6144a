//! Collections, a real disk, `kill -9`.
#![cfg(unix)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kill::connect;
use crate::serve::Serve;
use crate::support::Client;

const KEYS: u64 = 7;

/// Counts up records, and writes down what it was told.
#[derive(Default)]
struct Writer {
    next: u64,
    open: Vec<u64>,
    /// By id: the revision.
    acknowledged: BTreeMap<u64, u64>,
    epoch: String,
}

/// The first mutations insert, all others say which id was last.
fn mutation(id: u64) -> Value {
    let key = format!("k{}", id % KEYS);
    let (op, payload) = match id {
        _ if id <= KEYS => ("insert", json!({"id": key, "by": id})),
        _ => ("update", json!({"by": id, format!("f{}", id % 3): id})),
    };
    json!({"type": "mutate", "id": id, "channel": "room", "collection": "tasks", "op": op, "key": key, "payload": payload})
}

impl Writer {
    async fn say(&self, client: &mut Client, ids: &[u64]) {
        let lines = ids.iter().map(|id| mutation(*id).to_string());
        client.say_text(lines.collect::<Vec<_>>().join("\n")).await;
    }

    fn take(&mut self, receipt: &Value) {
        let (id, revision) = (receipt["id"].as_u64().unwrap(), receipt["offset"].as_u64().unwrap());
        let epoch = receipt["epoch"].as_str().unwrap();
        if self.epoch.is_empty() {
            self.epoch = epoch.to_owned();
        }
        assert_eq!(self.epoch, epoch, "the epoch stays");
        assert_eq!(revision, id, "each exactly once, in order");
        self.acknowledged.insert(id, revision);
        self.open.retain(|open| *open != id);
    }
}

/// The records by key, and the digest that the server gives.
async fn snapshot(serve: &Serve) -> (BTreeMap<String, (u64, Value)>, Value) {
    let (mut reader, _) = connect(serve, "reader").await;
    reader.say(json!({"type": "subscribe", "id": 1, "channel": "room", "collection": "tasks"})).await;
    let page = reader.hear_type("snapshot").await;
    assert!(page["end"].is_number());
    let records = page["records"].as_array().unwrap().iter().map(|held| {
        (held["key"].as_str().unwrap().to_owned(), (held["revision"].as_u64().unwrap(), held["record"].clone()))
    });
    (records.collect(), reader.hear_type("digest").await)
}

#[tokio::test]
async fn acknowledged_changes_and_what_was_seen_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data", directory.path().to_str().unwrap()];
    let mut writer = Writer::default();
    let mut seen: BTreeMap<u64, Value> = BTreeMap::new();
    for round in 0..8_u64 {
        let serve = Serve::start(&data);
        let (mut watcher, _) = connect(&serve, "watcher").await;
        watcher.say(json!({"type": "subscribe", "id": 1, "channel": "room", "collection": "tasks"})).await;
        watcher.hear_type("digest").await;
        let (mut alice, welcome) = connect(&serve, "alice").await;
        assert_eq!(welcome["resumed"], round > 0);
        let before = writer.acknowledged.len();
        writer.say(&mut alice, &writer.open.clone()).await;
        for _ in 0..10 {
            let ids: Vec<u64> = (writer.next + 1..=writer.next + 20).collect();
            writer.next += 20;
            writer.open.extend(&ids);
            writer.say(&mut alice, &ids).await;
        }
        // Another point of the commits and of the receipts each time.
        let wanted = before + 1 + (round as usize * 53) % 170;
        while writer.acknowledged.len() < wanted {
            let answer = alice.hear().await;
            assert_eq!(answer["type"], "receipt", "{answer}");
            writer.take(&answer);
        }
        let change = watcher.hear_type("change").await;
        seen.insert(change["offset"].as_u64().unwrap(), change["payload"].clone());
        serve.signal("KILL");
        for (client, kind) in [(&mut alice, "receipt"), (&mut watcher, "change")] {
            while let Some(text) = client.text_or_end().await {
                for message in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
                    match kind {
                        _ if message["type"] != kind => {}
                        "receipt" => writer.take(&message),
                        _ => drop(seen.insert(message["offset"].as_u64().unwrap(), message["payload"].clone())),
                    }
                }
            }
        }
        // What was seen was the change with this number.
        assert!(seen.iter().all(|(offset, payload)| payload["by"] == *offset), "{seen:?}");
        let serve = Serve::start(&data);
        let (records, digest) = snapshot(&serve).await;
        let last = digest["offset"].as_u64().unwrap();
        let told = seen.keys().chain(writer.acknowledged.values()).max().copied().unwrap();
        assert!(last >= told, "{last} is behind {told}, that was told");
        // Exactly what the first `last` mutations make of them.
        for (key, (revision, record)) in &records {
            let by = (1..=last).rev().find(|id| format!("k{}", id % KEYS) == *key).unwrap();
            assert_eq!((*revision, &record["by"]), (by, &json!(by)), "{key}");
        }
        assert_eq!((records.len() as u64, digest["records"].as_u64()), (KEYS.min(last), Some(KEYS.min(last))));
        serve.signal("KILL");
    }
    let serve = Serve::start(&data);
    let (mut alice, welcome) = connect(&serve, "alice").await;
    assert_eq!(welcome["resumed"], true);
    writer.say(&mut alice, &writer.open.clone()).await;
    while !writer.open.is_empty() {
        writer.take(&alice.hear_type("receipt").await);
    }
    let again = writer.next;
    writer.say(&mut alice, &[again]).await;
    let receipt = alice.hear_type("receipt").await;
    assert_eq!((&receipt["duplicate"], receipt["offset"].as_u64()), (&json!(true), Some(again)));
    let (records, digest) = snapshot(&serve).await;
    assert_eq!((digest["offset"].as_u64(), records.len() as u64), (Some(writer.next), KEYS));
}
