use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// What is wrong with the network right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// New connections are refused.
    pub(crate) cut: bool,
    /// The proxy is to end.
    pub(crate) stopped: bool,
    /// Counts the cuts; a connection ends when it changes.
    pub(crate) generation: u64,
    /// No bytes move.
    pub(crate) stalled: bool,
    /// One-way latency.
    pub(crate) delay: Duration,
    /// Bytes a second, each way of each connection.
    pub(crate) limit: Option<u64>,
}

/// The faults, and what they did. Shared by the proxy's handle and its connections.
#[derive(Debug)]
pub(crate) struct Controls {
    faults: watch::Sender<Faults>,
    /// Bytes from server to client until a cut; `u64::MAX` for no such cut.
    drop_after: AtomicU64,
    connections: AtomicU64,
    open: watch::Sender<u64>,
    cuts: AtomicU64,
}

impl Controls {
    pub(crate) fn new() -> Self {
        Self {
            faults: watch::Sender::new(Faults::default()),
            drop_after: AtomicU64::new(u64::MAX),
            connections: AtomicU64::new(0),
            open: watch::Sender::new(0),
            cuts: AtomicU64::new(0),
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Faults)) {
        self.faults.send_modify(change);
    }

    pub(crate) fn faults(&self) -> Faults {
        *self.faults.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Faults> {
        self.faults.subscribe()
    }

    pub(crate) fn set_drop_after(&self, bytes: Option<u64>) {
        self.drop_after.store(bytes.unwrap_or(u64::MAX), Ordering::Release);
        // Connections that wait for bytes look again.
        self.change(|_| {});
    }

    /// Takes up to `wanted` bytes of what may still pass; the second value says that the connection ends after them.
    pub(crate) fn pass(&self, wanted: usize) -> (usize, bool) {
        let mut pass = (wanted, false);
        let update = self.drop_after.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
            if left == u64::MAX {
                return None;
            }
            let granted = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
            let last = granted as u64 == left;
            pass = (granted, last);
            // One cut, then the line is whole again.
            Some(if last { u64::MAX } else { left - granted as u64 })
        });
        if update.is_err() { (wanted, false) } else { pass }
    }

    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Ordering::AcqRel);
        self.open.send_modify(|open| *open += 1);
    }

    pub(crate) fn closed(&self, cut: bool) {
        if cut {
            self.cuts.fetch_add(1, Ordering::AcqRel);
        }
        self.open.send_modify(|open| *open -= 1);
    }

    pub(crate) fn open(&self) -> watch::Receiver<u64> {
        self.open.subscribe()
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }
}
