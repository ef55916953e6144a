//! What a client makes of a collection or a presence, by the rules of the specification and nothing else.

use std::collections::BTreeMap;

use realtime_engine::wire::{Digest, Op, Page, Record, ServerMessage};
use realtime_server::hub::Hub;

/// A copy of a collection.
#[derive(Debug, Default)]
pub struct Replica {
    pub epoch: String,
    pub offset: u64,
    pub records: BTreeMap<String, (u64, Vec<u8>)>,
    /// Between the beginning of a snapshot and its end.
    pub partial: bool,
    end: Option<u64>,
    pub snapshots: u64,
    pub pages: u64,
    pub digests: u64,
    pub changes: u64,
    /// Bytes that were not given back.
    pub owed: u64,
}

impl Replica {
    pub fn since(&self) -> Option<serde_json::Value> {
        let whole = !self.epoch.is_empty() && !self.partial;
        whole.then(|| serde_json::json!({"epoch": self.epoch, "offset": self.offset}))
    }

    /// Takes what belongs to the collection.
    pub fn take(&mut self, line: &[u8]) {
        match ServerMessage::decode(line).unwrap() {
            ServerMessage::Subscribed(subscribed) => {
                assert_eq!(subscribed.recovered.is_some(), self.since().is_some());
                if subscribed.recovered == Some(true) {
                    assert_eq!((&*subscribed.epoch, subscribed.offset), (&*self.epoch, self.offset));
                } else {
                    self.partial = true;
                }
            }
            ServerMessage::Snapshot(snapshot) => {
                self.owed += line.len() as u64;
                self.pages += 1;
                if snapshot.part == 0 {
                    self.records.clear();
                    self.snapshots += 1;
                    (self.partial, self.end) = (true, None);
                    (self.epoch, self.offset) = (snapshot.epoch.to_string(), snapshot.offset);
                }
                assert!(self.partial && self.offset == snapshot.offset && *self.epoch == *snapshot.epoch);
                let Page::Records { records, .. } = snapshot.page else { panic!("a page of records") };
                for held in records {
                    let last = self.records.last_key_value();
                    assert!(last.is_none_or(|(key, _)| key.as_bytes() < held.key.as_bytes()), "in order");
                    self.records.insert(held.key.to_string(), (held.revision, held.record.to_vec()));
                }
                self.end = snapshot.end;
                self.settle();
            }
            ServerMessage::Change(change) => {
                self.owed += line.len() as u64;
                self.changes += 1;
                assert_eq!(change.offset, self.offset + 1, "in order, without holes");
                self.offset = change.offset;
                let before = self.records.get(&*change.key);
                if self.partial {
                    let newer = before.is_some_and(|(revision, _)| *revision >= change.offset);
                    let unknown = before.is_none() && matches!(change.op, Op::Update(_));
                    if newer || unknown {
                        return self.settle();
                    }
                }
                let whole = !self.partial;
                let after = match change.op {
                    Op::Insert(record) => {
                        assert!(before.is_none() || !whole, "an insert of {} that is there", change.key);
                        Some(Record::parse(record).unwrap().encode())
                    }
                    Op::Update(patch) => {
                        let (_, before) = before.expect("an update of what is there");
                        let mut record = Record::parse(before).unwrap();
                        record.patch(&Record::parse(patch).unwrap());
                        Some(record.encode())
                    }
                    _ => {
                        assert!(before.is_some() || !whole, "a remove of {} that is not there", change.key);
                        None
                    }
                };
                match after {
                    Some(record) => drop(self.records.insert(change.key.to_string(), (change.offset, record))),
                    None => drop(self.records.remove(&*change.key)),
                }
                self.settle();
            }
            ServerMessage::Digest { offset, digest, .. } => {
                assert!(!self.partial, "a digest comes when the state is whole");
                assert_eq!((offset, digest), (self.offset, self.digest()));
                self.digests += 1;
            }
            ServerMessage::Gap { .. } => panic!("a collection has no gaps"),
            _ => {}
        }
    }

