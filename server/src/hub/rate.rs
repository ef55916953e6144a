/// A token bucket: so many a second, with a burst of one second's worth. Counts in thousandths, so that ms add up exactly.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u64,
    thousandths: u64,
    updated: u64,
}

impl Bucket {
    /// `per_second` 0 is no limit.
    pub(super) fn new(per_second: u64, now: u64) -> Self {
        Self { per_second, thousandths: per_second.saturating_mul(1000), updated: now }
    }

    /// Takes one; otherwise says in how many ms there will be one.
    pub(super) fn take(&mut self, now: u64) -> Result<(), u64> {
        if self.per_second == 0 {
            return Ok(());
        }
        let gained = now.saturating_sub(self.updated).saturating_mul(self.per_second);
        self.thousandths = self.thousandths.saturating_add(gained).min(self.per_second.saturating_mul(1000));
        self.updated = now;
        match self.thousandths.checked_sub(1000) {
            Some(rest) => {
                self.thousandths = rest;
                Ok(())
            }
            None => Err((1000 - self.thousandths).div_ceil(self.per_second).max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_a_second_then_the_rate() {
        let mut bucket = Bucket::new(10, 0);
        assert_eq!((0..20).filter(|_| bucket.take(0).is_ok()).count(), 10);
        assert_eq!(bucket.take(50), Err(50));
        assert_eq!(bucket.take(100), Ok(()));
        assert_eq!(bucket.take(100), Err(100));
        assert_eq!((0..50).filter(|_| bucket.take(60_000).is_ok()).count(), 10);
    }

    #[test]
    fn zero_is_no_limit() {
        let mut bucket = Bucket::new(0, 0);
        assert!((0..1000).all(|_| bucket.take(0).is_ok()));
    }
}
