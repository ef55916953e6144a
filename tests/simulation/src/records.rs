//! What applications do with collections.

use realtime_engine::{ChannelId, Mutation as Wanted, RequestId, Timestamp, WhenFull};
use serde_json::{Map, Value, json};

use crate::checker::{Checker, Invariant, Mutation, Op, mark};
use crate::client::{Client, Of, name};
use crate::world::{SECOND, World};

/// Something that the server sends when it is asked again with the same; nobody's mark is in it.
const SHARED: &str = "shared";

impl Client {
    pub(crate) fn collection(&mut self, collection: usize) -> ChannelId {
        let (channel, records) = names(collection, self.collections);
        let id = self.session.collection(&channel, &records).unwrap();
        self.streams.insert(id, Of::Collection(collection));
        id
    }

    pub(crate) fn follow(&mut self, now: Timestamp, collection: usize, checker: &mut Checker) {
        let id = self.collection(collection);
        checker.watches(self.index, collection, true);
        self.session.watch(now, id);
    }

    pub(crate) fn stop_following(&mut self, now: Timestamp, collection: usize, checker: &mut Checker) {
        let id = self.collection(collection);
        checker.watches(self.index, collection, false);
        self.session.unsubscribe(now, id);
    }

    /// Shows records that it knows from somewhere else, until the server has told its own.
    pub(crate) fn seed(&mut self, collection: usize, checker: &mut Checker) {
        let id = self.collection(collection);
        let initial = json!([{ "id": key(0), "seed": 1 }, { "id": key(2), "seed": [2] }]).to_string();
        for change in self.session.seed(id, initial.as_bytes()).unwrap_or_default() {
            checker.changed(self.index, collection, change);
        }
    }

    /// Changes one record; `false` where that was refused at once.
    fn mutate(
        &mut self,
        now: Timestamp,
        mut mutation: Mutation,
        rng: &mut fastrand::Rng,
        checker: &mut Checker,
    ) -> bool {
        let (collection, n) = (mutation.collection, self.next + 1);
        let id = self.collection(collection);
        let json = Value::Object(mutation.fields.clone());
        // Written in one form or another, all are the same record.
        let text = if rng.bool() { json.to_string() } else { format!("{json:#}").replace('\n', " ") };
        let wanted = match mutation.op {
            Op::Insert => Wanted::Insert { record: text.as_bytes() },
            Op::Update => Wanted::Update { key: &mutation.key, patch: text.as_bytes() },
            Op::Remove => Wanted::Remove { key: &mutation.key },
        };
        match self.session.mutate(now, RequestId(n), id, wanted, mutation.if_revision) {
            Ok(change) => {
                self.next = n;
                if mutation.fields.get("id").is_none() && mutation.op == Op::Insert {
                    // It was given a key.
                    mutation.key = change.key.to_string();
                    mutation.fields.insert("id".into(), Value::String(mutation.key.clone()));
                }
                checker.mutated(self.index, n, mutation);
                checker.changed(self.index, collection, change);
                true
            }
            Err(error) => {
                self.refused_at_once(&mutation, error.code(), checker);
                false
            }
        }
    }

    fn refused_at_once(&self, mutation: &Mutation, code: &str, checker: &mut Checker) {
        let (there, _) = checker.sees(self.index, mutation.collection, &mutation.key);
        let synced = checker.has_synced(self.index, mutation.collection);
        let fits = match code {
            "conflict" => synced && mutation.op == Op::Insert && there,
            "not_found" => synced && mutation.op == Op::Update && !there,
            "queue_full" | "closed" | "max_attempts" => true,
            _ => false,
        };
        // What was dropped for others is told later.
        if !fits && self.session.when_full() != WhenFull::DropOldest {
            let what = format!("client {} was refused {mutation:?} with {code}", self.index);
            checker.violation(Invariant::EverySendEnds, what);
        }
    }

    fn idea(&self, collection: usize, keys: usize, rng: &mut fastrand::Rng, checker: &Checker) -> Mutation {
        let n = self.next + 1;
        let key = key(rng.usize(0..keys));
        let (there, revision) = checker.sees(self.index, collection, &key);
        let op = match (there, rng.u32(0..20)) {
            (false, 0..14) | (true, 0) => Op::Insert,
            (false, 14..17) | (true, 1..16) => Op::Update,
            _ => Op::Remove,
        };
        let mut fields = Map::new();
        match op {
            Op::Insert if rng.u32(0..8) == 0 => drop(fields.insert(SHARED.into(), Value::Bool(true))),
            Op::Insert | Op::Update => self.fill(&mut fields, n, rng),
            Op::Remove => {}
        }
        let named = match op {
            Op::Insert => rng.u32(0..20) > 0 || fields.contains_key(SHARED),
            Op::Update => rng.u32(0..10) == 0,
            Op::Remove => false,
        };
        if named {
            fields.insert("id".into(), Value::String(key.clone()));
        }
        let if_revision = match rng.u32(0..20) {
            _ if op == Op::Insert => None,
            0..4 => revision,
            4 => revision.map(|revision| revision - 1).filter(|revision| *revision > 0),
            _ => None,
        };
        Mutation { collection, op, key, fields, if_revision }
    }

