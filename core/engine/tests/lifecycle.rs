//! From disconnected to connected and back, in virtual time.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use realtime_engine::wire::CloseCode;
use realtime_engine::{Config, Event, Input, OpenError, Protocol, Session, Status, Timestamp, Token};
use support::{Bench, config};

fn unreachable() -> OpenError {
    OpenError::Unreachable("refused".into())
}

#[test]
fn hello_goes_first_and_welcome_connects() {
    let mut bench = Bench::new(config());
    bench.connect();
    assert_eq!(bench.opens[0].subprotocols, ["realtime.plain", "realtime.v1"]);
    let room = bench.subscribe("room");
    bench.publish_now(room, "1");
    bench.opened(Some("realtime.v1"));
    assert_eq!(bench.sent().len(), 1, "nothing but hello before welcome");
    let hello = bench.last_sent("hello");
    assert_eq!(hello["session"].as_str().unwrap().len(), 32);
    assert_eq!(hello["encoding"], "binary");
    assert_eq!(bench.session.status(), Status::Connecting);
    bench.now = bench.now + Duration::from_millis(25);
    bench.welcome(r#","user":"ann""#);
    assert_eq!(bench.statuses(), [Status::Connecting, Status::Connected]);
    assert!(bench.events.iter().any(|event| matches!(event, Event::Open(open)
        if open.dialect == "realtime.v1" && open.user.as_deref() == Some("ann"))));
    let kinds: Vec<_> = bench.sent().iter().map(|message| message["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["hello", "subscribe", "publish"]);
    assert_eq!(bench.session.stats().latency, Some(Duration::from_millis(25)));
}

#[test]
fn a_server_without_subprotocol_speaks_plain() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.opened(None);
    assert_eq!(bench.session.status(), Status::Connected);
    assert!(bench.events.iter().any(|event| matches!(event, Event::Open(open) if open.dialect == "plain")));
}

#[test]
fn a_handshake_that_fails_over_subprotocols_is_tried_once_without_and_remembered() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.open_failed(OpenError::NoSubprotocol);
    assert_eq!(bench.opens.len(), 2, "at once");
    assert!(bench.opens[1].subprotocols.is_empty());
    bench.opened(None);
    assert_eq!(bench.session.status(), Status::Connected);
    bench.closed(None);
    bench.pass_to_deadline();
    assert!(bench.opens[2].subprotocols.is_empty(), "remembered");
}

#[test]
fn v1_only_refuses_a_plain_server() {
    let mut config = config();
    config.protocol = Protocol::V1;
    let mut bench = Bench::new(config);
    bench.connect();
    bench.opened(None);
    assert_eq!(bench.session.status(), Status::Error);
    assert_eq!(bench.errors(), ["protocol_error"]);
    assert_eq!(bench.closes.len(), 1);
}

#[test]
fn retries_back_off_with_jitter_and_go_on_probing_in_error() {
    let mut bench = Bench::new(config());
    bench.connect();
    let mut waits = vec![];
    for _ in 0..8 {
        bench.open_failed(unreachable());
        waits.push(bench.pass_to_deadline());
    }
    let ceilings = [500, 3_000, 6_000, 12_000, 24_000, 30_000, 30_000, 30_000].map(Duration::from_millis);
    assert!(waits.iter().zip(ceilings).all(|(wait, ceiling)| *wait <= ceiling), "{waits:?}");
    assert!(waits.iter().any(|wait| wait.subsec_micros() % 1000 != 0), "no jitter: {waits:?}");
    assert_eq!(bench.statuses(), [Status::Connecting, Status::Reconnecting, Status::Error]);
    assert_eq!(bench.errors().len(), 8);
    bench.open_v1();
    assert_eq!(bench.session.status(), Status::Connected);
    assert_eq!(bench.session.stats().failed_attempts, 0);
}

#[test]
fn max_attempts_ends_everything_with_typed_errors() {
    let mut config = config();
    config.max_attempts = Some(2);
    let mut bench = Bench::new(config);
    let room = bench.subscribe("room");
    bench.publish(room, support::json("1")).unwrap();
    bench.connect();
    bench.open_failed(unreachable());
    bench.pass_to_deadline();
    bench.open_failed(unreachable());
    assert_eq!(bench.session.status(), Status::Error);
    assert_eq!(bench.failures(), [(1, "max_attempts")]);
    assert!(bench.session.deadline().is_none(), "no probing");
    assert_eq!(bench.publish(room, support::json("2")).unwrap_err().code(), "max_attempts");
    bench.connect();
    assert_eq!(bench.session.status(), Status::Connecting, "connect() begins anew");
}

#[test]
fn giving_up_while_probing_is_told_though_the_status_stays_error() {
    let mut config = config();
    config.attempts_until_error = 1;
    config.max_attempts = Some(2);
    let mut bench = Bench::new(config);
    bench.connect();
    bench.open_failed(unreachable());
    bench.pass_to_deadline();
    bench.open_failed(unreachable());
    assert_eq!(bench.statuses(), [Status::Connecting, Status::Error, Status::Error]);
    assert!(matches!(bench.events.last(), Some(Event::Status { retry_in: None, .. })));
}

#[test]
fn http_statuses_decide_by_policy() {
    let http = |status| OpenError::Http { status, retry_after: None };
    for (status, code) in [(401, "unauthenticated"), (403, "http_status"), (404, "http_status"), (426, "http_status")] {
        let mut bench = Bench::new(config());
        bench.connect();
        bench.open_failed(http(status));
        assert_eq!((bench.session.status(), bench.errors()), (Status::Error, vec![code]), "{status}");
        assert!(bench.session.deadline().is_none());
    }
    for status in [408, 429, 500, 503] {
        let mut bench = Bench::new(config());
        bench.connect();
        bench.open_failed(http(status));
        assert_eq!(bench.session.status(), Status::Reconnecting, "{status}");
    }
    let mut bench = Bench::connected(config());
    bench.closed(None);
    bench.pass_to_deadline();
    bench.open_failed(http(404));
    assert_eq!(bench.session.status(), Status::Reconnecting, "a rolling deploy answers 404 for a moment");
}

#[test]
fn retry_after_is_honoured() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.open_failed(OpenError::Http { status: 503, retry_after: Some(Duration::from_secs(77)) });
    assert!(bench.pass_to_deadline() >= Duration::from_secs(77));
    assert_eq!(bench.opens.len(), 2);
}

