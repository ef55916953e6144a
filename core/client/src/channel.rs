use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use realtime_engine::{ChannelId, ChannelState, Data, Error, Text};
use serde::Serialize;

use crate::client::{Inner, to_json};
use crate::receipt::Receipt;
use crate::route::Route;
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
