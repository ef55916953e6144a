use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::Notify;

/// What all subscribers together have received.
#[derive(Debug)]
pub(crate) struct Progress {
    subscribers: usize,
    /// Messages that are on their way, the oldest first.
    under_way: RefCell<VecDeque<UnderWay>>,
    /// Messages that everybody has.
    done: Cell<u64>,
    /// Microseconds of each delivery, where they are measured.
    times: RefCell<Option<Vec<u32>>>,
    changed: Notify,
}

#[derive(Debug)]
struct UnderWay {
    /// How many do not have it.
    left: usize,
    sent: Instant,
}

impl Progress {
    pub(crate) fn new(subscribers: usize) -> Self {
        Self {
            subscribers,
            under_way: RefCell::default(),
            done: Cell::new(0),
            times: RefCell::new(None),
            changed: Notify::new(),
        }
    }

    /// The next message is about to be written.
    pub(crate) fn sent(&self, now: Instant) {
        self.under_way.borrow_mut().push_back(UnderWay { left: self.subscribers, sent: now });
    }

    /// A subscriber has a message. Each gets them in order, so that the oldest is whole first.
    pub(crate) fn received(&self, sequence: u64, now: Instant) {
        let mut under_way = self.under_way.borrow_mut();
        let Some(message) = under_way.get_mut((sequence - self.done.get()) as usize) else { return };
        message.left -= 1;
        if let Some(times) = &mut *self.times.borrow_mut() {
            times.push(now.duration_since(message.sent).as_micros() as u32);
        }
        let before = self.done.get();
        while under_way.front().is_some_and(|message| message.left == 0) {
            under_way.pop_front();
            self.done.set(self.done.get() + 1);
        }
        if self.done.get() > before {
            self.changed.notify_one();
        }
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.get()
    }

    pub(crate) fn under_way(&self) -> u64 {
        self.under_way.borrow().len() as u64
    }

    /// A message has reached everybody since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Measures from now on.
    pub(crate) fn measure(&self) {
        *self.times.borrow_mut() = Some(Vec::new());
    }

    /// What was measured, in order.
    pub(crate) fn times(&self) -> Vec<u32> {
        let mut times = self.times.borrow_mut().take().unwrap_or_default();
        times.sort_unstable();
        times
    }
}
