use realtime_client::{Config, Data, Driver, ErrorKind, Event, Handle, Host, RequestId, Status, Text, Transport};
use tokio::sync::mpsc;

use crate::support::{server, within};

/// Panics at the first error event, and tells everything else.
struct Fragile {
    events: mpsc::UnboundedSender<Event>,
}

impl Host for Fragile {
    fn event(&mut self, event: Event) {
        if let Event::Open(_) = event {
            panic!("a fault of the host");
        }
        self.events.send(event).unwrap();
    }
    fn token(&mut self, _: u64) {}
    fn flush(&mut self) {}
}

#[tokio::test]
async fn a_panic_leaves_nobody_waiting() {
    let server = server().await;
    let (events, mut told) = mpsc::unbounded_channel();
    let handle: Handle = Driver::spawn(Config::new(server.url()), Transport::default(), Fragile { events }).unwrap();
    let room = handle.channel("room").unwrap();
    handle.publish(RequestId(7), room, Text::from("n"), Data::Json("1".into())).unwrap();
    handle.connect().unwrap();

    let mut failed = false;
    while let Some(event) = within(told.recv()).await {
        match event {
            Event::SendFailed { request: RequestId(7), error } => {
                assert_eq!(error.kind, ErrorKind::Closed);
                assert!(error.message.contains("a fault of the host"), "{error}");
                failed = true;
            }
            Event::Status { status: Status::Error, .. } => break,
            _ => {}
        }
    }
    assert!(failed, "the send has no outcome");
    within(handle.until_idle()).await;
    assert!(handle.is_closed());
    let refused = handle.publish(RequestId(8), room, Text::from("n"), Data::Json("1".into()));
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Closed);
}
