use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use realtime_engine::{Data, Error, ErrorKind, RequestId, Stats, Status, Text, WhenFull};
use serde::Serialize;
use tokio::sync::{Mutex, oneshot};

use crate::builder::Builder;
use crate::channel::Channel;
use crate::driver::Driver;
use crate::events::{ClientEvent, Events};
use crate::handle::Handle;
use crate::receipt::Receipt;
use crate::router::Router;
use crate::state::State;
use crate::subscription::Messages;

/// How long [`Client::disconnect`] waits for the receipts of what is queued.
const FLUSH: Duration = Duration::from_secs(5);

/// Bytes that a reader consumes before the engine hears of it, where the windows are large.
const MAX_CREDIT_STEP: u64 = 64 << 10;

/// A connection to a realtime backend that looks after itself.
///
/// Cheap to clone; clones are the same client. The socket is closed once the last client, channel and subscription
/// that belongs to it is dropped, or by [`Client::disconnect`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = realtime_server::Server::default().start().await?;
/// # let url = server.url();
/// use realtime_client::Client;
///
/// let client = Client::connect(url).await?;
/// let room = client.channel("room")?;
/// let mut messages = room.subscribe().await?;
///
/// let receipt = room.publish("greeting", "hello").await?;
/// assert!(receipt.acknowledged);
///
/// let message = messages.recv().await.ok_or("the subscription ended")?;
/// assert_eq!(message.event(), "greeting");
/// assert_eq!(message.json::<String>()?, "hello");
/// client.disconnect().await;
/// # server.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) handle: Handle,
    pub(crate) state: Arc<State>,
    /// Whoever waits for room in the outbox holds this, and the others queue up behind.
    turn: Mutex<()>,
    waits: bool,
    /// Bytes that a reader consumes before the engine hears of it, at most.
    pub(crate) credit_step: u64,
}

impl Client {
    /// Connects with the default settings, or with those of a [`Config`](crate::Config); see [`Builder::connect`].
    pub async fn connect(settings: impl Into<Builder>) -> Result<Self, Error> {
        settings.into().connect().await
    }

    /// Begins with a URL or a [`Config`](crate::Config), for what those do not hold: token provider, authorities, proxy.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = realtime_server::Server::default().start().await?;
    /// # let url = server.url();
    /// use realtime_client::{Client, Config};
    /// use std::time::Duration;
    ///
    /// let mut config = Config::new(url);
    /// config.heartbeat_interval = Duration::from_secs(10);
    /// let client = Client::builder(config)
    ///     .token_provider(|| async { Ok::<_, std::io::Error>(Some("a fresh token".to_owned())) })
    ///     .connect()
    ///     .await?;
    /// # client.disconnect().await;
    /// # server.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(settings: impl Into<Builder>) -> Builder {
        settings.into()
    }

    pub(crate) fn start(settings: Builder) -> Result<Self, Error> {
        let Builder { config, transport, provider } = settings;
        let waits = config.when_full == WhenFull::Wait;
        let credit_step = (config.inbox.channel / 4).clamp(1, MAX_CREDIT_STEP);
        let state = Arc::new(State::new());
        let router = Router::new(Arc::clone(&state), provider);
        let (handle, driver) = Driver::new(config, transport, router)?;
        // Set once, here.
        let _ = state.handle.set(handle.downgrade());
        drop(tokio::spawn(driver.run()));
        handle.connect()?;
        Ok(Self { inner: Arc::new(Inner { handle, state, turn: Mutex::new(()), waits, credit_step }) })
    }

    /// Waits until the client is connected. Fails where it gives up, is disconnected, or has the status `error`.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut status = self.inner.state.status.subscribe();
        loop {
            status.borrow_and_update();
            match self.status() {
                Status::Connected => return Ok(()),
                Status::Connecting | Status::Reconnecting => {}
                Status::Disconnected => return Err(closed()),
                // The reason may still be on its way here.
                _ => {
                    if let (Status::Error, reason) = &*status.borrow() {
                        return Err(reason.clone().unwrap_or_else(closed));
                    }
                }
            }
            // Fails only without a sender, which `state` holds.
            let _ = status.changed().await;
        }
    }

    /// Connects again after [`Client::disconnect`], or after it gave up; between two attempts it tries at once.
    pub async fn reconnect(&self) -> Result<(), Error> {
        let mut events = self.events();
        self.inner.handle.connect()?;
        // Where the status is `error` already, the outcome of this attempt counts.
        while self.status() == Status::Error {
            match events.recv().await {
                Some(ClientEvent::Error(error)) if self.status() == Status::Error => return Err(error),
                Some(_) => {}
                None => return Err(closed()),
            }
        }
        self.ready().await
    }

    /// Waits up to five seconds for the receipts of what is queued, then closes the connection; what is left fails with
    /// `closed`, or with `deferred` where a durable outbox keeps it. Subscriptions end.
    pub async fn disconnect(&self) {
        self.disconnect_within(FLUSH).await;
    }

    /// The same with another patience; zero closes at once.
    pub async fn disconnect_within(&self, flush: Duration) {
        let Inner { handle, state, .. } = &*self.inner;
        let mut status = state.status.subscribe();
        handle.disconnect(flush);
        while handle.status() != Status::Disconnected && !handle.is_closed() {
            let _ = status.changed().await;
        }
        handle.until_idle().await;
        state.end_subscriptions();
        for (id, _) in state.routes() {
            handle.unsubscribe(id);
        }
    }

    /// A channel by its name. Fails with `invalid_name` where it is empty or longer than 255 bytes.
    pub fn channel(&self, name: &str) -> Result<Channel, Error> {
        let id = self.inner.handle.channel(name)?;
        let route = self.inner.state.route_or_add(id, name);
        Ok(Channel::new(Arc::clone(&self.inner), id, route))
    }

    /// Sends a value as JSON to the backend itself, not to a channel; otherwise like [`Channel::publish`].
    pub async fn send(&self, event: &str, payload: &(impl Serialize + ?Sized)) -> Result<Receipt, Error> {
        let payload = to_json(payload)?;
        let event = Text::from(event);
        let handle = &self.inner.handle;
        let receipt = self.inner.sent(|request| handle.send(request, Some(event.clone()), payload.clone())).await?;
        Ok(Receipt::new(None, receipt))
    }

    /// Sends bytes to the backend itself.
    pub async fn send_bytes(&self, payload: impl Into<Bytes>) -> Result<Receipt, Error> {
        let payload = Data::Binary(payload.into());
        let handle = &self.inner.handle;
        let receipt = self.inner.sent(|request| handle.send(request, None, payload.clone())).await?;
        Ok(Receipt::new(None, receipt))
    }

    /// The messages of the backend to this client, from now on.
    pub fn messages(&self) -> Messages {
        Messages::new(Arc::clone(&self.inner))
    }

    /// What happens to this client, from now on.
    pub fn events(&self) -> Events {
        let (events, mailbox) = Events::new();
        self.inner.state.listen(&mailbox);
        events
    }

    /// What it does now.
    pub fn status(&self) -> Status {
        self.inner.handle.status()
    }

    /// What the client is and did last, as JSON: for a report of something that went wrong. It holds no payload, no token, no URL
    /// and no session id, but channel names. See [`Session::dump`](realtime_engine::Session::dump) for what is in it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = realtime_server::Server::default().start().await?;
    /// # let client = realtime_client::Client::connect(server.url()).await?;
    /// let dump = client.dump();
    /// assert!(dump.contains("connected"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn dump(&self) -> String {
        self.inner.handle.dump()
    }

    /// The figures so far.
    pub fn stats(&self) -> Stats {
        self.inner.handle.stats()
    }

    /// Messages that came while nobody read them: of the backend without a [`Client::messages`], or of a channel in the
    /// moment of unsubscribing.
    pub fn unheard(&self) -> u64 {
        self.inner.state.unheard.load(Ordering::Relaxed)
    }
}

