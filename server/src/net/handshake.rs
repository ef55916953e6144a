use std::time::Duration;

use http::StatusCode;
use realtime_engine::wire::{SUBPROTOCOL_PLAIN, SUBPROTOCOL_V1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};

use super::shared::Shared;
use crate::auth::Identity;
use crate::hub::{Dialect, Stats};

/// The largest request head that is read.
const MAX_HEAD: usize = 16 << 10;

/// A WebSocket that was accepted.
#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) dialect: Dialect,
    pub(super) identity: Option<Identity>,
    /// What the client sent after its request.
    pub(super) rest: Vec<u8>,
}

/// Reads a request and answers it; `None` where that was all.
pub(super) async fn accept<S>(stream: &mut S, shared: &Shared) -> std::io::Result<Option<Upgrade>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let timeout = shared.config.hub.handshake_timeout;
    let mut head = Vec::new();
    let parsed = match tokio::time::timeout(timeout, read_head(stream, &mut head)).await {
        Ok(parsed) => parsed,
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long")),
    };
    let answer = match parsed {
        Ok(None) => return Ok(None),
        Ok(Some((request, size))) => match decide(&request, shared) {
            Ok(Decision::Upgrade { dialect, identity, subprotocol }) => match respond(&request, subprotocol) {
                Ok(response) => {
                    write(stream, &response, timeout).await?;
                    return Ok(Some(Upgrade { dialect, identity, rest: head.split_off(size) }));
                }
                Err(refusal) => Err(refusal),
            },
            Ok(Decision::Health) => Ok(health(shared)),
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    };
    let text = match answer {
        Ok(text) => text,
        Err(refusal) => {
            shared.refuse_upgrade();
            tracing::debug!(status = refusal.status.as_u16(), reason = refusal.reason, "refused");
            refusal.text()
        }
    };
    write(stream, text.as_bytes(), timeout).await?;
    stream.shutdown().await?;
    Ok(None)
}

enum Decision {
    Health,
    Upgrade { dialect: Dialect, identity: Option<Identity>, subprotocol: Option<&'static str> },
}

/// Says what a request gets, before anything about it costs more than reading it.
fn decide(request: &Request, shared: &Shared) -> Result<Decision, Refusal> {
    let config = &shared.config;
    let path = request.uri().path();
    if path == "/healthz" {
        return Ok(Decision::Health);
    }
    if !config.paths.is_empty() && !config.paths.iter().any(|known| known == path) {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "nothing is served at this path"));
    }
    if header(request, "upgrade").is_none_or(|upgrade| !upgrade.eq_ignore_ascii_case("websocket")) {
        let refusal = Refusal::new(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket server");
        return Err(Refusal { header: Some(("Upgrade", "websocket")), ..refusal });
    }
    let origin = header(request, "origin");
    if let Some(origin) = origin
        && !config.allowed_origins.is_empty()
        && !config.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "this origin is not allowed"));
    }
    let unavailable = shared.with(|hub, _| match (hub.is_draining(), hub.is_full()) {
        (true, _) => Some("the server drains"),
        (_, true) => Some("the server is full"),
        _ => None,
    });
    if let Some(reason) = unavailable {
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason);
        return Err(Refusal { header: Some(("Retry-After", "1")), ..refusal });
    }
    let (dialect, subprotocol) = negotiate(request);
    let auth = &config.hub.auth;
    let identity = match token(request) {
        Some(token) if !auth.is_open() => Some(auth.verify(&token, shared.now()).map_err(|error| {
            tracing::debug!(%error, "token refused");
            Refusal::new(StatusCode::UNAUTHORIZED, "the token is not valid")
        })?),
        None if !auth.is_open() && dialect == Dialect::Plain => {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "a token is required"));
        }
        _ => None,
    };
    Ok(Decision::Upgrade { dialect, identity, subprotocol })
}

/// `realtime.v1` wherever it is offered; nothing is acknowledged that is not ours.
fn negotiate(request: &Request) -> (Dialect, Option<&'static str>) {
    let offers = || {
        let values = request.headers().get_all("sec-websocket-protocol").into_iter();
        values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
    };
    if offers().any(|offer| offer == SUBPROTOCOL_V1) {
        (Dialect::V1, Some(SUBPROTOCOL_V1))
    } else if offers().any(|offer| offer == SUBPROTOCOL_PLAIN) {
        (Dialect::Plain, Some(SUBPROTOCOL_PLAIN))
    } else {
        (Dialect::Plain, None)
    }
}

fn token(request: &Request) -> Option<String> {
    let bearer = header(request, "authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    bearer.or_else(|| {
        let query = request.uri().query()?.as_bytes();
        url::form_urlencoded::parse(query).find(|(key, _)| key == "token").map(|(_, token)| token.into_owned())
    })
}

fn respond(request: &Request, subprotocol: Option<&'static str>) -> Result<Vec<u8>, Refusal> {
    let mut response =
        create_response(request).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "not a WebSocket handshake"))?;
    if let Some(subprotocol) = subprotocol {
        response.headers_mut().insert("sec-websocket-protocol", http::HeaderValue::from_static(subprotocol));
    }
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response)
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no response could be made"))?;
    Ok(bytes)
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Reads to the end of the head; `None` where the peer left before it.
async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    head: &mut Vec<u8>,
) -> Result<Option<(Request, usize)>, Refusal> {
    loop {
        let searched = head.len().saturating_sub(3);
        match stream.read_buf(head).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
        if memchr::memmem::find(&head[searched..], b"\r\n\r\n").is_some() {
            break;
        }
        if head.len() > MAX_HEAD {
            return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request head is too large"));
        }
    }
    match Request::try_parse(head) {
        Ok(Some((size, request))) => Ok(Some((request, size))),
        Err(Error::Protocol(ProtocolError::WrongHttpMethod)) => {
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET is served"))
        }
        _ => Err(Refusal::new(StatusCode::BAD_REQUEST, "the request cannot be read")),
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8], timeout: Duration) -> std::io::Result<()> {
    tokio::time::timeout(timeout, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    })
    .await?
}

/// What `/healthz` answers.
#[derive(serde::Serialize)]
struct Health {
    #[serde(flatten)]
    stats: Stats,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_error: Option<String>,
}

fn health(shared: &Shared) -> String {
    let health = Health { stats: shared.stats(), store_error: shared.trouble().borrow().clone() };
    let json = serde_json::to_string(&health).unwrap_or_else(|_| "{}".into());
    response(StatusCode::OK, None, "application/json", &json)
}

fn response(status: StatusCode, header: Option<(&str, &str)>, kind: &str, body: &str) -> String {
    let header = header.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{header}Content-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// A request that does not become a WebSocket.
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    header: Option<(&'static str, &'static str)>,
}

impl Refusal {
    fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason, header: None }
    }

    fn text(&self) -> String {
        response(self.status, self.header, "text/plain; charset=utf-8", &format!("{}\n", self.reason))
    }
}
