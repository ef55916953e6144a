use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind};

/// The bound of the outbox. Shared with the threads of the host, so that a send is accepted or refused where it is made.
#[derive(Debug)]
pub struct Budget {
    max_messages: usize,
    max_bytes: usize,
    reserved: Mutex<Reserved>,
}

#[derive(Debug, Default)]
struct Reserved {
    messages: usize,
    bytes: usize,
    /// Somebody was refused and waits to hear of room.
    refused: bool,
}

impl Budget {
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { max_messages, max_bytes, reserved: Mutex::default() })
    }

    /// Reserves room for a message; `None` where there is none, which the session answers with
    /// [`Event::Writable`](crate::Event::Writable) once there is. A message is always let into an empty outbox, however large.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let mut reserved = self.lock();
        let fits = reserved.messages < self.max_messages && reserved.bytes + bytes <= self.max_bytes;
        if !fits && reserved.messages > 0 {
            reserved.refused = true;
            return None;
        }
        Some(self.take(reserved, bytes))
    }

    /// Takes room without asking, for the policy `dropOldest`.
    pub fn reserve_anyway(self: &Arc<Self>, bytes: usize) -> Permit {
        self.take(self.lock(), bytes)
    }

    /// Whether one more send of so many bytes may wait for room before a full outbox, behind those that wait: under the policy
    /// `wait`, as much as fits into the outbox itself. Fails with `queue_full`.
    pub fn wait_in_line(&self, messages: usize, waiting_bytes: usize, bytes: usize) -> Result<(), Error> {
        let full = messages >= self.max_messages || waiting_bytes.saturating_add(bytes) > self.max_bytes;
        if messages == 0 || !full {
            return Ok(());
        }
        let message = format!(
            "the outbox is full, and {messages} sends already wait for room; await each send, or some of them, to go as fast as the \
             server takes them, or make the queue larger"
        );
        Err(Error::new(ErrorKind::QueueFull, message))
    }

    /// Messages that are reserved.
    pub fn messages(&self) -> usize {
        self.lock().messages
    }

    /// Bytes that are reserved.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Whether more is reserved than allowed, by more than one message.
    pub(crate) fn over(&self) -> bool {
        let reserved = self.lock();
        reserved.messages > 1 && (reserved.messages > self.max_messages || reserved.bytes > self.max_bytes)
    }

    /// Whether somebody was refused and a good part is free now; asking clears it.
    pub(crate) fn take_writable(&self) -> bool {
        let mut reserved = self.lock();
        // A quarter free: waking the host for each single place would cost a wake a message.
        let room = reserved.messages <= self.max_messages - self.max_messages.div_ceil(4)
            && reserved.bytes <= self.max_bytes - self.max_bytes.div_ceil(4);
        room && std::mem::take(&mut reserved.refused)
    }

    fn take(self: &Arc<Self>, mut reserved: MutexGuard<'_, Reserved>, bytes: usize) -> Permit {
        reserved.messages += 1;
        reserved.bytes += bytes;
        Permit { budget: Arc::clone(self), bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Reserved> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room in the outbox; dropping it gives the room back.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Permit {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut reserved = self.budget.lock();
        reserved.messages -= 1;
        reserved.bytes -= self.bytes;
    }
}
