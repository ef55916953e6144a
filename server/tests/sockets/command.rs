#![cfg(unix)]

use std::process::Command;

use serde_json::json;
use tokio::net::TcpStream;

use crate::serve::Serve;
use crate::support::{Client, within};

#[tokio::test]
async fn it_says_where_it_listens_and_drains_when_it_is_asked_to_stop() {
    for signal in ["TERM", "INT"] {
        let mut serve = Serve::start(&["--echo", "--drain", "300"]);
        assert!(serve.addr.starts_with("127.0.0.1:"), "{}", serve.addr);
        let mut client = serve.v1().await;
        client.say(json!({"type": "send", "id": 1, "event": "e", "payload": 1})).await;
        client.hear_type("direct").await;
        serve.signal(signal);
        client.hear_type("goaway").await;
        drop(client);
        let status =
            within(async { tokio::task::spawn_blocking(move || serve.child.wait().unwrap()).await.unwrap() }).await;
        assert!(status.success(), "{status}");
    }
}

#[tokio::test]
async fn flags_reach_the_server() {
    let serve =
        Serve::start(&["--rate", "7", "--max-payload", "5000000", "--max-channels", "3", "--heartbeat", "1000"]);
    let stream = TcpStream::connect(&serve.addr).await.unwrap();
    let mut client = Client::over(stream, "/", &[("sec-websocket-protocol", "realtime.v1")]).await.unwrap();
    let welcome = client.hello("alice").await;
    assert_eq!(
        welcome["limits"],
        json!({"frame": 5_004_096, "payload": 5_000_000, "channels": 3, "inflight": 1024, "rate": 7})
    );
    assert_eq!(welcome["heartbeat"], 1000);
}

#[test]
fn wrong_flags_and_ports_end_with_an_error() {
    let run = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_realtime")).args(flags).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&["serve", "--port", "nonsense"]).0, Some(2));
    assert_eq!(run(&["serve", "--tls-cert", "x"]).0, Some(2));
    assert_eq!(run(&["serve", "--token-secret", "a", "--jwt-secret", "b"]).0, Some(2));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, error) = run(&["serve", "--port", &taken.local_addr().unwrap().port().to_string()]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with("realtime: 127.0.0.1:"), "{error}");
    let (code, error) = run(&["serve", "--port", "0", "--jwt-public-key", "/does/not/exist"]);
    assert_eq!((code, error.contains("/does/not/exist")), (Some(1), true));
}
