//! Records that are kept equal everywhere.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::Session;
use crate::channel::Kind;
use crate::collection::{Broken, Collection};
use crate::config::WhenFull;
use crate::error::{Error, ErrorKind};
use crate::io::{ChannelId, Data, Event, RequestId, Text};
use crate::outbox::Mutate;
use crate::replica::OpKind;
use crate::status::ChannelState;
use crate::sync::{Change, Mutation};
use crate::time::Timestamp;
use crate::wire::{self, Digest, ErrorCode, Record, Stream, text, validate_json, validate_name};

impl Session {
    /// Shows records (a JSON array) in a collection until its first snapshot, which replaces them. Fails with `invalid_record`, and
    /// with `invalid_option` after that snapshot.
    pub fn seed(&mut self, id: ChannelId, initial: &[u8]) -> Result<Vec<Change>, Error> {
        validate_json(initial)?;
        let records: Vec<&RawValue> = serde_json::from_slice(initial)
            .map_err(|_| refused(ErrorCode::InvalidRecord, "the initial records must be a JSON array"))?;
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            let record = Record::parse_validated(record.get().as_bytes())?;
            let key = record.id().ok_or_else(|| refused(ErrorCode::InvalidRecord, NO_ID))?;
            validate_name("key", &key)?;
            rows.push((Text::from(&*key), Bytes::from(record.encode())));
        }
        let collection = self.collection_mut(id)?;
        if collection.synced {
            let message = "initial records are for a collection that has none yet; this one has those of the server";
            return Err(Error::new(ErrorKind::InvalidOption, message));
        }
        Ok(rows.into_iter().map(|(key, record)| collection.seed(key, record)).collect())
    }

    /// Changes a collection: shows at once, as the change that is returned, and ends with [`Event::Receipt`], whose offset is the
    /// revision, or with [`Event::SendFailed`], before which it is taken back.
    ///
    /// Fails, and changes nothing, where it is clear that the server would refuse it: with `invalid_record` or `invalid_name`, and, once the
    /// collection was synced, with `not_found` for an update of a record that the view does not have and with `conflict` for an insert
    /// of one that it has with another content. Fails with `queue_full` where the outbox has no room, also where its policy is to wait:
    /// [`Event::Writable`] tells when to try again.
    pub fn mutate(
        &mut self,
        now: Timestamp,
        request: RequestId,
        collection: ChannelId,
        mutation: Mutation<'_>,
        if_revision: Option<u64>,
    ) -> Result<Change, Error> {
        self.now = now;
        self.accepts()?;
        let id = collection;
        self.collection_mut(id)?;
        let (key, op, payload) = self.checked(mutation, if_revision)?;
        let collection = self.collection_mut(id)?;
        if collection.synced {
            let (view, revision) = (collection.view(&key), collection.revision(&key));
            match (op, view) {
                (OpKind::Update, None) => {
                    return Err(refused(
                        ErrorCode::NotFound,
                        &format!("there is no record {key:?} that could be updated"),
                    ));
                }
                (OpKind::Insert, Some(record)) if *record != payload => {
                    let message =
                        format!("there is a record {key:?} with another content; update it, or use another id");
                    let mut error = refused(ErrorCode::Conflict, &message);
                    (error.revision, error.record) = (revision, Some(record.clone()));
                    return Err(error);
                }
                _ => {}
            }
        }
        let bytes = key.as_bytes().len() + payload.len();
        let budget = self.outbox.budget();
        let permit = match self.config.when_full {
            WhenFull::DropOldest => budget.reserve_anyway(bytes),
            _ => budget.reserve(bytes).ok_or_else(|| {
                Error::new(
                    ErrorKind::QueueFull,
                    "the outbox is full; wait for it to become writable, or raise queue.messages and queue.bytes",
                )
            })?,
        };
        let stamp = self.stamp(id, &key);
        let conditional = op == OpKind::Insert || if_revision.is_some();
        let mutate = Mutate { key: key.clone(), op, if_revision };
        self.enqueue_mutation(request, id, mutate, Data::Json(payload.clone()), permit);
        Ok(self.collection_mut(id)?.mutate(request, key, op, payload, stamp, conditional))
    }

    /// Key, op and payload of a mutation that makes sense by itself.
    fn checked(&mut self, mutation: Mutation<'_>, if_revision: Option<u64>) -> Result<(Text, OpKind, Bytes), Error> {
        match mutation {
            Mutation::Insert { record } => {
                if if_revision.is_some() {
                    let message = "ifRevision is for update and remove: an insert is of a record that is not there";
                    return Err(Error::new(ErrorKind::InvalidOption, message));
                }
                let mut record = Record::parse(record)?;
                if record.field("id").is_none() {
                    let key = self.uuid();
                    let mut value = Vec::with_capacity(key.len() + 2);
                    text::push_string(&mut value, &key);
                    record.put_first("id", &value);
                    return Ok((Text::from(key), OpKind::Insert, Bytes::from(record.encode())));
                }
                let key = record.id().ok_or_else(|| refused(ErrorCode::InvalidRecord, NO_ID))?;
                validate_name("key", &key)?;
                Ok((Text::from(&*key), OpKind::Insert, Bytes::from(record.encode())))
            }
            Mutation::Update { key, patch } => {
                validate_name("key", key)?;
                let patch = Record::parse(patch)?;
                if patch.field("id").is_some() && patch.id().as_deref() != Some(key) {
                    let message = format!("the patch of record {key:?} changes its id; insert another record instead");
                    return Err(refused(ErrorCode::InvalidRecord, &message));
                }
                Ok((Text::from(key), OpKind::Update, Bytes::from(patch.encode())))
            }
            Mutation::Remove { key } => {
                validate_name("key", key)?;
                Ok((Text::from(key), OpKind::Remove, Bytes::new()))
            }
        }
    }

    pub(super) fn collection_changed(&mut self, frame: &Bytes, size: u64, change: &wire::Change<'_>) {
        let stream = Stream::Collection(Cow::Borrowed(&*change.collection));
        let Some(channel) =
            self.channels.by_name(&change.channel, &stream).filter(|c| c.state == ChannelState::Subscribed)
        else {
            self.stats.unroutable += 1;
            return;
        };
        let id = channel.id;
        self.recorder.of_channel(id);
        let (Kind::Collection(collection), Some(position)) = (&mut channel.kind, &mut channel.position) else { return };
        if change.offset <= position.offset {
            self.stats.duplicates += 1;
            return self.give_back(id, size);
        }
        let told = if change.offset == position.offset + 1 {
            position.offset = change.offset;
            collection.change(frame, change)
        } else {
            Err(Broken::Hole)
        };
        let staging = collection.is_staging();
        match told {
            Err(broken) => {
                self.give_back(id, size);
                self.start_over(id, &broken.to_string());
            }
            Ok(changes) if changes.is_empty() => {
                self.give_back(id, size);
                if self.fits(id) && staging {
                    self.take_collection_over(id);
                }
            }
            Ok(mut changes) => {
                if let Some(first) = changes.first_mut() {
                    first.size = size;
                }
                self.charge(id, size);
                changes.into_iter().for_each(|change| self.event(Event::Change(change)));
                self.fits(id);
            }
        }
    }

    pub(super) fn take_collection_over(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let (Kind::Collection(collection), Some(position)) = (&mut channel.kind, &channel.position) else { return };
        let initial = !collection.synced;
        let Some(changes) = collection.take_over(position) else { return };
        let expected = collection.expects.take();
        let reason = if initial { "initial" } else { expected.unwrap_or("resync") };
        let records = collection.len() as u64;
        changes.into_iter().for_each(|change| self.event(Event::Change(change)));
        self.event(Event::Synced { collection: id, records, reason });
    }

    pub(super) fn digest(&mut self, channel: &str, collection: &str, offset: u64, digest: Digest) {
        let Some(channel) = self
            .channels
            .by_name(channel, &Stream::Collection(Cow::Borrowed(collection)))
            .filter(|channel| channel.state == ChannelState::Subscribed)
        else {
            return;
        };
        let id = channel.id;
        let (Kind::Collection(collection), Some(position)) = (&mut channel.kind, &channel.position) else { return };
        match collection.agrees(position, offset, digest) {
            None => {}
            Some(true) => {
                channel.strikes = 0;
                let (expected, records) = (collection.expects.take(), collection.len() as u64);
                if let Some(reason) = expected {
                    self.event(Event::Synced { collection: id, records, reason });
                }
            }
            Some(false) => self.resync(id),
        }
    }

    /// A mutation was accepted.
    pub(super) fn mutation_accepted(
        &mut self,
        request: RequestId,
        id: ChannelId,
        key: &Text,
        epoch: Option<&Text>,
        revision: Option<u64>,
    ) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let followed = channel.wanted;
        let Kind::Collection(collection) = &mut channel.kind else { return };
        let made = revision.map(|revision| (epoch.cloned().unwrap_or_else(|| Text::from("")), revision));
        if let Some(change) = collection.receipt(key, request, made, channel.position.as_ref(), followed) {
            self.event(Event::Change(change));
        }
    }

    /// A mutation has failed: it is taken back.
    pub(super) fn roll_back(&mut self, request: RequestId, mutation: Option<&(ChannelId, Text)>) {
        let Some((id, key)) = mutation else { return };
        let change = self.collection_mut(*id).ok().and_then(|collection| collection.roll_back(key, request));
        if let Some(change) = change {
            self.event(Event::Change(change));
        }
    }

    /// All mutations without a receipt have failed.
    pub(super) fn roll_back_all(&mut self) {
        for id in self.channels.ids_of_streams() {
            let changes = self.collection_mut(id).map(Collection::roll_back_all).unwrap_or_default();
            changes.into_iter().for_each(|change| self.event(Event::Change(change)));
        }
    }

    pub(super) fn collection_mut(&mut self, id: ChannelId) -> Result<&mut Collection, Error> {
        match self.channels.get_mut(id).map(|channel| &mut channel.kind) {
            Some(Kind::Collection(collection)) => Ok(collection),
            _ => Err(Error::new(ErrorKind::InvalidOption, "there is no collection with this id")),
        }
    }

    /// A UUIDv7 (RFC 9562, method 3), greater than all before it, whatever the clock does.
    fn uuid(&mut self) -> String {
        let micros = self.now.as_micros();
        let moment = (micros / 1000) << 12 | (micros % 1000 * 4096 / 1000);
        self.last_uuid = moment.max(self.last_uuid + 1);
        let (time, random) = (self.last_uuid, self.rng.next_u64());
        format!(
            "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
            time >> 28 & 0xffff_ffff,
            time >> 12 & 0xffff,
            time & 0xfff,
            0x8000 | random >> 48 & 0x3fff,
            random & 0xffff_ffff_ffff
        )
    }
}

const NO_ID: &str = "the id of a record must be a string";

fn refused(code: ErrorCode, message: &str) -> Error {
    Error::new(ErrorKind::Refused(code), message)
}

impl Collection {
    pub(super) fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name.as_str(),
            "records": self.len(),
            "pending": self.pending(),
            "staging": self.is_staging(),
        })
    }
}
