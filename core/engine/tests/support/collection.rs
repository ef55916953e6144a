//! A session that watches a collection, with an application that keeps its data as a package does.

use std::collections::BTreeMap;

use realtime_engine::wire::Digest;
use realtime_engine::{Change, ChangeKind, ChannelId, ChannelState, Config, Error, Event, Mutation, RequestId};

use super::{Bench, config};

/// What a package keeps: the data of a collection, by the rule for changes that were returned and changes that come.
#[derive(Default)]
pub struct Host {
    pub data: BTreeMap<String, String>,
    pub versions: BTreeMap<String, u64>,
    /// What listeners were told.
    pub log: Vec<String>,
    pub synced: Vec<(&'static str, u64)>,
    pub diverged: u64,
}

impl Host {
    pub fn apply(&mut self, change: &Change) {
        let key = change.key.to_string();
        let last = self.versions.entry(key.clone()).or_default();
        if change.version <= *last {
            return;
        }
        *last = change.version;
        let record = change.record.as_ref().map(|record| String::from_utf8(record.to_vec()).unwrap());
        match (change.kind, &record) {
            (ChangeKind::Insert, Some(_)) => assert!(!self.data.contains_key(&key) || change.size > 0, "{change:?}"),
            (ChangeKind::Delete, None) => {}
            (ChangeKind::Confirm, _) => {}
            (ChangeKind::Update, Some(_)) => {}
            other => panic!("{other:?}"),
        }
        let revision = change.revision.map_or("-".into(), |revision| revision.to_string());
        let flags = format!("{}{}", if change.local { "l" } else { "" }, if change.initial { "i" } else { "" });
        self.log.push(format!("{} {key} {revision} {flags}", change.kind.as_str()).trim().to_owned());
        match record {
            Some(record) => drop(self.data.insert(key, record)),
            None => drop(self.data.remove(&key)),
        }
    }

    pub fn drain(&mut self, bench: &mut Bench) {
        let mut consumed = vec![];
        for event in &bench.events {
            match event {
                Event::Change(change) => {
                    self.apply(change);
                    consumed.push((change.collection, change.size));
                }
                Event::Synced { records, reason, .. } => self.synced.push((reason, *records)),
                Event::Diverged { .. } => self.diverged += 1,
                _ => {}
            }
        }
        for (id, size) in consumed {
            bench.session.consumed(bench.now, Some(id), size);
        }
        bench.drain();
    }

    pub fn take_log(&mut self, bench: &mut Bench) -> Vec<String> {
        self.drain(bench);
        bench.events.clear();
        std::mem::take(&mut self.log)
    }

    pub fn shows(&self) -> Vec<&str> {
        self.data.values().map(String::as_str).collect()
    }
}

pub struct World {
    pub bench: Bench,
    pub host: Host,
    pub id: ChannelId,
    pub requests: u64,
}

impl World {
    /// A session that watches the collection `tasks` of `room`, before the server has answered.
    pub fn watching() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        let mut bench = Bench::connected(config);
        let id = bench.session.collection("room", "tasks").unwrap();
        bench.session.watch(bench.now, id);
        bench.drain();
        Self { bench, host: Host::default(), id, requests: 0 }
    }

    /// The same with these records, at offset 10 of epoch `e`.
    pub fn synced(records: &[&str]) -> Self {
        let mut world = Self::watching();
        world.answer(10, None);
        world.page("e", 10, 0, Some(10), records);
        world.log();
        world.host.synced.clear();
        world.bench.clear();
        world
    }

    pub fn text(&mut self, text: &str) {
        self.bench.text(text);
    }

    pub fn answer(&mut self, offset: u64, recovered: Option<bool>) {
        self.answer_in("e", offset, recovered);
    }

    pub fn answer_in(&mut self, epoch: &str, offset: u64, recovered: Option<bool>) {
        let request = self.bench.last_sent("subscribe")["id"].as_u64().unwrap();
        let recovered = recovered.map_or(String::new(), |value| format!(r#","recovered":{value}"#));
        self.text(&format!(
            r#"{{"type":"subscribed","id":{request},"channel":"room","collection":"tasks","epoch":"{epoch}","offset":{offset}{recovered}}}"#
        ));
    }

    /// Records as `key@revision`, with more fields after a space.
    pub fn page(&mut self, epoch: &str, offset: u64, part: u64, end: Option<u64>, records: &[&str]) {
        let records: Vec<String> = records
            .iter()
            .map(|text| {
                let (name, more) = text.split_once(' ').unwrap_or((text, ""));
                let (key, revision) = name.split_once('@').unwrap();
                format!(r#"{{"key":"{key}","revision":{revision},"record":{{"id":"{key}"{more}}}}}"#)
            })
            .collect();
        let end = end.map_or(String::new(), |end| format!(r#","end":{end}"#));
        self.text(&format!(
            r#"{{"type":"snapshot","channel":"room","collection":"tasks","epoch":"{epoch}","offset":{offset},"part":{part}{end},"records":[{}]}}"#,
            records.join(",")
        ));
    }

    pub fn change(&mut self, op: &str, key: &str, offset: u64, payload: &str) {
        let payload = if payload.is_empty() { String::new() } else { format!(r#","payload":{payload}"#) };
        self.text(&format!(
            r#"{{"type":"change","channel":"room","collection":"tasks","op":"{op}","key":"{key}","offset":{offset},"timestamp":1{payload}}}"#
        ));
    }

    pub fn digest(&mut self, offset: u64, records: &[(&str, &str)]) {
        let mut digest = Digest::default();
        records.iter().for_each(|(key, record)| digest.add(key, record.as_bytes()));
        self.text(&format!(
            r#"{{"type":"digest","channel":"room","collection":"tasks","offset":{offset},"records":{},"digest":"{digest}"}}"#,
            digest.records
        ));
    }

    pub fn mutate(&mut self, mutation: Mutation<'_>, if_revision: Option<u64>) -> Result<Change, Error> {
        // As a package does: the change is applied where the call returns.
        self.requests += 1;
        let request = RequestId(self.requests);
        let change = self.bench.session.mutate(self.bench.now, request, self.id, mutation, if_revision)?;
        self.host.apply(&change);
        self.bench.drain();
        Ok(change)
    }

    pub fn insert(&mut self, record: &str) -> Change {
        self.mutate(Mutation::Insert { record: record.as_bytes() }, None).unwrap()
    }

    pub fn update(&mut self, key: &str, patch: &str) -> Change {
        self.mutate(Mutation::Update { key, patch: patch.as_bytes() }, None).unwrap()
    }

    pub fn remove(&mut self, key: &str) -> Change {
        self.mutate(Mutation::Remove { key }, None).unwrap()
    }

    pub fn receipt(&mut self, id: u64, revision: u64) {
        self.text(&format!(r#"{{"type":"receipt","id":{id},"epoch":"e","offset":{revision}}}"#));
    }

    pub fn refuse(&mut self, id: u64, code: &str, more: &str) {
        self.text(&format!(
            r#"{{"type":"error","code":"{code}","message":"no","id":{id},"channel":"room","collection":"tasks"{more}}}"#
        ));
    }

    pub fn log(&mut self) -> Vec<String> {
        self.host.take_log(&mut self.bench)
    }

    pub fn reconnect(&mut self) {
        self.bench.closed(None);
        self.bench.pass_to_deadline();
        self.host.drain(&mut self.bench);
        self.bench.clear();
        self.bench.open_v1();
    }

    pub fn state(&self) -> ChannelState {
        self.bench.session.channel_state(self.id)
    }
}
