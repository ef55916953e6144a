use std::time::Duration;

use crate::config::Config;
use crate::rng::Rng;

/// When to try again: full jitter, within `first`, then within `base` doubling to `max`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    step: u32,
}

impl Backoff {
    pub(crate) fn reset(&mut self) {
        self.step = 0;
    }

    pub(crate) fn next(&mut self, config: &Config, rng: &mut Rng) -> Duration {
        let ceiling = Self::ceiling(self.step, config);
        self.step = self.step.saturating_add(1);
        ceiling.mul_f64(rng.fraction())
    }

    fn ceiling(step: u32, config: &Config) -> Duration {
        match step.checked_sub(1) {
            None => config.reconnect_first,
            Some(doublings) => config.reconnect_base.saturating_mul(1 << doublings.min(20)).min(config.reconnect_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_are_those_of_the_table_of_defaults() {
        let config = Config::new("ws://localhost");
        let ceilings: Vec<_> = (0..7).map(|step| Backoff::ceiling(step, &config).as_millis()).collect();
        assert_eq!(ceilings, [500, 3_000, 6_000, 12_000, 24_000, 30_000, 30_000]);
    }

    #[test]
    fn jitter_fills_the_whole_range() {
        let config = Config::new("ws://localhost");
        let mut rng = Rng::new(7);
        let delays: Vec<_> = (0..1000).map(|_| Backoff { step: 1 }.next(&config, &mut rng)).collect();
        assert!(delays.iter().all(|delay| *delay < Duration::from_secs(3)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_millis(300)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_millis(2_700)));
    }
}