/// Where the outcome of a request comes.
pub(crate) type Outcome = oneshot::Receiver<crate::requests::Outcome>;

impl Inner {
    /// Makes a request at once, and waits for its outcome: one that needs no room.
    pub(crate) async fn asked(&self, ask: impl FnOnce(RequestId) -> Result<(), Error>) -> Result<(), Error> {
        let (request, outcome) = self.state.requests.add();
        if let Err(error) = ask(request) {
            self.state.requests.remove(request);
            return Err(error);
        }
        self.outcome(outcome).await.map(drop)
    }

    /// Makes a request at once; `None` where it has to wait for room, or behind others that do.
    pub(crate) fn begin<T>(
        &self,
        make: impl FnOnce(RequestId) -> Result<T, Error>,
    ) -> Result<Option<(T, Outcome)>, Error> {
        let Ok(_turn) = self.turn.try_lock() else { return Ok(None) };
        let (request, outcome) = self.state.requests.add();
        match make(request) {
            Ok(made) => Ok(Some((made, outcome))),
            Err(error) => {
                self.state.requests.remove(request);
                if error.kind == ErrorKind::QueueFull && self.waits { Ok(None) } else { Err(error) }
            }
        }
    }

    pub(crate) async fn outcome(&self, outcome: Outcome) -> crate::requests::Outcome {
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Queues a message, in turn, and waits for its outcome.
    pub(crate) async fn sent(
        &self,
        send: impl Fn(RequestId) -> Result<(), Error>,
    ) -> Result<realtime_engine::Receipt, Error> {
        let outcome = {
            let _turn = self.turn.lock().await;
            loop {
                let (request, outcome) = self.state.requests.add();
                let Err(error) = send(request) else { break outcome };
                self.state.requests.remove(request);
                if error.kind != ErrorKind::QueueFull || !self.waits {
                    return Err(error);
                }
                self.state.writable.notified().await;
            }
        };
        self.outcome(outcome).await
    }
}

pub(crate) fn to_json(payload: &(impl Serialize + ?Sized)) -> Result<Data, Error> {
    match serde_json::to_vec(payload) {
        Ok(json) => Ok(Data::Json(json.into())),
        Err(error) => {
            Err(Error::new(ErrorKind::InvalidPayload, format!("the payload cannot be written as JSON: {error}")))
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the client is closed")
}
