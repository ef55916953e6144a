//! What a server with a store promises: `docs/durability.md`.

use std::collections::{HashMap, HashSet};

use realtime_engine::wire::{Frame, ServerMessage, lines};

use super::histories::{ID, id_of};
use super::{Checker, Id, Invariant};
use crate::records::find;

/// What is on disk.
#[derive(Debug, Default)]
pub(super) struct Stored {
    ids: HashSet<Id>,
    /// The last offset by epoch.
    newest: HashMap<String, u64>,
}

impl Checker {
    /// A message is on disk.
    pub(crate) fn stored(&mut self, epoch: &str, offset: u64, line: &[u8]) {
        let newest = self.stored.newest.entry(epoch.to_owned()).or_default();
        *newest = offset.max(*newest);
        self.stored.ids.extend(ids(line));
    }

    /// A frame leaves the server: every message in it, and every message that it acknowledges, must be on disk.
    pub(crate) fn leaves(&mut self, frame: &Frame) {
        let (Frame::Text(bytes) | Frame::Binary(bytes)) = frame else { return };
        if let Some(id) = ids(bytes).find(|id| !self.stored.ids.contains(id)) {
            self.violation(Invariant::DurableFirst, format!("{id:?} leaves the server and is not on disk"));
        }
        for line in lines(bytes).filter(|line| line.starts_with(b"{\"type\":\"receipt\"")) {
            let Ok(ServerMessage::Receipt(receipt)) = ServerMessage::decode(line) else { continue };
            let (Some(epoch), Some(offset)) = (receipt.epoch, receipt.offset) else { continue };
            // Nothing is at 0: it is the answer to one that changed nothing.
            if offset > 0 && self.stored.newest.get(&*epoch).is_none_or(|newest| offset > *newest) {
                let what = format!("a receipt leaves the server for {offset} of {epoch}, which is not on disk");
                self.violation(Invariant::DurableFirst, what);
            }
        }
    }

    /// A frame leaves the server: every change in it must be on disk.
    pub(crate) fn changes_leave(&mut self, frame: &Frame) {
        let (Frame::Text(bytes) | Frame::Binary(bytes)) = frame else { return };
        for line in lines(bytes).filter(|line| line.starts_with(b"{\"type\":\"change\"")) {
            let value: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
            let name = |field: &str| value[field].as_str().unwrap_or_default();
            let collection = find(name("channel"), name("collection"), self.server.collections);
            let offset = value["offset"].as_u64().unwrap_or(0);
            if collection.is_none_or(|collection| offset > self.logged_to(collection)) {
                let what = format!("change {offset} of collection {collection:?} leaves the server and is not on disk");
                self.violation(Invariant::DurableFirst, what);
            }
        }
    }

    /// What was found on the disk in the end: all that somebody was told, and nothing else in its place.
    pub(crate) fn found(&mut self, channel: usize, epoch: &str, messages: &HashMap<u64, Id>) {
        let epoch = self.histories.epoch(epoch);
        let evicts = self.server.evicts;
        let differs = |(offset, id): &(u64, Id)| match messages.get(offset) {
            Some(there) => there != id,
            None => !evicts,
        };
        let wrong = self.histories.known((channel, epoch)).find(differs);
        if let Some((offset, id)) = wrong {
            let there = messages.get(&offset);
            let what = format!("{id:?} was told at {offset} of channel {channel}, and the disk has {there:?}");
            self.violation(Invariant::DurableFirst, what);
        }
    }
}

/// All messages of clients in some bytes.
fn ids(bytes: &[u8]) -> impl Iterator<Item = Id> {
    (0..bytes.len())
        .filter(|at| bytes[*at] == ID[0] && bytes[*at..].starts_with(ID))
        .filter_map(|at| id_of(&bytes[at..]))
}

/// The message of a client in a stored line.
pub(crate) fn id_in(line: &[u8]) -> Option<Id> {
    ids(line).next()
}
