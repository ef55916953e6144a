//! A session with a presence, against a scripted peer.

use realtime_engine::wire::PresenceStatus;
use realtime_engine::{ChannelId, Config, Error, Event, RequestId};
use serde_json::Value;

use super::{Bench, config};

/// A session with a presence, and its application.
pub struct World {
    pub bench: Bench,
    pub id: ChannelId,
    pub requests: u64,
}

/// A meta as JSON: `ref key status` with fields that are added.
pub fn meta(reference: &str, key: &str, more: &str) -> String {
    let default = |name: &str, value: &str| {
        if more.contains(&format!("\"{name}\"")) { String::new() } else { format!(r#","{name}":{value}"#) }
    };
    format!(
        r#"{{"ref":"{reference}","key":"{key}"{}{}{}{}{more}}}"#,
        default("status", "\"online\""),
        default("state", "{}"),
        default("joined_at", "100"),
        default("seen_at", "200"),
    )
}

impl World {
    pub fn new(config: Config) -> Self {
        let mut bench = Bench::connected(config);
        let id = bench.session.presence("room").unwrap();
        Self { bench, id, requests: 0 }
    }

    pub fn watching() -> Self {
        let mut world = Self::new(config());
        world.watch();
        world
    }

    /// A session that watches and has a snapshot of epoch `e` at offset 10.
    pub fn synced(metas: &[String]) -> Self {
        let mut world = Self::watching();
        world.answer("e", 10, None);
        world.page("e", 10, 0, Some(10), metas);
        world.bench.clear();
        world
    }

    pub fn watch(&mut self) {
        self.bench.session.watch(self.bench.now, self.id);
        self.bench.drain();
    }

    pub fn answer(&mut self, epoch: &str, offset: u64, recovered: Option<bool>) {
        let request = self.bench.last_sent("subscribe")["id"].as_u64().unwrap();
        let recovered = recovered.map_or(String::new(), |value| format!(r#","recovered":{value}"#));
        self.bench.text(&format!(
            r#"{{"type":"subscribed","id":{request},"channel":"room","presence":true,"epoch":"{epoch}","offset":{offset}{recovered},"grace":10000}}"#
        ));
    }

    pub fn page(&mut self, epoch: &str, offset: u64, part: u64, end: Option<u64>, metas: &[String]) {
        let end = end.map_or(String::new(), |end| format!(r#","end":{end}"#));
        self.bench.text(&format!(
            r#"{{"type":"snapshot","channel":"room","presence":true,"epoch":"{epoch}","offset":{offset},"part":{part}{end},"members":[{}]}}"#,
            metas.join(",")
        ));
    }

    pub fn changed(&mut self, offset: u64, join: &[String], leave: &[(&str, u64)]) {
        let leave: Vec<_> =
            leave.iter().map(|(reference, at)| format!(r#"{{"ref":"{reference}","seen_at":{at}}}"#)).collect();
        self.bench.text(&format!(
            r#"{{"type":"presence","channel":"room","offset":{offset},"timestamp":1,"join":[{}],"leave":[{}]}}"#,
            join.join(","),
            leave.join(",")
        ));
    }

    pub fn track(&mut self, key: Option<&str>, status: PresenceStatus, state: &str) -> Result<RequestId, Error> {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.bench.session.track(self.bench.now, request, self.id, key, status, state.as_bytes())?;
        self.bench.drain();
        Ok(request)
    }

    pub fn update(&mut self, status: Option<PresenceStatus>, patch: Option<&str>) -> Result<RequestId, Error> {
        self.requests += 1;
        let request = RequestId(self.requests);
        let patch = patch.map(str::as_bytes);
        self.bench.session.update_presence(self.bench.now, request, self.id, status, patch)?;
        self.bench.drain();
        Ok(request)
    }

    pub fn untrack(&mut self) {
        self.requests += 1;
        self.bench.session.untrack(self.bench.now, RequestId(self.requests), self.id).unwrap();
        self.bench.drain();
    }

    pub fn tracked(&mut self, reference: &str) {
        self.tracked_at(reference, 200);
    }

    pub fn tracked_at(&mut self, reference: &str, seen_at: u64) {
        let track = self.bench.last_sent("track");
        let (id, key) = (&track["id"], track["key"].as_str().unwrap_or(reference));
        self.bench.text(&format!(
            r#"{{"type":"tracked","id":{id},"channel":"room","key":"{key}","ref":"{reference}","joined_at":100,"seen_at":{seen_at}}}"#
        ));
    }

    pub fn untracked(&mut self) {
        let id = self.bench.last_sent("untrack")["id"].as_u64().unwrap();
        self.bench.text(&format!(r#"{{"type":"untracked","id":{id},"channel":"room"}}"#));
    }

    pub fn refuse(&mut self, kind: &str, code: &str, more: &str) {
        let id = self.bench.last_sent(kind)["id"].as_u64().unwrap();
        self.bench.text(&format!(r#"{{"type":"error","code":"{code}","message":"no","id":{id}{more}}}"#));
    }

    pub fn reconnect(&mut self) {
        self.bench.closed(None);
        self.bench.pass_to_deadline();
        self.bench.clear();
        self.bench.open_v1();
    }

    /// What the application was told since the last time.
    pub fn told(&mut self) -> Vec<Value> {
        let told: Vec<_> = self
            .bench
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Presence(change) => Some((change.json.clone(), change.size)),
                _ => None,
            })
            .collect();
        self.bench.events.retain(|event| !matches!(event, Event::Presence(_)));
        for (_, size) in &told {
            self.bench.session.consumed(self.bench.now, Some(self.id), *size);
        }
        self.bench.drain();
        told.iter().map(|(json, _)| serde_json::from_slice(json).unwrap()).collect()
    }

    /// The same in short: `+key`, `~key`, `-key`, and `sync`.
    pub fn brief(&mut self) -> Vec<String> {
        let mut brief = vec![];
        for told in self.told() {
            for (list, sign) in [("join", '+'), ("update", '~'), ("leave", '-')] {
                brief.extend(
                    told[list].as_array().unwrap().iter().map(|user| format!("{sign}{}", user["id"].as_str().unwrap())),
                );
            }
            if told["sync"] == true {
                brief.push("sync".into());
            }
        }
        brief
    }

    pub fn done(&mut self) -> Vec<u64> {
        let done = self.bench.receipts().iter().map(|receipt| receipt.request.0).collect();
        self.bench.events.retain(|event| !matches!(event, Event::Receipt(_)));
        done
    }
}
