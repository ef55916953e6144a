use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};
use realtime_bridge::{Change, ChangeKind, Data, Error, ErrorCode, ErrorKind, Options, Overdue};

use crate::channels::{Channels, DIRECT, Route};
use crate::drain::{Cursor, Drain};
use crate::error::raise;
use crate::json;
use crate::wake::Wake;

/// One client.
#[derive(Debug)]
#[pyclass(frozen)]
pub(crate) struct Connection {
    bridge: realtime_bridge::Connection,
    wake: Wake,
    /// Whether a send waits for room, instead of raising `queue_full`.
    waits: bool,
    requests: AtomicU64,
    closed: AtomicBool,
    state: Mutex<State>,
}

/// Never locked while Python code may run.
#[derive(Debug, Default)]
struct State {
    channels: Channels,
    /// A batch that a handler ended early, by Ctrl-C.
    current: Option<Cursor>,
    draining: bool,
}

#[pymethods]
impl Connection {
    #[new]
    fn new(py: Python<'_>, options: &str, waits: bool) -> PyResult<Self> {
        let options = Options::parse(options).map_err(|e| raise(py, &e))?;
        let wake = Wake::default();
        let waker = wake.clone();
        let bridge = realtime_bridge::Connection::open(options, move || waker.wake()).map_err(|e| raise(py, &e))?;
        Ok(Self {
            bridge,
            wake,
            waits,
            requests: AtomicU64::new(1),
            closed: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// Raises in a forked child.
    fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        self.bridge.check_process().map_err(|e| raise(py, &e))
    }

    fn connect(&self, py: Python<'_>) -> PyResult<()> {
        self.bridge.connect().map_err(|e| raise(py, &e))
    }

    fn disconnect(&self, py: Python<'_>, flush: f64) -> PyResult<()> {
        let flush = Duration::try_from_secs_f64(flush).unwrap_or_default();
        self.bridge.disconnect(flush).map_err(|e| raise(py, &e))
    }

    /// The number of a channel.
    fn channel(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<u32> {
        let number = self.bridge.channel(text(name, "channel name")?).map_err(|e| raise(py, &e))?;
        self.lock().channels.slot(number).name = Some(name.clone().unbind());
        Ok(number)
    }

    fn subscribe(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.bridge.subscribe(name).map(drop).map_err(|e| raise(py, &e))
    }

    fn unsubscribe(&self, py: Python<'_>, channel: u32) -> PyResult<()> {
        self.bridge.unsubscribe(channel).map_err(|e| raise(py, &e))
    }

    /// Publishes; returns the number of the request, or `None` where there is no room and the policy is to wait.
    fn publish(
        &self,
        py: Python<'_>,
        channel: u32,
        event: &Bound<'_, PyString>,
        payload: &Bound<'_, PyAny>,
    ) -> PyResult<Option<u64>> {
        let event = text(event, "event")?;
        let payload = json::encode(payload)?;
        self.enqueue(py, |request| self.bridge.publish(request, channel, event, payload))
    }

    /// Sends to the backend, as `publish` does. Bytes need no event.
    fn send(
        &self,
        py: Python<'_>,
        event: Option<&Bound<'_, PyString>>,
        payload: &Bound<'_, PyAny>,
    ) -> PyResult<Option<u64>> {
        let payload = json::encode(payload)?;
        let event = match (event, &payload) {
            (_, Data::Binary(_)) => None,
            (event, _) => event.map(|event| text(event, "type")).transpose()?,
        };
        self.enqueue(py, |request| self.bridge.send(request, event, payload))
    }

    /// Lets the sends from here on go together: the next one at once, the others with `uncork`, or soon after.
    fn cork(&self) {
        self.bridge.cork();
    }

    fn uncork(&self) {
        self.bridge.uncork();
    }

    /// Raises `queue_full` where no more sends may wait for room.
    fn wait_in_line(&self, py: Python<'_>, messages: usize, waiting_bytes: usize, size: usize) -> PyResult<()> {
        self.bridge.wait_in_line(messages, waiting_bytes, size).map_err(|e| raise(py, &e))
    }

    /// Tells that messages of a channel (`None`: of no channel) are done with.
    fn consumed(&self, channel: Option<u32>, bytes: u64) {
        self.bridge.consumed(channel, bytes);
    }

    /// Says when messages of a channel wait for a snapshot, which the report `load` asks for.
    fn load_on(&self, py: Python<'_>, channel: u32, gaps: bool, initial: bool) -> PyResult<()> {
        self.bridge.load_on(channel, gaps, initial).map_err(|e| raise(py, &e))
    }

    /// The number of the presence of a channel.
    fn presence(&self, py: Python<'_>, channel: &str) -> PyResult<u32> {
        self.bridge.presence(channel).map_err(|e| raise(py, &e))
    }

    /// The number of a collection of a channel.
    fn collection(&self, py: Python<'_>, channel: &str, name: &str) -> PyResult<u32> {
        self.bridge.collection(channel, name).map_err(|e| raise(py, &e))
    }

    /// Subscribes to one of these; `unsubscribe` ends it.
    fn watch(&self, py: Python<'_>, stream: u32) -> PyResult<()> {
        self.bridge.watch(stream).map_err(|e| raise(py, &e))
    }

    /// Makes the client present; returns the number of the request.
    fn track(
        &self,
        py: Python<'_>,
        presence: u32,
        key: Option<&Bound<'_, PyString>>,
        status: &str,
        state: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        let key = key.map(|key| text(key, "id of the user")).transpose()?;
        let state = object(state)?;
        self.request(py, |request| self.bridge.track(request, presence, key, status, &state))
    }

    /// Changes the status of what is tracked, or fields of its state; returns the number of the request.
    fn update_presence(
        &self,
        py: Python<'_>,
        presence: u32,
        status: Option<&str>,
        patch: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let patch = patch.map(object).transpose()?;
        self.request(py, |request| self.bridge.update_presence(request, presence, status, patch.as_deref()))
    }

    /// Ends being present; returns the number of the request.
    fn untrack(&self, py: Python<'_>, presence: u32) -> PyResult<u64> {
        self.request(py, |request| self.bridge.untrack(request, presence))
    }

    /// Whether the client is present, or will be once it is connected.
    fn is_tracked(&self, presence: u32) -> bool {
        self.bridge.is_tracked(presence)
    }

    /// Shows records until the server's are here. Returns what is shown: ids, records, numbers of the changes.
    fn seed<'py>(
        &self,
        py: Python<'py>,
        collection: u32,
        initial: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<(String, Bound<'py, PyAny>, u64)>> {
        let initial = object(initial)?;
        let changes = self.bridge.seed(collection, &initial).map_err(|e| raise(py, &e))?;
        changes.into_iter().map(|change| Ok((change.key.to_string(), record(py, &change)?, change.version))).collect()
    }

    /// Changes a record: `op` is `insert`, `update` or `remove`. Returns the number of the request and what is shown now: id,
    /// record, revision, number of the change, whether it is the same as before. `None` where there is no room and the policy is to wait.
    fn mutate<'py>(
        &self,
        py: Python<'py>,
        collection: u32,
        op: &str,
        key: Option<&Bound<'_, PyString>>,
        payload: Option<&Bound<'_, PyAny>>,
        if_revision: Option<u64>,
    ) -> PyResult<Option<Made<'py>>> {
        let key = key.map(|key| text(key, "id of the record")).transpose()?;
        let payload = payload.map(object).transpose()?.unwrap_or_default();
        let mut made = None;
        let request = self.enqueue(py, |request| {
            made = Some(self.bridge.mutate(request, collection, op, key, &payload, if_revision)?);
            Ok(())
        })?;
        let (Some(request), Some(change)) = (request, made) else { return Ok(None) };
        let same = change.kind == ChangeKind::Confirm;
        Ok(Some((request, change.key.to_string(), record(py, &change)?, change.revision, change.version, same)))
    }

    /// Answers the report `load`.
    fn loaded(&self, channel: u32, load: u64, epoch: Option<String>, offset: Option<u64>) {
        self.bridge.loaded(channel, load, epoch, offset);
    }

    fn answer_token(&self, request: u64, token: Option<String>, failure: Option<String>) {
        self.bridge.answer_token(request, failure.map_or(Ok(token), Err));
    }

    /// Makes `handler` the only one that is called for an event of a channel (`None`: of no channel).
    fn set_route(&self, channel: Option<u32>, event: &Bound<'_, PyString>, handler: Py<PyAny>, with_message: bool) {
        let route = Route::new(event, handler, with_message);
        self.replace_route(channel, event, route);
    }

    fn remove_route(&self, channel: Option<u32>, event: &Bound<'_, PyString>) {
        self.replace_route(channel, event, None);
    }

    #[getter]
    fn status(&self) -> &'static str {
        self.bridge.status().as_str()
    }

