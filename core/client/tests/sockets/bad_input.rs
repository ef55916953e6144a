use futures_util::SinkExt;
use realtime_client::{Client, ClientEvent, Events, Protocol, Status};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Backend, Peer, event, next_error, quick, until_status, within};

async fn plain_client(backend: &Backend) -> (Client, Events, Peer) {
    let mut config = quick(&backend.url());
    config.protocol = Protocol::Plain;
    let client = Client::builder(config).start().unwrap();
    let mut events = client.events();
    let peer = backend.peer().await;
    until_status(&mut events, Status::Connected).await;
    (client, events, peer)
}

#[tokio::test]
async fn json_that_is_none_is_an_error_and_the_connection_goes_on() {
    let backend = Backend::start().await;
    let (client, mut events, mut peer) = plain_client(&backend).await;
    let mut messages = client.messages();
    for bad in [r#"{"type":"#, "[1, 2", "nonsense", ""] {
        peer.send(bad).await;
        assert_eq!(next_error(&mut events).await.code(), "malformed", "{bad:?}");
    }
    peer.send(r#"{"type":"fine","payload":1}"#).await;
    assert_eq!(within(messages.recv()).await.unwrap().event(), "fine");
    assert_eq!(client.stats().malformed, 4);
    assert_eq!(client.stats().reconnects, 0);
}

#[tokio::test]
async fn messages_that_the_full_protocol_does_not_know_are_told_and_left_out() {
    let backend = Backend::start().await;
    let client = Client::builder(quick(&backend.url())).start().unwrap();
    let (mut events, mut messages) = (client.events(), client.messages());
    let mut peer = backend.v1_peer().await;
    until_status(&mut events, Status::Connected).await;
    for (bad, code) in [
        (r#"{"type":"from_the_future","x":1}"#, "unknown_type"),
        (r#"{"type":"receipt","id":"one"}"#, "malformed"),
        ("nonsense", "malformed"),
    ] {
        peer.send(bad).await;
        assert_eq!(next_error(&mut events).await.code(), code, "{bad}");
    }
    peer.socket.send(Message::binary(vec![0x7f, 0, 1])).await.unwrap();
    assert_eq!(next_error(&mut events).await.code(), "unknown_type");
    // Several messages in one frame, the bad one between good ones.
    let good = r#"{"type":"direct","event":"fine","timestamp":1,"payload":1}"#;
    peer.send(format!("{good}\n{{\"type\":\n{good}")).await;
    for _ in 0..2 {
        assert_eq!(within(messages.recv()).await.unwrap().event(), "fine");
    }
    assert_eq!(client.stats().malformed, 5);
    assert_eq!(client.stats().reconnects, 0);
}

#[tokio::test]
async fn a_payload_that_is_no_json_fails_where_it_is_read_and_the_next_one_is_fine() {
    let backend = Backend::start().await;
    let client = Client::builder(quick(&backend.url())).start().unwrap();
    let room = client.channel("room").unwrap();
    let subscribing = tokio::spawn(async move { room.subscribe().await });
    let mut peer = backend.v1_peer().await;
    let id = peer.json("subscribe").await["id"].clone();
    peer.send(format!(r#"{{"type":"subscribed","id":{id},"channel":"room","epoch":"e","offset":0}}"#)).await;
    let mut messages = within(subscribing).await.unwrap().unwrap();
    let line = |offset, payload: &str| {
        let head = format!(r#"{{"type":"message","channel":"room","event":"n","offset":{offset},"timestamp":1"#);
        format!("{head},\"payload\":{payload}}}")
    };
    peer.send([line(1, "1"), line(2, "[1],[2]"), line(3, "{bad}"), line(4, "4")].join("\n")).await;
    for offset in 1..=4u64 {
        let message = within(messages.recv()).await.unwrap();
        assert_eq!(message.offset(), Some(offset));
        match message.json::<u64>() {
            Ok(value) => assert!(offset == value && matches!(offset, 1 | 4)),
            Err(error) => assert!(error.code() == "invalid_payload" && matches!(offset, 2 | 3)),
        }
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_ends_the_connection_and_the_client_comes_back() {
    let backend = Backend::start().await;
    let (_client, mut events, mut peer) = plain_client(&backend).await;
    peer.send_raw(&b"\x81\x02\xc3\x28"[..]).await;
    let reason = event(&mut events, |event| match event {
        ClientEvent::Close { reason, reconnecting: true, .. } => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("UTF-8"), "{reason}");
    let _again = backend.peer().await;
    until_status(&mut events, Status::Connected).await;
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_connection_and_the_client_comes_back() {
    let backend = Backend::start().await;
    let (_client, mut events, mut peer) = plain_client(&backend).await;
    // Announces 64 MiB and one byte; nobody has to send them.
    let mut head = vec![0x82, 127];
    head.extend_from_slice(&(64u64 * 1024 * 1024 + 1).to_be_bytes());
    peer.send_raw(head).await;
    let reason = event(&mut events, |event| match event {
        ClientEvent::Close { reason, reconnecting: true, .. } => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("67108865"), "{reason}");
    let _again = backend.peer().await;
    until_status(&mut events, Status::Connected).await;
}

#[tokio::test]
async fn a_large_message_within_the_limit_arrives() {
    let backend = Backend::start().await;
    let (client, _events, mut peer) = plain_client(&backend).await;
    let mut messages = client.messages();
    let large = "x".repeat(20 << 20);
    let send = tokio::spawn(async move {
        peer.send(format!(r#"{{"type":"large","payload":"{large}"}}"#)).await;
        peer
    });
    let message = within(messages.recv()).await.unwrap();
    assert_eq!(message.json::<String>().unwrap().len(), 20 << 20);
    drop(send.await);
}

#[tokio::test]
async fn broken_framing_ends_the_connection_and_the_client_comes_back() {
    let backend = Backend::start().await;
    // Reserved bits, a masked frame, an unknown opcode, a continuation of nothing, a control frame in parts.
    for bad in [&b"\xf1\x00"[..], b"\x81\x81\x01\x02\x03\x04\x05", b"\x83\x00", b"\x80\x00", b"\x09\x00"] {
        let (client, mut events, mut peer) = plain_client(&backend).await;
        peer.send_raw(bad).await;
        event(&mut events, |event| matches!(event, ClientEvent::Close { reconnecting: true, .. }).then_some(())).await;
        let _again = backend.peer().await;
        until_status(&mut events, Status::Connected).await;
        assert_eq!(client.stats().reconnects, 1);
    }
}
