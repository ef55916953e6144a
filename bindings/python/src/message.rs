use pyo3::prelude::*;
use pyo3::types::PyString;

/// A message that was received.
#[derive(Debug)]
#[pyclass(frozen, get_all, module = "realtime_client")]
pub(crate) struct Message {
    pub(crate) channel: Option<Py<PyString>>,
    pub(crate) event: Option<Py<PyString>>,
    pub(crate) data: Py<PyAny>,
    pub(crate) offset: Option<u64>,
    pub(crate) user: Option<Py<PyString>>,
    pub(crate) timestamp: Option<f64>,
    /// What it counts for in the inbox.
    pub(crate) _size: u64,
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (channel=None, event=None, data=None, *, offset=None, user=None, timestamp=None))]
    fn new(
        py: Python<'_>,
        channel: Option<Py<PyString>>,
        event: Option<Py<PyString>>,
        data: Option<Py<PyAny>>,
        offset: Option<u64>,
        user: Option<Py<PyString>>,
        timestamp: Option<f64>,
    ) -> Self {
        Self { channel, event, data: data.unwrap_or_else(|| py.None()), offset, user, timestamp, _size: 0 }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        represent(slf.as_any(), "Message", &["channel", "event", "data", "offset", "user", "timestamp"])
    }
}

/// What became of a send.
#[derive(Debug)]
#[pyclass(frozen, get_all, module = "realtime_client")]
pub(crate) struct Receipt {
    pub(crate) acknowledged: bool,
    pub(crate) epoch: Option<Py<PyString>>,
    pub(crate) offset: Option<u64>,
    pub(crate) duplicate: bool,
}

#[pymethods]
impl Receipt {
    #[new]
    #[pyo3(signature = (acknowledged=true, *, epoch=None, offset=None, duplicate=false))]
    fn new(acknowledged: bool, epoch: Option<Py<PyString>>, offset: Option<u64>, duplicate: bool) -> Self {
        Self { acknowledged, epoch, offset, duplicate }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        represent(slf.as_any(), "Receipt", &["acknowledged", "epoch", "offset", "duplicate"])
    }
}

fn represent(value: &Bound<'_, PyAny>, name: &str, fields: &[&str]) -> PyResult<String> {
    let fields: PyResult<Vec<_>> =
        fields.iter().map(|field| Ok(format!("{field}={}", value.getattr(*field)?.repr()?))).collect();
    Ok(format!("{name}({})", fields?.join(", ")))
}
