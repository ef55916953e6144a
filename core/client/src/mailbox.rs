use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Items on their way to one reader, which takes all of them at once.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    /// With more than this the oldest are dropped and counted. `None` where the engine's windows are the bound.
    capacity: Option<usize>,
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<T>,
    reader: Option<Waker>,
    closed: bool,
    dropped: u64,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(capacity: Option<usize>) -> Self {
        let inner = Inner { items: VecDeque::new(), reader: None, closed: false, dropped: 0 };
        Self { capacity, inner: Mutex::new(inner) }
    }

    pub(crate) fn put(&self, items: impl IntoIterator<Item = T>) {
        self.change(|inside| inside.extend(items));
    }

    /// The same, without moving each of them where nothing waits. Leaves an empty queue.
    pub(crate) fn put_all(&self, items: &mut VecDeque<T>) {
        self.change(|inside| {
            if inside.is_empty() {
                std::mem::swap(inside, items);
            } else {
                inside.append(items);
            }
        });
        items.clear();
    }

    fn change(&self, change: impl FnOnce(&mut VecDeque<T>)) {
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        change(&mut inner.items);
        if let Some(over) = self.capacity.and_then(|capacity| inner.items.len().checked_sub(capacity)) {
            inner.items.drain(..over);
            inner.dropped += over as u64;
        }
        inner.wake();
    }

    /// No more comes; what is there can still be taken.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.wake();
    }

    /// Moves everything into `into`, which must be empty. `None` where nothing is there and nothing will come.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, into: &mut VecDeque<T>) -> Poll<Option<()>> {
        let mut inner = self.lock();
        if !inner.items.is_empty() {
            std::mem::swap(&mut inner.items, into);
            Poll::Ready(Some(()))
        } else if inner.closed {
            Poll::Ready(None)
        } else {
            inner.reader = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(mailbox: &Mailbox<u32>) -> Poll<Option<Vec<u32>>> {
        let mut items = VecDeque::new();
        let poll = mailbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut items);
        poll.map(|some| some.map(|()| items.into()))
    }

    #[test]
    fn the_oldest_are_dropped_and_counted() {
        let mailbox = Mailbox::new(Some(2));
        mailbox.put(1..=5);
        assert_eq!(take(&mailbox), Poll::Ready(Some(vec![4, 5])));
        assert_eq!(mailbox.dropped(), 3);
    }

    #[test]
    fn what_came_before_the_end_is_still_there() {
        let mailbox = Mailbox::new(None);
        assert_eq!(take(&mailbox), Poll::Pending);
        mailbox.put([1]);
        mailbox.close();
        mailbox.put([2]);
        assert_eq!(take(&mailbox), Poll::Ready(Some(vec![1])));
        assert_eq!(take(&mailbox), Poll::Ready(None));
    }
}
