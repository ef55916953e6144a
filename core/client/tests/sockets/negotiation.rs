use futures_util::SinkExt;
use realtime_client::{Client, ClientEvent, ErrorKind, Protocol, Status};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::Request;

use crate::support::{Backend, event, quick, server, until_status, within};

fn offered(request: &Request) -> Option<&str> {
    request.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn our_server_picks_the_full_protocol() {
    let server = server().await;
    let client = Client::builder(server.url().as_str()).start().unwrap();
    let mut events = client.events();
    let opened = event(&mut events, |event| match event {
        ClientEvent::Open(opened) => Some(opened),
        _ => None,
    })
    .await;
    assert_eq!(opened.dialect, "realtime.v1");
    assert!(opened.connection.is_some());
}

#[tokio::test]
async fn a_server_without_subprotocols_is_spoken_to_plainly_and_remembered() {
    let backend = Backend::start().await;
    let client = Client::builder(quick(&backend.url())).start().unwrap();
    let mut events = client.events();
    let (refused, request) = backend.accept().await;
    assert_eq!(offered(&request), Some("realtime.plain, realtime.v1"));
    drop(refused);
    let (peer, request) = backend.accept().await;
    assert_eq!(offered(&request), None);
    until_status(&mut events, Status::Connected).await;
    assert_eq!(client.stats().failed_attempts, 0);

    let mut peer = peer.unwrap();
    peer.socket.close(None).await.unwrap();
    let (_, request) = backend.accept().await;
    assert_eq!(offered(&request), None, "it was remembered");
}

#[tokio::test]
async fn a_plain_backend_gets_its_shapes_and_gives_them() {
    let backend = Backend::start().await;
    let mut config = quick(&backend.url());
    config.protocol = Protocol::Plain;
    let client = Client::builder(config).start().unwrap();
    let mut peer = backend.peer().await;
    let room = client.channel("room").unwrap();
    let (messages, subscribe) = tokio::join!(room.subscribe(), peer.json("subscribe"));
    assert_eq!(subscribe["payload"]["channel"], "room");
    let mut messages = messages.unwrap();

    let (receipt, sent) = tokio::join!(room.publish("say", &"hi"), peer.json("channel_message"));
    let receipt = receipt.unwrap();
    assert!(!receipt.acknowledged, "written is all that is known");
    assert_eq!((&sent["payload"]["event"], &sent["payload"]["payload"]), (&"say".into(), &"hi".into()));

    peer.send(r#"{"type":"said","channel":"room","payload":7,"timestamp":1}"#).await;
    let message = within(messages.recv()).await.unwrap();
    assert_eq!((message.event(), message.json::<u32>().unwrap(), message.timestamp()), ("said", 7, Some(1)));

    let mut direct = client.messages();
    peer.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(within(direct.recv()).await.unwrap().bytes(), [1, 2, 3]);
}

#[tokio::test]
async fn the_full_protocol_can_be_insisted_on() {
    let backend = Backend::start().await;
    let mut config = quick(&backend.url());
    config.protocol = Protocol::V1;
    let (client, _) = tokio::join!(Client::connect(config), backend.accept());
    assert_eq!(client.unwrap_err().kind, ErrorKind::Protocol);
}
