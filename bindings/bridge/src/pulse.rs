//! Whether the host answers: how long it is at something, and when to look again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A host that leaves a wake, or the next batch, for this long is reported as stalled.
pub(crate) const STALLED: Duration = Duration::from_secs(1);
/// How often a host that nothing wakes is woken, so that its stalls are seen too: as often as heartbeats, within these.
const PROBE: Duration = Duration::from_secs(5);
const MIN_PROBE: Duration = Duration::from_millis(100);

/// Raised while the host is stalled, at the moment when that is known, until it takes the next batch.
///
/// A host that looks at it before and after it calls a handler knows in which one it was blocked.
#[derive(Clone, Debug, Default)]
pub struct Overdue(Arc<AtomicU32>);

impl Overdue {
    /// Whether it is raised; lowers it.
    pub fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0 && self.0.swap(0, Ordering::Relaxed) != 0
    }

    /// For a host that shares the memory: 0 is lowered.
    pub fn word(&self) -> &AtomicU32 {
        &self.0
    }

    pub(crate) fn set(&self, raised: bool) {
        self.0.store(raised.into(), Ordering::Relaxed);
    }
}

/// What the watch does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The host has been at it for [`STALLED`], which is new.
    Overdue,
    /// Nothing has woken the host for so long that it is to be asked for a sign.
    Probe,
    /// Look again then.
    At(Instant),
    /// Nothing to watch until it is told.
    Idle,
}

/// The clock of one host: `since` it was woken or took a batch, until it comes for the next.
#[derive(Debug)]
pub(crate) struct Pulse {
    since: Option<Instant>,
    /// Whether the stall that goes on was found already.
    found: bool,
    /// Of the connection: only then an idle host is probed.
    open: bool,
    probe: Duration,
    seen: Instant,
    next_look: Option<Instant>,
}

impl Pulse {
    pub(crate) fn new(now: Instant, heartbeat: Duration) -> Self {
        let probe = heartbeat.clamp(MIN_PROBE, PROBE);
        Self { since: None, found: false, open: false, probe, seen: now, next_look: None }
    }

    /// The connection has opened or closed.
    pub(crate) fn set_open(&mut self, open: bool) {
        self.open = open;
    }

    /// The host has something to do from now on.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
        self.found = false;
    }

    /// The host has come; how long that took, where it was stalled.
    pub(crate) fn end(&mut self, now: Instant) -> Option<Duration> {
        self.seen = now;
        self.since.take().map(|since| now - since).filter(|busy| *busy >= STALLED)
    }

    /// Whether the watch sleeps for longer than it may, now that the host is busy.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.next_look.is_none_or(|look| look > now + STALLED)
    }

    pub(crate) fn look(&mut self, now: Instant) -> Look {
        let look = self.judge(now);
        self.next_look = match look {
            Look::At(at) => Some(at),
            _ => None,
        };
        look
    }

    fn judge(&mut self, now: Instant) -> Look {
        match self.since {
            Some(since) if now >= since + STALLED && !self.found => {
                self.found = true;
                Look::Overdue
            }
            // It may have come by the next probe, and be idle again.
            Some(since) => {
                let overdue = if self.found { now } else { since } + STALLED;
                Look::At(overdue.min(now + self.probe))
            }
            None if !self.open => Look::Idle,
            None if now >= self.seen + self.probe => {
                self.seen = now;
                Look::Probe
            }
            None => Look::At(self.seen + self.probe),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pulse() -> (Pulse, Instant) {
        let now = Instant::now();
        (Pulse::new(now, 30 * SECOND), now)
    }

    #[test]
    fn a_stall_is_found_once_and_ends_with_its_length() {
        let (mut pulse, now) = pulse();
        pulse.begin(now);
        assert_eq!(pulse.look(now), Look::At(now + SECOND));
        assert_eq!(pulse.look(now + SECOND), Look::Overdue);
        assert_eq!(pulse.look(now + SECOND), Look::At(now + 2 * SECOND));
        assert_eq!(pulse.end(now + 90 * SECOND), Some(90 * SECOND));
        assert_eq!(pulse.end(now + 95 * SECOND), None);
    }

    #[test]
    fn a_host_that_comes_in_time_is_not_stalled() {
        let (mut pulse, now) = pulse();
        pulse.begin(now);
        assert_eq!(pulse.end(now + SECOND / 2), None);
        pulse.begin(now + SECOND / 2);
        assert_eq!(pulse.look(now + SECOND), Look::At(now + SECOND * 3 / 2));
    }

    #[test]
    fn an_idle_host_is_probed_while_the_connection_is_open() {
        let (mut pulse, now) = pulse();
        assert_eq!(pulse.look(now), Look::Idle);
        pulse.set_open(true);
        assert_eq!(pulse.look(now), Look::At(now + PROBE));
        assert!(pulse.is_late(now), "a wake now is to be looked at before the probe");
        assert_eq!(pulse.look(now + PROBE), Look::Probe);
        pulse.begin(now + PROBE);
        assert_eq!(pulse.look(now + PROBE), Look::At(now + PROBE + SECOND));
        assert!(!pulse.is_late(now + PROBE));
    }

    #[test]
    fn a_host_is_probed_as_often_as_heartbeats() {
        let now = Instant::now();
        let mut pulse = Pulse::new(now, SECOND / 10);
        pulse.set_open(true);
        for tenth in 0..5 {
            let now = now + SECOND / 10 * tenth;
            assert_eq!(pulse.look(now), Look::At(now + SECOND / 10));
            assert_eq!(pulse.look(now + SECOND / 10), Look::Probe);
            pulse.begin(now + SECOND / 10);
            assert_eq!(pulse.look(now + SECOND / 10), Look::At(now + SECOND / 5));
            assert_eq!(pulse.end(now + SECOND / 10), None);
        }
    }
}
