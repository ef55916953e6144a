//! The native module of the Python package: values in, values out, nothing else.
//!
//! No Rust thread ever takes the GIL: the I/O thread writes a byte, and the event loop's own thread drains.

// The macros of PyO3 make items that nobody can document.
#![allow(missing_docs)]

mod ahead;
mod call;
mod channels;
mod connection;
mod drain;
mod error;
mod json;
mod message;
mod testing;
mod wake;

use pyo3::prelude::*;

/// The engine, the client and the test server of `realtime_client`. Not for direct use.
#[pymodule(gil_used = false)]
mod _realtime {
    use super::*;

    #[pymodule_export]
    use super::connection::Connection;
    #[pymodule_export]
    use super::json::Encoded;
    #[pymodule_export]
    use super::message::{Message, Receipt};
    #[pymodule_export]
    use super::testing::{FaultProxy, Server};

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Checks the options of a client.
    #[pyfunction]
    fn check_options(py: Python<'_>, options: &str) -> PyResult<()> {
        realtime_bridge::Options::parse(options).map(drop).map_err(|e| super::error::raise(py, &e))
    }

    /// Turns a payload into what is sent.
    #[pyfunction]
    fn encode(payload: &Bound<'_, PyAny>) -> PyResult<Encoded> {
        super::json::encode(payload).map(Encoded)
    }

    /// Runs the server's command line; returns its exit code.
    #[pyfunction]
    fn run_cli(py: Python<'_>, args: Vec<String>) -> u8 {
        py.detach(|| realtime_bridge::run_cli(args))
    }

    /// To be called in the child after a fork.
    #[pyfunction]
    fn note_fork() {
        realtime_bridge::note_fork();
    }
}
