//! The calls that are made for each message.

use pyo3::ffi;
use pyo3::prelude::*;

/// Calls with one argument. `call1` would make a tuple for it, since the stable interface of Python 3.10 has no other way that PyO3
/// takes.
pub(crate) fn call_one<'py>(callable: &Bound<'py, PyAny>, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let end: *mut ffi::PyObject = std::ptr::null_mut();
    // SAFETY: both objects are alive and the GIL is held; a null ends the arguments. What comes back is a new reference, or null with an
    // exception set.
    unsafe {
        let result = ffi::PyObject_CallFunctionObjArgs(callable.as_ptr(), argument.as_ptr(), end);
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}
