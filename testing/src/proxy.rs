use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::faults::{Controls, Faults};
use crate::link;

/// A TCP proxy on a free port of `127.0.0.1` that breaks the network on demand.
///
/// Every method but [`FaultProxy::start`] is synchronous and works from any thread. Dropping it, or
/// [`FaultProxy::stop`], ends the proxy and its connections.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let server = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let target = format!("ws://{}/path", server.local_addr()?);
/// let proxy = realtime_testing::FaultProxy::start(&target).await?;
/// assert!(proxy.url().ends_with("/path"));
/// // … let a client connect to `proxy.url()`, then:
/// proxy.cut(); // the network is gone
/// proxy.restore(); // and back
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    url: String,
    controls: Arc<Controls>,
}

impl FaultProxy {
    /// Starts a proxy for `target`, a URL such as `ws://127.0.0.1:8080/path` (bytes pass as they are, so `wss://` works
    /// too where the certificate allows it). Runs on the current tokio runtime.
    pub async fn start(target: &str) -> io::Result<Self> {
        let target = Target::parse(target)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("{}://{}{}", target.scheme, listener.local_addr()?, target.rest);
        let controls = Arc::new(Controls::new());
        drop(tokio::spawn(link::accept(listener, target.address, Arc::clone(&controls))));
        Ok(Self { url, controls })
    }

    /// Where clients connect: the target's URL with the proxy's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Resets all connections, and every new one, until [`FaultProxy::restore`].
    pub fn cut(&self) {
        self.controls.change(|faults| {
            faults.cut = true;
            faults.generation += 1;
        });
    }

    /// Resets the connections of now; new ones are welcome.
    pub fn cut_connections(&self) {
        self.controls.change(|faults| faults.generation += 1);
    }

    /// Stops moving bytes, both ways, without closing anything, until [`FaultProxy::restore`]. New connections are
    /// accepted and hear nothing either.
    pub fn stall(&self) {
        self.controls.change(|faults| faults.stalled = true);
    }

    /// Delays all bytes by this, each way.
    pub fn delay(&self, latency: Duration) {
        self.controls.change(|faults| faults.delay = latency);
    }

    /// Lets at most this many bytes a second pass, each way of each connection.
    pub fn limit(&self, bytes_per_second: u64) {
        self.controls.change(|faults| faults.limit = Some(bytes_per_second.max(1)));
    }

    /// Resets a connection once this many more bytes went from the server to clients, wherever in a message that is.
    /// It happens once.
    pub fn drop_after(&self, bytes: u64) {
        self.controls.set_drop_after(Some(bytes));
    }

    /// Ends all faults. Connections that were cut stay so.
    pub fn restore(&self) {
        self.controls.set_drop_after(None);
        self.controls.change(|faults| {
            let (stopped, generation) = (faults.stopped, faults.generation);
            *faults = Faults { stopped, cut: stopped, generation, ..Faults::default() };
        });
    }

    /// Connections that were taken so far, without those that were refused.
    pub fn connections(&self) -> u64 {
        self.controls.connections()
    }

    /// Connections that a fault ended so far, without those that were refused.
    pub fn cuts(&self) -> u64 {
        self.controls.cuts()
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> u64 {
        *self.controls.open().borrow()
    }

    /// Waits until so many connections are open.
    pub async fn until_open(&self, connections: u64) {
        // Fails only without a sender, which `controls` holds.
        let _ = self.controls.open().wait_for(|open| *open == connections).await;
    }

    /// Ends the proxy: resets all connections and closes the port.
    pub fn stop(&self) {
        self.controls.change(|faults| {
            faults.stopped = true;
            faults.cut = true;
            faults.generation += 1;
        });
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A URL in the three parts that matter here.
#[derive(Debug)]
struct Target {
    scheme: String,
    address: String,
    rest: String,
}

impl Target {
    fn parse(url: &str) -> io::Result<Self> {
        let invalid = || {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{url:?} is not like ws://host:port with an explicit port"),
            )
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (address, rest) = rest.split_at(end);
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(invalid());
        }
        Ok(Self { scheme: scheme.to_owned(), address: address.to_owned(), rest: rest.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_target_keeps_its_path_and_query() {
        let target = Target::parse("ws://localhost:81/a?b=c").unwrap();
        assert_eq!(
            (target.scheme.as_str(), target.address.as_str(), target.rest.as_str()),
            ("ws", "localhost:81", "/a?b=c")
        );
        assert_eq!(Target::parse("wss://[::1]:81").unwrap().address, "[::1]:81");
    }

    #[test]
    fn a_target_needs_a_scheme_and_a_port() {
        for url in ["localhost:81", "ws://localhost", "ws://:81", "ws://localhost:port"] {
            assert_eq!(Target::parse(url).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{url}");
        }
    }
}
