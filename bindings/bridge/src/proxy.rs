//! The embedded fault proxy.

use std::time::Duration;

use realtime_client::{Error, ErrorKind};

/// A fault-injecting proxy in this process. Its methods block; none for longer than a moment.
#[derive(Debug)]
pub struct EmbeddedProxy {}

impl EmbeddedProxy {
    /// Listens on a free port and forwards to `ws://host:port`.
    pub fn start(target: &str) -> Result<Self, Error> {
        let _ = target;
        Err(Error::new(ErrorKind::Unsupported, "the fault proxy is not built yet"))
    }

    /// `ws://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        String::new()
    }

    /// Kills all connections and refuses new ones until [`EmbeddedProxy::restore`].
    pub fn cut(&self) {}

    /// Kills all connections; new ones are accepted.
    pub fn cut_connections(&self) {}

    /// Moves no bytes, without closing, until [`EmbeddedProxy::restore`].
    pub fn stall(&self) {}

    /// Ends all faults.
    pub fn restore(&self) {}

    /// Adds latency in each direction.
    pub fn delay(&self, delay: Duration) {
        let _ = delay;
    }

    /// Bounds the bytes a second in each direction; 0 is no limit.
    pub fn limit(&self, bytes_per_second: u64) {
        let _ = bytes_per_second;
    }

    /// Cuts the current (or next) connection after so many more bytes from the server.
    pub fn drop_after(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> u64 {
        0
    }

    /// Connections that were killed.
    pub fn cuts(&self) -> u64 {
        0
    }

    /// Stops listening and kills what is open. Idempotent.
    pub fn stop(&self) {}
}
