use std::time::Duration;

use crate::stats::Quality;
use crate::time::Timestamp;

/// Pings, round trips, and the proof that the peer lives.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    last_frame: Timestamp,
    next_id: u64,
    open_ping: Option<(u64, Timestamp)>,
    missed: u32,
    latency: Option<Duration>,
    jitter: Option<Duration>,
}

impl Heartbeat {
    pub(crate) fn new(interval: Duration, timeout: Duration) -> Self {
        Self {
            interval,
            timeout,
            last_frame: Timestamp::default(),
            next_id: 0,
            open_ping: None,
            missed: 0,
            latency: None,
            jitter: None,
        }
    }

    /// A connection begins.
    pub(crate) fn start(&mut self, now: Timestamp, interval: Duration, timeout: Duration) {
        (self.interval, self.timeout) = (interval, timeout);
        self.last_frame = now;
        self.open_ping = None;
        self.missed = 0;
    }

    /// A frame of any kind came.
    pub(crate) fn alive(&mut self, now: Timestamp) {
        self.last_frame = now;
    }

    /// When the peer counts as dead if nothing more comes.
    pub(crate) fn dead_at(&self) -> Timestamp {
        self.last_frame + self.timeout
    }

    /// The id of the ping to send now.
    pub(crate) fn ping(&mut self, now: Timestamp) -> u64 {
        if self.open_ping.is_some() {
            self.missed += 1;
        }
        self.next_id += 1;
        self.open_ping = Some((self.next_id, now));
        self.next_id
    }

    /// The answer to the ping with this id; `None` where the dialect gives none back.
    pub(crate) fn pong(&mut self, now: Timestamp, id: Option<u64>) {
        if let Some((open, sent)) = self.open_ping
            && id.is_none_or(|id| id == open)
        {
            self.open_ping = None;
            self.missed = 0;
            self.sample(now - sent);
        }
    }

    /// Notes a round trip.
    pub(crate) fn sample(&mut self, round_trip: Duration) {
        let change = self.latency.map_or(Duration::ZERO, |last| round_trip.abs_diff(last));
        // The estimator of RFC 3550 section 6.4.1: a sixteenth of the difference each time.
        let jitter = self.jitter.unwrap_or_default();
        self.jitter =
            Some(if change > jitter { jitter + (change - jitter) / 16 } else { jitter - (jitter - change) / 16 });
        self.latency = Some(round_trip);
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    pub(crate) fn jitter(&self) -> Option<Duration> {
        self.jitter
    }

    /// Of an open connection.
    pub(crate) fn quality(&self) -> Quality {
        let (latency, jitter) =
            (self.latency.unwrap_or_default().as_millis(), self.jitter.unwrap_or_default().as_millis());
        match (self.missed, latency, jitter) {
            (2.., _, _) => Quality::Poor,
            (1, 0..400, 0..120) => Quality::Fair,
            (0, 0..100, 0..30) => Quality::Excellent,
            (0, 0..200, 0..60) => Quality::Good,
            (0, 0..400, 0..120) => Quality::Fair,
            _ => Quality::Poor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat() -> Heartbeat {
        Heartbeat::new(Duration::from_secs(30), Duration::from_secs(60))
    }

    #[test]
    fn quality_follows_round_trip_jitter_and_missed_pongs() {
        let mut good = heartbeat();
        good.sample(Duration::from_millis(150));
        assert_eq!(good.quality(), Quality::Good);
        good.sample(Duration::from_millis(20));
        assert_eq!(good.quality(), Quality::Excellent);
        good.ping(Timestamp::from_millis(0));
        good.ping(Timestamp::from_millis(1));
        assert_eq!(good.quality(), Quality::Fair);
        good.ping(Timestamp::from_millis(2));
        assert_eq!(good.quality(), Quality::Poor);
        good.pong(Timestamp::from_millis(12), Some(3));
        assert_eq!((good.quality(), good.latency()), (Quality::Excellent, Some(Duration::from_millis(10))));
        for round in 0..200 {
            good.sample(Duration::from_millis(if round % 2 == 0 { 10 } else { 90 }));
        }
        assert_eq!(good.quality(), Quality::Fair, "a low but jumping round trip is not a good connection");
    }

    #[test]
    fn a_late_pong_of_an_earlier_ping_is_no_round_trip() {
        let mut heartbeat = heartbeat();
        heartbeat.ping(Timestamp::from_millis(0));
        heartbeat.ping(Timestamp::from_millis(30_000));
        heartbeat.pong(Timestamp::from_millis(30_001), Some(1));
        assert_eq!(heartbeat.latency(), None);
    }
}
