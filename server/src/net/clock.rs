use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch that never run backwards and never jump.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    epoch: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { start: Instant::now(), epoch: epoch.as_millis() as u64 }
    }

    pub(crate) fn now(&self) -> u64 {
        self.epoch + self.start.elapsed().as_millis() as u64
    }
}
