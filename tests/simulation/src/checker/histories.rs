use std::collections::HashMap;

use super::sends::{Accepted, Outcome, To};
use super::{Checker, Id, Invariant};

/// The history of a channel under one epoch: channel, number of the epoch.
pub(super) type HistoryId = (usize, u32);

/// All histories, as far as somebody said what they hold.
#[derive(Debug, Default)]
pub(super) struct Histories {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
    /// What each place in each history holds, by whoever said so first.
    entries: HashMap<HistoryId, Vec<Option<Id>>>,
    /// Where the sends of each client were accepted.
    order: HashMap<(usize, HistoryId), Accepted>,
}

impl Histories {
    /// The number of an epoch.
    pub(super) fn epoch(&mut self, epoch: &str) -> u32 {
        if let Some(number) = self.numbers.get(epoch) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.numbers.insert(epoch.to_owned(), number);
        self.names.push(epoch.to_owned());
        number
    }

    pub(super) fn epochs(&self) -> u32 {
        self.names.len() as u32
    }

    /// The last offset that somebody named.
    pub(super) fn newest(&self, history: HistoryId) -> u64 {
        self.entries.get(&history).map_or(0, |entries| entries.len() as u64)
    }

    /// What is known of a history, in order.
    pub(super) fn known(&self, history: HistoryId) -> impl Iterator<Item = (u64, Id)> {
        let entries = self.entries.get(&history).into_iter().flatten();
        entries.enumerate().filter_map(|(index, id)| id.map(|id| (index as u64 + 1, id)))
    }
}

impl Checker {
    /// The end of a channel's history, as far as somebody named it: what a backend knows from its receipts.
    pub(crate) fn newest_position(&self, channel: usize) -> Option<(String, u64)> {
        let epoch = (0..self.histories.epochs()).rev().find(|epoch| self.histories.newest((channel, *epoch)) > 0)?;
        Some((self.histories.names[epoch as usize].clone(), self.histories.newest((channel, epoch))))
    }

    /// Somebody says that a message has this place.
    pub(super) fn place(&mut self, history: HistoryId, offset: u64, id: Id) {
        let Some(index) = offset.checked_sub(1).and_then(|index| usize::try_from(index).ok()).filter(|i| *i < 1 << 20)
        else {
            return self.violation(Invariant::OneHistory, format!("{id:?} is said to be at {offset} of {history:?}"));
        };
        let entries = self.histories.entries.entry(history).or_default();
        if entries.len() <= index {
            entries.resize(index + 1, None);
        }
        let there = *entries[index].get_or_insert(id);
        if there != id {
            let what = format!("{history:?} has {there:?} at {offset} for one and {id:?} for another");
            return self.violation(Invariant::OneHistory, what);
        }
        let Some(sent) = self.sent.get_mut(&id).filter(|sent| !sent.places.contains(&(history.1, offset))) else {
            return;
        };
        sent.places.push((history.1, offset));
        let plain = self.rules[id.0].plain;
        let stored = sent.places.iter().filter(|(epoch, _)| plain || *epoch == history.1).count();
        let (copies, unsent) = (sent.copies, sent.outcome == Outcome::Unsent);
        if stored > copies {
            self.violation(Invariant::ExactlyOnce, format!("{id:?} is stored {stored} times in {history:?}"));
        }
        if unsent {
            self.violation(Invariant::EverySendEnds, format!("{id:?} was dropped unsent, and is in the history"));
        }
        if !self.may_publish(id.0, history.0) {
            self.violation(Invariant::Allowed, format!("{id:?} is in channel {}, where it may not be", history.0));
        }
    }

    /// Accepted in the order of the sends, within one history.
    pub(super) fn in_order(&mut self, client: usize, n: u64, history: HistoryId, offset: u64) {
        let accepted = self.histories.order.entry((client, history)).or_default();
        let before = accepted.range(..n).next_back().filter(|(_, at)| **at >= offset);
        let after = accepted.range(n..).next().filter(|(_, at)| **at <= offset);
        let wrong = before.or(after).map(|(other, at)| (*other, *at));
        accepted.insert(n, offset);
        if let Some((other, at)) = wrong {
            self.violation(
                Invariant::InOrder,
                format!("{client}/{n} was accepted at {offset}, {client}/{other} at {at}"),
            );
        }
    }

    /// Looks a delivered message up.
    pub(super) fn known(&mut self, client: usize, channel: usize, payload: &[u8]) -> Option<Id> {
        self.deliveries += 1;
        let id = id_of(payload).unwrap_or_default();
        match self.sent.get(&id) {
            Some(sent) if sent.to == To::Channel(channel) => Some(id),
            _ => {
                let what = format!("client {client} got {id:?} in channel {channel}, where nobody sent it");
                self.violation(Invariant::OneHistory, what);
                None
            }
        }
    }
}

/// What the payloads of the simulated clients begin with.
pub(super) const ID: &[u8] = b"{\"c\":";

/// The message that a payload names: `{"c":1,"n":2,`.
pub(super) fn id_of(payload: &[u8]) -> Option<Id> {
    let (client, rest) = number(payload.strip_prefix(ID)?)?;
    let (n, _) = number(rest.strip_prefix(b",\"n\":")?)?;
    Some((usize::try_from(client).ok()?, n))
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at(end);
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}
