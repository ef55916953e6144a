//! Peers to talk to, and waiting with an end.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use realtime_client::{ClientEvent, Config, Error, Events, Status};
use realtime_server::{RunningServer, Server};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Fails the test where the event does not come.
pub(crate) async fn within<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), event).await.expect("it did not happen within 20 s")
}

pub(crate) async fn server() -> RunningServer {
    Server::default().start().await.unwrap()
}

/// Settings that come back fast.
pub(crate) fn quick(url: &str) -> Config {
    let mut config = Config::new(url);
    config.reconnect_first = Duration::from_millis(10);
    config.reconnect_base = Duration::from_millis(20);
    config.reconnect_max = Duration::from_millis(50);
    config
}

/// The first event for which `pick` has an answer.
pub(crate) async fn event<T>(events: &mut Events, mut pick: impl FnMut(ClientEvent) -> Option<T>) -> T {
    within(async {
        loop {
            let event = events.recv().await.expect("the client is gone");
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    })
    .await
}

pub(crate) async fn until_status(events: &mut Events, wanted: Status) -> (Option<Error>, Option<Duration>) {
    event(events, |event| match event {
        ClientEvent::Status { status, reason, retry_in } if status == wanted => Some((reason, retry_in)),
        _ => None,
    })
    .await
}

pub(crate) async fn next_error(events: &mut Events) -> Error {
    event(events, |event| match event {
        ClientEvent::Error(error) => Some(error),
        _ => None,
    })
    .await
}

/// A backend that does what the test says.
pub(crate) struct Backend {
    listener: TcpListener,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.listener.local_addr().unwrap())
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        within(self.listener.accept()).await.unwrap().0
    }

    /// Takes a WebSocket without acknowledging a subprotocol; `None` where the client does not like that. Tells what
    /// the client offered.
    pub(crate) async fn accept(&self) -> (Option<Peer>, Request) {
        let mut seen = None;
        let stream = self.tcp().await;
        #[allow(clippy::result_large_err)] // The library wants its own type here.
        let accepted = within(accept_hdr_async(stream, |request: &Request, response: Response| {
            seen = Some(request.clone());
            Ok(response)
        }))
        .await;
        (accepted.ok().map(|socket| Peer { socket }), seen.unwrap())
    }

    /// Takes a client that speaks the full protocol, and welcomes it.
    pub(crate) async fn v1_peer(&self) -> Peer {
        let stream = self.tcp().await;
        #[allow(clippy::result_large_err)] // The library wants its own type here.
        let accepted = within(accept_hdr_async(stream, |_: &Request, mut response: Response| {
            response.headers_mut().insert("sec-websocket-protocol", "realtime.v1".parse().unwrap());
            Ok(response)
        }))
        .await;
        let mut peer = Peer { socket: accepted.unwrap() };
        let hello = peer.json("hello").await;
        let welcome = serde_json::json!({
            "type": "welcome", "session": hello["session"], "connection": "c1", "resumed": false, "heartbeat": 30_000,
            "timeout": 60_000, "encoding": "text", "time": 1, "server": "a test",
            "limits": {"frame": 1 << 20, "payload": 1 << 20, "channels": 10, "inflight": 10, "rate": 0},
        });
        peer.send(welcome.to_string()).await;
        peer
    }

    /// Takes a client that speaks `plain` and asks for no subprotocol.
    pub(crate) async fn peer(&self) -> Peer {
        self.accept().await.0.unwrap()
    }

    /// Answers every request with this, for as long as the test runs; says how many came.
    pub(crate) fn answer_http(self, head: &'static str) -> tokio::sync::watch::Receiver<usize> {
        let (count, counted) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = self.listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
                let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
                count.send_modify(|count| *count += 1);
            }
        });
        counted
    }
}

/// The other end of a client's socket.
pub(crate) struct Peer {
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Peer {
    /// The next message; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        within(self.socket.next()).await?.ok()
    }

    /// The next JSON message of this type; others are passed over.
    pub(crate) async fn json(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = self.next().await.expect("the client is gone") {
                let value: Value = serde_json::from_str(&text).unwrap();
                if value["type"] == kind {
                    return value;
                }
            }
        }
    }

    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// Writes bytes past the WebSocket library.
    pub(crate) async fn send_raw(&mut self, bytes: impl Into<Bytes>) {
        self.socket.get_mut().write_all(&bytes.into()).await.unwrap();
    }
}
