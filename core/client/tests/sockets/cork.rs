use futures_util::StreamExt;
use realtime_client::{Config, Data, Driver, Event, Handle, Host, Protocol, RequestId, Status, Text, Transport};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Backend, server, within};

struct Receipts(mpsc::UnboundedSender<RequestId>);

impl Host for Receipts {
    fn event(&mut self, event: Event) {
        if let Event::Receipt(receipt) = event {
            let _ = self.0.send(receipt.request);
        }
    }
    fn token(&mut self, _: u64) {}
    fn flush(&mut self) {}
}

#[tokio::test]
async fn corked_sends_go_in_order_also_where_nobody_pulls_the_cork() {
    let server = server().await;
    let (receipts, mut told) = mpsc::unbounded_channel();
    let handle: Handle = Driver::spawn(Config::new(server.url()), Transport::default(), Receipts(receipts)).unwrap();
    handle.connect().unwrap();
    let room = handle.channel("room").unwrap();
    let publish = |number| handle.publish(RequestId(number), room, Text::from("n"), Data::Json("1".into())).unwrap();

    for round in 0..3 {
        handle.cork();
        (0..10).for_each(|n| publish(round * 10 + n));
        for n in 0..10 {
            assert_eq!(within(told.recv()).await, Some(RequestId(round * 10 + n)));
        }
    }
    (30..40).for_each(publish);
    handle.uncork();
    publish(40);
    for n in 30..=40 {
        assert_eq!(within(told.recv()).await, Some(RequestId(n)));
    }
}

#[tokio::test]
async fn a_lone_send_is_a_frame_and_a_burst_of_one_turn_is_one_too() {
    let backend = Backend::start().await;
    let (receipts, _told) = mpsc::unbounded_channel();
    let handle: Handle = Driver::spawn(Config::new(backend.url()), Transport::default(), Receipts(receipts)).unwrap();
    handle.connect().unwrap();
    let mut peer = backend.v1_peer().await;
    let room = handle.channel("room").unwrap();
    let mut id = 0;
    for burst in [1, 1, 7, 1] {
        (0..burst).for_each(|n| {
            handle.publish(RequestId(n), room, Text::from("n"), Data::Json("1".into())).unwrap();
        });
        let Some(Message::Text(frame)) = peer.next().await else { panic!("a frame") };
        let sent: Vec<Value> = frame.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(sent.len() as u64, burst, "{frame}");
        assert!(sent.iter().all(|message| message["type"] == "publish"));
        let receipts: Vec<_> = (0..burst)
            .map(|_| {
                id += 1;
                format!(r#"{{"type":"receipt","id":{id},"epoch":"e","offset":{id}}}"#)
            })
            .collect();
        peer.send(receipts.join("\n")).await;
    }
}

/// Here the driver gets no turn between the sends and what the peer reads of them: the test thread is its runtime.
#[test]
fn a_send_that_writes_through_needs_no_turn_of_the_driver() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (peer, client) = (runtime(), runtime());
    let listener = peer.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());

    let (receipts, mut told) = mpsc::unbounded_channel();
    let handle = {
        let _context = client.enter();
        let mut config = Config::new(url);
        config.protocol = Protocol::Plain;
        Driver::spawn(config, Transport::default(), Receipts(receipts)).unwrap()
    };
    handle.connect().unwrap();
    let (opened, mut socket) = mpsc::unbounded_channel();
    let reader = std::thread::spawn(move || {
        peer.block_on(async {
            let (stream, _) = within(listener.accept()).await.unwrap();
            let mut socket = within(accept_async(stream)).await.unwrap();
            opened.send(()).unwrap();
            let mut read = Vec::new();
            while let Some(Ok(message)) = within(socket.next()).await {
                read.extend(message.into_text().ok().filter(|text| text.contains("channel_message")));
            }
            read
        })
    });
    client.block_on(async {
        within(socket.recv()).await;
        within(async {
            while handle.status() != Status::Connected {
                tokio::task::yield_now().await;
            }
        })
        .await;
    });
    assert!(!handle.is_closed());
    let room = handle.channel("room").unwrap();
    // What the calls so far have left to do.
    client.block_on(tokio::task::yield_now());

    handle.write_through(true);
    let publish = |number| handle.publish(RequestId(number), room, Text::from("n"), Data::Json("1".into())).unwrap();
    publish(1);
    handle.cork();
    (2..=5).for_each(publish);
    handle.uncork();
    handle.hold();
    (6..=9).for_each(publish);
    handle.uncork();
    // The driver drops its socket with everything that it may still have to write.
    drop(client);
    assert_eq!(reader.join().unwrap().len(), 9);
    assert!(told.try_recv().is_err());
}
