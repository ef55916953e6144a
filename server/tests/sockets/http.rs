use realtime_server::{HubConfig, ServerConfig};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::{Client, raw, start, status, until, within};

fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

fn code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn health_shows_the_counters() {
    let server = start(ServerConfig::default()).await;
    let _client = Client::v1(&server, "alice").await;
    let answer = raw(&server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(code(&answer), "200");
    assert!(answer.contains("Content-Type: application/json\r\n"), "{answer}");
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&body["connections"], &body["channels"]), (&1.into(), &0.into()));
}

#[tokio::test]
async fn what_is_no_websocket_is_told_so() {
    let server = start(ServerConfig::default()).await;
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "426"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), "405"),
        ("GET / HTTP/1.0\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("\x16\x03\x01\x00\x00\r\n\r\n".to_owned(), "400"),
        (upgrade("/elsewhere", ""), "404"),
        (upgrade("/", "").replace("Version: 13", "Version: 8"), "400"),
        (upgrade("/", "").replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400"),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000)), "431"),
    ] {
        let answer = raw(&server, &request).await;
        assert_eq!(code(&answer), expected, "{request:.100} {answer}");
    }
    let answer = raw(&server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.contains("Upgrade: websocket\r\n") && answer.contains("Connection: close\r\n"), "{answer}");
    assert_eq!(server.stats().refused_upgrades, 9);
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test]
async fn paths_can_be_chosen() {
    let server = start(ServerConfig { paths: vec!["/live".into()], ..ServerConfig::default() }).await;
    assert_eq!(status(Client::open(&server, "/", &[]).await), 404);
    Client::open(&server, "/live?x=1", &[]).await.unwrap();
    let server = start(ServerConfig { paths: Vec::new(), ..ServerConfig::default() }).await;
    Client::open(&server, "/what/ever", &[]).await.unwrap();
    let server = start(ServerConfig::default()).await;
    Client::open(&server, "/realtime", &[]).await.unwrap();
}

#[tokio::test]
async fn browsers_may_come_from_allowed_origins_only() {
    let allowed_origins = vec!["https://app.example".into()];
    let server = start(ServerConfig { allowed_origins, ..ServerConfig::default() }).await;
    assert_eq!(status(Client::open(&server, "/", &[("origin", "https://evil.example")]).await), 403);
    assert_eq!(status(Client::open(&server, "/", &[("origin", "null")]).await), 403);
    Client::open(&server, "/", &[("origin", "https://app.example")]).await.unwrap();
    Client::open(&server, "/", &[]).await.expect("no browser");
    let open = start(ServerConfig::default()).await;
    Client::open(&open, "/", &[("origin", "https://evil.example")]).await.unwrap();
}

#[tokio::test]
async fn a_full_server_says_when_to_come_back() {
    let hub = HubConfig { connections: 1, ..HubConfig::default() };
    let server = start(ServerConfig { hub, ..ServerConfig::default() }).await;
    let first = Client::v1(&server, "alice").await;
    let answer = raw(&server, &upgrade("/", "")).await;
    assert_eq!(code(&answer), "503");
    assert!(answer.contains("Retry-After: 1\r\n"), "{answer}");
    drop(first);
    until(|| server.connection_count() == 0).await;
    Client::v1(&server, "bob").await;
}

#[tokio::test]
async fn a_request_that_does_not_end_is_given_up() {
    let hub = HubConfig { handshake_timeout: std::time::Duration::from_millis(100), ..HubConfig::default() };
    let server = start(ServerConfig { hub, ..ServerConfig::default() }).await;
    let mut stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(b"GET / HTT").await.unwrap();
    let mut answer = String::new();
    within(tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)).await.unwrap();
    assert_eq!(code(&answer), "408");
}
