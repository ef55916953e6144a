use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use realtime_engine::wire::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, largest};
use super::handshake;
use super::shared::Shared;
use super::socket::Socket;
use crate::config::Tls;

/// Sockets beside the connections that may be in their handshake.
const HANDSHAKES: usize = 1024;
/// How long connections have to say goodbye when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Accepts sockets, one task each, until it is told to stop.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Listener {
    pub(crate) async fn bind(shared: Arc<Shared>) -> io::Result<Self> {
        let listener = TcpListener::bind((shared.config.host.as_str(), shared.config.port)).await?;
        Ok(Self { listener, shared })
    }

    pub(crate) fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` changes, or its sender is gone. Then closes what is open; takes half a second at most.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let Self { listener, shared } = self;
        let mut tasks = JoinSet::new();
        let most = shared.config.hub.connections.saturating_add(HANDSHAKES);
        let stopped = async {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let timer = shared.run_timer();
        let accepting = async {
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, peer)) if tasks.len() < most => {
                            tasks.spawn(serve(stream, peer, shared.clone()));
                        }
                        Ok(_) => shared.refuse_upgrade(),
                        Err(error) => {
                            // Out of file descriptors, mostly: it passes when somebody leaves.
                            tracing::warn!(%error, "cannot accept");
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    },
                    Some(_) = tasks.join_next() => {}
                }
            }
        };
        tokio::select! {
            () = stopped => {}
            () = timer => {}
            () = accepting => {}
        }
        drop(listener);
        shared.with(|hub, now| hub.close_all(now, CloseCode::GOING_AWAY, "the server stops"));
        let _ = tokio::time::timeout(STOP_TIMEOUT, async { while tasks.join_next().await.is_some() {} }).await;
        tasks.shutdown().await;
        shared.stop_writing();
    }
}

/// Serves a socket to its end. The handshakes are boxed: a connection that is open does not pay for the room that they took.
async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    tune(&stream);
    let served = match shared.config.tls.clone() {
        None => match Box::pin(upgrade(stream, shared)).await {
            Ok(Some(connection)) => return connection.run().await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        },
        Some(tls) => Box::pin(serve_tls(stream, shared, tls)).await,
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "no connection came of it");
    }
}

async fn serve_tls(stream: TcpStream, shared: Arc<Shared>, tls: Tls) -> io::Result<()> {
    let accept = Box::pin(TlsAcceptor::from(tls.config).accept(stream));
    let stream = tokio::time::timeout(shared.config.hub.handshake_timeout, accept).await??;
    if let Some(connection) = Box::pin(upgrade(stream, shared)).await? {
        connection.run().await;
    }
    Ok(())
}

/// What waits is written at once and together, so that the kernel need not wait for more.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    bound_unsent(stream);
}

/// Lets the kernel hold little that has not been sent. With megabytes in its buffer, a slow peer would look stuck for as long as
/// a third of that takes, answers would wait behind it, and every stuck peer would cost that much memory.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bound_unsent(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(128 << 10);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bound_unsent(_: &TcpStream) {}

/// Makes a connection of a stream; `None` where it was answered otherwise.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    shared: Arc<Shared>,
) -> io::Result<Option<Connection<S>>> {
    let Some(upgrade) = handshake::accept(&mut stream, &shared).await? else { return Ok(None) };
    let socket = Socket::new(stream, upgrade.rest, largest(shared.config.hub.limits.frame));
    let (id, link) = shared.open(upgrade.dialect, upgrade.identity);
    Ok(Some(Connection::new(socket, shared, id, link)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn the_kernel_waits_for_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(!stream.nodelay().unwrap());
        tune(&stream);
        assert!(stream.nodelay().unwrap());
    }
}
