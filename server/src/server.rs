use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use realtime_engine::wire::{CloseCode, Op, Position};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::ServerConfig;
use crate::hub::{Content, Current, Member, MutateError, PublishError, Stats};
use crate::net::{Listener, Shared};
use crate::store::{SqliteStore, Store};

/// How long after the spread of a drain the rest is closed.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// A server that has not started yet.
#[derive(Clone, Debug, Default)]
pub struct Server {
    config: ServerConfig,
}

impl Server {
    /// A server with these settings.
    pub fn new(config: ServerConfig) -> Self {
        Self { config }
    }

    /// Binds the port and serves on the current tokio runtime, which may be of either kind, until
    /// [`stop`](RunningServer::stop) or until the handle is dropped.
    pub async fn start(self) -> io::Result<RunningServer> {
        match self.config.data.clone() {
            None => {
                let shared = Arc::new(Shared::new(self.config, seed()?));
                serve(shared).await
            }
            Some(directory) => {
                let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&directory)).await;
                let store = opened.map_err(io::Error::other)?.map_err(io::Error::other)?;
                self.start_with(Box::new(store)).await
            }
        }
    }

    /// Starts with a store of your own, and goes on with what it holds.
    pub async fn start_with(self, store: Box<dyn Store>) -> io::Result<RunningServer> {
        let seed = seed()?;
        let restored = tokio::task::spawn_blocking(move || Shared::durable(self.config, seed, store)).await;
        let shared = restored.map_err(io::Error::other)??;
        match serve(shared.clone()).await {
            Ok(server) => Ok(server),
            Err(error) => {
                shared.stop_writing();
                shared.written().await;
                Err(error)
            }
        }
    }
}

fn seed() -> io::Result<u64> {
    getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
}

async fn serve(shared: Arc<Shared>) -> io::Result<RunningServer> {
    let listener = Listener::bind(shared.clone()).await?;
    let addr = listener.addr()?;
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(listener.run(stopped));
    tracing::info!(%addr, "listening");
    Ok(RunningServer { shared, addr, stop, task })
}

/// A server that serves.
#[derive(Debug)]
pub struct RunningServer {
    shared: Arc<Shared>,
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningServer {
    /// Where clients connect to: `ws://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        let config = &self.shared.config;
        let scheme = if config.tls.is_some() { "wss" } else { "ws" };
        match config.host.parse::<IpAddr>() {
            // A name: certificates are made out to names.
            Err(_) => format!("{scheme}://{}:{}", config.host, self.addr.port()),
            Ok(_) => format!("{scheme}://{}", reachable(self.addr)),
        }
    }

    /// The address that is listened on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Publishes a message of the server itself, which carries no user.
    pub fn publish(&self, channel: &str, event: &str, content: &Content) -> Result<Position, PublishError> {
        self.shared.with(|hub, now| hub.publish(now, channel, event, content))
    }

    /// Sends a message of the application to every client, and says to how many.
    pub fn send_to_all(&self, event: &str, content: &Content) -> Result<usize, PublishError> {
        self.shared.with(|hub, now| {
            let mut count = 0;
            for id in hub.connection_ids() {
                count += usize::from(hub.direct(now, id, event, content)?);
            }
            Ok(count)
        })
    }

    /// Who is present in a channel.
    pub fn members(&self, channel: &str) -> Vec<Member> {
        self.shared.with(|hub, _| hub.members(channel))
    }

    /// The records of a collection, in the order of their keys' bytes.
    pub fn records(&self, channel: &str, collection: &str) -> Vec<Current> {
        self.shared.with(|hub, _| hub.records(channel, collection))
    }

    /// One record of a collection.
    pub fn record(&self, channel: &str, collection: &str, key: &str) -> Option<Current> {
        self.shared.with(|hub, _| hub.record(channel, collection, key))
    }

    /// Changes a record in the name of the server itself, and says at which position; see [`Hub::mutate`](crate::hub::Hub::mutate).
    pub fn mutate(
        &self,
        channel: &str,
        collection: &str,
        key: &str,
        op: Op<'_>,
        if_revision: Option<u64>,
    ) -> Result<Position, MutateError> {
        self.shared.with(|hub, now| hub.mutate(now, channel, collection, key, op, if_revision))
    }

    /// Closes every connection. The code says whether clients come back.
    pub fn disconnect_all(&self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        self.shared.with(|hub, now| hub.close_all(now, code, reason));
    }

    /// How many clients are connected.
    pub fn connection_count(&self) -> usize {
        usize::try_from(self.stats().connections).unwrap_or(usize::MAX)
    }

    /// Counters up to now.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Why the store fails, while it does; `None` where it works, or is in memory.
    pub fn store_trouble(&self) -> watch::Receiver<Option<String>> {
        self.shared.trouble()
    }

    /// Sends everybody away, at random times within `spread`, and refuses newcomers; the server goes on listening. Ends
    /// when everybody is gone, at the latest five seconds after the spread.
    pub async fn drain(&self, spread: Duration) {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.shared.with(|hub, now| hub.drain(now, ms(spread), ms(DRAIN_GRACE)));
        let end = spread + DRAIN_GRACE + Duration::from_secs(2);
        let _ = tokio::time::timeout(end, self.shared.empty()).await;
    }

    /// Closes every connection with 4000 and frees the port, which takes about half a second at most. Then writes what the
    /// store has to know and closes it.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
        self.shared.written().await;
        tracing::info!(addr = %self.addr, "stopped");
    }
}

/// An address that a client on this machine can connect to.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), addr.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), addr.port()),
        _ => addr,
    }
}