    fn stats(&self, py: Python<'_>) -> PyResult<String> {
        self.bridge.stats_json().map_err(|e| raise(py, &e))
    }

    fn dump(&self, py: Python<'_>) -> PyResult<String> {
        self.bridge.dump().map_err(|e| raise(py, &e))
    }

    /// Handles one batch; `True` where more may wait.
    fn drain(&self, py: Python<'_>, client: &Bound<'_, PyAny>, futures: &Bound<'_, PyDict>) -> PyResult<bool> {
        let Some(mut cursor) = self.take_cursor() else { return Ok(false) };
        let drain = Drain { py, client, futures, connection: self };
        let outcome = drain.run(&mut cursor);
        let consumed = self.lock().channels.take_consumed();
        if !consumed.is_empty() {
            self.bridge.consumed_all(consumed);
        }
        let unfinished = outcome.is_err() && !cursor.is_done();
        let mut spent = None;
        let next = if unfinished {
            Some(cursor)
        } else {
            spent = Some(cursor.into_batch());
            self.bridge.drain().map(Cursor::new)
        };
        let more = next.is_some();
        let mut state = self.lock();
        state.draining = false;
        state.current = next;
        drop(state);
        if let Some(batch) = spent {
            self.bridge.recycle(batch);
        }
        outcome.map(|()| more)
    }

