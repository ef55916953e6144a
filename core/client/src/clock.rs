use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use realtime_engine::Timestamp;

/// The wall clock at the start, with the progress of the monotonic clock since.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    wall: Timestamp,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        Self { start: Instant::now(), wall: Timestamp::from_micros(micros) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.wall + self.start.elapsed()
    }

    /// The moment of a deadline; a very distant one is brought nearer, so that it can be represented.
    pub(crate) fn instant(&self, deadline: Timestamp) -> Instant {
        const DISTANT: Duration = Duration::from_secs(365 * 24 * 3600);
        self.start + deadline.since(self.wall).min(DISTANT + self.start.elapsed())
    }
}
