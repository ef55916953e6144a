use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use realtime_engine::ChannelId;

use crate::client::Inner;
use crate::mailbox::Mailbox;
use crate::readers::{Item, Readers};

/// One reader of a stream: takes a batch at a time, and gives credit for it in steps.
#[derive(Debug)]
pub(crate) struct Reader<T: Item> {
    pub(crate) client: Arc<Inner>,
    stream: Option<ChannelId>,
    readers: Arc<Readers<T>>,
    id: u64,
    mailbox: Arc<Mailbox<T>>,
    batch: VecDeque<T>,
    /// Consumed, not yet told.
    consumed: u64,
}

impl<T: Item> Reader<T> {
    pub(crate) fn new(client: Arc<Inner>, stream: Option<ChannelId>, readers: Arc<Readers<T>>) -> Self {
        let (id, mailbox) = readers.join();
        Self { client, stream, readers, id, mailbox, batch: VecDeque::new(), consumed: 0 }
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if self.batch.is_empty() && std::task::ready!(self.mailbox.poll_take(cx, &mut self.batch)).is_none() {
            return Poll::Ready(None);
        }
        let item = self.batch.pop_front();
        self.consumed += item.as_ref().map_or(0, Item::size);
        if self.batch.is_empty() || self.consumed >= self.client.credit_step {
            let consumed = std::mem::take(&mut self.consumed);
            self.client.state.consumed(self.stream, self.readers.consumed(self.id, consumed));
        }
        Poll::Ready(item)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// Leaves; whether nobody is left.
    pub(crate) fn part(&self) -> bool {
        let (credit, last) = self.readers.part(self.id);
        self.client.state.consumed(self.stream, credit);
        last
    }
}