    /// Whether the event loop has been blocked for long, which is new; the report `stalled` follows.
    fn take_overdue(&self) -> bool {
        self.bridge.overdue().take()
    }

    /// Another event loop drains from now on.
    fn take_over(&self) {
        self.bridge.take_over();
    }

    /// Wakes by writing to an eventfd or a pipe from now on, of which it takes a copy. `None`: only by `wait`.
    fn set_descriptor(&self, descriptor: Option<i32>) -> PyResult<()> {
        Ok(self.wake.set_descriptor(descriptor)?)
    }

    /// Blocks until there is something to drain; `False` once closed.
    fn wait(&self, py: Python<'_>) -> bool {
        py.detach(|| self.wake.wait())
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.bridge.close();
        self.wake.close();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.state.try_lock() {
            Ok(state) => state.channels.visit(&visit),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let routes = self.state.try_lock().map(|mut state| std::mem::take(&mut state.channels));
        drop(routes);
    }
}

impl Connection {
    pub(crate) fn overdue(&self) -> &Overdue {
        self.bridge.overdue()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn with_channels<T>(&self, work: impl FnOnce(&mut Channels) -> T) -> T {
        work(&mut self.lock().channels)
    }

    /// What to work on; `None` where there is nothing, or a handler runs a nested event loop.
    fn take_cursor(&self) -> Option<Cursor> {
        let mut state = self.lock();
        if state.draining {
            return None;
        }
        let cursor = state.current.take().or_else(|| self.bridge.drain().map(Cursor::new))?;
        state.draining = true;
        Some(cursor)
    }

    fn request(&self, py: Python<'_>, make: impl FnOnce(u64) -> Result<(), Error>) -> PyResult<u64> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        make(request).map(|()| request).map_err(|e| raise(py, &e))
    }

    fn enqueue(&self, py: Python<'_>, send: impl FnOnce(u64) -> Result<(), Error>) -> PyResult<Option<u64>> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        match send(request) {
            Ok(()) => Ok(Some(request)),
            Err(error) if self.waits && error.kind == ErrorKind::QueueFull => Ok(None),
            Err(error) => Err(raise(py, &error)),
        }
    }

    fn replace_route(&self, channel: Option<u32>, event: &Bound<'_, PyString>, route: Option<Route>) {
        let Ok(event) = event.to_str() else { return };
        let before =
            self.with_channels(|channels| channels.slot(channel.unwrap_or(DIRECT)).replace_route(event, route));
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The JSON of what must be an object, which bytes never are.
fn object(payload: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    match json::encode(payload)? {
        Data::Json(json) => Ok(json),
        _ => {
            let error =
                Error::new(ErrorKind::Refused(ErrorCode::InvalidRecord), "a record is a JSON object, not bytes");
            Err(raise(payload.py(), &error))
        }
    }
}

/// What a mutation has come to at once.
type Made<'py> = (u64, String, Bound<'py, PyAny>, Option<u64>, u64, bool);

/// The record of a change; `None` where it is gone.
fn record<'py>(py: Python<'py>, change: &Change) -> PyResult<Bound<'py, PyAny>> {
    match &change.record {
        Some(record) => json::decode(py, record),
        None => Ok(py.None().into_bound(py)),
    }
}

/// The UTF-8 of a string; one with lone surrogates has none.
fn text<'a>(text: &'a Bound<'_, PyString>, what: &str) -> PyResult<&'a str> {
    text.to_str().map_err(|_| {
        let message = format!("the {what} holds a lone surrogate, which UTF-8 does not have");
        raise(text.py(), &Error::new(ErrorKind::Refused(ErrorCode::InvalidName), message))
    })
}
