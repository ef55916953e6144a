use std::time::Duration;

use realtime_server::hub::HistoryConfig;

/// What a run is like; chosen by its seed, so that a set of seeds covers all of them.
#[derive(Clone, Debug)]
pub struct Profile {
    pub clients: usize,
    pub channels: usize,
    pub duration: Duration,
    /// Mean time between two actions of a client.
    pub act_every: Duration,
    /// Mean time between two faults.
    pub fault_every: Duration,
    /// Whether the server may lose its memory.
    pub restarts: bool,
    /// Whether gaps are expected where the server never restarted.
    pub small_history: bool,
    pub small_windows: bool,
    pub rate_limited: bool,
    /// The share of clients that consume slowly.
    pub slow_share: f64,
}

impl Profile {
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
        Self {
            clients: rng.usize(2..8),
            channels: rng.usize(1..5),
            duration: Duration::from_secs(rng.u64(60..1200)),
            act_every: Duration::from_millis([20, 100, 1000, 5000][rng.usize(0..4)]),
            fault_every: Duration::from_secs([2, 10, 60][rng.usize(0..3)]),
            restarts: rng.f64() < 0.3,
            small_history: rng.f64() < 0.3,
            small_windows: rng.f64() < 0.5,
            rate_limited: rng.f64() < 0.2,
            slow_share: [0.0, 0.3, 0.8][rng.usize(0..3)],
        }
    }

    pub fn history(&self) -> HistoryConfig {
        let messages = if self.small_history { 20 } else { 1_000_000 };
        HistoryConfig {
            messages,
            bytes: 1 << 30,
            total_bytes: 1 << 32,
            age: Duration::from_secs(1 << 20),
            ..Default::default()
        }
    }
}
