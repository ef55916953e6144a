//! One client of the host.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use realtime_client::{
    Change, ChannelId, Covered, Data, Driver, Error, ErrorKind, Handle, LoadOn, Mutation, PresenceStatus, RequestId,
    Status, Text,
};

use crate::batch::Batch;
use crate::fork::{Origin, forked};
use crate::inbox::{Inbox, watch};
use crate::options::Options;
use crate::pulse::Overdue;
use crate::report::stats_json;
use crate::runtime::CLIENTS;
use crate::sink::Sink;

/// A client on the I/O thread. No method blocks; all may be called from any thread.
///
/// Dropping it closes the socket. In a forked child every method fails with `unsupported`, and dropping does nothing.
#[derive(Debug)]
pub struct Connection {
    handle: ManuallyDrop<Handle>,
    inbox: Arc<Inbox>,
    origin: Origin,
}

impl Connection {
    /// Makes a client from [options](Options), idle until [`Connection::connect`].
    ///
    /// `wake` is called on the I/O thread when there is something to [drain](Connection::drain), then not again until
    /// `drain` has returned `None`. It must not block.
    pub fn open(options: Options, wake: impl Fn() + Send + Sync + 'static) -> Result<Self, Error> {
        let runtime = CLIENTS.handle()?;
        let _context = runtime.enter();
        let inbox = Arc::new(Inbox::new(Box::new(wake), options.config.heartbeat_interval));
        let handle = Driver::spawn(options.config, options.transport, Sink::new(Arc::clone(&inbox)))?;
        handle.write_through(true);
        drop(runtime.spawn(watch(Arc::downgrade(&inbox))));
        Ok(Self { handle: ManuallyDrop::new(handle), inbox, origin: Origin::here() })
    }

    /// Fails with `unsupported` in a forked child, also where nobody has [noted](crate::note_fork) the fork.
    pub fn check_process(&self) -> Result<(), Error> {
        if self.origin.is_here() { Ok(()) } else { Err(forked()) }
    }

    /// Starts to connect, and to stay so. After a disconnect the file of a durable outbox is opened again, which may fail.
    pub fn connect(&self) -> Result<(), Error> {
        self.check_process()?;
        self.handle.connect()
    }

    /// Disconnects. Waits up to `flush` for the receipts of what is queued; what is left then fails with `closed`, or with
    /// `deferred` where a durable outbox keeps it.
    pub fn disconnect(&self, flush: Duration) -> Result<(), Error> {
        self.check()?;
        self.handle.disconnect(flush);
        Ok(())
    }

    /// The number of a channel, without subscribing.
    pub fn channel(&self, name: &str) -> Result<u32, Error> {
        self.check()?;
        self.handle.channel(name).map(|id| id.0)
    }

    /// Subscribes, now or once connected, and again after every reconnect. Idempotent.
    pub fn subscribe(&self, name: &str) -> Result<u32, Error> {
        self.check()?;
        self.handle.subscribe(name).map(|id| id.0)
    }

    /// Ends a subscription. Idempotent.
    pub fn unsubscribe(&self, channel: u32) -> Result<(), Error> {
        self.check()?;
        self.handle.unsubscribe(ChannelId(channel));
        Ok(())
    }

    /// Publishes into a channel. Unless this fails, exactly one `Receipt` or `SendFailed` with this `request` follows.
    ///
    /// `queue_full` under the policy `wait` means: keep it, and try again, in order, after the report `writable`.
    pub fn publish(&self, request: u64, channel: u32, event: &str, payload: Data) -> Result<(), Error> {
        self.check()?;
        self.handle.publish(RequestId(request), ChannelId(channel), Text::from(event), payload)
    }

    /// Lets the sends from here on go together: the next one at once, the others with [`Connection::uncork`], or after two
    /// milliseconds.
    pub fn cork(&self) {
        if self.check().is_ok() {
            self.handle.cork();
        }
    }

    /// Holds the sends from here on back until [`Connection::uncork`], which is to come right after them.
    pub fn hold(&self) {
        if self.check().is_ok() {
            self.handle.hold();
        }
    }

