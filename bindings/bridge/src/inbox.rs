//! The queue between the I/O thread and the host's thread, with one wake a batch.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use realtime_client::Event;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::batch::Batch;
use crate::pulse::{Look, Overdue, Pulse};
use crate::report::{event_json, stalled_json};

/// Reports that may wait. Messages are bounded by the inbox of the client, receipts by its outbox; reports by this.
const MAX_REPORTS: usize = 4096;
/// Empty batches kept for the next ones.
const SPARE: usize = 4;

/// Batches that are ready, and whether the host knows.
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    /// Taken out by `close`, after which nothing wakes the host any more.
    wake: Mutex<Option<Wake>>,
    overdue: Overdue,
    /// Tells the watch to look now.
    look: Arc<Notify>,
}

type Wake = Box<dyn Fn() + Send + Sync>;

#[derive(Debug)]
struct Queue {
    pulse: Pulse,
    ready: VecDeque<(Batch, usize)>,
    spare: Vec<Batch>,
    /// The host was woken and has not seen the queue empty since.
    awake: bool,
    reports: usize,
    overflow: Overflow,
    closed: bool,
}

/// What is left of the reports that found no room: the last status, the last state of each channel, one gap a channel.
#[derive(Debug, Default)]
struct Overflow {
    latest: BTreeMap<(u8, u32), Event>,
    dropped: u64,
}

impl Inbox {
    /// A host that is expected to give a sign of life as often as `heartbeat`, once [`watch`] runs.
    pub(crate) fn new(wake: Wake, heartbeat: Duration) -> Self {
        Self {
            queue: Mutex::new(Queue::new(Pulse::new(Instant::now(), heartbeat))),
            wake: Mutex::new(Some(wake)),
            overdue: Overdue::default(),
            look: Arc::default(),
        }
    }

    pub(crate) fn overdue(&self) -> &Overdue {
        &self.overdue
    }

    /// Takes a batch with so many reports, and gives an empty one back.
    pub(crate) fn push(&self, batch: Batch, reports: usize) -> Batch {
        let mut queue = self.lock();
        if queue.closed {
            return Batch::default();
        }
        queue.ready.push_back((batch, reports));
        queue.reports += reports;
        let spare = queue.spare.pop().unwrap_or_default();
        self.rouse(queue);
        spare
    }

    /// Whether one more report may be queued; where not, what matters of it is kept.
    pub(crate) fn admits(&self, waiting: usize, event: &Event) -> bool {
        let mut queue = self.lock();
        // Once something overflowed, what follows goes the same way, so that the last status stays the last.
        if queue.overflow.is_empty() && queue.reports + waiting < MAX_REPORTS {
            return true;
        }
        queue.overflow.keep(event);
        self.rouse(queue);
        false
    }

    /// The next batch. `None` arms the next wake.
    pub(crate) fn pop(&self) -> Option<Batch> {
        let mut queue = self.lock();
        let now = Instant::now();
        let stalled = queue.pulse.end(now);
        let next = match stalled {
            // First, and alone: what its handlers hear next is that.
            Some(waited) => {
                self.overdue.set(false);
                let mut batch = queue.spare.pop().unwrap_or_default();
                batch.report(&stalled_json(waited));
                Some(batch)
            }
            None => match queue.ready.pop_front() {
                Some((batch, reports)) => {
                    queue.reports -= reports;
                    Some(batch)
                }
                None => queue.overflow.take(),
            },
        };
        match next {
            Some(_) => queue.pulse.begin(now),
            None => queue.awake = false,
        }
        next
    }

    /// The connection has opened or closed: an idle host is asked for signs of life only in between.
    pub(crate) fn set_open(&self, open: bool) {
        self.lock().pulse.set_open(open);
        self.look.notify_one();
    }

    /// Another host takes over: what waits has not waited for this one.
    pub(crate) fn take_over(&self) {
        let mut queue = self.lock();
        let now = Instant::now();
        // Whatever it was, it was not this host.
        let _ = queue.pulse.end(now);
        if queue.awake {
            queue.pulse.begin(now);
        }
        self.overdue.set(false);
    }

