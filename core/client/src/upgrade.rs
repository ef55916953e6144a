use std::time::{Duration, SystemTime};

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use realtime_engine::{OpenError, OpenRequest};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::Request;

use crate::socket::{Io, WebSocket, read_ahead, web_socket_config};

/// Makes a WebSocket of bytes and tells the subprotocol that the server acknowledged.
pub(crate) async fn upgrade(
    stream: Box<dyn Io>,
    request: &OpenRequest,
) -> Result<(WebSocket, Option<String>), OpenError> {
    let upgrade = upgrade_request(request).map_err(OpenError::Handshake)?;
    let opened = client_async_with_config(upgrade, read_ahead(stream), Some(web_socket_config())).await;
    let (stream, response) = opened.map_err(|error| open_error(&error))?;
    let protocol = response.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    Ok((stream, protocol.map(str::to_owned)))
}

fn upgrade_request(request: &OpenRequest) -> Result<Request, String> {
    let mut upgrade = request.url.as_str().into_client_request().map_err(|error| error.to_string())?;
    let headers = upgrade.headers_mut();
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| format!("header {name:?}: {error}"))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|error| format!("header {name}: {error}"))?;
        if name == HOST {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    if !request.subprotocols.is_empty() {
        let value = HeaderValue::from_str(&request.subprotocols.join(", ")).map_err(|error| error.to_string())?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(upgrade)
}

fn open_error(error: &WsError) -> OpenError {
    match error {
        WsError::Http(response) => {
            OpenError::Http { status: response.status().as_u16(), retry_after: retry_after(response.headers()) }
        }
        WsError::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol)) => {
            OpenError::NoSubprotocol
        }
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => {
            OpenError::Unreachable("it closed the connection before it answered the upgrade".into())
        }
        WsError::Io(error) => OpenError::Unreachable(format!("the connection broke during the upgrade: {error}")),
        error => OpenError::Handshake(error.to_string()),
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // A date that is past means now.
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(&with("7")), Some(Duration::from_secs(7)));
        let soon = SystemTime::now() + Duration::from_secs(60);
        let wait = retry_after(&with(&httpdate::fmt_http_date(soon))).unwrap();
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
        assert_eq!(retry_after(&with("Sun, 06 Nov 1994 08:49:37 GMT")), Some(Duration::ZERO));
        assert_eq!(retry_after(&with("soon")), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
