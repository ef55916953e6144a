use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use realtime_bridge::{Error, ErrorKind};

/// The exception of an error: `realtime_client.RealtimeError`.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let made = class(py).and_then(|class| {
        class.call1((
            error.code(),
            error.message.as_str(),
            error.status,
            error.close_code.map(|code| code.0),
            error.retry_after.map(|after| after.as_secs_f64()),
        ))
    });
    made.map_or_else(|e| e, PyErr::from_value)
}

pub(crate) fn invalid_payload(py: Python<'_>, message: &str) -> PyErr {
    raise(py, &Error::new(ErrorKind::InvalidPayload, message))
}

fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "realtime_client._errors", "RealtimeError")
}
