//! Hybrid logical clocks (Kulkarni and others 2014): time where clocks agree, and causality where they do not.

use std::time::Duration;

use crate::io::Text;
use crate::time::Timestamp;
use crate::wire::text;

/// A clock so far ahead of this client's own time does not move that of this client.
const MAX_AHEAD: Duration = Duration::from_secs(60);
/// Bounds of what a peer may say: numbers that every language of JSON holds exactly, with room to count on.
const MAX_MILLIS: u64 = 1 << 48;
const MAX_COUNTER: u64 = 1 << 32;

/// A moment of one client. No two changes have the same one.
pub(crate) type Stamp = (u64, u64);

/// When a record became what it is, and who made it so. The greater one wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Clock {
    pub(crate) stamp: Stamp,
    pub(crate) reference: Text,
}

impl Clock {
    /// Whether it is in bounds.
    pub(crate) fn is_valid(&self) -> bool {
        let ((millis, counter), name) = (self.stamp, self.reference.as_bytes().len());
        millis < MAX_MILLIS && counter < MAX_COUNTER && (1..=crate::wire::MAX_NAME_BYTES).contains(&name)
    }

    /// Appends `[milliseconds,counter,"ref"]`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        text::push_number(out, self.stamp.0);
        out.push(b',');
        text::push_number(out, self.stamp.1);
        out.push(b',');
        text::push_string(out, &self.reference);
        out.push(b']');
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        self.encode(&mut out);
        out
    }
}

/// The clock of this client.
#[derive(Debug, Default)]
pub(crate) struct Hybrid {
    last: Stamp,
}

impl Hybrid {
    /// The moment of a change of this client: after all that it knows of, `others` among that.
    pub(crate) fn tick(&mut self, now: Timestamp, others: impl IntoIterator<Item = Stamp>) -> Stamp {
        self.last = (now.as_millis(), 0).max(next(self.last));
        // Those that are far ahead move the record, and nothing else.
        others.into_iter().map(next).fold(self.last, Stamp::max)
    }

    /// A peer's change came.
    pub(crate) fn observe(&mut self, now: Timestamp, stamp: Stamp) {
        if stamp.0 <= (now + MAX_AHEAD).as_millis() {
            self.last = self.last.max(stamp);
        }
    }
}

fn next((millis, counter): Stamp) -> Stamp {
    if counter + 1 < MAX_COUNTER { (millis, counter + 1) } else { (millis + 1, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_after_everything_that_is_known() {
        let mut clock = Hybrid::default();
        let now = Timestamp::from_millis(1000);
        assert_eq!(clock.tick(now, []), (1000, 0));
        assert_eq!(clock.tick(now, []), (1000, 1));
        clock.observe(now, (1500, 7));
        assert_eq!(clock.tick(now, []), (1500, 8));
        assert_eq!(clock.tick(Timestamp::from_millis(1501), []), (1501, 0));
        assert_eq!(clock.tick(now, [(9, 0), (1501, 5)]), (1501, 6));
    }

    #[test]
    fn a_clock_far_ahead_moves_its_record_and_nothing_else() {
        let mut clock = Hybrid::default();
        let now = Timestamp::from_millis(1000);
        clock.observe(now, (61_001, 0));
        assert_eq!(clock.tick(now, [(61_001, 0)]), (61_001, 1));
        assert_eq!(clock.tick(now, []), (1000, 1));
        clock.observe(now, (61_000, 0));
        assert_eq!(clock.tick(now, []), (61_000, 1));
    }

    #[test]
    fn a_counter_that_is_full_carries() {
        let mut clock = Hybrid { last: (5, MAX_COUNTER - 1) };
        assert_eq!(clock.tick(Timestamp::from_millis(3), []), (6, 0));
    }
}
