use std::sync::atomic::{AtomicU8, Ordering};

/// Every send wakes the driver.
const OPEN: u8 = 0;
/// The next one does.
const LOOSE: u8 = 1;
/// No more do, for a while.
const SHUT: u8 = 2;
/// And some have come.
const HOLDING: u8 = 3;

/// What is to become of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It goes, with all that was held back.
    Now,
    /// It is the first one to wait, which the driver is to know of.
    FirstHeld,
    Held,
}

/// Holds the wakes of sends back, so that many go in one write. A lone send never waits: the first one passes.
///
/// The session has what is held back, and each turn of the driver takes it along. A send changes the session before it asks here,
/// and the driver looks into the session after it loosens: so one of both sees the other.
#[derive(Debug, Default)]
pub(crate) struct Cork(AtomicU8);

impl Cork {
    pub(crate) fn close(&self) {
        let _ = self.change(OPEN, LOOSE);
    }

    /// Whether something was held back, which the driver is to be woken for.
    pub(crate) fn open(&self) -> bool {
        self.0.swap(OPEN, Ordering::AcqRel) == HOLDING
    }

    /// Holds every send back, for a caller that makes some of them in a row and opens it right after.
    pub(crate) fn hold(&self) {
        let _ = self.change(OPEN, HOLDING);
    }

    /// What is to become of a send.
    pub(crate) fn pass(&self) -> Pass {
        match self.0.load(Ordering::Acquire) {
            HOLDING => Pass::Held,
            SHUT if self.change(SHUT, HOLDING) => Pass::FirstHeld,
            LOOSE => {
                let _ = self.change(LOOSE, SHUT);
                Pass::Now
            }
            _ => Pass::Now,
        }
    }

    /// Whether sends are held back now.
    pub(crate) fn is_shut(&self) -> bool {
        self.0.load(Ordering::Acquire) >= SHUT
    }

    /// Lets the next send pass again.
    pub(crate) fn loosen(&self) {
        let _ = self.change(HOLDING, LOOSE) || self.change(SHUT, LOOSE);
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(cork: &Cork, sends: usize) -> usize {
        (0..sends).filter(|_| cork.pass() == Pass::Now).count()
    }

    #[test]
    fn without_a_cork_every_send_passes() {
        let cork = Cork::default();
        assert_eq!(passed(&cork, 5), 5);
        assert!(!cork.open());
    }

    #[test]
    fn the_first_send_passes_and_the_others_wait_until_it_is_opened() {
        let cork = Cork::default();
        cork.close();
        assert!(!cork.is_shut());
        assert_eq!(passed(&cork, 1), 1);
        assert!(cork.is_shut());
        cork.close();
        assert_eq!(passed(&cork, 4), 0);
        assert!(cork.open());
        assert_eq!(passed(&cork, 2), 2);
    }

    #[test]
    fn a_lone_send_leaves_nothing_to_wake_for() {
        let cork = Cork::default();
        cork.close();
        assert_eq!(passed(&cork, 1), 1);
        assert!(!cork.open());
    }

    #[test]
    fn the_first_one_that_waits_is_told_apart() {
        let cork = Cork::default();
        cork.close();
        let passes: Vec<_> = (0..4).map(|_| cork.pass()).collect();
        assert_eq!(passes, [Pass::Now, Pass::FirstHeld, Pass::Held, Pass::Held]);
    }

    #[test]
    fn a_row_of_sends_waits_whole() {
        let cork = Cork::default();
        cork.hold();
        assert_eq!([cork.pass(), cork.pass()], [Pass::Held, Pass::Held]);
        assert!(cork.open());
        assert_eq!(cork.pass(), Pass::Now);
    }

    #[test]
    fn loosened_it_lets_one_more_pass() {
        let cork = Cork::default();
        cork.loosen();
        assert_eq!(passed(&cork, 2), 2);
        cork.close();
        assert_eq!(passed(&cork, 3), 1);
        cork.loosen();
        assert!(!cork.is_shut());
        assert_eq!(passed(&cork, 3), 1);
        assert!(cork.open());
    }
}
