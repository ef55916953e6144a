//! The test server and the fault proxy. Their methods block for a moment, without the GIL.

use std::time::Duration;

use pyo3::prelude::*;
use realtime_bridge::{EmbeddedProxy, EmbeddedServer, Error};

use crate::error::raise;
use crate::json;

/// A server in this process.
#[derive(Debug)]
#[pyclass(frozen)]
pub(crate) struct Server(EmbeddedServer);

#[pymethods]
impl Server {
    #[new]
    fn new(py: Python<'_>, options: &str) -> PyResult<Self> {
        call(py, || EmbeddedServer::start(options)).map(Self)
    }

    #[getter]
    fn url(&self) -> &str {
        self.0.url()
    }

    fn publish(&self, py: Python<'_>, channel: &str, event: &str, payload: &Bound<'_, PyAny>) -> PyResult<u64> {
        let payload = json::encode(payload)?;
        call(py, || self.0.publish(channel, event, payload))
    }

    fn send_to_all(&self, py: Python<'_>, event: &str, payload: &Bound<'_, PyAny>) -> PyResult<usize> {
        let payload = json::encode(payload)?;
        call(py, || self.0.send_to_all(event, payload))
    }

    fn disconnect_all(&self, py: Python<'_>, code: u16) -> PyResult<()> {
        call(py, || self.0.disconnect_all(code))
    }

    fn connection_count(&self, py: Python<'_>) -> PyResult<usize> {
        call(py, || self.0.connection_count())
    }

    fn drain(&self, py: Python<'_>, spread: f64) -> PyResult<()> {
        call(py, || self.0.drain(seconds(spread)))
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        call(py, || self.0.stop())
    }
}

/// A fault-injecting proxy in this process.
#[derive(Debug)]
#[pyclass(frozen)]
pub(crate) struct FaultProxy(EmbeddedProxy);

#[pymethods]
impl FaultProxy {
    #[new]
    fn new(py: Python<'_>, target: &str) -> PyResult<Self> {
        call(py, || EmbeddedProxy::start(target)).map(Self)
    }

    #[getter]
    fn url(&self) -> &str {
        self.0.url()
    }

    fn cut(&self) {
        self.0.cut();
    }

    fn cut_connections(&self) {
        self.0.cut_connections();
    }

    fn stall(&self) {
        self.0.stall();
    }

    fn delay(&self, latency: f64) {
        self.0.delay(seconds(latency));
    }

    fn limit(&self, bytes_per_second: u64) {
        self.0.limit(bytes_per_second);
    }

    fn drop_after(&self, bytes: u64) {
        self.0.drop_after(bytes);
    }

    fn restore(&self) {
        self.0.restore();
    }

    #[getter]
    fn connections(&self) -> u64 {
        self.0.connections()
    }

    #[getter]
    fn cuts(&self) -> u64 {
        self.0.cuts()
    }

    fn stop(&self) {
        self.0.stop();
    }
}

fn call<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    py.detach(work).map_err(|e| raise(py, &e))
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
