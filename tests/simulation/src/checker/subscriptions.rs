use std::collections::HashSet;

use realtime_engine::Gap;

use super::{Checker, Id, Invariant};

/// What a subscriber has seen of a channel since it subscribed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) epoch: Option<u32>,
    pub(super) last: Option<u64>,
    ids: HashSet<Id>,
}

/// A gap, as an application is told it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Missing {
    pub(super) epoch: String,
    pub(super) previous_epoch: Option<String>,
    pub(super) from: Option<u64>,
    pub(super) to: Option<u64>,
    /// It is none: the subscription begins there.
    pub(super) initial: bool,
}

impl From<&Gap> for Missing {
    fn from(gap: &Gap) -> Self {
        Self {
            epoch: gap.epoch.clone(),
            previous_epoch: gap.previous_epoch.clone(),
            from: gap.from,
            to: gap.to,
            initial: gap.reason == "initial",
        }
    }
}

impl Checker {
    pub(crate) fn subscribed(&mut self, client: usize, channel: usize) {
        if self.rules[client].plain {
            self.plain_subscribed(client, channel);
        }
        if !self.is_subscribed(client, channel) {
            self.seen.insert((client, channel), Seen::default());
            self.loads_begin(client, channel);
        }
    }

    pub(crate) fn unsubscribed(&mut self, client: usize, channel: usize) {
        self.seen.remove(&(client, channel));
        self.loads_end(client, channel);
    }

    /// The server has refused a subscription.
    pub(crate) fn refused(&mut self, client: usize, channel: usize, code: &str) {
        self.stream_refused(client, channel, code);
        self.unsubscribed(client, channel);
    }

    /// The server has refused a stream of a channel, whichever.
    pub(crate) fn stream_refused(&mut self, client: usize, channel: usize, code: &str) {
        if code != "forbidden" || self.may_subscribe(client, channel) {
            let what = format!("client {client} was refused channel {channel} with {code}");
            self.violation(Invariant::Allowed, what);
        }
    }

    /// The client says that the server broke the protocol.
    pub(crate) fn broken(&mut self, client: usize, message: &str) {
        // What it says twice may be a page of a snapshot.
        if !self.server.stutters {
            self.violation(Invariant::InOrder, format!("client {client}: {message}"));
        }
    }

    pub(crate) fn is_subscribed(&self, client: usize, channel: usize) -> bool {
        self.seen.contains_key(&(client, channel))
    }

    /// A connection is open: what the plain dialect promises begins anew.
    pub(crate) fn opened(&mut self, client: usize) {
        if self.rules[client].plain {
            self.plain_opened(client);
        }
    }

    /// A message in the full protocol.
    pub(crate) fn delivered(&mut self, client: usize, channel: usize, epoch: &str, offset: u64, payload: &[u8]) {
        let Some(id) = self.known(client, channel, payload) else { return };
        if !self.may_subscribe(client, channel) {
            self.violation(Invariant::Allowed, format!("client {client} got {id:?} of {channel}, and may not"));
        }
        let Some(seen) = self.seen.get(&(client, channel)) else {
            return self
                .violation(Invariant::ExactlyOnce, format!("client {client} got {id:?} of {channel}, which it left"));
        };
        // Where messages may have waited for a snapshot, the client may be ahead of what it hands on.
        let told = seen.epoch.filter(|_| self.may_load(client, channel));
        let epoch = told.unwrap_or_else(|| self.histories.epoch(epoch));
        self.place((channel, epoch), offset, id);
        self.waits_for_no_load(client, channel, (epoch, offset));
        let covered = self.covered(client, channel, epoch);
        let Some(seen) = self.seen.get_mut(&(client, channel)) else { return };
        let (before, last) = (*seen.epoch.get_or_insert(epoch), seen.last.replace(offset));
        let again = !seen.ids.insert(id);
        if before != epoch {
            seen.epoch = Some(epoch);
            let what = format!("client {client} channel {channel}: epoch {before} became {epoch} in silence");
            self.violation(Invariant::NoSilentGap, what);
        } else if let Some(last) = last.filter(|last| offset != last.max(&covered) + 1) {
            let invariant = match offset {
                _ if offset == last => Invariant::ExactlyOnce,
                _ if offset < last => Invariant::InOrder,
                _ => Invariant::NoSilentGap,
            };
            let what = format!("client {client} channel {channel}: {offset} came after {last}, loaded to {covered}");
            self.violation(invariant, what);
        } else if again && !self.rules[id.0].plain {
            self.violation(Invariant::ExactlyOnce, format!("client {client} channel {channel}: {id:?} came twice"));
        }
    }

