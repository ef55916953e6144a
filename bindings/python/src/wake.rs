//! How the I/O thread wakes the event loop without the GIL.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Wakes who watches the file descriptor, and who waits: which of them there is depends on the event loop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wake {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    /// An eventfd, or the writing end of a pipe that does not block.
    file: Option<File>,
    woken: bool,
    closed: bool,
    /// Who waits.
    waiting: usize,
}

impl Wake {
    pub(crate) fn wake(&self) {
        let mut state = self.lock();
        state.woken = true;
        if let Some(file) = &mut state.file {
            // Eight bytes are what an eventfd takes. Fails only where it is full, and the watcher awake already.
            let _ = file.write(&1u64.to_ne_bytes());
        }
        let waiting = state.waiting > 0;
        drop(state);
        // A system call, also where nobody waits.
        if waiting {
            self.shared.1.notify_all();
        }
    }

    /// Writes to a copy of this descriptor from now on; to none without one.
    #[cfg(unix)]
    pub(crate) fn set_descriptor(&self, descriptor: Option<i32>) -> std::io::Result<()> {
        use std::os::fd::BorrowedFd;
        let file = match descriptor {
            None => None,
            Some(number) if number < 0 => return Err(std::io::ErrorKind::InvalidInput.into()),
            // SAFETY: borrowed for the copy only; the caller holds it open, and the system refuses a number that is not.
            Some(number) => Some(unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?),
        };
        self.lock().file = file.map(File::from);
        Ok(())
    }

    #[cfg(not(unix))]
    pub(crate) fn set_descriptor(&self, _descriptor: Option<i32>) -> std::io::Result<()> {
        Ok(())
    }

    /// Blocks until woken; `false` once closed.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.lock();
        state.waiting += 1;
        let waited = self.shared.1.wait_while(state, |state| !state.woken && !state.closed);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.woken = false;
        !state.closed
    }

    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.file = None;
        drop(state);
        self.shared.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
