//! A host in Rust: wakes, drains, consumes.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use realtime_bridge::{Batch, Connection, Data, EmbeddedProxy, EmbeddedServer, Kind, Options};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A host that drains when it is woken.
struct Host {
    connection: Connection,
    woken: Receiver<()>,
    wakes: Arc<AtomicU64>,
    events: Vec<String>,
    payloads: Vec<Vec<u8>>,
    /// Bytes of messages that were seen and not consumed.
    held: u64,
    consumes: bool,
}

impl Host {
    fn new(url: &str, options: &str) -> Self {
        let options = Options::parse(&format!(r#"{{"url":"{url}"{options}}}"#)).unwrap();
        let (sender, woken) = channel();
        let (sender, wakes) = (Mutex::new(sender), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&wakes);
        let connection = Connection::open(options, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            sender.lock().unwrap().send(()).ok();
        })
        .unwrap();
        Self { connection, woken, wakes, events: Vec::new(), payloads: Vec::new(), held: 0, consumes: true }
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + TIMEOUT;
        while !done(self) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(self.woken.recv_timeout(left).is_ok(), "waited in vain; {:?}", self.events);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(batch) = self.connection.drain() {
            self.take(&batch);
            self.connection.recycle(batch);
        }
    }

    fn take(&mut self, batch: &Batch) {
        for record in batch.records() {
            let payload = batch.payload(record);
            match record.kind {
                Kind::Message => {
                    self.payloads.push(payload.to_vec());
                    if self.consumes {
                        self.connection.consumed(Some(record.channel), record.size());
                    } else {
                        self.held += record.size();
                    }
                }
                Kind::Receipt => self.events.push(format!("receipt {}", record.request())),
                kind => self.events.push(format!("{kind:?} {}", String::from_utf8_lossy(payload))),
            }
        }
    }

    fn connect(mut self) -> Self {
        self.connection.connect().unwrap();
        self.until(|host| host.has(r#""type":"open""#));
        self
    }

    fn subscribe(&mut self, name: &str) -> u32 {
        let channel = self.connection.subscribe(name).unwrap();
        self.until(|host| host.has(r#""state":"subscribed""#));
        channel
    }

    fn has(&self, text: &str) -> bool {
        self.events.iter().any(|event| event.contains(text))
    }
}

#[test]
fn messages_receipts_and_reports_come_in_batches_with_one_wake() {
    let server = EmbeddedServer::start("{}").unwrap();
    let mut host = Host::new(server.url(), "").connect();
    let channel = host.subscribe("room");
    let before = host.wakes.load(Ordering::SeqCst);
    for request in 1..=1000u64 {
        let payload = Data::Json(Bytes::from(request.to_string()));
        host.connection.publish(request, channel, "said", payload).unwrap();
    }
    host.until(|host| host.payloads.len() == 1000 && host.has("receipt 1000"));
    let expected: Vec<_> = (1..=1000).map(|n: u64| n.to_string().into_bytes()).collect();
    assert_eq!(host.payloads, expected);
    let wakes = host.wakes.load(Ordering::SeqCst) - before;
    assert!(wakes < 500, "{wakes} wakes for 2000 records");
}

#[test]
fn a_wake_is_not_repeated_before_the_drain_says_that_nothing_is_left() {
    let server = EmbeddedServer::start("{}").unwrap();
    let mut host = Host::new(server.url(), "").connect();
    host.subscribe("room");
    let before = host.wakes.load(Ordering::SeqCst);
    server.publish("room", "said", Data::Json("1".into())).unwrap();
    host.woken.recv_timeout(TIMEOUT).unwrap();
    let batch = host.connection.drain().unwrap();
    host.take(&batch);
    // Not drained to `None`: what comes now comes without a wake.
    server.publish("room", "said", Data::Json("2".into())).unwrap();
    let end = Instant::now() + TIMEOUT;
    while host.payloads.len() < 2 {
        assert!(Instant::now() < end);
        if let Some(batch) = host.connection.drain() {
            host.take(&batch);
        } else {
            // The drain was faster than the message: then a wake is right.
            host.woken.recv_timeout(TIMEOUT).unwrap();
        }
    }
    assert!(host.wakes.load(Ordering::SeqCst) - before <= 2);
}

#[test]
fn what_is_not_consumed_holds_the_server_back() {
    let server = EmbeddedServer::start("{}").unwrap();
    let mut host = Host::new(server.url(), r#","inbox":{"bytes":4096,"channelBytes":4096}"#).connect();
    let channel = host.subscribe("room");
    host.consumes = false;
    for _ in 0..200 {
        server.publish("room", "said", Data::Json(format!("\"{}\"", "x".repeat(100)).into())).unwrap();
    }
    // The window, and nothing after it, until something is consumed.
    host.until(|host| host.held >= 4096);
    assert!(host.held < 4096 + 400);
    host.consumes = true;
    host.connection.consumed(Some(channel), host.held);
    host.until(|host| host.payloads.len() == 200);
}

#[test]
fn a_host_that_leaves_a_wake_unanswered_hears_that_it_was_stalled() {
    let server = EmbeddedServer::start("{}").unwrap();
    let mut host = Host::new(server.url(), "").connect();
    host.subscribe("room");
    server.publish("room", "said", Data::Json("1".into())).unwrap();
    host.woken.recv_timeout(TIMEOUT).unwrap();
    // What is tested is that time passes.
    std::thread::sleep(Duration::from_millis(1100));
    host.drain();
    assert!(host.has(r#""type":"stalled""#));
}

#[test]
fn a_host_that_is_long_at_a_batch_hears_it_first_and_can_tell_at_what() {
    let server = EmbeddedServer::start("{}").unwrap();
    let mut host = Host::new(server.url(), "").connect();
    host.subscribe("room");
    server.publish("room", "said", Data::Json("1".into())).unwrap();
    host.woken.recv_timeout(TIMEOUT).unwrap();
    let batch = host.connection.drain().unwrap();
    assert!(!host.connection.overdue().take());
    server.publish("room", "said", Data::Json("2".into())).unwrap();
    let end = Instant::now() + TIMEOUT;
    while !host.connection.overdue().take() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    host.take(&batch);
    let batch = host.connection.drain().unwrap();
    host.take(&batch);
    assert!(host.events.last().unwrap().contains(r#""type":"stalled""#), "{:?}", host.events);
    assert_eq!(host.payloads.len(), 1);
    host.drain();
    assert_eq!(host.payloads.len(), 2);
    assert!(!host.connection.overdue().take(), "it is raised once a stall");
}

#[test]
fn a_stall_in_which_nothing_comes_is_reported_too() {
    let server = EmbeddedServer::start("{}").unwrap();
    let mut host = Host::new(server.url(), r#","heartbeat":{"interval":100,"timeout":5000}"#).connect();
    // Idle, and woken all the same; it leaves that for too long.
    host.woken.recv_timeout(TIMEOUT).unwrap();
    let end = Instant::now() + TIMEOUT;
    while !host.connection.overdue().take() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    host.drain();
    assert!(host.has(r#""type":"stalled""#));
}

#[test]
fn a_host_that_takes_over_was_not_stalled() {
    let server = EmbeddedServer::start("{}").unwrap();
    let mut host = Host::new(server.url(), "").connect();
    host.subscribe("room");
    server.publish("room", "said", Data::Json("1".into())).unwrap();
    let end = Instant::now() + TIMEOUT;
    while !host.connection.overdue().take() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    host.connection.take_over();
    host.drain();
    assert_eq!(host.payloads.len(), 1);
    assert!(!host.has(r#""type":"stalled""#));
}

#[test]
fn reports_that_nobody_takes_are_bounded_and_the_last_status_is_kept() {
    let server = EmbeddedServer::start("{}").unwrap();
    let proxy = EmbeddedProxy::start(server.url()).unwrap();
    proxy.cut();
    // Each attempt fails within a millisecond, with an error report; the host is away for longer than it takes to fill up.
    let options = r#","reconnect":{"first":0.001,"base":0.001,"max":0.001,"attemptsUntilError":1000000}"#;
    let mut host = Host::new(proxy.url(), options);
    host.connection.connect().unwrap();
    let end = Instant::now() + 6 * TIMEOUT;
    while stats(&host, "failedAttempts") < 4300 {
        assert!(Instant::now() < end, "{}", host.connection.stats_json().unwrap());
        std::thread::yield_now();
    }
    proxy.restore();
    while stats(&host, "bytesReceived") == 0 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    host.until(|host| host.has(r#""status":"connected""#));
    assert!(host.events.len() < 4200, "{}", host.events.len());
    assert!(host.has("reports were merged or dropped"));
    assert!(
        host.events.iter().rposition(|e| e.contains(r#""type":"status""#))
            >= host.events.iter().rposition(|e| e.contains(r#""status":"connected""#))
    );
}

#[test]
fn after_close_there_is_no_wake_and_every_call_fails() {
    let server = EmbeddedServer::start("{}").unwrap();
    let mut host = Host::new(server.url(), "").connect();
    let channel = host.subscribe("room");
    host.connection.close();
    host.connection.close();
    let wakes = host.wakes.load(Ordering::SeqCst);
    server.publish("room", "said", Data::Json("1".into())).unwrap();
    let end = Instant::now() + TIMEOUT;
    while server.connection_count().unwrap() > 0 {
        assert!(Instant::now() < end, "the socket stays open");
        std::thread::yield_now();
    }
    assert_eq!(host.wakes.load(Ordering::SeqCst), wakes);
    assert!(host.connection.drain().is_none());
    let error = host.connection.publish(1, channel, "said", Data::Json("1".into())).unwrap_err();
    assert_eq!(error.code(), "closed");
}

#[test]
fn dropping_closes_the_socket() {
    let server = EmbeddedServer::start("{}").unwrap();
    let host = Host::new(server.url(), "").connect();
    drop(host);
    let end = Instant::now() + TIMEOUT;
    while server.connection_count().unwrap() > 0 {
        assert!(Instant::now() < end, "the socket stays open");
        std::thread::yield_now();
    }
}

fn stats(host: &Host, name: &str) -> u64 {
    let stats: serde_json::Value = serde_json::from_str(&host.connection.stats_json().unwrap()).unwrap();
    stats[name].as_u64().unwrap()
}