    /// Ends [`Connection::cork`] and [`Connection::hold`].
    pub fn uncork(&self) {
        if self.check().is_ok() {
            self.handle.uncork();
        }
    }

    /// Sends to the backend itself, like [`Connection::publish`]. JSON needs an event; binary has none.
    pub fn send(&self, request: u64, event: Option<&str>, payload: Data) -> Result<(), Error> {
        self.check()?;
        self.handle.send(RequestId(request), event.map(Text::from), payload)
    }

    /// Whether one more send of so many bytes may wait before a full outbox, behind so many that wait. Fails with `queue_full`.
    pub fn wait_in_line(&self, messages: usize, waiting_bytes: usize, bytes: usize) -> Result<(), Error> {
        self.check()?;
        self.handle.wait_in_line(messages, waiting_bytes, bytes)
    }

    /// Tells that the application is done with messages of a channel (`None`: direct ones); `bytes` is the sum of their `size`.
    pub fn consumed(&self, channel: Option<u32>, bytes: u64) {
        if self.check().is_ok() {
            self.handle.consumed(channel.map(ChannelId), bytes);
        }
    }

    /// The same for many channels, with one look at the client.
    pub fn consumed_all(&self, done: impl IntoIterator<Item = (Option<u32>, u64)>) {
        if self.check().is_ok() {
            self.handle.consumed_all(done.into_iter().map(|(channel, bytes)| (channel.map(ChannelId), bytes)));
        }
    }

    /// Says when a channel's messages wait for a snapshot, which a `load` report asks for: after gaps, and, with `initial`, also
    /// when the subscription begins.
    pub fn load_on(&self, channel: u32, gaps: bool, initial: bool) -> Result<(), Error> {
        self.check()?;
        let on = match (gaps, initial) {
            (false, _) => LoadOn::Never,
            (true, false) => LoadOn::Gap,
            (true, true) => LoadOn::GapAndSubscribe,
        };
        self.handle.load_on(ChannelId(channel), on);
        Ok(())
    }

    /// Answers a `load` report: the snapshot contains everything up to `offset`, where that is known, of `epoch` or else of the
    /// epoch in the report.
    pub fn loaded(&self, channel: u32, load: u64, epoch: Option<String>, offset: Option<u64>) {
        if self.check().is_ok() {
            let covered = offset.map(|offset| Covered { epoch, offset });
            self.handle.loaded(ChannelId(channel), load, covered);
        }
    }

    /// The number of the presence of a channel: a stream of its own.
    pub fn presence(&self, channel: &str) -> Result<u32, Error> {
        self.check()?;
        self.handle.presence(channel).map(|id| id.0)
    }

    /// The number of a collection of a channel: a stream of its own.
    pub fn collection(&self, channel: &str, name: &str) -> Result<u32, Error> {
        self.check()?;
        self.handle.collection(channel, name).map(|id| id.0)
    }

    /// Subscribes to a presence or a collection, until [`Connection::unsubscribe`].
    pub fn watch(&self, stream: u32) -> Result<(), Error> {
        self.check()?;
        self.handle.watch(ChannelId(stream));
        Ok(())
    }

    /// Shows the records of a JSON array until the first snapshot of a collection is there.
    pub fn seed(&self, collection: u32, initial: &[u8]) -> Result<Vec<Change>, Error> {
        self.check()?;
        self.handle.seed(ChannelId(collection), initial)
    }

    /// Makes the client present, as `status` and with `state`, a JSON object. Unless this and the next two fail, exactly one
    /// `Receipt` or `SendFailed` with this `request` follows.
    pub fn track(
        &self,
        request: u64,
        presence: u32,
        key: Option<&str>,
        status: &str,
        state: &[u8],
    ) -> Result<(), Error> {
        self.check()?;
        self.handle.track(RequestId(request), ChannelId(presence), key, presence_status(status)?, state)
    }