    pub(crate) fn gap(&mut self, client: usize, channel: usize, gap: &Missing) {
        self.gaps += 1;
        let lost = gap.previous_epoch.is_some();
        let previous = gap.previous_epoch.as_ref().map(|epoch| self.histories.epoch(epoch));
        // An epoch that nobody was given a message of may be lost with a kill.
        let was_empty = previous.is_some_and(|epoch| self.histories.newest((channel, epoch)) == 0);
        // Of a new epoch all is there, unless the server evicts.
        let of_the_new = lost && gap.to.is_some() && !self.server.evicts;
        let excused = self.forgotten > 0 || self.server.evicts && !lost || self.killed > 0 && was_empty;
        if !excused || of_the_new {
            let what = format!("client {client} channel {channel}: told as missing within retention: {gap:?}");
            self.violation(Invariant::NoSilentGap, what);
        }
        let epoch = self.histories.epoch(&gap.epoch);
        let covered = self.covered(client, channel, epoch);
        let Some(seen) = self.seen.get_mut(&(client, channel)) else { return };
        let before = seen.last;
        seen.epoch = Some(epoch);
        if lost {
            // A repeat is possible there, and only there: the server has lost its receipts.
            seen.ids.clear();
            seen.last = Some(gap.to.unwrap_or(0));
        } else {
            seen.last = gap.to;
            // What a snapshot contains is not missing before a gap.
            let begins =
                |last: u64| gap.from.is_some_and(|from| from == last + 1 || from > last && from <= covered + 1);
            if before.is_some_and(|last| !begins(last)) {
                let what = format!("client {client} channel {channel}: {gap:?} after {before:?}, loaded to {covered}");
                self.violation(Invariant::NoSilentGap, what);
            }
        }
        self.gap_wants_load(client, channel, gap);
    }

    /// A subscriber must have come to the end of the history.
    pub(crate) fn at_end(&mut self, client: usize, channel: usize, epoch: &str, offset: u64) {
        let epoch = self.histories.epoch(epoch);
        let newest = self.histories.newest((channel, epoch));
        if newest > offset {
            let what = format!("client {client} channel {channel} stands at {offset}, the history at {newest}");
            self.violation(Invariant::Converges, what);
        }
        let last = self.seen.get(&(client, channel)).and_then(|seen| seen.last);
        let covered = self.covered(client, channel, epoch);
        if let Some(last) = last.map(|last| last.max(covered)).filter(|last| *last != offset) {
            let what = format!("client {client} channel {channel} has seen {last} and says {offset}");
            self.violation(Invariant::NoSilentGap, what);
        }
    }

    /// The last message of a channel must have reached the subscriber, or the snapshot that it loaded.
    pub(crate) fn has_last(&mut self, client: usize, channel: usize, last: Id) {
        let has = match self.rules[client].plain {
            true => self.plain_has(client, channel, last),
            false => self.seen.get(&(client, channel)).is_some_and(|seen| seen.ids.contains(&last)),
        };
        if !has && !self.is_loaded(client, channel, last) {
            self.violation(
                Invariant::Converges,
                format!("client {client} channel {channel} did not get {last:?}, the last"),
            );
        }
    }
}
