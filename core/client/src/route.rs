use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use realtime_engine::{ChannelState, Covered, Error, Gap, Text};
use tokio::sync::watch;

use crate::mailbox::Mailbox;
use crate::message::Message;

pub(crate) type LoadFuture = Pin<Box<dyn Future<Output = Result<Option<Covered>, String>> + Send>>;

/// What the application loads a snapshot with.
#[derive(Clone)]
pub(crate) struct Loader(pub(crate) Arc<dyn Fn(Gap) -> LoadFuture + Send + Sync>);

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loader")
    }
}

/// Where the messages of a channel go: to every reader, each at its own pace. The slowest one holds the credit back.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Text,
    /// Held over joining and subscribing, and over parting and unsubscribing, so that neither undoes the other.
    pub(crate) membership: Mutex<()>,
    readers: Mutex<Readers>,
    state: watch::Sender<(ChannelState, Option<Error>)>,
    loader: Mutex<Option<Loader>>,
}

#[derive(Debug, Default)]
struct Readers {
    /// Bytes that came, ever.
    came: u64,
    /// Bytes that every reader has consumed.
    consumed: u64,
    next: u64,
    /// Nothing will come any more, for nobody.
    retired: bool,
    readers: Vec<Reader>,
}

#[derive(Debug)]
struct Reader {
    id: u64,
    mailbox: Arc<Mailbox<Message>>,
    /// What of `came` it has consumed, or was before its time.
    consumed: u64,
}

impl Route {
    pub(crate) fn new(name: Text) -> Self {
        Self {
            name,
            membership: Mutex::default(),
            readers: Mutex::default(),
            state: watch::Sender::new((ChannelState::Idle, None)),
            loader: Mutex::default(),
        }
    }

    pub(crate) fn join(&self) -> (u64, Arc<Mailbox<Message>>) {
        let mut readers = self.lock();
        let id = readers.next;
        readers.next += 1;
        let mailbox = Arc::new(Mailbox::new(None));
        if readers.retired {
            mailbox.close();
        }
        let consumed = readers.came;
        readers.readers.push(Reader { id, mailbox: Arc::clone(&mailbox), consumed });
        (id, mailbox)
    }

    /// A reader is gone. Returns the credit that only it held back, and whether nobody is left.
    pub(crate) fn part(&self, id: u64) -> (u64, bool) {
        let mut readers = self.lock();
        readers.readers.retain(|reader| reader.id != id);
        (readers.credit(), readers.readers.is_empty())
    }

    /// A reader has consumed bytes. Returns the credit that is to be given now.
    pub(crate) fn consumed(&self, id: u64, bytes: u64) -> u64 {
        let mut readers = self.lock();
        if let Some(reader) = readers.readers.iter_mut().find(|reader| reader.id == id) {
            reader.consumed += bytes;
        }
        readers.credit()
    }

    /// Hands messages to every reader. Returns the credit to be given at once, and how many messages nobody heard.
    pub(crate) fn deliver(&self, messages: &mut Vec<Message>) -> (u64, u64) {
        let mut readers = self.lock();
        readers.came += messages.iter().map(|message| message.size).sum::<u64>();
        let unheard = if readers.readers.is_empty() { messages.len() as u64 } else { 0 };
        if let Some((last, others)) = readers.readers.split_last() {
            for reader in others {
                reader.mailbox.put(messages.iter().cloned());
            }
            last.mailbox.put(messages.drain(..));
        }
        messages.clear();
        (readers.credit(), unheard)
    }

    /// No more messages come to the readers of now. Returns the credit that they held back.
    pub(crate) fn end(&self) -> u64 {
        let mut readers = self.lock();
        for reader in &readers.readers {
            reader.mailbox.close();
        }
        readers.readers.clear();
        let credit = readers.credit();
        drop(readers);
        // Who waits for the subscription looks again.
        self.state.send_modify(|_| {});
        credit
    }

    /// The driver is gone: nothing comes any more, also to readers that join later.
    pub(crate) fn retire(&self) {
        self.lock().retired = true;
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

    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    fn credit(&mut self) -> u64 {
        let consumed = self.readers.iter().map(|reader| reader.consumed).min().unwrap_or(self.came);
        consumed - std::mem::replace(&mut self.consumed, consumed)
    }
}
