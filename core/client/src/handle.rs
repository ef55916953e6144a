use std::sync::{Arc, Weak};
use std::time::Duration;

use realtime_engine::wire::PresenceStatus;
use realtime_engine::{
    Change, ChannelId, ChannelState, Covered, Data, Error, ErrorKind, Input, LoadOn, Mutation, RequestId, Session,
    Stats, Status, Text, Timestamp, WhenFull,
};

use crate::shared::Shared;

/// Controls a client from any thread. No method blocks or waits: what happens comes to the [`Host`](crate::Host).
///
/// Clones control the same client. The driver closes the socket and ends once the last one is dropped.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.retain();
        Self { shared }
    }

    /// Starts to connect, and to stay so. After a disconnect a durable outbox opens its file again, which may fail with `outbox_in_use`,
    /// `outbox_damaged` or `storage_failed`.
    pub fn connect(&self) -> Result<(), Error> {
        self.change(|session, now| {
            self.shared.open_outbox(session)?;
            session.connect(now);
            Ok(())
        })
    }

    /// Disconnects. Waits up to `flush` for the receipts of what is queued; what is left then fails with `closed`,
    /// or with `deferred` where a durable outbox keeps it.
    pub fn disconnect(&self, flush: Duration) {
        // A client that has stopped is disconnected.
        let _ = self.change(|session, now| {
            session.disconnect(now, flush);
            // Where nothing is to be waited for, the file of a durable outbox is free when this returns.
            let _ = self.shared.write_outbox(session);
            self.shared.tend_outbox(session);
            Ok(())
        });
    }

    /// Disconnects at once and ends the driver. Every later call fails with `closed`.
    pub fn shutdown(&self) {
        self.shared.shutdown();
    }

    /// The id of a channel name, without subscribing.
    pub fn channel(&self, name: &str) -> Result<ChannelId, Error> {
        self.change(|session, _| session.channel(name))
    }

    /// Subscribes, now or once connected, and again after every reconnect. Idempotent.
    pub fn subscribe(&self, name: &str) -> Result<ChannelId, Error> {
        self.change(|session, now| session.subscribe(now, name))
    }

    /// Ends a subscription. Idempotent.
    pub fn unsubscribe(&self, channel: ChannelId) {
        let _ = self.change(|session, now| {
            session.unsubscribe(now, channel);
            Ok(())
        });
    }

    /// Publishes into a channel. Unless this fails, exactly one [`Event::Receipt`](crate::Event::Receipt) or
    /// [`Event::SendFailed`](crate::Event::SendFailed) with this `request` follows.
    ///
    /// With a durable outbox it is in the file when this returns; where it cannot be, this fails with `storage_failed`.
    ///
    /// Fails with `queue_full` where the outbox is full. Under the policy `wait` the caller keeps what it wanted to
    /// send, and tries again, in order, after [`Event::Writable`](crate::Event::Writable).
    pub fn publish(&self, request: RequestId, channel: ChannelId, event: Text, payload: Data) -> Result<(), Error> {
        let bytes = event.len() + payload.bytes().len();
        self.enqueue(|session, now| {
            let permit = self.reserve(session, bytes)?;
            session.publish(now, request, channel, event, payload, permit)?;
            self.shared.write_outbox(session).map(drop)
        })
    }

    /// Sends to the backend itself, like [`Handle::publish`]. JSON needs an event; binary has none.
    pub fn send(&self, request: RequestId, event: Option<Text>, payload: Data) -> Result<(), Error> {
        let bytes = event.as_ref().map_or(0, |event| event.len()) + payload.bytes().len();
        self.enqueue(|session, now| {
            let permit = self.reserve(session, bytes)?;
            session.send(now, request, event, payload, permit)?;
            self.shared.write_outbox(session).map(drop)
        })
    }

    /// Lets the sends from here on go together: the next one at once, the others with [`Handle::uncork`], or after two
    /// milliseconds. Every other call takes them along. For an event loop that sends many in one turn; it does not nest.
    pub fn cork(&self) {
        self.shared.cork.close();
    }

    /// Holds all sends from here on back until [`Handle::uncork`], for some that are made in a row, right now.
    pub fn hold(&self) {
        self.shared.cork.hold();
    }

    /// Ends [`Handle::cork`] and [`Handle::hold`]: what they held back goes now.
    pub fn uncork(&self) {
        if self.shared.cork.open() {
            self.shared.send_now();
        }
    }

    /// Has a send write to the socket from the thread that makes it, where the socket takes it at once, instead of waking the driver:
    /// a lone message goes without the way to another thread. For hosts that send what belongs together under a cork, since each write
    /// is a system call; off at first.
    pub fn write_through(&self, on: bool) {
        self.shared.set_write_through(on);
    }

    /// Tells that the application has consumed messages of a channel (`None`: direct ones); `bytes` is the sum of
    /// their `size`. Until then they count against the inbox, which is what slows a server down.
    pub fn consumed(&self, channel: Option<ChannelId>, bytes: u64) {
        self.consumed_all([(channel, bytes)]);
    }

    /// The same for many channels at once.
    pub fn consumed_all(&self, done: impl IntoIterator<Item = (Option<ChannelId>, u64)>) {
        let news = self.run(|session, now| {
            let read = session.wants_read();
            done.into_iter().for_each(|(channel, bytes)| session.consumed(now, channel, bytes));
            Ok(session.has_news() || session.wants_read() != read)
        });
        // Mostly nothing: credit is given in steps.
        if news.unwrap_or(false) {
            self.shared.wake();
        }
    }

    /// Says when a channel's messages are to wait for a snapshot: [`Event::Load`](crate::Event::Load) asks for it.
    pub fn load_on(&self, channel: ChannelId, on: LoadOn) {
        let _ = self.change(|session, now| {
            session.load_on(now, channel, on);
            Ok(())
        });
    }

    /// Answers [`Event::Load`](crate::Event::Load): the snapshot is there, and contains everything up to `covered`.
    pub fn loaded(&self, channel: ChannelId, load: u64, covered: Option<Covered>) {
        let _ = self.change(|session, now| {
            session.loaded(now, channel, load, covered);
            Ok(())
        });
    }

    /// The presence of a channel: a stream of its own, which [`Handle::watch`] subscribes to.
    pub fn presence(&self, channel: &str) -> Result<ChannelId, Error> {
        self.change(|session, _| session.presence(channel))
    }

    /// A collection of a channel: a stream of its own, which [`Handle::watch`] subscribes to.
    pub fn collection(&self, channel: &str, name: &str) -> Result<ChannelId, Error> {
        self.change(|session, _| session.collection(channel, name))
    }

    /// Subscribes to a presence or a collection, until [`Handle::unsubscribe`]. Idempotent.
    pub fn watch(&self, stream: ChannelId) {
        let _ = self.change(|session, now| {
            session.watch(now, stream);
            Ok(())
        });
    }

    /// Shows the records of a JSON array until the first snapshot of a collection is there.
    pub fn seed(&self, collection: ChannelId, initial: &[u8]) -> Result<Vec<Change>, Error> {
        self.change(|session, _| session.seed(collection, initial))
    }

    /// Makes the client present in a channel. Unless this and the next two fail, exactly one receipt or failure with this
    /// `request` follows.
    pub fn track(
        &self,
        request: RequestId,
        presence: ChannelId,
        key: Option<&str>,
        status: PresenceStatus,
        state: &[u8],
    ) -> Result<(), Error> {
        self.change(|session, now| session.track(now, request, presence, key, status, state))
    }

    /// Changes the status of what is tracked, or fields of its state.
    pub fn update_presence(
        &self,
        request: RequestId,
        presence: ChannelId,
        status: Option<PresenceStatus>,
        patch: Option<&[u8]>,
    ) -> Result<(), Error> {
        self.change(|session, now| session.update_presence(now, request, presence, status, patch))
    }

    /// Ends being present.
    pub fn untrack(&self, request: RequestId, presence: ChannelId) -> Result<(), Error> {
        self.change(|session, now| session.untrack(now, request, presence))
    }

    /// Whether the client is present in a channel, or will be once it is connected.
    pub fn is_tracked(&self, presence: ChannelId) -> bool {
        self.shared.session().tracked(presence).is_some()
    }

    /// Changes a record of a collection, as it is shown at once and, later, as the server has it. Room in the outbox, and how it
    /// ends, are as with [`Handle::publish`].
    pub fn mutate(
        &self,
        request: RequestId,
        collection: ChannelId,
        mutation: Mutation<'_>,
        if_revision: Option<u64>,
    ) -> Result<Change, Error> {
        self.enqueue(|session, now| session.mutate(now, request, collection, mutation, if_revision))
    }

    /// Answers [`Host::token`](crate::Host::token): a token, none, or why there is none.
    pub fn answer_token(&self, request: u64, result: Result<Option<String>, String>) {
        let _ = self.change(|session, now| {
            session.handle(now, Input::Token { request, result });
            Ok(())
        });
    }

    /// Whether one more send of so many bytes may wait for room in a full outbox, behind so many that wait. Fails with `queue_full`.
    pub fn wait_in_line(&self, messages: usize, waiting_bytes: usize, bytes: usize) -> Result<(), Error> {
        self.shared.session().budget().wait_in_line(messages, waiting_bytes, bytes)
    }

    /// The figures so far.
    pub fn stats(&self) -> Stats {
        self.shared.session().stats()
    }

    /// What the client is and did last, as JSON without secrets; see [`Session::dump`].
    pub fn dump(&self) -> String {
        self.shared.session().dump()
    }

    /// What the client does now.
    pub fn status(&self) -> Status {
        self.shared.session().status()
    }

    /// Waits until no socket is left, neither open nor being closed.
    pub async fn until_idle(&self) {
        // Fails only without a sender, which `shared` holds.
        let _ = self.shared.idle().wait_for(|idle| *idle).await.map(drop);
    }

    /// The driver's clock, which timestamps of [`Stats`] and events refer to.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// What a channel does now.
    pub fn channel_state(&self, channel: ChannelId) -> ChannelState {
        self.shared.session().channel_state(channel)
    }

    /// Whether the driver has ended, or is about to.
    pub fn is_closed(&self) -> bool {
        self.shared.is_stopped()
    }

    /// A handle that does not keep the driver running.
    pub fn downgrade(&self) -> WeakHandle {
        WeakHandle { shared: Arc::downgrade(&self.shared) }
    }

    /// Runs one change on the session and wakes the driver for what came of it.
    fn change<T>(&self, change: impl FnOnce(&mut Session, Timestamp) -> Result<T, Error>) -> Result<T, Error> {
        let result = self.run(change);
        self.shared.wake();
        result
    }

    /// The same for a send.
    fn enqueue<T>(&self, send: impl FnOnce(&mut Session, Timestamp) -> Result<T, Error>) -> Result<T, Error> {
        let result = self.run(send);
        match result {
            Ok(_) => self.shared.wake_for_send(),
            // What is held back may be what leaves no room.
            Err(_) => self.shared.wake(),
        }
        result
    }

    fn run<T>(&self, change: impl FnOnce(&mut Session, Timestamp) -> Result<T, Error>) -> Result<T, Error> {
        if self.shared.is_stopped() {
            return Err(Error::new(ErrorKind::Closed, "the client is closed"));
        }
        change(&mut self.shared.session(), self.shared.clock.now())
    }

    fn reserve(&self, session: &Session, bytes: usize) -> Result<realtime_engine::Permit, Error> {
        let budget = session.budget();
        match self.shared.when_full {
            WhenFull::DropOldest => Ok(budget.reserve_anyway(bytes)),
            _ => budget.reserve(bytes).ok_or_else(|| {
                let (messages, bytes) = (budget.messages(), budget.bytes());
                Error::new(
                    ErrorKind::QueueFull,
                    format!("the outbox is full: {messages} messages with {bytes} bytes wait for the server"),
                )
            }),
        }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.release();
    }
}

/// A [`Handle`] that does not keep the driver running.
#[derive(Clone, Debug)]
pub struct WeakHandle {
    shared: Weak<Shared>,
}

impl WeakHandle {
    /// The handle, where the client still runs.
    pub fn upgrade(&self) -> Option<Handle> {
        let shared = self.shared.upgrade()?;
        shared.try_retain().then_some(Handle { shared })
    }
}
