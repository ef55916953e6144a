//! The server's application: what clients send to it, what it says to them, and whom it lets.

use super::histories::id_of;
use super::sends::{Outcome, To};
use super::{Checker, Id, Invariant};
use crate::guard;

/// What the application said to clients, and what they got of it.
#[derive(Debug, Default)]
pub(super) struct Directs {
    /// By client: the last connection that something came over, and its number there.
    last: Vec<(u64, u64)>,
    /// The last send of each client that the application got.
    received: Vec<u64>,
}

impl Directs {
    pub(super) fn new(clients: usize) -> Self {
        Self { last: vec![(0, 0); clients], received: vec![0; clients] }
    }
}

/// What the application says to a client: the `number`th over this connection.
pub(crate) fn direct(connection: u64, number: u64) -> String {
    format!("{{\"connection\":{connection},\"number\":{number}}}")
}

impl Checker {
    pub(super) fn may_publish(&self, client: usize, channel: usize) -> bool {
        !self.server.guarded || guard::may_publish(client, channel)
    }

    pub(crate) fn may_subscribe(&self, client: usize, channel: usize) -> bool {
        !self.server.guarded || guard::may_subscribe(client, channel)
    }

    /// The application was given something.
    pub(crate) fn received(&mut self, client: usize, payload: &[u8]) {
        self.deliveries += 1;
        let Some(id) = id_of(payload).filter(|(sender, _)| *sender == client) else {
            let what = format!("the application got something from client {client} that it never sent");
            return self.violation(Invariant::OneHistory, what);
        };
        let forgotten = self.forgotten;
        let Some(sent) = self.sent.get_mut(&id).filter(|sent| sent.to == To::Application) else {
            return self
                .violation(Invariant::OneHistory, format!("the application got {id:?}, which nobody sent to it"));
        };
        sent.received += 1;
        // A server that has lost its memory knows no repeat.
        let allowed = sent.copies + (forgotten - sent.forgotten) as usize;
        let (received, unsent, plain) = (sent.received, sent.outcome == Outcome::Unsent, self.rules[client].plain);
        if received > allowed {
            self.violation(Invariant::ExactlyOnce, format!("the application got {id:?} {received} times"));
        }
        if unsent {
            self.violation(Invariant::EverySendEnds, format!("{id:?} was dropped unsent, and reached the application"));
        }
        if received == 1 && !plain {
            let before = std::mem::replace(&mut self.directs.received[client], id.1);
            if before > id.1 {
                self.violation(Invariant::InOrder, format!("the application got {id:?} after {before}"));
            }
        }
    }

    /// A receipt says that the application has it. Only a kill between disk and application can have come in between.
    pub(super) fn acknowledged_send(&mut self, id: Id) {
        let Some(sent) = self.sent.get(&id) else { return };
        if sent.received == 0 && sent.killed == self.killed {
            self.violation(Invariant::EverySendEnds, format!("{id:?} has a receipt, and the application has it not"));
        }
        if !self.server.application {
            self.violation(Invariant::EverySendEnds, format!("{id:?} has a receipt, and there is no application"));
        }
    }

    /// A client got a message of the application: over each connection all of them up to some, in order, each once.
    pub(crate) fn direct(&mut self, client: usize, payload: &[u8]) {
        self.deliveries += 1;
        let value: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
        let (Some(connection), Some(number)) = (value["connection"].as_u64(), value["number"].as_u64()) else {
            let what = format!("client {client} got something that the application never said");
            return self.violation(Invariant::OneHistory, what);
        };
        let last = std::mem::replace(&mut self.directs.last[client], (connection, number));
        let fits = match connection == last.0 {
            true => number == last.1 + 1 || self.server.stutters && number <= last.1,
            false => connection > last.0 && number == 1,
        };
        if !fits {
            let what = format!("client {client} got {:?} of the application after {last:?}", (connection, number));
            let twice = (connection, number) <= last;
            self.violation(if twice { Invariant::ExactlyOnce } else { Invariant::InOrder }, what);
        }
    }
}
