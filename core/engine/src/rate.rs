use std::time::Duration;

use crate::time::Timestamp;

/// A limit on events a second that delays: the generic cell rate algorithm, with a burst of a tenth of a second's worth.
#[derive(Clone, Debug)]
pub(crate) struct RateLimit {
    period: Duration,
    burst: Duration,
    next: Timestamp,
}

impl RateLimit {
    pub(crate) fn new(per_second: u32) -> Self {
        let period = Duration::from_secs(1) / per_second;
        Self { period, burst: period * (per_second / 10).saturating_sub(1), next: Timestamp::default() }
    }

    /// Takes a place, or says when there is one.
    pub(crate) fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let ahead = self.next - now;
        if ahead > self.burst {
            return Err(now + (ahead - self.burst));
        }
        self.next = self.next.max(now) + self.period;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_at_most_its_share_and_one_burst_through() {
        for rate in [1, 10, 1000] {
            let mut limit = RateLimit::new(rate);
            let sent =
                (0..1_000_000u64).step_by(100).filter(|at| limit.take(Timestamp::from_micros(1_000_000 + at)).is_ok());
            let sent = sent.count() as u32;
            assert!((rate..=rate + rate.div_ceil(10)).contains(&sent), "{sent} of {rate}");
        }
    }

    #[test]
    fn the_moment_it_names_is_the_moment_it_lets_through() {
        let mut limit = RateLimit::new(3);
        let mut now = Timestamp::from_millis(5);
        for _ in 0..20 {
            if let Err(at) = limit.take(now) {
                assert!(at > now);
                now = at;
                assert_eq!(limit.take(now), Ok(()));
            }
        }
    }
}
