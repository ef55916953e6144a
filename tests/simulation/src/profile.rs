use std::sync::Arc;
use std::time::Duration;

use realtime_engine::WhenFull;
use realtime_engine::wire::{Limits, Window};
use realtime_server::Auth;
use realtime_server::hub::{AllowAll, CollectionConfig, HistoryConfig, HubConfig, PresenceConfig};

use crate::checker::ServerRules;
use crate::guard::Guard;

/// What tokens are signed with.
pub(crate) const SECRET: &[u8] = b"simulated";

/// What a run is like; chosen by its seed, so that a set of seeds covers all of them.
#[derive(Clone, Debug)]
pub struct Profile {
    pub clients: usize,
    /// The share of clients that speak the plain dialect; the first never does.
    pub plain_share: f64,
    pub channels: usize,
    pub duration: Duration,
    /// How many messages the applications send in all, at most.
    pub messages: u64,
    /// How many of them at a time.
    pub burst: u64,
    /// Mean time between two faults.
    pub fault_every: Duration,
    /// Whether the server may lose its memory.
    pub restarts: bool,
    /// Whether the server may forget what somebody still wants.
    pub small_history: bool,
    pub small_windows: bool,
    /// Bytes that wait on the way to one that does not read, before the writer has to wait.
    pub socket_buffer: usize,
    pub rate_limited: bool,
    /// Tokens that run out.
    pub auth: bool,
    /// The server says some things twice.
    pub stutter: bool,
    /// The share of clients that consume slowly.
    pub slow_share: f64,
    /// The server has a store: it loses no history, only what is not on disk.
    pub durable: bool,
    /// The server's application takes what clients send to it, and answers.
    pub application: bool,
    /// Of what applications send, the share that goes to the server's application.
    pub send_share: f64,
    /// The share of clients that load snapshots.
    pub load_share: f64,
    /// Some may not publish or subscribe everywhere; wants tokens.
    pub guarded: bool,
    /// Collections of each channel, and records in each of them.
    pub collections: usize,
    pub keys: usize,
    /// Of what applications do, the share that changes records.
    pub mutate_share: f64,
    /// And the share that says who is there.
    pub present_share: f64,
    /// Changes of records are damaged on their way.
    pub corrupts: bool,
    /// After so many changes there is a digest.
    pub digest_every: u64,
    /// How long a client that is gone counts as present.
    pub grace: Duration,
    /// Changes of who is present are told once in this time.
    pub presence_interval: Duration,
    /// Entries of the flight recorder of each client.
    pub record: usize,
}

impl Profile {
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
        Self {
            clients: rng.usize(2..8),
            plain_share: [0.0, 0.0, 0.4][rng.usize(0..3)],
            channels: rng.usize(1..5),
            duration: Duration::from_secs(rng.u64(60..1200)),
            messages: [100, 500, 2000, 5000][rng.usize(0..4)],
            burst: [1, 5, 60][rng.usize(0..3)],
            fault_every: Duration::from_secs([2, 10, 60][rng.usize(0..3)]),
            restarts: rng.f64() < 0.3,
            small_history: rng.f64() < 0.3,
            small_windows: rng.f64() < 0.5,
            socket_buffer: [2 << 10, 16 << 10, 256 << 10][rng.usize(0..3)],
            rate_limited: rng.f64() < 0.2,
            auth: rng.f64() < 0.3,
            stutter: rng.f64() < 0.2,
            slow_share: [0.0, 0.3, 0.8][rng.usize(0..3)],
            durable: rng.f64() < 0.4,
            application: rng.f64() < 0.7,
            send_share: [0.0, 0.1, 0.5][rng.usize(0..3)],
            load_share: [0.0, 0.3, 0.8][rng.usize(0..3)],
            guarded: rng.bool(),
            collections: rng.usize(0..3),
            keys: [3, 3, 30][rng.usize(0..3)],
            mutate_share: [0.0, 0.3, 0.6][rng.usize(0..3)],
            present_share: [0.0, 0.05, 0.3][rng.usize(0..3)],
            corrupts: rng.f64() < 0.2,
            digest_every: [4, 20][rng.usize(0..2)],
            grace: Duration::from_secs([2, 10, 30][rng.usize(0..3)]),
            presence_interval: Duration::from_millis([0, 50, 1000][rng.usize(0..3)]),
            record: 512,
        }
    }

    pub(crate) fn all_collections(&self) -> usize {
        if self.mutate_share > 0.0 { self.channels * self.collections } else { 0 }
    }

    /// Mean time between two actions of one client.
    pub(crate) fn act_every(&self) -> Duration {
        let bursts = self.messages.div_ceil(self.burst.div_ceil(2)).max(self.clients as u64 * 4);
        self.duration.mul_f64(self.clients as f64 / bursts as f64)
    }

    pub(crate) fn window(&self) -> Window {
        if self.small_windows {
            Window { connection: 4000, channel: 1500 }
        } else {
            Window { connection: 16 << 20, channel: 4 << 20 }
        }
    }

    /// Bytes that an application may be left to hold. With twice the window the client reads nothing any more, which is for those who
    /// subscribe again and again what they do not consume; the last frame may top it by a channel's window and one message.
    pub(crate) fn inbox_bound(&self) -> u64 {
        let window = self.window();
        // What the application says is in no window; a frame of it may come while the client still reads.
        let direct = if self.application { 16 << 10 } else { 0 };
        // One that tells who came may name everybody.
        let largest = if self.present_share > 0.0 { 4096 } else { 1024 };
        let bound = window.connection * 2 + window.channel + largest + direct;
        // The client gives credit for what came twice as well.
        if self.stutter { bound * 2 } else { bound }
    }

    pub(crate) fn hub(&self) -> HubConfig {
        HubConfig {
            limits: Limits {
                frame: 64 << 10,
                payload: 32 << 10,
                channels: 100,
                inflight: 50,
                rate: if self.rate_limited { 5 } else { 0 },
            },
            history: HistoryConfig {
                messages: if self.small_history { 20 } else { 1_000_000 },
                bytes: 1 << 30,
                total_bytes: 1 << 32,
                age: Duration::from_secs(1 << 20),
                ..HistoryConfig::default()
            },
            writer_bytes: if self.small_windows { 1 << 10 } else { 1 << 20 },
            writer_hard_bytes: if self.small_windows { 64 << 10 } else { 8 << 20 },
            staged_bytes: if self.small_windows { 4 << 10 } else { 64 << 20 },
            auth: if self.auth { Auth::hs256(SECRET) } else { Auth::None },
            authorizer: if self.is_guarded() {
                Arc::new(Guard { clients: self.clients, channels: self.channels })
            } else {
                Arc::new(AllowAll)
            },
            application: self.application,
            presence: PresenceConfig {
                grace: self.grace,
                interval: self.presence_interval,
                ..PresenceConfig::default()
            },
            collections: CollectionConfig { digest_every: self.digest_every, ..CollectionConfig::default() },
            ..HubConfig::default()
        }
    }

    /// Whom a guard lets in it tells by the tokens.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded && self.auth
    }

    pub(crate) fn server_rules(&self) -> ServerRules {
        ServerRules {
            evicts: self.small_history,
            durable: self.durable,
            application: self.application,
            guarded: self.is_guarded(),
            stutters: self.stutter,
            collections: self.collections,
            verifies: self.auth,
            grace: self.grace.as_micros() as u64,
        }
    }

    pub(crate) fn when_full(&self, rng: &mut fastrand::Rng) -> WhenFull {
        [WhenFull::Wait, WhenFull::Reject, WhenFull::DropOldest][rng.usize(0..3)]
    }
}
