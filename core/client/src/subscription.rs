use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use realtime_engine::{ChannelId, ChannelState, Error, ErrorKind};

use crate::client::Inner;
use crate::message::Message;
use crate::reader::Reader;
use crate::route::Route;

/// The messages of a channel, from when it was subscribed to. A [`Stream`].
///
/// Taking a message gives the server credit for the next ones: who reads slowly is sent slowly, and loses nothing within
/// what the server keeps. It lasts over reconnects. It ends when the client is disconnected by its own application, or
/// gives up, or when the server refuses the channel; [`Subscription::error`] says why. Dropping it unsubscribes, unless
/// another subscription to the same channel is left.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = realtime_server::Server::default().start().await?;
/// # let client = realtime_client::Client::connect(server.url()).await?;
/// use futures_util::StreamExt;
///
/// let room = client.channel("room")?;
/// let numbers = room.subscribe().await?;
/// for n in 1..=3 {
///     room.publish("number", &n).await?;
/// }
/// let numbers: Vec<_> = numbers.take(3).map(|message| message.json::<u32>()).collect().await;
/// assert_eq!(numbers, [Ok(1), Ok(2), Ok(3)]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Subscription {
    id: ChannelId,
    route: Arc<Route>,
    reader: Reader<Message>,
}

impl Subscription {
    /// Subscribes and waits for the server's answer.
    pub(crate) async fn open(client: Arc<Inner>, id: ChannelId, route: Arc<Route>) -> Result<Self, Error> {
        let mut state = route.state();
        let subscription = {
            let _membership = route.membership.lock().unwrap_or_else(PoisonError::into_inner);
            let reader = Reader::new(Arc::clone(&client), Some(id), Arc::clone(&route.readers));
            let subscription = Self { id, route: Arc::clone(&route), reader };
            client.handle.subscribe(&route.name)?;
            subscription
        };
        loop {
            state.borrow_and_update();
            if client.handle.channel_state(id) == ChannelState::Subscribed {
                return Ok(subscription);
            }
            if subscription.reader.is_ended() {
                let closed = || Error::new(ErrorKind::Closed, "the client was disconnected before it had subscribed");
                return Err(subscription.error().unwrap_or_else(closed));
            }
            // Fails only without a sender, which the route holds.
            let _ = state.changed().await;
        }
    }

    /// The next message; `None` once the subscription has ended. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.reader.poll_next(cx)).await
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.route.name
    }

    /// What the channel does now.
    pub fn state(&self) -> ChannelState {
        self.reader.client.handle.channel_state(self.id)
    }

    /// Why the channel failed, where it did.
    pub fn error(&self) -> Option<Error> {
        match &*self.route.state().borrow() {
            (ChannelState::Failed, error) => error.clone(),
            _ => None,
        }
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.reader.poll_next(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let _membership = self.route.membership.lock().unwrap_or_else(PoisonError::into_inner);
        if self.reader.part() {
            self.reader.client.handle.unsubscribe(self.id);
        }
    }
}

/// The messages of the backend to this client, beside all channels. A [`Stream`].
///
/// Taking a message makes room for the next ones. It ends with the client.
#[derive(Debug)]
pub struct Messages {
    reader: Reader<Message>,
}

impl Messages {
    pub(crate) fn new(client: Arc<Inner>) -> Self {
        let readers = Arc::clone(&client.state.direct.readers);
        Self { reader: Reader::new(client, None, readers) }
    }

    /// The next message; `None` once the client is gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.reader.poll_next(cx)).await
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.reader.poll_next(cx)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.reader.part();
    }
}
