use std::sync::{Mutex, MutexGuard, PoisonError};

use realtime_engine::{Error, Receipt, RequestId};
use tokio::sync::oneshot;

pub(crate) type Outcome = Result<Receipt, Error>;

/// The sends that wait for their outcome.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    /// A request id is the place of its slot and, above that, how often the slot was used.
    slots: Vec<(u32, Option<oneshot::Sender<Outcome>>)>,
    free: Vec<u32>,
}

impl Requests {
    pub(crate) fn add(&self) -> (RequestId, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let mut slots = self.lock();
        let place = match slots.free.pop() {
            Some(place) => place,
            None => {
                slots.slots.push((0, None));
                // As many as there are messages in the outbox, which fit into memory.
                u32::try_from(slots.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let slot = &mut slots.slots[place as usize];
        slot.1 = Some(sender);
        (RequestId(u64::from(slot.0) << 32 | u64::from(place)), receiver)
    }

    /// Forgets a request that was never made.
    pub(crate) fn remove(&self, request: RequestId) {
        drop(self.lock().take(request));
    }

    pub(crate) fn complete(&self, outcomes: impl IntoIterator<Item = (RequestId, Outcome)>) {
        let mut slots = self.lock();
        for (request, outcome) in outcomes {
            if let Some(sender) = slots.take(request) {
                // Nobody listens where the caller dropped its future.
                let _ = sender.send(outcome);
            }
        }
    }

    pub(crate) fn fail_all(&self, error: &Error) {
        let mut slots = self.lock();
        for place in 0..slots.slots.len() {
            let (uses, sender) = &mut slots.slots[place];
            if let Some(sender) = sender.take() {
                *uses = uses.wrapping_add(1);
                let _ = sender.send(Err(error.clone()));
                slots.free.push(place as u32);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn take(&mut self, request: RequestId) -> Option<oneshot::Sender<Outcome>> {
        let place = (request.0 & u64::from(u32::MAX)) as u32;
        let (uses, sender) = self.slots.get_mut(place as usize)?;
        if u64::from(*uses) != request.0 >> 32 {
            return None;
        }
        let sender = sender.take()?;
        *uses = uses.wrapping_add(1);
        self.free.push(place);
        Some(sender)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use realtime_engine::ErrorKind;

    use super::*;

    #[test]
    fn a_late_outcome_does_not_reach_the_next_user_of_a_slot() {
        let requests = Requests::default();
        let error = Error::new(ErrorKind::Closed, "closed");
        let (first, _) = requests.add();
        requests.remove(first);
        let (second, mut outcome) = requests.add();
        assert_ne!(first, second);
        requests.complete([(first, Err(error.clone()))]);
        assert!(outcome.try_recv().is_err());
        requests.complete([(second, Err(error.clone()))]);
        assert_eq!(outcome.try_recv().unwrap(), Err(error));
    }

    #[test]
    fn all_that_wait_can_be_failed() {
        let requests = Requests::default();
        let mut waiting: Vec<_> = (0..3).map(|_| requests.add().1).collect();
        let error = Error::new(ErrorKind::Closed, "closed");
        requests.fail_all(&error);
        assert!(waiting.iter_mut().all(|outcome| outcome.try_recv().unwrap() == Err(error.clone())));
        assert_eq!(requests.lock().free.len(), 3);
    }
}
