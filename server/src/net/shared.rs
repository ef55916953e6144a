use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use realtime_engine::wire::Frame;
use tokio::sync::{Notify, watch};

use super::clock::Clock;
use super::link::Link;
use super::writer::Writer;
use crate::application::{Order, Outbox, Received};
use crate::auth::Identity;
use crate::config::ServerConfig;
use crate::hub::{ConnectionId, Dialect, Hub, IdMap, Input, Output, Stats};
use crate::store::{Store, StoreError};

/// The hub with what its outputs need. The lock is never held over an `await`, nor while the application runs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: ServerConfig,
    clock: Clock,
    core: Mutex<Core>,
    /// The hub's deadline came nearer.
    timer: Notify,
    /// A connection is gone.
    gone: Notify,
    refused_upgrades: AtomicU64,
    writer: Writer,
    /// Why the store fails, while it does.
    trouble: watch::Sender<Option<String>>,
    /// Whether the thread that writes has ended, or there is none.
    written: watch::Sender<bool>,
}

#[derive(Debug)]
struct Core {
    hub: Hub,
    links: IdMap<ConnectionId, Arc<Link>>,
    next: u64,
    /// What the timer waits for.
    armed: Option<u64>,
}

impl Shared {
    pub(crate) fn new(mut config: ServerConfig, seed: u64) -> Self {
        config.hub.application = config.application.is_some();
        let hub = Hub::new(config.hub.clone(), seed);
        Self::with_hub(config, hub, Clock::new(), true)
    }

    /// Goes on with what the store holds. Keeps the hub and the store together on a thread of their own until
    /// [`stop_writing`](Self::stop_writing).
    pub(crate) fn durable(mut config: ServerConfig, seed: u64, mut store: Box<dyn Store>) -> io::Result<Arc<Self>> {
        config.hub.application = config.application.is_some();
        let clock = Clock::new();
        let mut restore = Hub::restore(config.hub.clone(), seed, clock.now());
        store.load(&mut |number, record| restore.record(number, record)).map_err(io::Error::other)?;
        let shared = Arc::new(Self::with_hub(config, restore.finish(), clock, false));
        let writing = shared.clone();
        std::thread::Builder::new().name("realtime-store".into()).spawn(move || {
            writing.write(&mut *store);
            drop(store);
            writing.written.send_replace(true);
        })?;
        // What was over the bounds has to go.
        shared.with(|_, _| ());
        Ok(shared)
    }

    fn with_hub(config: ServerConfig, hub: Hub, clock: Clock, written: bool) -> Self {
        Self {
            config,
            clock,
            core: Mutex::new(Core { hub, links: IdMap::default(), next: 1, armed: None }),
            timer: Notify::new(),
            gone: Notify::new(),
            refused_upgrades: AtomicU64::new(0),
            writer: Writer::default(),
            trouble: watch::Sender::new(None),
            written: watch::Sender::new(written),
        }
    }