    /// Takes the buffers of a batch back.
    pub(crate) fn recycle(&self, mut batch: Batch) {
        if !batch.is_worth_keeping() {
            return;
        }
        batch.clear();
        let mut queue = self.lock();
        if queue.spare.len() < SPARE {
            queue.spare.push(batch);
        }
    }

    /// Drops what waits. No wake comes after this has returned.
    pub(crate) fn close(&self) {
        {
            let mut queue = self.lock();
            *queue = Queue { closed: true, ..Queue::new(Pulse::new(Instant::now(), Duration::ZERO)) };
        }
        self.look.notify_one();
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// When to look again, if by itself; nothing once closed.
    fn watch_once(&self) -> Option<Option<Instant>> {
        loop {
            let mut queue = self.lock();
            if queue.closed {
                return None;
            }
            match queue.pulse.look(Instant::now()) {
                Look::Overdue => self.overdue.set(true),
                Look::Probe => self.rouse(queue),
                Look::At(at) => return Some(Some(at)),
                Look::Idle => return Some(None),
            }
        }
    }

    fn rouse(&self, mut queue: MutexGuard<'_, Queue>) {
        if queue.awake || queue.closed {
            return;
        }
        queue.awake = true;
        let now = Instant::now();
        queue.pulse.begin(now);
        if queue.pulse.is_late(now) {
            self.look.notify_one();
        }
        // The host may drain from within the wake.
        drop(queue);
        if let Some(wake) = &*self.wake.lock().unwrap_or_else(PoisonError::into_inner) {
            wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the host of an inbox until that is closed.
pub(crate) async fn watch(inbox: Weak<Inbox>) {
    let Some(told) = inbox.upgrade().map(|inbox| Arc::clone(&inbox.look)) else { return };
    while let Some(next) = inbox.upgrade().and_then(|inbox| inbox.watch_once()) {
        match next {
            None => told.notified().await,
            Some(at) => tokio::select! {
                () = told.notified() => {}
                () = sleep_until(at.into()) => {}
            },
        }
    }
}

impl Queue {
    fn new(pulse: Pulse) -> Self {
        Self {
            pulse,
            ready: VecDeque::new(),
            spare: Vec::new(),
            awake: false,
            reports: 0,
            overflow: Overflow::default(),
            closed: false,
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Overflow {
    fn is_empty(&self) -> bool {
        self.latest.is_empty() && self.dropped == 0
    }

    fn keep(&mut self, event: &Event) {
        let key = match event {
            Event::Status { .. } => (0, 0),
            Event::Channel { channel, .. } => (1, channel.0),
            Event::Gap(gap) => (2, gap.channel.0),
            Event::Writable => (3, 0),
            // One at a time, since the next comes after its answer.
            Event::Load(load) => (4, load.gap.channel.0),
            Event::Synced { collection, .. } => (5, collection.0),
            Event::Diverged { collection, .. } => (6, collection.0),
            // An error, an open, a close: counted, since the last status says where it all ended.
            _ => {
                self.dropped += 1;
                return;
            }
        };
        let mut event = event.clone();
        if let (Event::Gap(new), Some(Event::Gap(old))) = (&mut event, self.latest.get(&key))
            && old.epoch == new.epoch
        {
            new.from = old.from.or(new.from);
            new.previous_epoch = old.previous_epoch.clone().or(new.previous_epoch.take());
        }
        if self.latest.insert(key, event).is_some() {
            self.dropped += 1;
        }
    }

    fn take(&mut self) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        let mut batch = Batch::default();
        let Overflow { latest, dropped } = std::mem::take(self);
        for event in latest.values() {
            batch.report(&event_json(event).unwrap_or_default());
        }
        if dropped > 0 {
            let message = format!("the application was busy for so long that {dropped} reports were merged or dropped");
            let error = realtime_client::Error::new(realtime_client::ErrorKind::QueueFull, message);
            batch.report(&event_json(&Event::Error(error)).unwrap_or_default());
        }
        Some(batch)
    }
}