    fn fill(&self, fields: &mut Map<String, Value>, n: u64, rng: &mut fastrand::Rng) {
        fields.insert("m".into(), Value::String(mark(self.index, n)));
        fields.insert("x".into(), json!(rng.u8(0..10)));
        if rng.bool() {
            fields.insert(
                ["y", "z", "", "__proto__"][rng.usize(0..4)].into(),
                json!({ "of": self.index, "n": [n, null] }),
            );
        }
        if rng.bool() {
            fields.insert("text".into(), Value::String("\u{e9}\"\\\n".repeat(rng.usize(0..20))));
        }
    }
}

impl World {
    /// What an application follows from the beginning on.
    pub(crate) fn begin_streams(&mut self, index: usize) {
        let (now, client) = (self.time(), &mut self.clients[index]);
        if client.plain {
            return;
        }
        for collection in 0..self.profile.all_collections() {
            if self.rng.u32(0..5) == 0 {
                client.seed(collection, &mut self.checker);
            }
            if self.rng.f64() < 0.7 {
                client.follow(now, collection, &mut self.checker);
            }
        }
        for channel in 0..self.profile.channels {
            if self.profile.present_share > 0.0 && self.rng.f64() < 0.7 {
                client.look_on(now, channel, &mut self.checker);
            }
        }
    }

    /// An application does something with a collection.
    pub(crate) fn act_on_records(&mut self, index: usize) {
        let all = self.profile.all_collections();
        if all == 0 {
            return;
        }
        let (now, collection) = (self.time(), self.rng.usize(0..all));
        let client = &mut self.clients[index];
        match self.rng.u32(0..100) {
            0..8 => client.follow(now, collection, &mut self.checker),
            8..10 => client.stop_following(now, collection, &mut self.checker),
            _ => {
                for _ in 0..self.rng.u64(1..=self.profile.burst) {
                    if self.checker.messages < self.profile.messages {
                        let idea = client.idea(collection, self.profile.keys, &mut self.rng, &self.checker);
                        client.mutate(now, idea, &mut self.rng, &mut self.checker);
                    }
                }
            }
        }
    }

    /// Changes each collection, so often that everybody has been told a digest.
    pub(crate) fn probe_records(&mut self) {
        let rounds = if self.profile.corrupts { self.profile.digest_every + 1 } else { 1 };
        for _ in 0..rounds {
            let now = self.time();
            for collection in 0..self.profile.all_collections() {
                let client = &mut self.clients[0];
                let (there, _) = self.checker.sees(0, collection, "last");
                let op = if there { Op::Update } else { Op::Insert };
                let mut fields = Map::from_iter([("id".to_owned(), json!("last"))]);
                client.fill(&mut fields, client.next + 1, &mut self.rng);
                let probe = Mutation { collection, op, key: "last".into(), fields, if_revision: None };
                if !client.mutate(now, probe, &mut self.rng, &mut self.checker) {
                    self.checker.violation(Invariant::EverySendEnds, "no room for the last mutation".into());
                }
            }
            self.drain_client(0);
            self.run_until(self.now + 5 * SECOND);
        }
    }

    /// All who follow a collection have what the server has.
    pub(crate) fn look_at_records(&mut self) {
        for collection in 0..self.profile.all_collections() {
            let (channel, records) = names(collection, self.profile.collections);
            let rows = self.hub.records(&channel, &records).into_iter();
            let rows: Vec<_> = rows.map(|row| (row.key.to_string(), row.revision, row.record.to_vec())).collect();
            self.checker.holds_records("the server", collection, &rows);
            for client in 0..self.clients.len() {
                let may = self.checker.may_subscribe(client, collection / self.profile.collections);
                if may && self.checker.is_watched(client, collection) {
                    self.checker.view_ends(client, collection, &rows);
                }
            }
        }
    }
}

/// A collection by the names of its channel and its own.
pub(crate) fn names(collection: usize, of_a_channel: usize) -> (String, String) {
    (name(collection / of_a_channel), format!("records-{}", collection % of_a_channel))
}

/// The collection with these names.
pub(crate) fn find(channel: &str, records: &str, of_a_channel: usize) -> Option<usize> {
    let channel: usize = channel.strip_prefix("channel-")?.parse().ok()?;
    let records: usize = records.strip_prefix("records-")?.parse().ok()?;
    Some(channel * of_a_channel + records)
}

fn key(index: usize) -> String {
    match index {
        0 => "__proto__".into(),
        1 => "\u{e9} \"\\".into(),
        _ => format!("k{index}"),
    }
}