    /// Lets `act` do something with the hub, and does what the hub wants afterwards.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Hub, u64) -> R) -> R {
        let mut received = Vec::new();
        let result = {
            let core = &mut *self.lock();
            let result = act(&mut core.hub, self.clock.now());
            self.work_off(core, &mut received);
            result
        };
        self.deliver(received);
        result
    }

    /// Brings a new connection in.
    pub(super) fn open(&self, dialect: Dialect, identity: Option<Identity>) -> (ConnectionId, Arc<Link>) {
        let core = &mut *self.lock();
        let connection = ConnectionId(core.next);
        core.next += 1;
        let link = Arc::new(Link::default());
        core.links.insert(connection, link.clone());
        core.hub.handle(self.clock.now(), Input::Opened { connection, dialect, identity });
        self.work_off(core, &mut Vec::new());
        (connection, link)
    }

    pub(super) fn closed(&self, connection: ConnectionId) {
        let core = &mut *self.lock();
        core.links.remove(&connection);
        core.hub.handle(self.clock.now(), Input::Closed { connection });
        self.work_off(core, &mut Vec::new());
        self.gone.notify_waiters();
    }

    /// Waits until nobody is connected.
    pub(crate) async fn empty(&self) {
        loop {
            let gone = self.gone.notified();
            if self.lock().links.is_empty() {
                return;
            }
            gone.await;
        }
    }

    /// Hands frames to the hub; says whether more may be read.
    pub(super) fn frames(&self, connection: ConnectionId, frames: &mut Vec<Frame>) -> bool {
        self.with(|hub, now| {
            for frame in frames.drain(..) {
                hub.handle(now, Input::Frame { connection, frame });
            }
            hub.wants_frames(connection)
        })
    }

    /// Takes what should be written; says whether more is waiting, and whether more may be read.
    pub(super) fn pull(&self, connection: ConnectionId, frames: &mut Vec<Frame>) -> (bool, bool) {
        let core = &mut *self.lock();
        let more = core.hub.pull(self.clock.now(), connection, frames);
        (more, core.hub.wants_frames(connection))
    }

    pub(super) fn refuse_upgrade(&self) {
        self.refused_upgrades.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.lock().hub.stats();
        stats.refused_upgrades = self.refused_upgrades.load(Ordering::Relaxed);
        stats
    }

    /// Why the store fails, while it does.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Lets the thread of the store end once all is written.
    pub(crate) fn stop_writing(&self) {
        self.writer.stop();
    }

    /// Waits until the store is closed.
    pub(crate) async fn written(&self) {
        let _ = self.written.subscribe().wait_for(|written| *written).await;
    }

    /// Writes what the hub wants to be stored, all that waits as one, until the server stops.
    fn write(&self, store: &mut dyn Store) {
        while let Some(batches) = self.writer.take() {
            let up_to = batches.last().map_or(0, |batch| batch.number);
            match store.commit(&batches) {
                Ok(()) => {
                    if self.trouble.send_if_modified(|trouble| trouble.take().is_some()) {
                        tracing::info!("the store works again");
                    }
                    self.with(|hub, now| hub.handle(now, Input::Persisted { up_to }));
                }
                Err(error) => {
                    // Before anybody is refused, so that who looks then finds why.
                    self.fails(&error);
                    self.with(|hub, now| {
                        // The hub is held: nothing can be added between the two.
                        self.writer.clear();
                        hub.handle(now, Input::PersistFailed);
                    });
                }
            }
        }
    }

    fn fails(&self, error: &StoreError) {
        let error = error.to_string();
        let new = self.trouble.send_if_modified(|trouble| {
            let new = trouble.as_ref() != Some(&error);
            *trouble = Some(error.clone());
            new
        });
        if new {
            tracing::error!(%error, "the store fails: publishes are refused");
        }
    }

    /// Ticks the hub at its deadlines, for ever.
    pub(crate) async fn run_timer(&self) {
        loop {
            let wait = {
                let core = &mut *self.lock();
                core.armed = core.hub.deadline();
                core.armed.map(|at| at.saturating_sub(self.clock.now()))
            };
            match wait {
                None => self.timer.notified().await,
                Some(wait) => {
                    // A deadline that is due may lie a fraction of a millisecond ahead.
                    let due = tokio::time::timeout(Duration::from_millis(wait.max(1)), self.timer.notified()).await;
                    if due.is_err() {
                        self.with(|hub, now| hub.handle(now, Input::Tick));
                    }
                }
            }
        }
    }

    fn work_off(&self, core: &mut Core, received: &mut Vec<Received>) {
        while let Some(output) = core.hub.poll() {
            match output {
                Output::Ready(connection) => {
                    if let Some(link) = core.links.get(&connection) {
                        link.ready();
                    }
                }
                Output::Close { connection, code, reason } => {
                    if let Some(link) = core.links.get(&connection) {
                        link.close((code, reason));
                    }
                }
                Output::Sent { connection, user, event, content } => {
                    received.push(Received { connection, user, event, content });
                }
                Output::Persist(batch) => self.writer.push(batch),
            }
        }
        let deadline = core.hub.deadline();
        if deadline.is_some_and(|at| core.armed.is_none_or(|armed| at < armed)) {
            core.armed = deadline;
            self.timer.notify_one();
        }
    }

    fn deliver(&self, received: Vec<Received>) {
        let Some(application) = self.config.application.as_ref().filter(|_| !received.is_empty()) else { return };
        let mut outbox = Outbox::default();
        for message in &received {
            application.receive(message, &mut outbox);
        }
        self.with(|hub, now| {
            for order in outbox.orders {
                let refused = match order {
                    Order::Direct { connection, event, content } => hub.direct(now, connection, &event, &content).err(),
                    Order::Publish { channel, event, content } => hub.publish(now, &channel, &event, &content).err(),
                };
                if let Some(error) = refused {
                    tracing::warn!(%error, "a message of the application was refused");
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
