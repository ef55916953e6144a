//! The state behind a history, page by page, for a subscription that cannot begin with the history.
//!
//! Pages are read from the living state, so that a subscriber that takes its time costs a key and no copy. What changes
//! meanwhile follows from the history.

use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::wire::{Held, Page, ServerMessage, Snapshot};

use super::streams::{State, Stream};
use super::subscriptions::Subscription;

/// A page with more bytes than this is full.
const PAGE_TARGET: usize = 16 << 10;

/// Where the next page begins.
#[derive(Debug, Default)]
pub(super) struct Paging {
    part: u64,
    /// The last key that was sent.
    after: Option<Arc<str>>,
}

/// What a subscription is to be sent next.
pub(super) enum Due {
    /// Messages that were evicted.
    Gap {
        from: u64,
        to: u64,
    },
    Page,
    Entry(u64),
    Digest,
}

impl Stream {
    pub(super) fn due(&self, subscription: &mut Subscription) -> Option<Due> {
        let (next, first, last) = (subscription.cursor + 1, self.history.first(), self.history.last());
        if next < first {
            if let State::Messages = self.state {
                return Some(Due::Gap { from: next, to: first - 1 });
            }
            // The state holds what the history has lost.
            subscription.begin_snapshot(last);
        }
        if subscription.paging.is_some() {
            return Some(Due::Page);
        }
        if next <= last {
            return Some(Due::Entry(next));
        }
        let audited = matches!(self.state, State::Collection(_)) && subscription.audit_at <= subscription.cursor;
        audited.then_some(Due::Digest)
    }

    /// What a collection is at the end of its history.
    pub(super) fn digest(&self) -> Option<ServerMessage<'_>> {
        let State::Collection(collection) = &self.state else { return None };
        Some(ServerMessage::Digest {
            channel: (&*self.channel).into(),
            collection: (&*collection.name).into(),
            offset: self.history.last(),
            digest: collection.digest(),
        })
    }

    /// Encodes the next page, and takes the subscription past it.
    pub(super) fn page(&self, subscription: &mut Subscription, out: &mut Vec<u8>) {
        let Some(paging) = &mut subscription.paging else { return };
        let mut bytes = 0;
        let mut last_key = None;
        let mut take = |key: &Arc<str>, size: usize| {
            let full = bytes >= PAGE_TARGET;
            if !full {
                bytes += size;
                last_key = Some(key.clone());
            }
            !full
        };
        let after = paging.after.as_ref();
        // Metas as they are, for a page that is opened again.
        let mut metas = Vec::new();
        let (page, is_last) = match &self.state {
            State::Messages => return,
            State::Presence(presence) => {
                let mut rest = presence.told_after(after).peekable();
                while let Some((_, json)) = rest.next_if(|(reference, json)| take(reference, json.len())) {
                    metas.push(json);
                }
                (Page::Members(Vec::new()), rest.peek().is_none())
            }
            State::Collection(collection) => {
                let mut rest = collection.items_after(after).peekable();
                let mut records = Vec::new();
                while let Some((key, item)) = rest.next_if(|(key, item)| take(key, item.size(key))) {
                    records.push(Held { key: (&**key).into(), revision: item.revision, record: &item.record });
                }
                (Page::Records { collection: (&*collection.name).into(), records }, rest.peek().is_none())
            }
        };
        let snapshot = Snapshot {
            channel: (&*self.channel).into(),
            epoch: (&*self.epoch).into(),
            offset: subscription.cursor,
            part: paging.part,
            end: is_last.then(|| self.history.last()),
            page,
        };
        ServerMessage::Snapshot(snapshot).encode(out);
        insert(&metas, out);
        if is_last {
            if super::mutant("changes-under-pages-lost") {
                subscription.cursor = self.history.last();
            }
            subscription.paging = None;
        } else {
            paging.part += 1;
            paging.after = last_key;
        }
    }
}

/// Puts values that are JSON already into the empty list at the end of a message. A crowd that comes at once reads as many
/// metas as the square of its size: each is serialised once.
fn insert(values: &[&Bytes], out: &mut Vec<u8>) {
    if !values.is_empty() && out.ends_with(b"[]}") {
        out.truncate(out.len() - 2);
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(value);
        }
        out.extend_from_slice(b"]}");
    }
}

impl Subscription {
    /// Starts from the state as it is at this offset.
    pub(super) fn begin_snapshot(&mut self, offset: u64) {
        self.cursor = offset;
        self.paging = Some(Paging::default());
        self.audit_at = 0;
    }
}
