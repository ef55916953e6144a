use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use realtime_engine::{ChannelState, Covered, Error, Gap, Text};
use tokio::sync::watch;

use crate::message::Message;
use crate::readers::Readers;

pub(crate) type LoadFuture = Pin<Box<dyn Future<Output = Result<Option<Covered>, String>> + Send>>;

/// What the application loads a snapshot with.
#[derive(Clone)]
pub(crate) struct Loader(pub(crate) Arc<dyn Fn(Gap) -> LoadFuture + Send + Sync>);

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loader")
    }
}

/// Where the messages of a channel go, and what it does now.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Text,
    /// Held over joining and subscribing, and over parting and unsubscribing, so that neither undoes the other.
    pub(crate) membership: Mutex<()>,
    pub(crate) readers: Arc<Readers<Message>>,
    state: watch::Sender<(ChannelState, Option<Error>)>,
    loader: Mutex<Option<Loader>>,
}

impl Route {
    pub(crate) fn new(name: Text) -> Self {
        Self {
            name,
            membership: Mutex::default(),
            readers: Arc::new(Readers::new()),
            state: watch::Sender::new((ChannelState::Idle, None)),
            loader: Mutex::default(),
        }
    }

    /// No more messages come to the readers of now. Returns the credit that they held back.
    pub(crate) fn end(&self) -> u64 {
        let credit = self.readers.end();
        // Who waits for the subscription looks again.
        self.state.send_modify(|_| {});
        credit
    }

    /// The driver is gone: nothing comes any more, also to readers that join later.
    pub(crate) fn retire(&self) {
        self.readers.retire();
        self.end();
    }

    pub(crate) fn set_state(&self, state: ChannelState, error: Option<Error>) {
        self.state.send_replace((state, error));
    }

    pub(crate) fn set_loader(&self, loader: Option<Loader>) {
        *self.loader.lock().unwrap_or_else(PoisonError::into_inner) = loader;
    }

    pub(crate) fn loader(&self) -> Option<Loader> {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn state(&self) -> watch::Receiver<(ChannelState, Option<Error>)> {
        self.state.subscribe()
    }
}
