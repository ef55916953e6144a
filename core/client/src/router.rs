use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use realtime_engine::{
    Change, ChannelId, ChannelState, Error, ErrorKind, Event, Load, PresenceChange, RequestId, Status,
};
use tokio::task::AbortHandle;

use crate::collection::RawEvent;
use crate::events::ClientEvent;
use crate::handle::WeakHandle;
use crate::host::Host;
use crate::message::Message;
use crate::requests::Outcome;
use crate::state::State;

pub(crate) type TokenFuture = Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send>>;
pub(crate) type TokenProvider = Arc<dyn Fn() -> TokenFuture + Send + Sync>;

/// Takes what a driver has and brings it to those who wait for it, a batch at a time.
pub(crate) struct Router {
    state: Arc<State>,
    provider: Option<TokenProvider>,
    /// The provider at work. A new question ends an old one.
    asking: Option<AbortHandle>,
    /// Messages of this batch, by channel.
    batches: Vec<VecDeque<Message>>,
    /// The channels that have some.
    filled: Vec<ChannelId>,
    direct: VecDeque<Message>,
    outcomes: Vec<(RequestId, Outcome)>,
}

impl Router {
    pub(crate) fn new(state: Arc<State>, provider: Option<TokenProvider>) -> Self {
        Self {
            state,
            provider,
            asking: None,
            batches: Vec::new(),
            filled: Vec::new(),
            direct: VecDeque::new(),
            outcomes: Vec::new(),
        }
    }

    fn message(&mut self, id: ChannelId, message: Message) {
        let place = id.0 as usize;
        if place >= self.batches.len() {
            self.batches.resize_with(place + 1, VecDeque::new);
        }
        let batch = &mut self.batches[place];
        if batch.is_empty() {
            self.filled.push(id);
        }
        batch.push_back(message);
    }

    fn deliver(&mut self) {
        for id in self.filled.drain(..) {
            let batch = &mut self.batches[id.0 as usize];
            let Some(route) = self.state.route(id) else {
                self.state.unheard(batch.drain(..).len() as u64);
                continue;
            };
            let (credit, unheard) = route.readers.deliver(batch);
            self.state.consumed(Some(id), credit);
            self.state.unheard(unheard);
        }
        if !self.direct.is_empty() {
            let (credit, unheard) = self.state.direct.readers.deliver(&mut self.direct);
            self.state.consumed(None, credit);
            self.state.unheard(unheard);
        }
        self.state.requests.complete(self.outcomes.drain(..));
    }

    /// Has the application load a snapshot, in a task of its own.
    fn load(&mut self, load: Load) {
        self.deliver();
        let (id, state) = (load.gap.channel, Arc::clone(&self.state));
        let loader = state.route(id).and_then(|route| route.loader());
        drop(tokio::spawn(async move {
            let loaded = match loader {
                Some(loader) => tokio::spawn(async move { loader.0(load.gap).await })
                    .await
                    .unwrap_or_else(|error| Err(format!("it panicked: {error}"))),
                None => Ok(None),
            };
            let covered = loaded.unwrap_or_else(|why| {
                let message = format!("the snapshot of a channel could not be loaded: {why}");
                state.tell(&ClientEvent::Error(Error::new(ErrorKind::HandlerFailed, message)));
                None
            });
            if let Some(handle) = state.handle.get().and_then(WeakHandle::upgrade) {
                handle.loaded(id, load.load, covered);
            }
        }));
    }

    fn changed(&mut self, change: Change) {
        let (id, size) = (change.collection, change.size);
        let credit = self.state.replica(id).map_or(size, |replica| replica.queued(change));
        self.state.consumed(Some(id), credit);
    }

    fn presence(&mut self, change: &PresenceChange) {
        let credit = self.state.people(change.presence).map_or(Ok(change.size), |people| people.changed(change));
        let credit = credit.unwrap_or_else(|error| {
            self.state.tell(&ClientEvent::Error(error));
            change.size
        });
        self.state.consumed(Some(change.presence), credit);
    }

    fn told(&mut self, event: Event) -> Option<ClientEvent> {
        // What came before is to be seen before.
        self.deliver();
        Some(match event {
            Event::Status { status, reason, retry_in } => {
                if status == Status::Disconnected {
                    self.state.end_subscriptions();
                }
                self.state.status.send_replace((status, reason.clone()));
                self.state.look_again();
                // Who waits for room may have to be told that none will come.
                self.state.writable.notify_one();
                ClientEvent::Status { status, reason, retry_in }
            }
            Event::Channel { channel, state, error } => {
                if let Some(people) = self.state.people(channel) {
                    people.stream.set_state(state, error);
                    return None;
                }
                if let Some(replica) = self.state.replica(channel) {
                    replica.stream.set_state(state, error);
                    return None;
                }
                let route = self.state.route(channel)?;
                route.set_state(state, error.clone());
                if state == ChannelState::Failed {
                    self.state.consumed(Some(channel), route.end());
                }
                ClientEvent::Channel { channel: route.name.clone(), state, error }
            }
            Event::Gap(gap) => ClientEvent::Gap { channel: self.state.route(gap.channel)?.name.clone(), gap },
            Event::Open(opened) => ClientEvent::Open(opened),
            Event::Close { code, reason, reconnecting } => ClientEvent::Close { code, reason, reconnecting },
            Event::Error(error) => ClientEvent::Error(error),
            _ => return None,
        })
    }
}

impl Host for Router {
    fn event(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.message(message.channel, message.into()),
            Event::Direct(message) => self.direct.push_back(message.into()),
            Event::Receipt(receipt) => self.outcomes.push((receipt.request, Ok(receipt))),
            Event::SendFailed { request, error } => self.outcomes.push((request, Err(error))),
            Event::Change(change) => self.changed(change),
            Event::Presence(change) => self.presence(&change),
            Event::Synced { collection, reason, .. } => {
                if let Some(replica) = self.state.replica(collection) {
                    replica.synced(reason);
                }
            }
            Event::Diverged { collection, offset } => {
                if let Some(replica) = self.state.replica(collection) {
                    replica.tell(RawEvent::Diverged(offset));
                }
            }
            Event::Writable => self.state.writable.notify_one(),
            Event::Load(load) => self.load(load),
            event => {
                if let Some(event) = self.told(event) {
                    self.state.tell(&event);
                }
            }
        }
    }

    fn token(&mut self, request: u64) {
        let (provider, state) = (self.provider.clone(), Arc::clone(&self.state));
        let asking = tokio::spawn(async move {
            let result = match provider {
                // In a task of its own, so that a panic in it is an answer too.
                Some(provider) => AbortOnDrop(tokio::spawn(async move { provider().await }))
                    .await
                    .unwrap_or_else(|error| Err(format!("the token provider panicked: {error}"))),
                None => Err("there is no token provider".to_owned()),
            };
            if let Some(handle) = state.handle.get().and_then(WeakHandle::upgrade) {
                handle.answer_token(request, result);
            }
        });
        if let Some(before) = self.asking.replace(asking.abort_handle()) {
            before.abort();
        }
    }

    fn flush(&mut self) {
        self.deliver();
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.deliver();
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
        self.state.stop(&Error::new(ErrorKind::Closed, "the client is closed"));
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
