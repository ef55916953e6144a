use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use realtime_engine::wire::CloseCode;
use realtime_engine::{ChannelState, Error, Gap, Opened, Status, Text};

use crate::mailbox::Mailbox;

/// Events that wait for their reader, at most; the oldest are dropped and counted.
const CAPACITY: usize = 1024;

/// What happened to a client, besides its messages.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum ClientEvent {
    /// The status changed. `reason` says why, `retry_in` when the next attempt comes.
    Status { status: Status, reason: Option<Error>, retry_in: Option<Duration> },
    /// Connected.
    Open(Opened),
    /// A connection that was open is gone.
    Close { code: CloseCode, reason: String, reconnecting: bool },
    /// Something went wrong that belongs to no single send; the client goes on where it can.
    Error(Error),
    /// A channel changed its state.
    Channel { channel: Text, state: ChannelState, error: Option<Error> },
    /// Messages of a channel are missing and will not come.
    Gap { channel: Text, gap: Gap },
}

/// The events of a client, from when it was asked for them.
///
/// It holds at most 1024 that were not read; beyond that the oldest are dropped, and [`Events::dropped`] counts them. A
/// [`Stream`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = realtime_server::Server::default().start().await?;
/// # let url = server.url();
/// use realtime_client::{Client, ClientEvent, Status};
///
/// let client = Client::builder(url).start()?;
/// let mut events = client.events();
/// while let Some(event) = events.recv().await {
///     match event {
///         ClientEvent::Status { status: Status::Connected, .. } => break,
///         ClientEvent::Status { status, retry_in: Some(wait), .. } => println!("{status}, again in {wait:?}"),
///         ClientEvent::Gap { channel, gap } => println!("{channel} misses {:?} to {:?}", gap.from, gap.to),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Events {
    mailbox: Arc<Mailbox<ClientEvent>>,
    batch: VecDeque<ClientEvent>,
}

impl Events {
    pub(crate) fn new() -> (Self, Arc<Mailbox<ClientEvent>>) {
        let mailbox = Arc::new(Mailbox::new(Some(CAPACITY)));
        (Self { mailbox: Arc::clone(&mailbox), batch: VecDeque::new() }, mailbox)
    }

    /// The next event; `None` once the client is gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<ClientEvent> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Events that were dropped because they were not read in time.
    pub fn dropped(&self) -> u64 {
        self.mailbox.dropped()
    }
}

impl Stream for Events {
    type Item = ClientEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        let Self { mailbox, batch } = &mut *self;
        if batch.is_empty() && std::task::ready!(mailbox.poll_take(cx, batch)).is_none() {
            return Poll::Ready(None);
        }
        Poll::Ready(batch.pop_front())
    }
}
