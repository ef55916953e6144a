use realtime_client::{Config, Data, Driver, Event, Handle, Host, RequestId, Text, Transport};
use tokio::sync::mpsc;

use crate::support::{server, within};

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
