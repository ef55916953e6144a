use crate::time::Timestamp;

/// Everything that a session waits for by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The token provider takes too long.
    Token,
    /// From opening the socket to connected takes too long.
    Connect,
    /// The next attempt.
    Retry,
    /// The next ping.
    Ping,
    /// No frame came for too long. Checked late: frames do not move it.
    Dead,
    /// The rate limit lets the next message through.
    Rate,
    /// The server asked to hold publishes back until then.
    Hold,
    /// The oldest send has waited for its receipt too long.
    SendTimeout,
    /// The moment within the server's spread to leave it.
    Goaway,
    /// The token is about to expire.
    Refresh,
    /// Refused subscribes are tried again.
    Resubscribe,
    /// A graceful disconnect has waited for receipts long enough.
    Flush,
    /// A presence gives up what another epoch did not have, or a stream or a track is tried again.
    Streams,
    /// What could not be written to the file of the outbox is tried again.
    Journal,
    /// Something is to be said to the other clients of a backend that only hands messages on, or one of them was silent for too long.
    Peers,
}

const ALL: [Timer; 15] = [
    Timer::Token,
    Timer::Connect,
    Timer::Retry,
    Timer::Ping,
    Timer::Dead,
    Timer::Rate,
    Timer::Hold,
    Timer::SendTimeout,
    Timer::Goaway,
    Timer::Refresh,
    Timer::Resubscribe,
    Timer::Flush,
    Timer::Streams,
    Timer::Journal,
    Timer::Peers,
];

/// A deadline for each timer that is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers([Option<Timestamp>; ALL.len()]);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        self.0[timer as usize] = Some(at);
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<Timestamp> {
        self.0[timer as usize]
    }

    /// Clears what belongs to one connection or attempt.
    pub(crate) fn clear_connection(&mut self) {
        use Timer::*;
        for timer in [Token, Connect, Ping, Dead, Rate, Hold, Goaway, Refresh, Resubscribe] {
            self.clear(timer);
        }
    }

    pub(crate) fn next(&self) -> Option<(Timer, Timestamp)> {
        ALL.into_iter().filter_map(|timer| self.get(timer).map(|at| (timer, at))).min_by_key(|(_, at)| *at)
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let (timer, at) = self.next()?;
        (at <= now).then(|| {
            self.clear(timer);
            timer
        })
    }
}