    fn settle(&mut self) {
        if self.partial && self.end.is_some_and(|end| self.offset >= end) {
            (self.partial, self.end) = (false, None);
        }
    }

    pub fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.records.iter().for_each(|(key, (_, record))| digest.add(key, record));
        digest
    }

    /// Compares with what the hub has.
    pub fn check(&self, hub: &Hub, channel: &str, collection: &str) {
        assert!(!self.partial, "whole");
        let theirs: Vec<_> = hub.records(channel, collection);
        let theirs: Vec<_> = theirs.iter().map(|r| (&*r.key, r.revision, r.record.to_vec())).collect();
        let ours: Vec<_> = self.records.iter().map(|(key, (rev, record))| (&**key, *rev, record.clone())).collect();
        assert_eq!(ours, theirs);
    }
}

/// A copy of a presence: what each reference says.
#[derive(Debug, Default)]
pub struct Audience {
    pub epoch: String,
    pub offset: u64,
    pub metas: BTreeMap<String, String>,
    pub partial: bool,
    end: Option<u64>,
    pub lines: u64,
    pub snapshots: u64,
    pub owed: u64,
}

impl Audience {
    pub fn since(&self) -> Option<serde_json::Value> {
        let whole = !self.epoch.is_empty() && !self.partial;
        whole.then(|| serde_json::json!({"epoch": self.epoch, "offset": self.offset}))
    }

    pub fn take(&mut self, line: &[u8]) {
        let told = |meta: &realtime_engine::wire::Meta<'_>| {
            let mut out = Vec::new();
            meta.encode(&mut out);
            (meta.reference.to_string(), String::from_utf8(out).unwrap())
        };
        match ServerMessage::decode(line).unwrap() {
            ServerMessage::Subscribed(subscribed) if subscribed.grace.is_some() => match subscribed.recovered {
                Some(true) => assert_eq!((&*subscribed.epoch, subscribed.offset), (&*self.epoch, self.offset)),
                _ => self.partial = true,
            },
            ServerMessage::Snapshot(snapshot) => {
                self.owed += line.len() as u64;
                if snapshot.part == 0 {
                    self.metas.clear();
                    self.snapshots += 1;
                    (self.partial, self.end) = (true, None);
                    (self.epoch, self.offset) = (snapshot.epoch.to_string(), snapshot.offset);
                }
                let Page::Members(members) = &snapshot.page else { panic!("a page of members") };
                self.metas.extend(members.iter().map(told));
                self.end = snapshot.end;
                self.settle();
            }
            ServerMessage::Presence { offset, join, leave, .. } => {
                self.owed += line.len() as u64;
                self.lines += 1;
                assert_eq!(offset, self.offset + 1, "in order, without holes");
                self.offset = offset;
                self.metas.extend(join.iter().map(told));
                for left in leave {
                    let was = self.metas.remove(&*left.reference);
                    assert!(was.is_some() || self.partial, "{} leaves and was not there", left.reference);
                }
                self.settle();
            }
            ServerMessage::Gap { .. } => panic!("a presence has no gaps"),
            _ => {}
        }
    }

    fn settle(&mut self) {
        if self.partial && self.end.is_some_and(|end| self.offset >= end) {
            (self.partial, self.end) = (false, None);
        }
    }

    /// Compares with what the hub has.
    pub fn check(&self, hub: &Hub, channel: &str) {
        assert!(!self.partial, "whole");
        let theirs: Vec<_> = hub.members(channel).iter().map(|member| member.reference.to_string()).collect();
        assert_eq!(self.metas.keys().cloned().collect::<Vec<_>>(), theirs);
        for member in hub.members(channel) {
            let ours: serde_json::Value = serde_json::from_str(&self.metas[&*member.reference]).unwrap();
            let state: serde_json::Value = serde_json::from_slice(&member.state).unwrap();
            assert_eq!((&ours["key"], &ours["state"]), (&serde_json::json!(*member.key), &state));
            assert_eq!(ours["status"], member.status.as_str());
        }
    }
}
