use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::hub::Batch;

/// What waits for the thread that writes to the store. The hub bounds it: it refuses publishes while too much waits.
#[derive(Debug, Default)]
pub(super) struct Writer {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    batches: Vec<Arc<Batch>>,
    stopped: bool,
}

impl Writer {
    pub(super) fn push(&self, batch: Arc<Batch>) {
        self.lock().batches.push(batch);
        self.changed.notify_one();
    }

    /// Drops what was not taken yet.
    pub(super) fn clear(&self) {
        self.lock().batches.clear();
    }

    /// Waits for batches and takes all that wait, to be written as one. `None` when the server has stopped and nothing waits.
    pub(super) fn take(&self) -> Option<Vec<Arc<Batch>>> {
        let waits = |queue: &mut Queue| queue.batches.is_empty() && !queue.stopped;
        let mut queue = self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        let batches = std::mem::take(&mut queue.batches);
        (!batches.is_empty()).then_some(batches)
    }

    /// Lets the thread end once it has written what waits.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
