use super::snapshot::Paging;
use super::streams::StreamKey;

/// The subscriptions of a connection, by stream. Most have one or a few: no more room than they take.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// In increasing order.
    keys: Vec<StreamKey>,
    /// Each where its key is.
    subscriptions: Vec<Subscription>,
}

/// A cursor into the history of a stream.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    /// The last offset that was sent, told as missing, or is in the snapshot.
    pub(super) cursor: u64,
    /// While a snapshot is being sent: what comes next.
    pub(super) paging: Option<Paging>,
    /// Of a collection: the changes are compared once the cursor is at the end and has come this far.
    pub(super) audit_at: u64,
    /// Whether it stands in `behind`.
    pub(super) queued: bool,
    /// Its part of the connection's outstanding bytes.
    pub(super) outstanding: u64,
}

impl Subscriptions {
    /// Adds one in the place of the one that was there.
    pub(super) fn insert(&mut self, key: StreamKey, subscription: Subscription) {
        match self.keys.binary_search(&key) {
            Ok(index) => self.subscriptions[index] = subscription,
            Err(index) => {
                if self.keys.is_empty() {
                    self.keys.reserve_exact(1);
                    self.subscriptions.reserve_exact(1);
                }
                self.keys.insert(index, key);
                self.subscriptions.insert(index, subscription);
            }
        }
    }

    pub(super) fn remove(&mut self, key: StreamKey) -> Option<Subscription> {
        let index = self.keys.binary_search(&key).ok()?;
        self.keys.remove(index);
        Some(self.subscriptions.remove(index))
    }

    pub(super) fn subscription(&self, key: StreamKey) -> Option<&Subscription> {
        self.keys.binary_search(&key).ok().map(|index| &self.subscriptions[index])
    }

    pub(super) fn subscription_mut(&mut self, key: StreamKey) -> Option<&mut Subscription> {
        self.keys.binary_search(&key).ok().map(|index| &mut self.subscriptions[index])
    }

    pub(super) fn contains(&self, key: StreamKey) -> bool {
        self.keys.binary_search(&key).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The streams, in order.
    pub(super) fn into_keys(self) -> Vec<StreamKey> {
        self.keys
    }
}

impl Subscription {
    /// Whether there is something to send, where the history ends here.
    pub(super) fn is_behind(&self, last: u64) -> bool {
        self.paging.is_some() || self.cursor < last
    }
}