#[test]
fn close_codes_decide_by_range() {
    for (code, status, error) in [
        (Some(1000), Status::Reconnecting, "connection_lost"),
        (Some(1011), Status::Reconnecting, "connection_lost"),
        (None, Status::Reconnecting, "connection_lost"),
        (Some(4001), Status::Reconnecting, "connection_lost"),
        (Some(4201), Status::Error, "unauthenticated"),
        (Some(4501), Status::Error, "rejected"),
    ] {
        let mut bench = Bench::connected(config());
        bench.closed(code);
        assert_eq!(bench.session.status(), status, "{code:?}");
        let Some(Event::Status { reason: Some(reason), .. }) =
            bench.events.iter().rev().find(|event| matches!(event, Event::Status { .. }))
        else {
            panic!("no reason")
        };
        assert_eq!(reason.code(), error);
        let close = bench.events.iter().find_map(|event| match event {
            Event::Close { reconnecting, .. } => Some(*reconnecting),
            _ => None,
        });
        assert_eq!(close, Some(status == Status::Reconnecting));
    }
}

#[test]
fn a_hello_that_arrives_late_takes_the_session_from_this_very_client() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.opened(Some("realtime.v1"));
    // The hello of this attempt is on its way somewhere.
    bench.pass(Duration::from_secs(11));
    bench.open_v1();
    bench.closed(Some(4502));
    assert_eq!(bench.session.status(), Status::Reconnecting);
    // No attempt was given up since: now it is somebody else.
    bench.pass_to_deadline();
    bench.open_v1();
    bench.closed(Some(4502));
    assert_eq!(bench.session.status(), Status::Error);
}

