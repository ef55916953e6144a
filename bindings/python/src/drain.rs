//! From records to calls: decode one, or a few small ones, call, decode the next.

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use realtime_bridge::{Batch, Kind, Record};

use crate::ahead::Ahead;
use crate::call::call_one;
use crate::channels::DIRECT;
use crate::connection::Connection;
use crate::json;
use crate::message::{Message, Receipt};

/// A batch, and how far it was handled.
#[derive(Debug)]
pub(crate) struct Cursor {
    batch: Batch,
    next: usize,
}

impl Cursor {
    pub(crate) fn new(batch: Batch) -> Self {
        Self { batch, next: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.batch.records().len()
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }
}

/// One drain, in the thread of the event loop.
pub(crate) struct Drain<'a, 'py> {
    pub(crate) py: Python<'py>,
    /// Has the methods `_message`, `_result`, `_blocked`, `_handler_failed`, `_undecodable`, `_send_failed`, `_change`,
    /// `_presence` and `_report`.
    pub(crate) client: &'a Bound<'py, PyAny>,
    /// By number of the request.
    pub(crate) futures: &'a Bound<'py, PyDict>,
    pub(crate) connection: &'a Connection,
}

impl<'py> Drain<'_, 'py> {
    /// Handles what is left of a batch. An error is one that must end the program: what follows it is still to be handled.
    pub(crate) fn run(&self, cursor: &mut Cursor) -> PyResult<()> {
        if self.connection.overdue().take() {
            // By nothing that is called here.
            self.client.call_method0(pyo3::intern!(self.py, "_blocked"))?;
        }
        let mut ahead = Ahead::default();
        while let Some(record) = cursor.batch.records().get(cursor.next) {
            if self.connection.is_closed() {
                cursor.next = cursor.batch.records().len();
                return Ok(());
            }
            // First, so that what fails is not handled twice.
            cursor.next += 1;
            let batch = &cursor.batch;
            match record.kind {
                Kind::Message | Kind::Direct => {
                    let payload = batch.payload(record);
                    let data = match record.binary {
                        true => Ok(PyBytes::new(self.py, payload).into_any()),
                        false => ahead.payload(self.py, batch, &batch.records()[cursor.next - 1..]),
                    };
                    let channel = if record.kind == Kind::Message { record.channel } else { DIRECT };
                    self.message(batch, record, channel, data)?;
                }
                Kind::Receipt => self.receipt(batch, record)?,
                Kind::SendFailed => {
                    let error =
                        json::decode(self.py, batch.payload(record)).or_else(|error| self.unreadable(&error))?;
                    self.client.call_method1(pyo3::intern!(self.py, "_send_failed"), (record.request(), error))?;
                }
                Kind::Change => self.change(batch, record)?,
                Kind::Presence => self.presence(batch, record)?,
                Kind::Report => match json::decode(self.py, batch.payload(record)) {
                    Ok(report) => drop(self.client.call_method1(pyo3::intern!(self.py, "_report"), (report,))?),
                    Err(error) => self.undecodable(None, error)?,
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn message(&self, batch: &Batch, record: &Record, channel: u32, data: PyResult<Bound<'py, PyAny>>) -> PyResult<()> {
        let event = batch.event(record);
        // Counted as consumed before anybody is called: what fails must not keep its bytes.
        let (name, route) = self.connection.with_channels(|channels| {
            let slot = channels.slot(channel);
            slot.consumed += record.size();
            let route = event.and_then(|event| slot.route(event)).map(|route| route.clone_ref(self.py));
            let name = slot.name.as_ref().filter(|_| route.as_ref().is_none_or(|route| route.with_message));
            (name.map(|name| name.clone_ref(self.py)), route)
        });
        let data = match data {
            Ok(data) => data,
            Err(error) => return self.undecodable(place(channel), error),
        };
        let Some(route) = route else {
            let event = event.map(|event| text(self.py, event));
            let message = self.build(batch, record, name, event, data)?;
            let method = pyo3::intern!(self.py, "_message");
            let deferred = self.client.call_method1(method, (place(channel), message, record.implied))?;
            return self.defer(channel, record.size(), &deferred);
        };
        let handler = route.handler.bind(self.py);
        let outcome = if route.with_message {
            let event = route.event.clone_ref(self.py);
            let message = self.build(batch, record, name, Some(event), data.clone())?;
            handler.call1((data, message))
        } else {
            call_one(handler, &data)
        };
        if self.connection.overdue().take() {
            let method = pyo3::intern!(self.py, "_blocked");
            self.client.call_method1(method, (place(channel), route.event.bind(self.py), handler))?;
        }
        match outcome {
            Ok(result) if result.is_none() => Ok(()),
            Ok(result) => {
                let method = pyo3::intern!(self.py, "_result");
                let event = route.event.bind(self.py);
                let deferred =
                    self.client.call_method1(method, (place(channel), event, handler, result, record.size()))?;
                self.defer(channel, record.size(), &deferred)
            }
            Err(error) if ends_the_program(self.py, &error) => Err(error),
            Err(error) => {
                let method = pyo3::intern!(self.py, "_handler_failed");
                self.client.call_method1(method, (error.into_value(self.py),)).map(drop)
            }
        }
    }

    /// What is JSON may still be nested deeper than Python reads.
    fn undecodable(&self, channel: Option<u32>, error: PyErr) -> PyResult<()> {
        let method = pyo3::intern!(self.py, "_undecodable");
        self.client.call_method1(method, (channel, error.into_value(self.py))).map(drop)
    }

    /// The failure of a send that cannot be read: it ends all the same.
    fn unreadable(&self, error: &PyErr) -> PyResult<Bound<'py, PyAny>> {
        let report = PyDict::new(self.py);
        report.set_item("code", "malformed")?;
        report.set_item("message", format!("it was refused, for a reason that cannot be read: {error}"))?;
        Ok(report.into_any())
    }

    fn presence(&self, batch: &Batch, record: &Record) -> PyResult<()> {
        let told = match json::decode(self.py, batch.payload(record)) {
            Ok(told) => told,
            Err(error) => return self.left_out(record, error),
        };
        let method = pyo3::intern!(self.py, "_presence");
        let deferred = self.client.call_method1(method, (record.channel, told, record.size()))?;
        self.consume(record, &deferred)
    }

    /// Of a stream: what cannot be read is consumed.
    fn left_out(&self, record: &Record, error: PyErr) -> PyResult<()> {
        self.connection.with_channels(|channels| channels.slot(record.channel).consumed += record.size());
        self.undecodable(Some(record.channel), error)
    }

    fn change(&self, batch: &Batch, record: &Record) -> PyResult<()> {
        let shown = match record.has_record.then(|| json::decode(self.py, batch.payload(record))).transpose() {
            Ok(shown) => shown,
            Err(error) => return self.left_out(record, error),
        };
        let arguments = (
            record.channel,
            batch.event(record).map(|id| text(self.py, id)),
            shown,
            record.offset(),
            record.request(),
            record.confirms,
            record.initial,
            record.local,
            record.size(),
        );
        let deferred = self.client.call_method1(pyo3::intern!(self.py, "_change"), arguments)?;
        self.consume(record, &deferred)
    }

    /// Counts a record as consumed, where it was not put aside.
    fn consume(&self, record: &Record, deferred: &Bound<'py, PyAny>) -> PyResult<()> {
        if !deferred.is_truthy()? {
            self.connection.with_channels(|channels| channels.slot(record.channel).consumed += record.size());
        }
        Ok(())
    }

    /// Where `deferred` is true the message was put aside, and is consumed later.
    fn defer(&self, channel: u32, size: u64, deferred: &Bound<'py, PyAny>) -> PyResult<()> {
        if deferred.is_truthy()? {
            self.connection.with_channels(|channels| channels.take_back(channel, size));
        }
        Ok(())
    }

    fn receipt(&self, batch: &Batch, record: &Record) -> PyResult<()> {
        let Some(future) = self.futures.get_item(record.request())? else { return Ok(()) };
        self.futures.del_item(record.request())?;
        let receipt = Receipt {
            acknowledged: record.acknowledged,
            epoch: batch.event(record).map(|epoch| text(self.py, epoch)),
            offset: record.offset(),
            duplicate: record.duplicate,
        };
        // Raises for one that was cancelled, which wants no result.
        match future.call_method1(pyo3::intern!(self.py, "set_result"), (receipt,)) {
            Err(error) if ends_the_program(self.py, &error) => Err(error),
            _ => Ok(()),
        }
    }

    fn build(
        &self,
        batch: &Batch,
        record: &Record,
        channel: Option<Py<PyString>>,
        event: Option<Py<PyString>>,
        data: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Message>> {
        let message = Message {
            channel,
            event,
            data: data.unbind(),
            offset: record.offset(),
            user: batch.user(record).map(|user| text(self.py, user)),
            timestamp: record.timestamp().map(|ms| ms as f64 / 1000.0),
            _size: record.size(),
        };
        Bound::new(self.py, message)
    }
}

/// The number of a channel as the client knows it; `None` for messages of no channel.
fn place(channel: u32) -> Option<u32> {
    (channel != DIRECT).then_some(channel)
}

fn ends_the_program(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// Names are UTF-8: both dialects refuse others.
fn text(py: Python<'_>, utf8: &[u8]) -> Py<PyString> {
    PyString::new(py, &String::from_utf8_lossy(utf8)).unbind()
}
