//! From records to calls: decode one, call, decode the next.

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use realtime_bridge::{Batch, Kind, Record};

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
    /// Has the methods `_message`, `_result`, `_handler_failed`, `_undecodable`, `_send_failed` and `_report`.
    pub(crate) client: &'a Bound<'py, PyAny>,
    /// By number of the request.
    pub(crate) futures: &'a Bound<'py, PyDict>,
    pub(crate) connection: &'a Connection,
}

impl<'py> Drain<'_, 'py> {
    /// Handles what is left of a batch. An error is one that must end the program: what follows it is still to be handled.
    pub(crate) fn run(&self, cursor: &mut Cursor) -> PyResult<()> {
        while let Some(record) = cursor.batch.records().get(cursor.next) {
            if self.connection.is_closed() {
                cursor.next = cursor.batch.records().len();
                return Ok(());
            }
            // First, so that what fails is not handled twice.
            cursor.next += 1;
            let batch = &cursor.batch;
            match record.kind {
                Kind::Message => self.message(batch, record, record.channel)?,
                Kind::Direct => self.message(batch, record, DIRECT)?,
                Kind::Receipt => self.receipt(batch, record)?,
                Kind::SendFailed => {
                    let error = json::decode(self.py, batch.payload(record))?;
                    self.client.call_method1(pyo3::intern!(self.py, "_send_failed"), (record.request, error))?;
                }
                Kind::Report => {
                    let report = json::decode(self.py, batch.payload(record))?;
                    self.client.call_method1(pyo3::intern!(self.py, "_report"), (report,))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn message(&self, batch: &Batch, record: &Record, channel: u32) -> PyResult<()> {
        let payload = batch.payload(record);
        let data = if record.binary {
            PyBytes::new(self.py, payload).into_any()
        } else {
            match json::decode(self.py, payload) {
                Ok(data) => data,
                Err(error) => {
                    self.consume(channel, record.size);
                    let place = (channel != DIRECT).then_some(channel);
                    let error = error.into_value(self.py);
                    self.client.call_method1(pyo3::intern!(self.py, "_undecodable"), (place, error))?;
                    return Ok(());
                }
            }
        };
        let event = batch.event(record);
        let (name, route) = self.connection.with_channels(|channels| {
            let slot = channels.slot(channel);
            let route = slot.route(event.unwrap_or_default()).filter(|_| event.is_some());
            let route = route
                .map(|route| (route.event.clone_ref(self.py), route.handler.clone_ref(self.py), route.with_message));
            (slot.name.as_ref().map(|name| name.clone_ref(self.py)), route)
        });
        match route {
            Some((_, handler, false)) => self.call(channel, record.size, handler.bind(self.py).call1((data,))),
            Some((event, handler, true)) => {
                let message = self.build(batch, record, name, Some(event), data.clone())?;
                self.call(channel, record.size, handler.bind(self.py).call1((data, message)))
            }
            None => {
                let event = event.map(|event| text(self.py, event));
                let message = self.build(batch, record, name, event, data)?;
                let place = (channel != DIRECT).then_some(channel);
                let method = pyo3::intern!(self.py, "_message");
                // Counted first: what the method raises must not keep the bytes.
                self.consume(channel, record.size);
                if self.client.call_method1(method, (place, message, record.implied))?.is_truthy()? {
                    self.take_back(channel, record.size);
                }
                Ok(())
            }
        }
    }

    /// What a handler that was called directly has returned or raised.
    fn call(&self, channel: u32, size: u64, outcome: PyResult<Bound<'py, PyAny>>) -> PyResult<()> {
        self.consume(channel, size);
        let place = (channel != DIRECT).then_some(channel);
        match outcome {
            Ok(result) if result.is_none() => Ok(()),
            Ok(result) => {
                let method = pyo3::intern!(self.py, "_result");
                if self.client.call_method1(method, (place, result, size))?.is_truthy()? {
                    self.take_back(channel, size);
                }
                Ok(())
            }
            Err(error) if ends_the_program(self.py, &error) => Err(error),
            Err(error) => {
                let method = pyo3::intern!(self.py, "_handler_failed");
                self.client.call_method1(method, (error.into_value(self.py),)).map(drop)
            }
        }
    }

    fn receipt(&self, batch: &Batch, record: &Record) -> PyResult<()> {
        let pop = pyo3::intern!(self.py, "pop");
        let future = self.futures.call_method1(pop, (record.request, self.py.None()))?;
        if future.is_none() {
            return Ok(());
        }
        let receipt = Receipt {
            acknowledged: record.acknowledged,
            epoch: batch.event(record).map(|epoch| text(self.py, epoch)),
            offset: record.offset,
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
            offset: record.offset,
            user: batch.user(record).map(|user| text(self.py, user)),
            timestamp: record.timestamp.map(|ms| ms as f64 / 1000.0),
            _size: record.size,
        };
        Bound::new(self.py, message)
    }

    fn consume(&self, channel: u32, bytes: u64) {
        self.connection.with_channels(|channels| channels.consume(channel, bytes));
    }

    fn take_back(&self, channel: u32, bytes: u64) {
        self.connection.with_channels(|channels| channels.take_back(channel, bytes));
    }
}

fn ends_the_program(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// Names are UTF-8: both dialects refuse others.
fn text(py: Python<'_>, utf8: &[u8]) -> Py<PyString> {
    PyString::new(py, &String::from_utf8_lossy(utf8)).unbind()
}
