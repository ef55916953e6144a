use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use realtime_engine::{Error, Session, WhenFull};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::cork::{Cork, Pass};
use crate::durable::Durable;
use crate::outlet::Outlet;

/// What handles and driver share: the session, and a way to wake the driver.
pub(crate) struct Shared {
    session: Mutex<Session>,
    outlet: Mutex<Outlet>,
    /// Threads that send may write to the socket themselves.
    writes_through: AtomicBool,
    /// Locked after the session.
    durable: Option<Mutex<Durable>>,
    pub(crate) clock: Clock,
    pub(crate) when_full: WhenFull,
    /// A wake is on its way; it stands for all changes made until the driver looks.
    woken: AtomicBool,
    pub(crate) cork: Cork,
    driver: AtomicWaker,
    /// No handle is left, or one asked for the end.
    released: AtomicBool,
    /// The driver has ended.
    stopped: AtomicBool,
    handles: AtomicUsize,
    /// Whether there is no socket, open or being closed.
    idle: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(session: Session, durable: Option<Durable>, clock: Clock, when_full: WhenFull) -> Self {
        Self {
            session: Mutex::new(session),
            outlet: Mutex::new(Outlet::new()),
            writes_through: AtomicBool::new(false),
            durable: durable.map(Mutex::new),
            clock,
            when_full,
            woken: AtomicBool::new(false),
            cork: Cork::default(),
            driver: AtomicWaker::new(),
            released: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            handles: AtomicUsize::new(0),
            idle: watch::Sender::new(true),
        }
    }

    /// The session. Held for moments only; a panic while it was held ends the driver, so poison says nothing new.
    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file of a durable outbox, where there is one and it is not open.
    pub(crate) fn open_outbox(&self, session: &mut Session) -> Result<(), Error> {
        self.durable().map_or(Ok(()), |mut durable| durable.open(session, self.clock.now()))
    }

    /// Brings what the session has noted for its durable outbox into the file; whether there was something.
    pub(crate) fn write_outbox(&self, session: &mut Session) -> Result<bool, Error> {
        self.durable().map_or(Ok(false), |mut durable| durable.write(session, self.clock.now()))
    }

    pub(crate) fn tend_outbox(&self, session: &mut Session) {
        if let Some(mut durable) = self.durable() {
            durable.tend(session, self.clock.now());
        }
    }

    fn durable(&self) -> Option<MutexGuard<'_, Durable>> {
        self.durable.as_ref().map(|durable| durable.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.driver.wake();
        }
    }

    /// The same for a send, which may go with others.
    pub(crate) fn wake_for_send(&self) {
        match self.cork.pass() {
            Pass::Now => self.send_now(),
            // Sees that what is held back does not wait for ever.
            Pass::FirstHeld => self.wake(),
            Pass::Held => {}
        }
    }

    /// Sends what waits: from this thread, where it may and the socket is free; by the driver otherwise.
    pub(crate) fn send_now(&self) {
        if !self.writes_through.load(Ordering::Relaxed) || !self.write_through() {
            self.wake();
        }
    }

    pub(crate) fn set_write_through(&self, on: bool) {
        self.writes_through.store(on, Ordering::Relaxed);
    }

    fn write_through(&self) -> bool {
        if self.durable.is_some() {
            // The driver knows what has to be in the file first.
            return false;
        }
        // A driver at work looks at the session again once it is woken.
        let Ok(mut outlet) = self.outlet.try_lock() else { return false };
        outlet.write_through(&mut self.session())
    }

    /// The socket. Locked before the session.
    pub(crate) fn outlet(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by the driver before it looks at the session: changes from here on wake it again.
    pub(crate) fn sleep_until_woken(&self, waker: &Waker) {
        self.driver.register(waker);
        // Reads what a wake has written that finds another on its way.
        self.woken.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn retain(&self) {
        self.handles.fetch_add(1, Ordering::AcqRel);
    }

    /// Retains unless nobody does any more: the end of the driver cannot be called back.
    pub(crate) fn try_retain(&self) -> bool {
        self.handles.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n > 0).then_some(n + 1)).is_ok()
    }

    pub(crate) fn release(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shutdown();
        }
    }

    pub(crate) fn shutdown(&self) {
        self.released.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Ends the session, and gives the file of its outbox back.
    pub(crate) fn end_session(&self) {
        let mut session = self.session();
        session.disconnect(self.clock.now(), Duration::ZERO);
        if let Some(mut durable) = self.durable() {
            durable.close(&mut session, self.clock.now());
        }
    }

    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.send_if_modified(|was| std::mem::replace(was, idle) != idle);
    }

    pub(crate) fn idle(&self) -> watch::Receiver<bool> {
        self.idle.subscribe()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) || self.is_released()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the session, which holds secrets.
        f.debug_struct("Shared").field("closed", &self.is_stopped()).finish_non_exhaustive()
    }
}
