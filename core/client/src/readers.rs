use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::mailbox::Mailbox;

/// What readers read.
pub(crate) trait Item: Clone {
    /// What it counts for in the inbox.
    fn size(&self) -> u64;
}

/// Where the items of a stream go: to every reader, each at its own pace. The slowest one holds the credit back.
#[derive(Debug)]
pub(crate) struct Readers<T>(Mutex<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    /// Bytes that came, ever.
    came: u64,
    /// Bytes that every reader has consumed.
    consumed: u64,
    next: u64,
    /// Nothing will come any more, for nobody.
    retired: bool,
    readers: Vec<Reader<T>>,
}

#[derive(Debug)]
struct Reader<T> {
    id: u64,
    mailbox: Arc<Mailbox<T>>,
    /// What of `came` it has consumed, or was before its time.
    consumed: u64,
}

impl<T: Item> Readers<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner { came: 0, consumed: 0, next: 0, retired: false, readers: Vec::new() }))
    }

    pub(crate) fn join(&self) -> (u64, Arc<Mailbox<T>>) {
        let mut inner = self.lock();
        let id = inner.next;
        inner.next += 1;
        let mailbox = Arc::new(Mailbox::new(None));
        if inner.retired {
            mailbox.close();
        }
        let consumed = inner.came;
        inner.readers.push(Reader { id, mailbox: Arc::clone(&mailbox), consumed });
        (id, mailbox)
    }

    /// A reader is gone. Returns the credit that only it held back, and whether nobody is left.
    pub(crate) fn part(&self, id: u64) -> (u64, bool) {
        let mut inner = self.lock();
        inner.readers.retain(|reader| reader.id != id);
        (inner.credit(), inner.readers.is_empty())
    }

    /// A reader has consumed bytes. Returns the credit that is to be given now.
    pub(crate) fn consumed(&self, id: u64, bytes: u64) -> u64 {
        let mut inner = self.lock();
        if let Some(reader) = inner.readers.iter_mut().find(|reader| reader.id == id) {
            reader.consumed += bytes;
        }
        inner.credit()
    }

    /// Hands items to every reader. Returns the credit to be given at once, and how many items nobody heard.
    pub(crate) fn deliver(&self, items: &mut VecDeque<T>) -> (u64, u64) {
        let mut inner = self.lock();
        inner.came += items.iter().map(Item::size).sum::<u64>();
        let unheard = if inner.readers.is_empty() { items.len() as u64 } else { 0 };
        if let Some((last, others)) = inner.readers.split_last() {
            for reader in others {
                reader.mailbox.put(items.iter().cloned());
            }
            last.mailbox.put_all(items);
        }
        items.clear();
        (inner.credit(), unheard)
    }

    /// No more items come to the readers of now. Returns the credit that they held back.
    pub(crate) fn end(&self) -> u64 {
        let mut inner = self.lock();
        for reader in &inner.readers {
            reader.mailbox.close();
        }
        inner.readers.clear();
        inner.credit()
    }

    /// Nothing comes any more, also to readers that join later.
    pub(crate) fn retire(&self) {
        self.lock().retired = true;
        self.end();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn credit(&mut self) -> u64 {
        let consumed = self.readers.iter().map(|reader| reader.consumed).min().unwrap_or(self.came);
        consumed - std::mem::replace(&mut self.consumed, consumed)
    }
}
