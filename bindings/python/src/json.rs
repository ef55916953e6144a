//! Payloads: JSON text from and to Python objects, by orjson.

use bytes::Bytes;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple};
use realtime_bridge::Data;

use crate::call::call_one;
use crate::error::invalid_payload;

/// orjson turns integers beyond 64 bits into floats; the shortest of those have so many digits.
const LONG_DIGITS: usize = 19;

static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A payload that was encoded already.
#[derive(Debug)]
#[pyclass(frozen)]
pub(crate) struct Encoded(pub(crate) Data);

#[pymethods]
impl Encoded {
    fn __len__(&self) -> usize {
        self.0.bytes().len()
    }
}

/// What is sent for a payload: bytes as they are, everything else as JSON.
///
/// Raises `invalid_payload` for what JSON cannot carry.
pub(crate) fn encode(payload: &Bound<'_, PyAny>) -> PyResult<Data> {
    let py = payload.py();
    if let Ok(encoded) = payload.cast::<Encoded>() {
        return Ok(encoded.get().0.clone());
    }
    if let Some(bytes) = binary(payload)? {
        return Ok(Data::Binary(bytes));
    }
    static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let written = match call_one(DUMPS.import(py, "orjson", "dumps")?, payload) {
        Ok(written) => written,
        Err(error) if error.is_instance_of::<PyException>(py) => {
            static SLOWLY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            SLOWLY.import(py, "realtime_client._json", "dumps_slowly")?.call1((payload, error.into_value(py)))?
        }
        Err(error) => return Err(error),
    };
    let json = written.cast::<PyBytes>()?.as_bytes();
    // orjson writes a number that is not finite as null.
    if memchr::memmem::find(json, b"null").is_some() && has_non_finite(payload)? {
        return Err(invalid_payload(py, "the payload holds a NaN or an infinity, which JSON does not have"));
    }
    Ok(Data::Json(Bytes::copy_from_slice(json)))
}

/// A JSON value as Python objects. Integers are exact, whatever their size.
pub(crate) fn decode<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let text = PyBytes::new(py, json);
    if !has_long_digits(json) {
        match call_one(LOADS.import(py, "orjson", "loads")?, &text) {
            Err(error) if error.is_instance_of::<PyException>(py) => {}
            done => return done,
        }
    }
    static EXACTLY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    EXACTLY.import(py, "realtime_client._json", "loads_exactly")?.call1((text,))
}

/// JSON values as a list of so many Python objects, by one call of the parser. `None` where that does not come out: then each is to be
/// decoded by itself, which says which one is wrong.
pub(crate) fn decode_together<'py, 'a>(
    py: Python<'py>,
    values: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> PyResult<Option<Bound<'py, PyList>>> {
    if values.clone().any(has_long_digits) {
        return Ok(None);
    }
    let count = values.len();
    // Each has a bracket or a comma in front; the last bracket is behind.
    let length = values.clone().map(|value| value.len() + 1).sum::<usize>() + 1;
    let text = PyBytes::new_with(py, length, |text| {
        let mut at = 0;
        for value in values {
            text[at] = if at == 0 { b'[' } else { b',' };
            text[at + 1..at + 1 + value.len()].copy_from_slice(value);
            at += 1 + value.len();
        }
        text[at] = b']';
        Ok(())
    })?;
    let parsed = match call_one(LOADS.import(py, "orjson", "loads")?, &text) {
        Err(error) if error.is_instance_of::<PyException>(py) => return Ok(None),
        parsed => parsed?,
    };
    Ok(parsed.cast_into::<PyList>().ok().filter(|list| list.len() == count))
}

/// The bytes of an object that is bytes.
pub(crate) fn binary(payload: &Bound<'_, PyAny>) -> PyResult<Option<Bytes>> {
    if let Ok(bytes) = payload.cast::<PyBytes>() {
        return Ok(Some(Bytes::copy_from_slice(bytes.as_bytes())));
    }
    if let Ok(bytes) = payload.cast::<PyByteArray>() {
        return Ok(Some(Bytes::from(bytes.to_vec())));
    }
    if payload.is_instance_of::<PyMemoryView>() {
        let bytes = payload.call_method0("tobytes")?;
        return Ok(Some(Bytes::copy_from_slice(bytes.cast::<PyBytes>()?.as_bytes())));
    }
    Ok(None)
}

/// Whether there are that many digits in a row. A row of `LONG_DIGITS` covers one byte in so many.
fn has_long_digits(json: &[u8]) -> bool {
    json.iter().enumerate().skip(LONG_DIGITS - 1).step_by(LONG_DIGITS).any(|(at, byte)| {
        byte.is_ascii_digit() && {
            let before = json[..at].iter().rev().take_while(|b| b.is_ascii_digit()).count();
            let after = json[at..].iter().take_while(|b| b.is_ascii_digit()).count();
            before + after >= LONG_DIGITS
        }
    })
}

/// Looks for a float that is not finite in what orjson has written, which nests less than 255 levels.
fn has_non_finite(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if value.is_none()
        || value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBool>()
        || value.is_instance_of::<PyInt>()
    {
        return Ok(false);
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(!float.value().is_finite());
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        return any_non_finite(dict.values().iter());
    }
    if let Ok(list) = value.cast::<PyList>() {
        return any_non_finite(list.iter());
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return any_non_finite(tuple.iter());
    }
    // What orjson writes besides: dataclasses, enums, dates, UUIDs.
    static PARTS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let parts = PARTS.import(value.py(), "realtime_client._json", "parts")?.call1((value,))?;
    any_non_finite(parts.cast::<PyList>()?.iter())
}

fn any_non_finite<'py>(values: impl Iterator<Item = Bound<'py, PyAny>>) -> PyResult<bool> {
    for value in values {
        if has_non_finite(&value)? {
            return Ok(true);
        }
    }
    Ok(false)
}
