//! The embedded fault proxy.

use std::time::Duration;

use realtime_client::{Error, ErrorKind};
use realtime_testing::FaultProxy;

use crate::fork::Origin;
use crate::runtime::{PEERS, wait_for};

/// A [`FaultProxy`] in this process, on the thread of the embedded server.
#[derive(Debug)]
pub struct EmbeddedProxy {
    /// `None` only while it is dropped.
    proxy: Option<FaultProxy>,
    origin: Origin,
}

impl EmbeddedProxy {
    /// Listens on a free port and forwards to `target`, a URL with an explicit port.
    pub fn start(target: &str) -> Result<Self, Error> {
        let target = target.to_owned();
        let started = wait_for(&PEERS, async move { FaultProxy::start(&target).await })?;
        let proxy = started.map_err(|e| Error::new(ErrorKind::InvalidUrl, e.to_string()))?;
        Ok(Self { proxy: Some(proxy), origin: Origin::here() })
    }

    /// Where clients connect: the target's URL with the proxy's address.
    pub fn url(&self) -> &str {
        self.proxy.as_ref().map_or("", FaultProxy::url)
    }

    /// Kills all connections, and every new one, until [`EmbeddedProxy::restore`].
    pub fn cut(&self) {
        self.with(FaultProxy::cut);
    }

    /// Kills the connections of now; new ones are welcome.
    pub fn cut_connections(&self) {
        self.with(FaultProxy::cut_connections);
    }

    /// Moves no bytes, without closing anything, until [`EmbeddedProxy::restore`].
    pub fn stall(&self) {
        self.with(FaultProxy::stall);
    }

    /// Delays all bytes by this, each way.
    pub fn delay(&self, latency: Duration) {
        self.with(|proxy| proxy.delay(latency));
    }

    /// Lets at most this many bytes a second pass, each way of each connection.
    pub fn limit(&self, bytes_per_second: u64) {
        self.with(|proxy| proxy.limit(bytes_per_second));
    }

    /// Kills a connection once this many more bytes went from the server to clients. It happens once.
    pub fn drop_after(&self, bytes: u64) {
        self.with(|proxy| proxy.drop_after(bytes));
    }

    /// Ends all faults.
    pub fn restore(&self) {
        self.with(FaultProxy::restore);
    }

    /// Connections that were taken so far, without those that were refused.
    pub fn connections(&self) -> u64 {
        self.with(FaultProxy::connections).unwrap_or_default()
    }

    /// Connections that a fault ended so far, without those that were refused.
    pub fn cuts(&self) -> u64 {
        self.with(FaultProxy::cuts).unwrap_or_default()
    }

    /// Stops listening and kills what is open. Idempotent.
    pub fn stop(&self) {
        self.with(FaultProxy::stop);
    }

    fn with<T>(&self, call: impl FnOnce(&FaultProxy) -> T) -> Option<T> {
        // In a forked child its locks may be held by threads that are not there.
        if self.origin.is_here() { self.proxy.as_ref().map(call) } else { None }
    }
}

impl Drop for EmbeddedProxy {
    fn drop(&mut self) {
        if !self.origin.is_here() {
            std::mem::forget(self.proxy.take());
        }
    }
}
