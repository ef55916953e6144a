use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use realtime_engine::{ChannelId, Error, Status, Text};
use tokio::sync::{Notify, watch};

use crate::collection::Replica;
use crate::events::ClientEvent;
use crate::handle::WeakHandle;
use crate::mailbox::Mailbox;
use crate::presence::People;
use crate::requests::Requests;
use crate::route::Route;

/// What a client and the router of its driver share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) handle: OnceLock<WeakHandle>,
    pub(crate) requests: Requests,
    /// The outbox has room again, or never will have.
    pub(crate) writable: Notify,
    pub(crate) status: watch::Sender<(Status, Option<Error>)>,
    /// Messages of the backend to this client.
    pub(crate) direct: Arc<Route>,
    pub(crate) unheard: AtomicU64,
    routes: Mutex<HashMap<ChannelId, Arc<Route>>>,
    people: Mutex<HashMap<ChannelId, Arc<People>>>,
    replicas: Mutex<HashMap<ChannelId, Arc<Replica>>>,
    /// `None` once the driver is gone.
    events: Mutex<Option<Vec<Weak<Mailbox<ClientEvent>>>>>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            handle: OnceLock::new(),
            requests: Requests::default(),
            writable: Notify::new(),
            status: watch::Sender::new((Status::Disconnected, None)),
            direct: Arc::new(Route::new(Text::from(""))),
            unheard: AtomicU64::new(0),
            routes: Mutex::default(),
            people: Mutex::default(),
            replicas: Mutex::default(),
            events: Mutex::new(Some(Vec::new())),
        }
    }

    pub(crate) fn route(&self, id: ChannelId) -> Option<Arc<Route>> {
        lock(&self.routes).get(&id).cloned()
    }

    pub(crate) fn route_or_add(&self, id: ChannelId, name: &str) -> Arc<Route> {
        Arc::clone(lock(&self.routes).entry(id).or_insert_with(|| Arc::new(Route::new(Text::from(name)))))
    }

    pub(crate) fn routes(&self) -> Vec<(ChannelId, Arc<Route>)> {
        lock(&self.routes).iter().map(|(id, route)| (*id, Arc::clone(route))).collect()
    }

    pub(crate) fn people(&self, id: ChannelId) -> Option<Arc<People>> {
        lock(&self.people).get(&id).cloned()
    }

    pub(crate) fn people_or_add(&self, id: ChannelId, channel: &Text) -> Arc<People> {
        Arc::clone(lock(&self.people).entry(id).or_insert_with(|| Arc::new(People::new(id, channel.clone()))))
    }

    pub(crate) fn replica(&self, id: ChannelId) -> Option<Arc<Replica>> {
        lock(&self.replicas).get(&id).cloned()
    }

    pub(crate) fn replica_or_add(&self, id: ChannelId, name: &str) -> Arc<Replica> {
        Arc::clone(lock(&self.replicas).entry(id).or_insert_with(|| Arc::new(Replica::new(id, name))))
    }

    /// Who waits for a stream to be in sync looks again.
    pub(crate) fn look_again(&self) {
        lock(&self.people).values().for_each(|people| people.stream.look_again());
        lock(&self.replicas).values().for_each(|replica| replica.stream.look_again());
    }

    pub(crate) fn listen(&self, mailbox: &Arc<Mailbox<ClientEvent>>) {
        match &mut *lock(&self.events) {
            Some(events) => events.push(Arc::downgrade(mailbox)),
            None => mailbox.close(),
        }
    }

    pub(crate) fn tell(&self, event: &ClientEvent) {
        lock(&self.events).iter_mut().for_each(|events| {
            events.retain(|mailbox| {
                let mailbox = mailbox.upgrade();
                mailbox.as_ref().inspect(|mailbox| mailbox.put([event.clone()])).is_some()
            });
        });
    }

    pub(crate) fn consumed(&self, channel: Option<ChannelId>, bytes: u64) {
        if bytes > 0
            && let Some(handle) = self.handle.get().and_then(WeakHandle::upgrade)
        {
            handle.consumed(channel, bytes);
        }
    }

    pub(crate) fn unheard(&self, messages: u64) {
        self.unheard.fetch_add(messages, Ordering::Relaxed);
    }

    /// Ends what the application reads channels with.
    pub(crate) fn end_subscriptions(&self) {
        for (id, route) in self.routes() {
            self.consumed(Some(id), route.end());
        }
    }

    /// The driver is gone: everybody who waits is told.
    pub(crate) fn stop(&self, error: &Error) {
        self.requests.fail_all(error);
        self.end_subscriptions();
        self.direct.retire();
        lock(&self.people).values().for_each(|people| people.stream.readers.retire());
        lock(&self.replicas).values().for_each(|replica| replica.stream.readers.retire());
        self.look_again();
        // Also where nothing changes: who waits has to look again.
        self.status.send_modify(|(status, _)| *status = Status::Disconnected);
        self.writable.notify_one();
        for mailbox in lock(&self.events).take().into_iter().flatten() {
            mailbox.upgrade().inspect(|mailbox| mailbox.close());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
