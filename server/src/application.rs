//! What a server does with messages that go to no channel.

use std::fmt;
use std::sync::Arc;

use crate::hub::{ConnectionId, Content};

/// Takes the messages that clients `send` to the server itself.
///
/// It is called on the thread of the network, in the order of each client: hand long work to somebody else.
pub trait Application: Send + Sync {
    /// Takes one message. What is put into the outbox goes out afterwards, in order.
    fn receive(&self, message: &Received, outbox: &mut Outbox);
}

impl fmt::Debug for dyn Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Application")
    }
}

/// A message from a client to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// From whom; names the client in an answer.
    pub connection: ConnectionId,
    /// The verified user.
    pub user: Option<Arc<str>>,
    /// `None` for a binary message.
    pub event: Option<String>,
    /// What.
    pub content: Content,
}

/// What an application wants to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(crate) orders: Vec<Order>,
}

#[derive(Debug)]
pub(crate) enum Order {
    Direct { connection: ConnectionId, event: String, content: Content },
    Publish { channel: String, event: String, content: Content },
}

impl Outbox {
    /// Sends to one client. `event` counts for JSON only.
    pub fn direct(&mut self, connection: ConnectionId, event: impl Into<String>, content: Content) {
        self.orders.push(Order::Direct { connection, event: event.into(), content });
    }

    /// Publishes to a channel.
    pub fn publish(&mut self, channel: impl Into<String>, event: impl Into<String>, content: Content) {
        self.orders.push(Order::Publish { channel: channel.into(), event: event.into(), content });
    }
}

/// Sends every message back to its sender, for tests and first steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Application for Echo {
    fn receive(&self, message: &Received, outbox: &mut Outbox) {
        let event = message.event.as_deref().unwrap_or("binary");
        outbox.direct(message.connection, event, message.content.clone());
    }
}
