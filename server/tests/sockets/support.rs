//! Raw clients for tests over real sockets.
#![allow(dead_code)]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Request;
use realtime_server::{RunningServer, Server, ServerConfig};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::{Response, generate_key};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Longer than anything here may take.
const LIMIT: Duration = Duration::from_secs(10);

pub async fn start(config: ServerConfig) -> RunningServer {
    Server::new(config).start().await.unwrap()
}

/// Bounds an await; fails the test where it takes too long.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("in time")
}

pub fn session(name: &str) -> String {
    format!("{name:_<24}")
}

pub struct Client<S = TcpStream> {
    pub socket: WebSocketStream<S>,
    pub response: Response,
    lines: std::collections::VecDeque<Value>,
}

/// What came: JSON messages are split by lines elsewhere, this is the frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    Text(String),
    Binary(Vec<u8>),
    Closed(u16, String),
    Gone,
}

impl Client {
    /// Opens a WebSocket with these headers.
    pub async fn open(server: &RunningServer, path: &str, headers: &[(&str, &str)]) -> Result<Self, Error> {
        let stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream, path, headers).await
    }

    pub async fn v1(server: &RunningServer, name: &str) -> Self {
        let mut client =
            Self::open(server, "/", &[("sec-websocket-protocol", "realtime.plain, realtime.v1")]).await.unwrap();
        client.hello(name).await;
        client
    }

    pub async fn plain(server: &RunningServer) -> Self {
        Self::open(server, "/", &[]).await.unwrap()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn over(stream: S, path: &str, headers: &[(&str, &str)]) -> Result<Self, Error> {
        let mut request = Request::builder()
            .uri(format!("ws://localhost{path}"))
            .header("host", "localhost")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let (socket, response) = within(tokio_tungstenite::client_async(request, stream)).await?;
        Ok(Self { socket, response, lines: Default::default() })
    }

    pub async fn hello(&mut self, name: &str) -> Value {
        self.say(serde_json::json!({"type": "hello", "session": session(name)})).await;
        let welcome = self.hear().await;
        assert_eq!(welcome["type"], "welcome");
        welcome
    }

    pub async fn say(&mut self, message: Value) {
        within(self.socket.send(Message::text(message.to_string()))).await.unwrap();
    }

    pub async fn say_text(&mut self, text: impl Into<String>) {
        within(self.socket.send(Message::text(text.into()))).await.unwrap();
    }

    pub async fn say_binary(&mut self, bytes: Vec<u8>) {
        within(self.socket.send(Message::binary(bytes))).await.unwrap();
    }

    /// The next JSON message; fails on anything else.
    pub async fn hear(&mut self) -> Value {
        while self.lines.is_empty() {
            let text = match self.frame().await {
                Got::Text(text) => text,
                Got::Binary(bytes) => String::from_utf8(bytes).expect("JSON"),
                other => panic!("expected JSON, got {other:?}"),
            };
            self.lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
        }
        self.lines.pop_front().unwrap()
    }

    /// The next JSON message of this type; others are passed over.
    pub async fn hear_type(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    pub async fn frame(&mut self) -> Got {
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Got::Text(text.to_string()),
                Some(Ok(Message::Binary(bytes))) => return Got::Binary(bytes.to_vec()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Got::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Got::Gone,
            }
        }
    }

    /// The next text; `None` at the end.
    pub async fn text_or_end(&mut self) -> Option<String> {
        if let Some(line) = self.lines.pop_front() {
            return Some(line.to_string());
        }
        match self.frame().await {
            Got::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Reads to the end and says with which code it ended; 1006 without a close frame.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.frame().await {
                Got::Closed(code, _) => return code,
                Got::Gone => return 1006,
                _ => {}
            }
        }
    }
}

/// Sends bytes and reads the whole answer.
pub async fn raw(server: &RunningServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// The status that an upgrade was refused with.
pub fn status<T>(opened: Result<T, Error>) -> u16 {
    match opened {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the upgrade was accepted"),
    }
}

/// Waits until something that has no event of its own has come true.
pub async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !condition() {
            look.tick().await;
        }
    })
    .await;
}
