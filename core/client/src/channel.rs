use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::{ChannelId, ChannelState, Covered, Data, Error, Gap, LoadOn, Text};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Inner, to_json};
use crate::collection::Collection;
use crate::presence::Presence;
use crate::receipt::Receipt;
use crate::route::{Loader, Route};
use crate::subscription::Subscription;

/// A channel by its name. Cheap to clone; having one subscribes to nothing.
#[derive(Clone)]
pub struct Channel {
    client: Arc<Inner>,
    id: ChannelId,
    route: Arc<Route>,
}

impl Channel {
    pub(crate) fn new(client: Arc<Inner>, id: ChannelId, route: Arc<Route>) -> Self {
        Self { client, id, route }
    }

    /// Subscribes, and waits until the server says so: every message after that comes. While there is no connection it
    /// waits for one.
    ///
    /// Fails where the server refuses the channel, and with `closed` where the client is disconnected meanwhile.
    pub async fn subscribe(&self) -> Result<Subscription, Error> {
        Subscription::open(Arc::clone(&self.client), self.id, Arc::clone(&self.route)).await
    }

    /// Loads a snapshot where messages of this channel are missing, while the messages after them wait.
    ///
    /// After every gap (in `plain`: after every reconnect), once all messages before it were taken, `load` is called with it,
    /// and the channel's messages wait until it is done. Where it returns what the snapshot contains, messages up to
    /// there are dropped and counted ([`Stats::covered`](crate::Stats::covered)). Where it fails, that is a
    /// [`ClientEvent::Error`](crate::ClientEvent::Error) with `handler_failed`, and the messages come all the same. One that
    /// is set later replaces it. With [`LoadOn::GapAndSubscribe`] it is also called when a subscription begins, with the
    /// reason `initial`; with [`LoadOn::Never`] it never is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = realtime_server::Server::default().start().await?;
    /// # let client = realtime_client::Client::connect(server.url()).await?;
    /// # async fn fetch_orders() -> std::io::Result<u64> { Ok(0) }
    /// use realtime_client::{Covered, LoadOn};
    ///
    /// let orders = client.channel("orders")?;
    /// orders.on_gap(LoadOn::GapAndSubscribe, |gap| async move {
    ///     println!("loading the orders: {}", gap.reason);
    ///     let offset = fetch_orders().await?;
    ///     Ok::<_, std::io::Error>(Some(Covered { epoch: None, offset }))
    /// });
    /// let messages = orders.subscribe().await?;
    /// # drop(messages);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_gap<F, E>(&self, on: LoadOn, load: impl Fn(Gap) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Option<Covered>, E>> + Send + 'static,
        E: fmt::Display,
    {
        let load = Arc::new(load);
        self.route.set_loader((on != LoadOn::Never).then(|| {
            Loader(Arc::new(move |gap| {
                // Called in the future, so that a panic of the closure itself is caught too.
                let load = Arc::clone(&load);
                Box::pin(async move { load(gap).await.map_err(|error| error.to_string()) })
            }))
        }));
        self.client.handle.load_on(self.id, on);
    }

    /// Publishes a value as JSON, and waits for the receipt. No subscription is needed.
    ///
    /// It is sent once a connection is there, and again after a reconnect until the server has it, exactly once. Where
    /// the outbox is full it waits for its turn (policy `wait`), fails with `queue_full` (`reject`), or has the oldest
    /// message dropped (`dropOldest`). Dropping the future does not take back what was queued.
    ///
    /// Fails with `invalid_payload` where the value cannot be JSON, and with what ended the send otherwise.
    pub async fn publish(&self, event: &str, payload: &(impl Serialize + ?Sized)) -> Result<Receipt, Error> {
        let payload = to_json(payload)?;
        self.publish_data(event, payload).await
    }

    /// The same for bytes of any kind, which `realtime.v1` carries as they are.
    pub async fn publish_bytes(&self, event: &str, payload: impl Into<Bytes>) -> Result<Receipt, Error> {
        self.publish_data(event, Data::Binary(payload.into())).await
    }

    /// Who is present in the channel. Needs no subscription.
    pub fn presence(&self) -> Result<Presence, Error> {
        let id = self.client.handle.presence(self.name())?;
        let people = self.client.state.people_or_add(id, &self.route.name);
        Ok(Presence::new(Arc::clone(&self.client), people))
    }

    /// A collection of the channel, kept in sync until it is dropped. Needs no subscription. Fails with `invalid_name`.
    pub fn collection<T: DeserializeOwned>(&self, name: &str) -> Result<Collection<T>, Error> {
        let id = self.client.handle.collection(self.name(), name)?;
        let replica = self.client.state.replica_or_add(id, name);
        Ok(Collection::open(Arc::clone(&self.client), replica))
    }

    /// The same, which shows these records until those of the server are there. They count where the collection is opened first.
    pub fn collection_with<T: DeserializeOwned + Serialize>(
        &self,
        name: &str,
        initial: &[T],
    ) -> Result<Collection<T>, Error> {
        let id = self.client.handle.collection(self.name(), name)?;
        let replica = self.client.state.replica_or_add(id, name);
        replica.seed(&self.client, to_json(initial)?.bytes())?;
        Ok(Collection::open(Arc::clone(&self.client), replica))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.route.name
    }

    /// What it does now.
    pub fn state(&self) -> ChannelState {
        self.client.handle.channel_state(self.id)
    }

    async fn publish_data(&self, event: &str, payload: Data) -> Result<Receipt, Error> {
        let event = Text::from(event);
        let handle = &self.client.handle;
        let receipt =
            self.client.sent(|request| handle.publish(request, self.id, event.clone(), payload.clone())).await?;
        Ok(Receipt::new(Some(self.route.name.clone()), receipt))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("name", &self.name()).field("state", &self.state()).finish()
    }
}
