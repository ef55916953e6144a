//! What a fork takes away: the I/O threads stay behind in the parent.

use std::sync::atomic::{AtomicU32, Ordering};

use realtime_client::{Error, ErrorKind};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// Tells that this process is a fresh fork. Hosts with a hook for it call this there, in the child.
///
/// Without it a fork is noticed by the process id, which only the rarer calls look at.
pub fn note_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// The process that something was made in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pid: u32,
    forks: u32,
}

impl Origin {
    pub(crate) fn here() -> Self {
        Self { pid: std::process::id(), forks: FORKS.load(Ordering::Relaxed) }
    }

    /// Whether this is still that process, by its id: a system call.
    pub(crate) fn is_here(self) -> bool {
        self.is_likely_here() && self.pid == std::process::id()
    }

    /// The same from what [`note_fork`] was told: no system call.
    pub(crate) fn is_likely_here(self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }
}

pub(crate) fn forked() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "this client was made before the process forked, and its I/O thread is not in this process; \
         create the client after the fork",
    )
}
