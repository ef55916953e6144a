//! How the I/O thread wakes the event loop without the GIL.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Wakes who watches the file descriptor, and who waits: which of them there is depends on the event loop.
#[derive(Clone, Debug)]
pub(crate) struct Wake {
    state: Arc<(Mutex<State>, Condvar)>,
    #[cfg(unix)]
    file: Option<Arc<std::fs::File>>,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    closed: bool,
}

impl Wake {
    /// With a copy of the descriptor of an eventfd or a pipe that does not block; without one, for [`Wake::wait`].
    #[cfg(unix)]
    pub(crate) fn new(descriptor: Option<i32>) -> std::io::Result<Self> {
        use std::os::fd::BorrowedFd;
        let file = match descriptor {
            None => None,
            Some(number) if number < 0 => return Err(std::io::ErrorKind::InvalidInput.into()),
            // SAFETY: borrowed for the copy only; the caller holds it open, and the system refuses a number that is not.
            Some(number) => Some(unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?),
        };
        Ok(Self { state: Arc::default(), file: file.map(|file| Arc::new(std::fs::File::from(file))) })
    }

    #[cfg(not(unix))]
    pub(crate) fn new(_descriptor: Option<i32>) -> std::io::Result<Self> {
        Ok(Self { state: Arc::default() })
    }

    pub(crate) fn wake(&self) {
        #[cfg(unix)]
        if let Some(file) = &self.file {
            use std::io::Write;
            // Eight bytes are what an eventfd takes. Fails only where it is full, and the watcher awake already.
            let _ = (&**file).write(&1u64.to_ne_bytes());
        }
        self.change(|state| state.woken = true);
    }

    /// Blocks until woken; `false` once closed.
    pub(crate) fn wait(&self) -> bool {
        let (state, changed) = &*self.state;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state =
            changed.wait_while(state, |state| !state.woken && !state.closed).unwrap_or_else(PoisonError::into_inner);
        state.woken = false;
        !state.closed
    }

    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.state.1.notify_all();
    }
}
