//! The embedded test server.

use std::time::Duration;

use realtime_client::{Error, ErrorKind};

/// A `realtime-server` in this process, on a thread of its own. Its methods block; none for longer than a few seconds.
#[derive(Debug)]
pub struct EmbeddedServer {}

impl EmbeddedServer {
    /// Starts a server. Options as JSON with camelCase keys; all have the defaults of the server, but `port`, which is 0 (any free one).
    pub fn start(options_json: &str) -> Result<Self, Error> {
        let _ = options_json;
        Err(Error::new(ErrorKind::Unsupported, "the embedded server is not built yet"))
    }

    /// `ws://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        String::new()
    }

    /// Publishes JSON into a channel, as the server's application.
    pub fn publish(&self, channel: &str, event: &str, payload_json: &str) -> Result<u64, Error> {
        let _ = (channel, event, payload_json);
        Err(Error::new(ErrorKind::Unsupported, "the embedded server is not built yet"))
    }

    /// Closes every connection with this code.
    pub fn disconnect_all(&self, code: u16, reason: &str) {
        let _ = (code, reason);
    }

    /// Stops: waits up to `drain` for connections to leave. Idempotent.
    pub fn stop(&self, drain: Duration) {
        let _ = drain;
    }
}

/// Runs the server's command line until it ends, and returns its exit code. Blocks.
pub fn run_cli(args: Vec<String>) -> i32 {
    let _ = args;
    1
}
