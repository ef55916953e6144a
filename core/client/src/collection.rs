use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use realtime_engine::{Change, ChangeKind, ChannelId, Error, ErrorKind, Mutation, RequestId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Inner, Outcome, to_json};
use crate::reader::Reader;
use crate::readers::Item;
use crate::stream::Stream;
use crate::view::{Applied, View};

/// Records with an id that are kept equal everywhere, from [`Channel::collection`](crate::Channel::collection).
///
/// What is inserted, updated and removed here is shown at once, and at the server as soon as there is a connection. Where it
/// fails, it is taken back. Cheap to clone; it is kept in sync until the last clone, and the last of its
/// [`events`](Self::events), is dropped.
///
/// `T` is a record, as serde writes it: a JSON object whose field `id` is a string. `Box<serde_json::value::RawValue>` and
/// `serde_json::Value` take any.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = realtime_server::Server::default().start().await?;
/// # let client = realtime_client::Client::connect(server.url()).await?;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Deserialize, Serialize)]
/// struct Task {
///     id: String,
///     title: String,
///     done: bool,
/// }
///
/// let tasks = client.channel("team")?.collection::<Task>("tasks")?;
/// tasks.ready().await?;
/// let saving = tasks.insert(&serde_json::json!({"title": "write the docs", "done": false}));
/// assert_eq!(tasks.records()?[0].title, "write the docs"); // before the server has it
/// let task = saving.await?;
/// tasks.update(&task.id, &serde_json::json!({"done": true})).await?;
/// assert!(tasks.get(&task.id)?.is_some_and(|task| task.done));
/// # Ok(())
/// # }
/// ```
pub struct Collection<T> {
    watch: Arc<Watch>,
    records: PhantomData<fn() -> T>,
}

/// What is shown of a collection, and who hears of it.
#[derive(Debug)]
pub(crate) struct Replica {
    name: String,
    pub(crate) stream: Stream<RawEvent>,
    /// Held over a call to the engine, whose change is then the newest.
    view: Mutex<View>,
}

/// Keeps a collection in sync until it is dropped.
#[derive(Debug)]
struct Watch {
    client: Arc<Inner>,
    replica: Arc<Replica>,
}

impl<T: DeserializeOwned> Collection<T> {
    pub(crate) fn open(client: Arc<Inner>, replica: Arc<Replica>) -> Self {
        replica.stream.watch(&client);
        Self { watch: Arc::new(Watch { client, replica }), records: PhantomData }
    }

    /// Waits until what is shown is what the server has. While there is no connection it waits for one.
    ///
    /// Fails where the server refuses the collection, and with `closed` where the client is disconnected meanwhile.
    pub async fn ready(&self) -> Result<(), Error> {
        self.watch.replica.stream.ready(&self.watch.client).await
    }

    /// The records, in the order of their ids. Fails with `invalid_payload` where one is not a `T`.
    pub fn records(&self) -> Result<Vec<T>, Error> {
        self.view().records().values().map(|shown| parse(&shown.record)).collect()
    }

