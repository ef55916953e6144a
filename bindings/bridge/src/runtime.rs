//! The I/O threads of the process.

use std::future::Future;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::mpsc;

use realtime_client::{Error, ErrorKind};
use tokio::runtime::{Builder, Handle};

use crate::fork::Origin;

/// A thread with a current_thread runtime, started when it is first needed, never joined.
///
/// It is never torn down: at the end of the process the operating system does that, and no order of exit can hang on it.
#[derive(Debug)]
pub(crate) struct IoThread {
    name: &'static str,
    running: AtomicPtr<Running>,
}

#[derive(Debug)]
struct Running {
    origin: Origin,
    handle: Handle,
}

/// Runs all clients.
pub(crate) static CLIENTS: IoThread = IoThread::new("realtime-io");
/// Runs the embedded server and the fault proxy, so that they behave like peers on another machine.
pub(crate) static PEERS: IoThread = IoThread::new("realtime-peers");

impl IoThread {
    const fn new(name: &'static str) -> Self {
        Self { name, running: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The runtime, started where this process has none. After a fork that is a new one; the old one is left alone.
    ///
    /// Lock-free, because a lock could be held by another thread at the moment of a fork.
    pub(crate) fn handle(&self) -> Result<&'static Handle, Error> {
        let found = self.running.load(Ordering::Acquire);
        // SAFETY: the pointer is null, or was made by `Box::leak` below and is never freed.
        if let Some(running) = unsafe { found.as_ref() }
            && running.origin.is_here()
        {
            return Ok(&running.handle);
        }
        let started: &'static mut Running = Box::leak(Box::new(self.start()?));
        let handle = &raw mut *started;
        match self.running.compare_exchange(found, handle, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: just leaked.
            Ok(_) => Ok(unsafe { &(*handle).handle }),
            // Another thread was first; the one started here idles, which costs a stack and happens once.
            // SAFETY: as above; a failed exchange in the same process found what another thread has leaked.
            Err(other) => Ok(unsafe { &(*other).handle }),
        }
    }

    fn start(&self) -> Result<Running, Error> {
        let failed = |what: &str, error: std::io::Error| {
            Error::new(ErrorKind::Unsupported, format!("the I/O thread could not be started ({what}): {error}"))
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| failed("runtime", e))?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name(self.name.to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .map_err(|e| failed("thread", e))?;
        Ok(Running { origin: Origin::here(), handle })
    }
}

/// Runs `work` on `thread` and blocks until it is done. Not to be called on an I/O thread.
pub(crate) fn wait_for<T: Send + 'static>(
    thread: &IoThread,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    let (done, result) = mpsc::sync_channel(1);
    drop(thread.handle()?.spawn(async move {
        // Fails only where nobody waits any more.
        let _ = done.send(work.await);
    }));
    result.recv().map_err(|_| Error::new(ErrorKind::Unsupported, "the I/O thread is gone"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_thread_runs_all_clients() {
        let first = CLIENTS.handle().unwrap();
        let second = CLIENTS.handle().unwrap();
        assert_eq!(first.id(), second.id());
        assert_ne!(first.id(), PEERS.handle().unwrap().id());
    }

    #[test]
    fn what_is_spawned_runs() {
        let (done, wait) = std::sync::mpsc::channel();
        drop(
            CLIENTS.handle().unwrap().spawn(async move { done.send(std::thread::current().name().map(str::to_owned)) }),
        );
        let name = wait.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(name.as_deref(), Some("realtime-io"));
    }
}
