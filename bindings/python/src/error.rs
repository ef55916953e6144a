use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use realtime_bridge::{Error, ErrorKind};

use crate::json;

/// The exception of an error: `realtime_client.RealtimeError`.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let made = class(py).and_then(|class| {
        let record = error.record.as_deref().map(|record| frozen(py, record)).transpose()?;
        class.call1((
            error.code(),
            error.message.as_str(),
            error.status,
            error.close_code.map(|code| code.0),
            error.retry_after.map(|after| after.as_secs_f64()),
            record,
            error.revision,
        ))
    });
    made.map_or_else(|e| e, PyErr::from_value)
}

pub(crate) fn invalid_payload(py: Python<'_>, message: &str) -> PyErr {
    raise(py, &Error::new(ErrorKind::InvalidPayload, message))
}

/// A record that cannot be changed, as those of a collection.
fn frozen<'py>(py: Python<'py>, record: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    static FREEZE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    FREEZE.import(py, "realtime_client._frozen", "freeze")?.call1((json::decode(py, record)?,))
}

fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "realtime_client._errors", "RealtimeError")
}
