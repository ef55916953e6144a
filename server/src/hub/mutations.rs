//! Mutations: publishes into a collection.

use std::sync::Arc;

use realtime_engine::wire::{ErrorCode, Op, Payload, Position, Stream as Which, validate_json, validate_name};

use super::collections::{Change, Current, Item, MutateError, Step};
use super::journal::{Journal, Outcome, Publisher};
use super::plain::one_line;
use super::{ConnectionId, Hub};

/// What a client, or the server itself, wants of a collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mutation<'a> {
    pub(super) channel: &'a str,
    pub(super) collection: &'a str,
    pub(super) key: &'a str,
    pub(super) op: Op<'a>,
    pub(super) if_revision: Option<u64>,
}

/// A mutation was accepted.
struct Accepted {
    epoch: Arc<str>,
    revision: u64,
    changed: bool,
}

impl Hub {
    /// The records of a collection, in the order of their keys' bytes.
    pub fn records(&self, channel: &str, collection: &str) -> Vec<Current> {
        let key = self.streams.find(channel, &Which::Collection(collection.into()));
        let Some(collection) = key.and_then(|key| self.streams.collection(key)) else { return Vec::new() };
        let items = collection.items_after(None);
        items
            .map(|(key, item)| Current { key: key.clone(), revision: item.revision, record: item.record.clone() })
            .collect()
    }

    /// One record of a collection.
    pub fn record(&self, channel: &str, collection: &str, key: &str) -> Option<Current> {
        let stream = self.streams.find(channel, &Which::Collection(collection.into()))?;
        self.streams.collection(stream)?.item(key)
    }

    /// Changes a record in the name of the server itself, and says at which position; where nothing changes, since when it
    /// is so. With a store, all that is said of [`publish`](Self::publish) counts.
    pub fn mutate(
        &mut self,
        now: u64,
        channel: &str,
        collection: &str,
        key: &str,
        op: Op<'_>,
        if_revision: Option<u64>,
    ) -> Result<Position, MutateError> {
        let invalid = |error: realtime_engine::wire::DecodeError| MutateError::new(error.code, error.reason);
        for (what, name) in [("channel", channel), ("collection", collection), ("key", key)] {
            validate_name(what, name).map_err(invalid)?;
        }
        let payload = op.payload().map(one_line);
        if let Some(payload) = &payload {
            validate_json(payload).map_err(invalid)?;
            if payload.len() as u64 > self.config.limits.payload {
                let reason = format!("a payload has at most {} bytes", self.config.limits.payload);
                return Err(MutateError::new(ErrorCode::PayloadTooLarge, reason));
            }
        }
        if let Some((reason, _)) = self.store_refusal(now) {
            return Err(MutateError::new(ErrorCode::Unavailable, reason));
        }
        let payload = payload.as_deref().unwrap_or_default();
        let op = match op {
            Op::Insert(_) => Op::Insert(payload),
            Op::Update(_) => Op::Update(payload),
            other => other,
        };
        let mutation = Mutation { channel, collection, key, op, if_revision };
        let accepted = self.change(now, mutation, None, Publisher::Server)?;
        Ok(Position { epoch: accepted.epoch.to_string(), offset: accepted.revision })
    }

    pub(super) fn v1_mutate(&mut self, now: u64, id: ConnectionId, request: u64, mutation: Mutation<'_>) {
        let payload = Payload::Json(mutation.op.payload().unwrap_or_default());
        let Some((session, user)) = self.admit(now, id, request, payload, Some(mutation)) else { return };
        let Mutation { channel, collection, .. } = mutation;
        if !self.config.authorizer.can_mutate(user.as_deref(), channel, collection) {
            return self.settle(id, session, request, Outcome::Refused(ErrorCode::Forbidden), None);
        }
        match self.change(now, mutation, user.as_deref(), Publisher::Session) {
            Ok(Accepted { epoch, revision, changed }) => {
                let outcome = match changed {
                    true => Outcome::Stored { epoch, offset: revision },
                    false => Outcome::Unchanged { epoch, offset: revision },
                };
                self.settle(id, session, request, outcome, None);
            }
            Err(error) => self.settle(id, session, request, Outcome::Refused(error.code), Some(error)),
        }
    }

    /// A conflict that is told again: with the record as it is now.
    pub(super) fn conflict_again(&self, mutation: Option<Mutation<'_>>) -> MutateError {
        let current =
            mutation.and_then(|Mutation { channel, collection, key, .. }| self.record(channel, collection, key));
        MutateError { current, ..MutateError::new(ErrorCode::Conflict, "the record was another one") }
    }

    /// Accepts a mutation. Subscribers get the change at once, or once it is on disk where there is a store.
    fn change(
        &mut self,
        now: u64,
        mutation: Mutation<'_>,
        user: Option<&str>,
        publisher: Publisher,
    ) -> Result<Accepted, MutateError> {
        let Mutation { channel, collection, key, op, if_revision } = mutation;
        let internal = || MutateError::new(ErrorCode::Internal, "no collection");
        let which = Which::Collection(collection.into());
        let stream = self.streams.open(now, channel, &which, &mut self.ids);
        self.stats.channels_forgotten += self.streams.bound(stream);
        let state = self.streams.collection(stream).ok_or_else(internal)?;
        let epoch = self.streams.stream(stream).ok_or_else(internal)?.epoch.clone();
        let step = state.decide(key, op, if_revision, self.config.limits.payload)?;
        let record = match step {
            Step::Change(record) => record,
            Step::Nothing(revision) => {
                self.record_stream(stream);
                let last = self.streams.stream(stream).map_or(0, |stream| stream.next_offset() - 1);
                return Ok(Accepted { epoch, revision: revision.unwrap_or(last), changed: false });
            }
        };
        let before = state.latest(key).map(|(key, item)| (key.clone(), item.clone()));
        if let Some(record) = &record {
            let bounds = self.config.collections;
            let grown = record.len() + key.len() + super::collections::RECORD_OVERHEAD;
            let released = before.as_ref().map_or(0, |(key, item)| item.size(key));
            let reason = if before.is_none() && state.records_ahead() >= bounds.records {
                Some(format!("a collection has at most {} records", bounds.records))
            } else if self.streams.totals.record_bytes - released + grown > bounds.total_bytes && grown > released {
                Some(format!("all collections have at most {} bytes", bounds.total_bytes))
            } else {
                None
            };
            if let Some(reason) = reason {
                return Err(MutateError::new(ErrorCode::CollectionFull, reason));
            }
        }
        // Before its entries, so that a store hands it out first.
        self.record_stream(stream);
        // Subscribers are told what was accepted: a record in its one form, a patch as it came.
        let told = match (op, &record) {
            (Op::Insert(_), Some(record)) => Op::Insert(record),
            (other, _) => other,
        };
        let mut number = || self.journal.as_mut().map_or(0, Journal::number);
        let line = number();
        let (key, number) = match before {
            Some((key, item)) if item.number != 0 => (key, item.number),
            Some((key, _)) => (key, number()),
            None => (key.into(), number()),
        };
        let encoded = self.streams.encode_change(now, stream, &key, told, user, line);
        let (entry, revision) = encoded.ok_or_else(internal)?;
        let item = record.map(|record| Item { revision, record, number });
        let change = Change { key, item, number };
        self.streams.accept(stream, &change, self.journal.is_some());
        match self.journal {
            None => {
                self.streams.apply(stream, change);
                self.show(now, stream, entry);
            }
            Some(_) => self.stage_entry(now, stream, revision, entry, publisher, Some(change)),
        }
        Ok(Accepted { epoch, revision, changed: true })
    }
}
