//! What the plain dialect still promises, without receipts, offsets and positions.
//!
//! - What one connection delivers of a channel is in the order of the history, each message once.
//! - It has no hole that no `gap` message told, from a subscribe on until the connection or the subscription ends.
//! - A message is stored once, and at most once more for each connection that its sender lost while it was not flushed.

use super::{Checker, Id, Invariant};

/// What came over one connection.
#[derive(Debug, Default)]
pub(super) struct Segment {
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Message(Id),
    Gap {
        from: u64,
        to: u64,
    },
    /// Subscribed again on the same connection: it goes on at a later place.
    Jump,
}

impl Checker {
    pub(super) fn plain_opened(&mut self, client: usize) {
        for channel in self.plain_channels(client) {
            self.segments.entry((client, channel)).or_default().push(Segment::default());
        }
    }

    pub(super) fn plain_subscribed(&mut self, client: usize, channel: usize) {
        let segments = self.segments.entry((client, channel)).or_default();
        if segments.is_empty() {
            segments.push(Segment::default());
        } else if !self.seen.contains_key(&(client, channel)) {
            self.item(client, channel, Item::Jump);
        }
    }

    /// A message in the plain dialect, or what the server tells as missing in its place.
    pub(crate) fn plain_delivered(&mut self, client: usize, channel: usize, event: &str, payload: &[u8]) {
        if !self.is_subscribed(client, channel) {
            let what = format!("client {client} got a message of channel {channel}, which it left");
            self.violation(Invariant::ExactlyOnce, what);
        }
        if !self.may_subscribe(client, channel) {
            self.violation(Invariant::Allowed, format!("client {client} got something of {channel}, and may not"));
        }
        if event == "gap" {
            self.gaps += 1;
            let value: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
            let (from, to) = (value["from"].as_u64().unwrap_or(0), value["to"].as_u64().unwrap_or(0));
            self.item(client, channel, Item::Gap { from, to });
        } else if let Some(id) = self.known(client, channel, payload) {
            self.item(client, channel, Item::Message(id));
        }
    }

    pub(super) fn plain_has(&self, client: usize, channel: usize, id: Id) -> bool {
        let segments = self.segments.get(&(client, channel)).into_iter().flatten();
        segments.flat_map(|segment| &segment.items).any(|item| matches!(item, Item::Message(other) if *other == id))
    }

    /// Lays what each connection delivered over the histories, which are known by now.
    pub(super) fn plain_settled(&mut self) {
        for ((client, channel), segments) in std::mem::take(&mut self.segments) {
            for segment in &segments {
                // A connection lives with one server, and so within one epoch; which one nobody says, but the messages do.
                let known = |epoch: &u32| segment.items.iter().filter(|item| self.is_known(item, *epoch)).count();
                let most = (0..self.histories.epochs()).map(|epoch| known(&epoch)).max().unwrap_or(0);
                let fits = most == 0
                    || (0..self.histories.epochs())
                        .filter(|epoch| known(epoch) == most)
                        .any(|epoch| self.starts(segment, epoch).any(|start| self.fits(&segment.items, epoch, start)));
                if !fits {
                    let items = &segment.items[..segment.items.len().min(8)];
                    let what =
                        format!("what client {client} got of channel {channel} is no part of a history: {items:?}…");
                    self.violation(Invariant::InOrder, what);
                }
            }
            self.segments.insert((client, channel), segments);
        }
    }

    fn is_known(&self, item: &Item, epoch: u32) -> bool {
        let Item::Message(id) = item else { return false };
        self.sent.get(id).is_some_and(|sent| sent.places.iter().any(|(e, _)| *e == epoch))
    }

    /// Where the first message may have stood; `None` where nobody knows.
    fn starts(&self, segment: &Segment, epoch: u32) -> impl Iterator<Item = Option<u64>> + use<> {
        let first = segment.items.iter().find_map(|item| match item {
            Item::Message(id) => Some(*id),
            _ => None,
        });
        let places = first.and_then(|id| self.sent.get(&id)).map(|sent| sent.places.clone()).unwrap_or_default();
        places.into_iter().filter(move |(e, _)| *e == epoch).map(|(_, offset)| Some(offset - 1)).chain([None])
    }

    fn fits(&self, items: &[Item], epoch: u32, start: Option<u64>) -> bool {
        // The place of the last item, and how many holes are explained: one where a subscription ends, one where another begins.
        let (mut last, mut holes) = (start, 0);
        for item in items {
            let next = match *item {
                Item::Jump => {
                    holes += 2;
                    continue;
                }
                Item::Gap { from, to } => Some((from, to)),
                Item::Message(id) => {
                    let sent = self.sent.get(&id);
                    let places = sent.map(|sent| &sent.places[..]).unwrap_or_default();
                    let mut here = places.iter().filter(|(e, _)| *e == epoch).map(|(_, offset)| *offset).peekable();
                    // One that may be stored again may be so where nobody who knows offsets has seen it.
                    let all = sent.is_some_and(|sent| places.len() >= sent.copies);
                    let known = here.peek().is_some() && all;
                    match here.filter(|offset| last.is_none_or(|last| *offset > last)).min() {
                        None if known && last.is_some() => return false,
                        Some(offset) if !all && holes == 0 && last.is_none_or(|last| offset != last + 1) => None,
                        next => next.map(|offset| (offset, offset)),
                    }
                }
            };
            last = match (next, last) {
                (Some((from, _)), Some(last)) if from <= last => return false,
                (Some((from, to)), Some(last)) => {
                    if from != last + 1 {
                        let Some(left) = u32::checked_sub(holes, 1) else { return false };
                        holes = left;
                    }
                    Some(to)
                }
                (Some((_, to)), None) => Some(to),
                // Nobody who knows offsets has seen it.
                (None, last) => last.map(|last| last + 1),
            };
        }
        true
    }

    fn plain_channels(&self, client: usize) -> Vec<usize> {
        self.segments.keys().filter(|(c, _)| *c == client).map(|(_, channel)| *channel).collect()
    }

    fn item(&mut self, client: usize, channel: usize, item: Item) {
        if let Some(segment) = self.segments.get_mut(&(client, channel)).and_then(|segments| segments.last_mut()) {
            segment.items.push(item);
        }
    }
}
