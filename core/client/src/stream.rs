use std::sync::{Arc, Mutex, PoisonError};

use realtime_engine::{ChannelId, ChannelState, Error, ErrorKind, Status};
use tokio::sync::watch;

use crate::client::Inner;
use crate::readers::{Item, Readers};

/// What presence and collections have in common: who reads their events, and whether they are in sync.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    pub(crate) id: ChannelId,
    pub(crate) readers: Arc<Readers<T>>,
    progress: watch::Sender<Progress>,
    /// How many watch it. Held over counting and telling the engine, so that neither undoes the other.
    watchers: Mutex<usize>,
}

#[derive(Clone, Debug)]
enum Progress {
    Waiting,
    Synced,
    Failed(Error),
}

impl<T: Item> Stream<T> {
    pub(crate) fn new(id: ChannelId) -> Self {
        let progress = watch::Sender::new(Progress::Waiting);
        Self { id, readers: Arc::new(Readers::new()), progress, watchers: Mutex::new(0) }
    }

    /// Waits until what is shown is what the server has.
    pub(crate) async fn ready(&self, client: &Inner) -> Result<(), Error> {
        let mut progress = self.progress.subscribe();
        loop {
            match &*progress.borrow_and_update() {
                Progress::Synced => return Ok(()),
                Progress::Failed(error) => return Err(error.clone()),
                Progress::Waiting => {}
            }
            if client.handle.is_closed() || client.handle.status() == Status::Disconnected {
                return Err(Error::new(ErrorKind::Closed, "the client was disconnected before it was in sync"));
            }
            // Fails only without a sender, which this holds.
            let _ = progress.changed().await;
        }
    }

    pub(crate) fn is_synced(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::Synced)
    }

    pub(crate) fn synced(&self) {
        self.progress.send_replace(Progress::Synced);
    }

    /// The engine has said what it does.
    pub(crate) fn set_state(&self, state: ChannelState, error: Option<Error>) {
        if state == ChannelState::Failed {
            let refused = || Error::new(ErrorKind::RefusedOther, "the server refused this stream");
            self.progress.send_replace(Progress::Failed(error.unwrap_or_else(refused)));
        }
    }

    pub(crate) fn error(&self) -> Option<Error> {
        match &*self.progress.borrow() {
            Progress::Failed(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Who waits looks again: the client does something else.
    pub(crate) fn look_again(&self) {
        self.progress.send_modify(|_| {});
    }

    pub(crate) fn watch(&self, client: &Inner) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        *watchers += 1;
        // Also where it was refused, or left by a disconnect: once more.
        if *watchers == 1 || self.error().is_some() {
            self.progress.send_replace(Progress::Waiting);
        }
        client.handle.watch(self.id);
    }

    pub(crate) fn unwatch(&self, client: &Inner) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        *watchers -= 1;
        if *watchers == 0 {
            client.handle.unsubscribe(self.id);
        }
    }
}