    /// Changes the status of what is tracked, or fields of its state.
    pub fn update_presence(
        &self,
        request: u64,
        presence: u32,
        status: Option<&str>,
        patch: Option<&[u8]>,
    ) -> Result<(), Error> {
        self.check()?;
        let status = status.map(presence_status).transpose()?;
        self.handle.update_presence(RequestId(request), ChannelId(presence), status, patch)
    }

    /// Ends being present.
    pub fn untrack(&self, request: u64, presence: u32) -> Result<(), Error> {
        self.check()?;
        self.handle.untrack(RequestId(request), ChannelId(presence))
    }

    /// Whether the client is present, or will be once it is connected.
    pub fn is_tracked(&self, presence: u32) -> bool {
        self.check().is_ok() && self.handle.is_tracked(ChannelId(presence))
    }

    /// Changes a record: `op` is `insert` (with the record), `update` (with a patch) or `remove`. What is shown now comes back at
    /// once; `queue_full` and how it ends are as with [`Connection::publish`].
    pub fn mutate(
        &self,
        request: u64,
        collection: u32,
        op: &str,
        key: Option<&str>,
        payload: &[u8],
        if_revision: Option<u64>,
    ) -> Result<Change, Error> {
        self.check()?;
        let key = key.unwrap_or_default();
        let mutation = match op {
            "insert" => Mutation::Insert { record: payload },
            "update" => Mutation::Update { key, patch: payload },
            "remove" => Mutation::Remove { key },
            _ => return Err(Error::new(ErrorKind::InvalidOption, format!("there is no change of a record {op:?}"))),
        };
        self.handle.mutate(RequestId(request), ChannelId(collection), mutation, if_revision)
    }

    /// Answers a `token` report: a token, none, or why there is none.
    pub fn answer_token(&self, request: u64, result: Result<Option<String>, String>) {
        if self.check().is_ok() {
            self.handle.answer_token(request, result);
        }
    }

    /// What the client does now.
    pub fn status(&self) -> Status {
        if self.check().is_ok() { self.handle.status() } else { Status::Disconnected }
    }

    /// The figures as a JSON object in camelCase; times in milliseconds.
    pub fn stats_json(&self) -> Result<String, Error> {
        self.check()?;
        Ok(stats_json(&self.handle.stats()))
    }

    /// What the client is and did last, as a JSON object without secrets.
    pub fn dump(&self) -> Result<String, Error> {
        self.check()?;
        Ok(self.handle.dump())
    }

    /// The next batch. After a wake, call this until it returns `None`: only that arms the next wake.
    pub fn drain(&self) -> Option<Batch> {
        if self.check().is_ok() { self.inbox.pop() } else { None }
    }

    /// Raised while the host is stalled. The `stalled` report follows with the next [drain](Connection::drain).
    pub fn overdue(&self) -> &Overdue {
        self.inbox.overdue()
    }

    /// Tells that another event loop drains from now on: what waits has not waited for this one.
    pub fn take_over(&self) {
        if self.check().is_ok() {
            self.inbox.take_over();
        }
    }

    /// Gives the buffers of a batch back for the next ones.
    pub fn recycle(&self, batch: Batch) {
        if self.check().is_ok() {
            self.inbox.recycle(batch);
        }
    }

    /// Closes at once: the socket goes, what waits is dropped, and `wake` is not called any more. Idempotent.
    pub fn close(&self) {
        if self.check().is_ok() {
            self.inbox.close();
            self.handle.shutdown();
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.origin.is_likely_here() { Ok(()) } else { Err(forked()) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // In a forked child a lock may be held for ever by a thread that is not there.
        if self.origin.is_here() {
            self.close();
            // SAFETY: not used again.
            unsafe { ManuallyDrop::drop(&mut self.handle) };
        }
    }
}

fn presence_status(name: &str) -> Result<PresenceStatus, Error> {
    PresenceStatus::parse(name).ok_or_else(|| {
        let message = format!("a presence status is \"online\", \"away\" or \"busy\", not {name:?}");
        Error::new(ErrorKind::InvalidOption, message)
    })
}
