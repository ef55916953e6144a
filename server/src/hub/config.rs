use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use realtime_engine::wire::Limits;

use crate::auth::Auth;

/// What a [`Hub`](super::Hub) allows, keeps and waits for.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Told to clients in `welcome`.
    pub limits: Limits,
    /// How much of each channel, presence and collection is kept for recovery.
    pub history: HistoryConfig,
    /// How presence is told and bounded.
    pub presence: PresenceConfig,
    /// How much collections may hold.
    pub collections: CollectionConfig,
    /// Connections at a time.
    pub connections: usize,
    /// Sessions whose receipts are remembered; the longest gone is forgotten first.
    pub sessions: usize,
    /// How often a client should give a sign of life.
    pub heartbeat: Duration,
    /// After how much silence a client is given up.
    pub timeout: Duration,
    /// How long a client may take until its `hello`.
    pub handshake_timeout: Duration,
    /// How long a socket may take no bytes while something waits.
    pub write_timeout: Duration,
    /// Unwritten answers, in bytes, above which a connection is not read from.
    pub writer_bytes: usize,
    /// Unwritten answers, in bytes, above which a connection is closed as a slow consumer.
    pub writer_hard_bytes: usize,
    /// Bytes of messages that wait for the disk above which more are refused, where there is a store.
    pub staged_bytes: usize,
    /// Who may connect.
    pub auth: Auth,
    /// Who may publish and subscribe.
    pub authorizer: Arc<dyn Authorizer>,
    /// Whether an application takes `send` messages; they are refused with `no_handler` otherwise.
    pub application: bool,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            limits: Limits { frame: 1 << 20, payload: 1_000_000, channels: 1000, inflight: 1024, rate: 0 },
            history: HistoryConfig::default(),
            presence: PresenceConfig::default(),
            collections: CollectionConfig::default(),
            connections: 10_000,
            sessions: 100_000,
            heartbeat: Duration::from_secs(30),
            timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            writer_bytes: 1 << 20,
            writer_hard_bytes: 8 << 20,
            staged_bytes: 64 << 20,
            auth: Auth::None,
            authorizer: Arc::new(AllowAll),
            application: false,
        }
    }
}

/// Bounds of the histories. At least the newest message of a channel is kept: live delivery reads it from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Messages of a channel.
    pub messages: usize,
    /// Bytes of a channel.
    pub bytes: usize,
    /// Age of a message.
    pub age: Duration,
    /// Bytes of all channels; channels without subscribers go first, the longest idle before the others.
    pub total_bytes: usize,
    /// How long a channel without subscribers and publishes is remembered. Later it starts a new epoch.
    pub idle_age: Duration,
    /// How many channels without subscribers are remembered.
    pub idle_channels: usize,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            messages: 10_000,
            bytes: 16 << 20,
            age: Duration::from_secs(3600),
            total_bytes: 512 << 20,
            idle_age: Duration::from_secs(24 * 3600),
            idle_channels: 100_000,
        }
    }
}

/// Who is there, and how often it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceConfig {
    /// How long a client without a connection still counts as present.
    pub grace: Duration,
    /// At most one line of changes in this time for each channel. The first one goes at once.
    pub interval: Duration,
    /// Clients that are present in a channel.
    pub members: usize,
    /// Bytes of the state of one.
    pub state: usize,
    /// Bytes of all of them, in all channels.
    pub total_bytes: usize,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            interval: Duration::from_millis(50),
            members: 20_000,
            state: 16 << 10,
            total_bytes: 256 << 20,
        }
    }
}

/// Bounds of the collections. What they hold is never forgotten, so more is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectionConfig {
    /// Records of a collection.
    pub records: u64,
    /// Bytes of all records, with what each costs beside its own.
    pub total_bytes: usize,
    /// After so many changes subscribers are told a digest, that they compare with theirs.
    pub digest_every: u64,
}

impl Default for CollectionConfig {
    fn default() -> Self {
        Self { records: 1_000_000, total_bytes: 1 << 30, digest_every: 256 }
    }
}

/// Decides what a user may do. It is asked while the hub is held: answer from memory, at once.
pub trait Authorizer: Send + Sync {
    /// Whether this user may publish messages to the channel.
    fn can_publish(&self, user: Option<&str>, channel: &str) -> bool {
        let _ = (user, channel);
        true
    }

    /// Whether this user may be present in the channel. Unless said otherwise: who may publish there.
    fn can_track(&self, user: Option<&str>, channel: &str) -> bool {
        self.can_publish(user, channel)
    }

    /// Whether this user may change the collection. Unless said otherwise: who may publish to its channel.
    fn can_mutate(&self, user: Option<&str>, channel: &str, collection: &str) -> bool {
        let _ = collection;
        self.can_publish(user, channel)
    }

    /// Whether this user may subscribe to the channel: to its messages, its presence and its collections.
    fn can_subscribe(&self, user: Option<&str>, channel: &str) -> bool {
        let _ = (user, channel);
        true
    }
}

impl fmt::Debug for dyn Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorizer")
    }
}

/// Lets everybody do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