#[test]
fn a_server_that_closes_at_once_is_backed_off_from() {
    let mut bench = Bench::new(config());
    bench.connect();
    let start = bench.now;
    for _ in 0..12 {
        bench.open_v1();
        bench.closed(Some(1000));
        bench.pass_to_deadline();
    }
    assert!(bench.now - start > Duration::from_secs(30), "{:?}", bench.now - start);
    bench.open_v1();
    bench.pass(Duration::from_secs(4));
    bench.closed(Some(1000));
    assert!(bench.pass_to_deadline() <= Duration::from_millis(500), "a connection that lasted starts anew");
}

#[test]
fn the_token_provider_is_asked_afresh_on_every_connect() {
    let mut config = config();
    config.token = Token::Provider;
    let mut bench = Bench::new(config);
    bench.connect();
    assert_eq!((bench.token_requests.len(), bench.opens.len()), (1, 0));
    bench.input(Input::Token { request: bench.token_requests[0], result: Ok(Some("t1".into())) });
    assert!(bench.opens[0].headers.contains(&("Authorization".into(), "Bearer t1".into())));
    bench.open_v1();
    assert_eq!(bench.last_sent("hello")["token"], "t1");
    bench.closed(Some(4201));
    assert_eq!(bench.session.status(), Status::Reconnecting);
    bench.pass_to_deadline();
    bench.input(Input::Token { request: bench.token_requests[1], result: Ok(Some("t2".into())) });
    assert!(bench.opens[1].headers.contains(&("Authorization".into(), "Bearer t2".into())));
}

#[test]
fn a_token_provider_that_fails_or_hangs_is_an_error_and_a_retry() {
    let mut config = config();
    config.token = Token::Provider;
    let mut bench = Bench::new(config);
    bench.connect();
    bench.input(Input::Token { request: 1, result: Err("no network".into()) });
    assert_eq!(bench.errors(), ["token_failed"]);
    bench.pass_to_deadline();
    assert_eq!(bench.token_requests, [1, 2]);
    assert_eq!(bench.pass_to_deadline(), Duration::from_secs(10));
    assert_eq!(bench.errors(), ["token_failed", "timeout"]);
    bench.input(Input::Token { request: 2, result: Ok(Some("late".into())) });
    assert!(bench.opens.is_empty(), "a late token belongs to nothing");
}

#[test]
fn a_token_is_refreshed_before_it_expires() {
    let mut config = config();
    config.token = Token::Provider;
    let mut bench = Bench::new(config);
    bench.connect();
    bench.input(Input::Token { request: 1, result: Ok(Some("t1".into())) });
    bench.opened(Some("realtime.v1"));
    bench.welcome(r#","expires_in":20000"#);
    bench.pass(Duration::from_millis(17_999));
    assert_eq!(bench.token_requests, [1]);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.token_requests, [1, 2]);
    bench.input(Input::Token { request: 2, result: Ok(Some("t2".into())) });
    let auth = bench.last_sent("auth");
    assert_eq!(auth["token"], "t2");
    bench.text(&format!(r#"{{"type":"authenticated","id":{},"expires_in":20000}}"#, auth["id"]));
    bench.pass(Duration::from_millis(18_000));
    assert_eq!(bench.token_requests, [1, 2, 3]);
}

#[test]
fn connecting_takes_no_longer_than_its_timeout() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.opened(Some("realtime.v1"));
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.errors(), ["timeout"]);
    assert_eq!(bench.closes, [(bench.attempt, CloseCode::NORMAL)]);
    bench.welcome("");
    assert_eq!(bench.session.status(), Status::Reconnecting, "what comes from a socket that was given up is ignored");
}

