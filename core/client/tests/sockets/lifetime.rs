use std::time::Duration;

use realtime_client::{Client, ErrorKind, Protocol, Status};
use realtime_testing::FaultProxy;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Backend, quick, server, within};

#[tokio::test]
async fn dropping_the_last_handle_closes_the_socket() {
    let backend = Backend::start().await;
    let mut config = quick(&backend.url());
    config.protocol = Protocol::Plain;
    let client = Client::builder(config).start().unwrap();
    let mut peer = backend.peer().await;
    let room = client.channel("room").unwrap();
    let messages = room.subscribe().await.unwrap();
    drop((client, room));
    peer.json("subscribe").await;
    drop(messages);
    loop {
        match peer.next().await {
            Some(Message::Close(frame)) => {
                assert_eq!(u16::from(frame.unwrap().code), 1000);
                break;
            }
            Some(_) => {}
            None => panic!("it hung up without a word"),
        }
    }
}

#[tokio::test]
async fn disconnecting_waits_for_the_receipts_of_what_is_queued() {
    let server = server().await;
    let client = Client::connect(server.url()).await.unwrap();
    let room = client.channel("room").unwrap();
    let sends: Vec<_> = (0..100)
        .map(|n| {
            let room = room.clone();
            tokio::spawn(async move { room.publish("n", &n).await })
        })
        .collect();
    while client.stats().queued + (client.stats().acknowledged as usize) < 100 {
        tokio::task::yield_now().await;
    }
    within(client.disconnect()).await;
    assert_eq!(client.status(), Status::Disconnected);
    for send in sends {
        assert!(within(send).await.unwrap().unwrap().acknowledged);
    }
    while server.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_cannot_be_flushed_in_time_fails() {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let client = Client::connect(proxy.url()).await.unwrap();
    let room = client.channel("room").unwrap();
    proxy.stall();
    let send = tokio::spawn({
        let room = room.clone();
        async move { room.publish("n", &1).await }
    });
    while client.stats().queued == 0 {
        tokio::task::yield_now().await;
    }
    within(client.disconnect_within(Duration::from_millis(20))).await;
    assert_eq!(within(send).await.unwrap().unwrap_err().kind, ErrorKind::Closed);
}

#[tokio::test]
async fn a_client_that_was_disconnected_refuses_sends_and_can_come_back() {
    let server = server().await;
    let client = Client::connect(server.url()).await.unwrap();
    let room = client.channel("room").unwrap();
    let mut messages = room.subscribe().await.unwrap();
    within(client.disconnect()).await;
    assert!(within(messages.recv()).await.is_none(), "the subscription has ended");
    assert!(messages.error().is_none(), "by its own application");
    assert_eq!(room.publish("n", &1).await.unwrap_err().kind, ErrorKind::Closed);

    within(client.reconnect()).await.unwrap();
    drop(messages);
    let mut messages = within(room.subscribe()).await.unwrap();
    room.publish("n", &2).await.unwrap();
    assert_eq!(within(messages.recv()).await.unwrap().json::<u32>().unwrap(), 2);
}

#[tokio::test]
async fn disconnecting_while_connecting_ends_it() {
    let backend = Backend::start().await;
    let client = Client::builder(quick(&backend.url())).start().unwrap();
    let _silent = backend.tcp().await;
    within(client.disconnect()).await;
    assert_eq!(client.status(), Status::Disconnected);
    assert_eq!(within(client.ready()).await.unwrap_err().kind, ErrorKind::Closed);
}

#[test]
fn a_client_outlives_its_runtime_without_hanging() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, server) = runtime.block_on(async {
        let server = server().await;
        (Client::connect(server.url()).await.unwrap(), server)
    });
    drop(runtime);
    drop(server);
    assert_eq!(client.status(), Status::Disconnected);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        let room = client.channel("room");
        assert_eq!(room.unwrap_err().kind, ErrorKind::Closed);
        assert!(within(client.events().recv()).await.is_none());
        within(client.disconnect()).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_on_several_threads() {
    let server = server().await;
    let client = Client::connect(server.url()).await.unwrap();
    let mut messages = client.channel("room").unwrap().subscribe().await.unwrap();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let room = client.channel("room").unwrap();
            tokio::spawn(async move {
                for n in 0..50 {
                    room.publish("n", &n).await.unwrap();
                }
            })
        })
        .collect();
    for offset in 1..=200 {
        assert_eq!(within(messages.recv()).await.unwrap().offset(), Some(offset));
    }
    for sender in senders {
        sender.await.unwrap();
    }
}