    /// The record with this id.
    pub fn get(&self, id: &str) -> Result<Option<T>, Error> {
        self.view().get(id).map(|shown| parse(&shown.record)).transpose()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.view().records().len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which change of the collection the server's record is as of; `None` where it does not have it.
    pub fn revision(&self, id: &str) -> Option<u64> {
        self.view().get(id).and_then(|shown| shown.revision)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.watch.replica.name
    }

    /// Why the server refused the collection, where it did.
    pub fn error(&self) -> Option<Error> {
        self.watch.replica.stream.error()
    }

    /// Adds a record; without an `id` it gets one (UUIDv7, which sorts by time). It is shown when this returns; the future
    /// gives the record once the server has it. Dropping the future does not take it back.
    ///
    /// Inserting the same record again changes nothing; where the id has another record, it fails with `conflict`.
    pub fn insert<R: Serialize + ?Sized>(
        &self,
        record: &R,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, R> {
        let done = self.mutate(to_json(record).map(|record| Op::Insert(record.bytes().clone())), None);
        async move { required(done.await?) }
    }

    /// Changes fields of a record: those of `patch`, which serde writes as an object; the last writer wins each field.
    pub fn update<R: Serialize + ?Sized>(
        &self,
        id: &str,
        patch: &R,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, R> {
        let done = self.mutate(to_json(patch).map(|patch| Op::Update(id.to_owned(), patch.bytes().clone())), None);
        async move { required(done.await?) }
    }

    /// The same where the server's record is at this [`revision`](Self::revision); otherwise it fails with `conflict`, and the error has
    /// the record and its revision.
    pub fn update_if<R: Serialize + ?Sized>(
        &self,
        id: &str,
        patch: &R,
        revision: u64,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, R> {
        let op = to_json(patch).map(|patch| Op::Update(id.to_owned(), patch.bytes().clone()));
        let done = self.mutate(op, Some(revision));
        async move { required(done.await?) }
    }

    /// Takes a record out; where it is not there, nothing changes.
    pub fn remove(&self, id: &str) -> impl Future<Output = Result<(), Error>> + Send + use<T> {
        let done = self.mutate(Ok(Op::Remove(id.to_owned())), None);
        async move { done.await.map(drop) }
    }

    /// The same where the server's record is at this [`revision`](Self::revision).
    pub fn remove_if(&self, id: &str, revision: u64) -> impl Future<Output = Result<(), Error>> + Send + use<T> {
        let done = self.mutate(Ok(Op::Remove(id.to_owned())), Some(revision));
        async move { done.await.map(drop) }
    }

    /// What happens to the records from now on. Who reads slowly is sent slowly.
    pub fn events(&self) -> CollectionEvents<T> {
        let Watch { client, replica } = &*self.watch;
        let reader = Reader::new(Arc::clone(client), Some(replica.stream.id), Arc::clone(&replica.stream.readers));
        CollectionEvents { reader, _watch: Arc::clone(&self.watch), records: PhantomData }
    }

    /// Makes the change at once where there is room. The future is what becomes of it: the record as it is shown then.
    fn mutate(
        &self,
        op: Result<Op, Error>,
        if_revision: Option<u64>,
    ) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send + use<T> {
        let watch = Arc::clone(&self.watch);
        let begun = op.and_then(|op| watch.begin(&op, if_revision).map(|begun| (op, begun)));
        async move {
            let (op, begun) = begun?;
            let Watch { client, replica } = &*watch;
            let (mutated, receipt) = match begun {
                Some((change, outcome)) => (Mutex::new(Some(change)), client.outcome(outcome).await),
                None => {
                    let mutated = Mutex::new(None);
                    let receipt = client.sent(|request| {
                        let change = replica.mutate(client, request, &op, if_revision)?;
                        *mutated.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
                        Ok(())
                    });
                    let receipt = receipt.await;
                    (mutated, receipt)
                }
            };
            receipt?;
            let change = mutated.into_inner().unwrap_or_else(PoisonError::into_inner);
            Ok(change.and_then(|change: Change| {
                let shown = change.record?;
                Some(replica.lock().get(&change.key).map_or(shown, |now| now.record.clone()))
            }))
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.watch.replica.lock()
    }
}

impl Watch {
    /// Tries at once, where nobody waits for room. `None` where it has to wait.
    fn begin(&self, op: &Op, if_revision: Option<u64>) -> Result<Option<(Change, Outcome)>, Error> {
        let Self { client, replica } = self;
        client.begin(|request| replica.mutate(client, request, op, if_revision))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.replica.stream.unwatch(&self.client);
    }
}

impl Replica {
    pub(crate) fn new(id: ChannelId, name: &str) -> Self {
        Self { name: name.to_owned(), stream: Stream::new(id), view: Mutex::default() }
    }

    /// Applies a change from the queue, and returns the credit to be given at once.
    pub(crate) fn queued(&self, change: Change) -> u64 {
        let mut view = self.lock();
        let applied = view.queued(&change).filter(|_| !change.initial);
        let size = change.size;
        let rollback = change.local;
        match applied {
            Some(applied) => self.tell(RawEvent::changed(change, applied, rollback)),
            None => size,
        }
    }

    pub(crate) fn synced(&self, reason: &'static str) {
        self.stream.synced();
        self.tell(RawEvent::Synced(reason));
    }

    pub(crate) fn tell(&self, event: RawEvent) -> u64 {
        self.stream.readers.deliver(&mut VecDeque::from([event])).0
    }

    /// Shows records until those of the server are there. Nothing where they were there before.
    pub(crate) fn seed(&self, client: &Inner, initial: &[u8]) -> Result<(), Error> {
        let mut view = self.lock();
        if !view.is_new() {
            return Ok(());
        }
        for change in client.handle.seed(self.stream.id, initial)? {
            view.called(&change);
        }
        Ok(())
    }

    fn mutate(&self, client: &Inner, request: RequestId, op: &Op, if_revision: Option<u64>) -> Result<Change, Error> {
        let mutation = match op {
            Op::Insert(record) => Mutation::Insert { record },
            Op::Update(key, patch) => Mutation::Update { key, patch },
            Op::Remove(key) => Mutation::Remove { key },
        };
        let mut view = self.lock();
        let change = client.handle.mutate(request, self.stream.id, mutation, if_revision)?;
        if let Some(applied) = view.called(&change) {
            self.tell(RawEvent::changed(change.clone(), applied, false));
        }
        Ok(change)
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
enum Op {
    Insert(Bytes),
    Update(String, Bytes),
    Remove(String),
}

/// What happens to a collection, from when it was asked for. A [`Stream`](futures_util::Stream).
///
/// The records that are there from the beginning come with the first [`CollectionEvent::Synced`] alone. It ends with the client.
#[derive(Debug)]
pub struct CollectionEvents<T> {
    reader: Reader<RawEvent>,
    _watch: Arc<Watch>,
    records: PhantomData<fn() -> T>,
}

impl<T> CollectionEvents<T> {
    /// The next event; `None` once the client is gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<CollectionEvent<T>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<CollectionEvent<T>>> {
        self.reader.poll_next(cx).map(|event| event.map(CollectionEvent::from_raw))
    }
}

impl<T> futures_util::Stream for CollectionEvents<T> {
    type Item = CollectionEvent<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<CollectionEvent<T>>> {
        CollectionEvents::poll_next(self, cx)
    }
}

impl<T> Drop for CollectionEvents<T> {
    fn drop(&mut self) {
        self.reader.part();
    }
}

/// What happens to a collection.
#[derive(Debug)]
#[non_exhaustive]
pub enum CollectionEvent<T> {
    /// A record is new, is another, or is gone.
    Changed(RecordChange<T>),
    /// What the server has is here. `reason`: `initial`, `resync` (after a reconnect), `diverged`.
    Synced {
        /// Why.
        reason: &'static str,
    },
    /// Records are not equal to those of the server, which must not happen; they are fetched anew.
    Diverged {
        /// At which change of the collection that was found.
        offset: u64,
    },
}

/// How what is shown of a collection has changed.
pub struct RecordChange<T> {
    raw: Box<RawChange>,
    records: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> RecordChange<T> {
    /// The record as it is shown now; `None` where it is gone. Fails with `invalid_payload` where it is not a `T`.
    pub fn record(&self) -> Result<Option<T>, Error> {
        self.raw.change.record.as_ref().map(|record| parse(record)).transpose()
    }

    /// The record as it was shown before; `None` where there was none.
    pub fn old(&self) -> Result<Option<T>, Error> {
        self.raw.old.as_ref().map(|record| parse(record)).transpose()
    }
}

impl<T> RecordChange<T> {
    /// Whether the record is new, another, or gone.
    pub fn kind(&self) -> ChangeKind {
        self.raw.kind
    }

    /// The id of the record.
    pub fn id(&self) -> &str {
        &self.raw.change.key
    }

    /// Whether this client caused it.
    pub fn is_local(&self) -> bool {
        self.raw.change.local
    }

    /// Whether a change of this client failed, and is taken back.
    pub fn is_rollback(&self) -> bool {
        self.raw.rollback
    }

    /// Which change of the collection the server's record is as of; `None` while the server does not have it.
    pub fn revision(&self) -> Option<u64> {
        self.raw.change.revision
    }
}

impl<T> fmt::Debug for RecordChange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordChange")
            .field("kind", &self.kind())
            .field("id", &self.id())
            .field("local", &self.is_local())
            .finish_non_exhaustive()
    }
}

/// An event before anybody wants to read its records.
#[derive(Clone, Debug)]
pub(crate) enum RawEvent {
    Changed(Box<RawChange>),
    Synced(&'static str),
    Diverged(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct RawChange {
    kind: ChangeKind,
    change: Change,
    old: Option<Bytes>,
    rollback: bool,
}

impl RawEvent {
    fn changed(change: Change, Applied { kind, old }: Applied, rollback: bool) -> Self {
        Self::Changed(Box::new(RawChange { kind, change, old, rollback }))
    }
}

impl Item for RawEvent {
    fn size(&self) -> u64 {
        match self {
            RawEvent::Changed(raw) => raw.change.size,
            _ => 0,
        }
    }
}

impl<T> CollectionEvent<T> {
    fn from_raw(raw: RawEvent) -> Self {
        match raw {
            RawEvent::Changed(raw) => Self::Changed(RecordChange { raw, records: PhantomData }),
            RawEvent::Synced(reason) => Self::Synced { reason },
            RawEvent::Diverged(offset) => Self::Diverged { offset },
        }
    }
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self { watch: Arc::clone(&self.watch), records: PhantomData }
    }
}

impl<T> fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.watch.replica.lock().records().len();
        f.debug_struct("Collection").field("name", &self.watch.replica.name).field("records", &records).finish()
    }
}

fn parse<T: DeserializeOwned>(record: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(record)
        .map_err(|error| Error::new(ErrorKind::InvalidPayload, format!("a record is not of this type: {error}")))
}

fn required<T: DeserializeOwned>(record: Option<Bytes>) -> Result<T, Error> {
    let gone = || Error::new(ErrorKind::InvalidPayload, "the record was removed in the meantime");
    parse(&record.ok_or_else(gone)?)
}