#[test]
fn goaway_leaves_within_the_spread_and_comes_back_at_once() {
    let mut bench = Bench::connected(config());
    bench.text(r#"{"type":"goaway","reason":"drain","spread":5000}"#);
    assert_eq!(bench.session.status(), Status::Connected);
    bench.pass(Duration::from_millis(5_000));
    assert_eq!((bench.closes.len(), bench.opens.len()), (1, 1));
    assert_eq!(bench.statuses(), [Status::Reconnecting]);
}

#[test]
fn silence_is_death_and_any_frame_is_life() {
    let mut bench = Bench::connected(config());
    bench.pass(Duration::from_secs(59));
    assert_eq!(bench.sent_of("ping").len(), 1);
    bench.text(r#"{"type":"something_new"}"#);
    bench.pass(Duration::from_secs(59));
    assert_eq!(bench.session.status(), Status::Connected);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.session.status(), Status::Reconnecting);
    assert_eq!(bench.closes, [(bench.attempt, CloseCode::HEARTBEAT_TIMEOUT)]);
    assert!(bench.errors().contains(&"heartbeat_timeout"));
}

#[test]
fn pings_measure_the_round_trip() {
    let mut bench = Bench::connected(config());
    bench.pass(Duration::from_secs(30));
    let id = bench.last_sent("ping")["id"].clone();
    bench.pass(Duration::from_millis(40));
    bench.text(&format!(r#"{{"type":"pong","id":{id},"time":1}}"#));
    assert_eq!(bench.session.stats().latency, Some(Duration::from_millis(40)));
}

#[test]
fn disconnect_waits_for_receipts_up_to_its_time_then_fails_the_rest() {
    let mut bench = Bench::connected(config());
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    bench.publish_now(room, "2");
    bench.session.disconnect(bench.now, Duration::from_secs(5));
    bench.drain();
    assert_eq!(bench.session.status(), Status::Connected);
    assert_eq!(bench.publish(room, support::json("3")).unwrap_err().code(), "closed");
    bench.text(r#"{"type":"receipt","id":1,"epoch":"a","offset":1}"#);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.failures(), [(2, "closed")]);
    assert_eq!(bench.session.status(), Status::Disconnected);
    assert!(bench.session.deadline().is_none());
    assert_eq!(bench.publish(room, support::json("4")).unwrap_err().code(), "closed");
}

#[test]
fn without_reconnect_a_loss_is_the_end() {
    let mut config = config();
    config.reconnect = false;
    let mut bench = Bench::connected(config);
    let room = bench.session.channel("room").unwrap();
    bench.publish_now(room, "1");
    bench.closed(None);
    assert_eq!(bench.session.status(), Status::Error);
    assert_eq!(bench.failures(), [(1, "connection_lost")]);
    assert!(bench.session.deadline().is_none());
}

#[test]
fn bad_options_are_named() {
    let make = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        Session::new(config, Timestamp::default(), 1).unwrap_err()
    };
    for url in ["", "not a url", "http://host", "ws://", "ws://host/#part"] {
        let error = Session::new(Config::new(url), Timestamp::default(), 1).unwrap_err();
        assert_eq!(error.code(), "invalid_url", "{url:?}");
    }
    for (option, error) in [
        ("heartbeat.interval", make(|c| c.heartbeat_interval = Duration::ZERO)),
        ("heartbeat.timeout", make(|c| c.heartbeat_timeout = Duration::from_secs(1))),
        ("reconnect.maxAttempts", make(|c| c.max_attempts = Some(0))),
        ("queue.messages", make(|c| c.queue_messages = 0)),
        ("rateLimit", make(|c| c.rate_limit = Some(0))),
        ("headers", make(|c| c.headers.push(("bad name".into(), "v".into())))),
        ("headers", make(|c| c.headers.push(("name".into(), "a\r\nb".into())))),
        ("subprotocols", make(|c| c.subprotocols.push("a b".into()))),
        ("session", make(|c| c.session = "short".into())),
    ] {
        assert_eq!(error.code(), "invalid_option");
        assert!(error.message.contains(option), "{error} should name {option}");
    }
}
