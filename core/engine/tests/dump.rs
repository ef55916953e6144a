//! The flight recorder: what happened last, bounded, and nothing that is secret.
#![allow(clippy::unwrap_used)]

mod support;

use realtime_engine::{Config, Data, Text, Token};
use serde_json::Value;
use support::{Bench, config, json};

fn dump(bench: &Bench) -> Value {
    serde_json::from_str(&bench.session.dump()).unwrap()
}

/// What the entries are about, without their times.
fn whats(dump: &Value) -> Vec<String> {
    let text = |entry: &Value| match entry["what"].as_str().unwrap() {
        what @ ("sent" | "received") => format!("{what} {}x{}", entry["count"], entry["type"]),
        what @ "call" => format!("{what} {} x{}", entry["call"], entry["count"]),
        what => format!("{what} {}", entry[if what == "channel" { "state" } else { what }]),
    };
    dump["entries"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_connection_is_told_from_its_begin_to_its_loss() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.open_v1();
    let id = bench.subscribed("room", "a", 0);
    for n in 0..3 {
        bench.publish(id, json(&n.to_string())).unwrap();
    }
    bench.drain();
    bench.message("room", 1, "\"private\"");
    bench.closed(Some(1001));
    let dump = dump(&bench);
    assert_eq!(
        whats(&dump),
        [
            r#"call "connect" x1"#,
            r#"status "connecting""#,
            r#"phase "opening""#,
            "open null",
            "opened null",
            r#"phase "handshake""#,
            r#"sent 1x"hello""#,
            r#"received 1x"welcome""#,
            r#"phase "connected""#,
            r#"status "connected""#,
            r#"call "subscribe" x1"#,
            r#"channel "subscribing""#,
            r#"sent 1x"subscribe""#,
            r#"received 1x"subscribed""#,
            r#"channel "subscribed""#,
            r#"call "publish" x3"#,
            r#"sent 3x"publish""#,
            r#"received 1x"message""#,
            "closed null",
            r#"channel "resubscribing""#,
            r#"phase "waiting""#,
            r#"phase "waiting""#,
            r#"status "reconnecting""#,
        ]
    );
    let entries = dump["entries"].as_array().unwrap();
    let message = entries.iter().find(|entry| entry["type"] == "message").unwrap();
    assert_eq!((&message["channel"], &message["first"]), (&Value::from(id.0), &Value::from(1)));
    assert_eq!((&dump["status"], &dump["phase"]), (&Value::from("reconnecting"), &Value::from("waiting")));
    assert_eq!((&dump["queued"], &dump["channels"][0]["offset"]), (&Value::from(3), &Value::from(1)));
}

#[test]
fn no_secret_is_written() {
    let mut config = Config::new("ws://server.test/secret-path?key=secret-query");
    config.token = Token::Static("secret-token".into());
    config.session = "secret-session-0123456789".into();
    config.headers = vec![("x-key".into(), "secret-header".into())];
    let mut bench = Bench::new(config);
    bench.connect();
    bench.open_v1();
    let id = bench.subscribed("room", "a", 0);
    bench.publish_now(id, "\"secret-payload\"");
    let permit = bench.session.budget().reserve(10).unwrap();
    let event = Some(Text::from("secret-event"));
    let payload = Data::Json("\"secret-direct\"".into());
    bench.session.send(bench.now, realtime_engine::RequestId(9), event, payload, permit).unwrap();
    bench.message("room", 1, "\"secret-incoming\"");
    bench.text("secret nonsense");
    bench.closed(Some(4500));
    let text = bench.session.dump();
    assert!(text.contains("protocol_error") || text.contains("rejected"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn the_last_entries_are_kept_in_order_and_counted() {
    let mut config = config();
    config.record = 8;
    let mut bench = Bench::connected(config);
    bench.subscribed("room", "a", 0);
    let before = dump(&bench)["recorded"].as_u64().unwrap();
    for offset in 1..=100 {
        bench.now = bench.now + std::time::Duration::from_millis(1);
        bench.message("room", offset, "1");
    }
    let dump = dump(&bench);
    let numbers: Vec<_> =
        dump["entries"].as_array().unwrap().iter().map(|entry| entry["first"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (93..=100).collect::<Vec<_>>());
    assert_eq!(dump["recorded"].as_u64().unwrap(), before + 100);
}

#[test]
fn one_frame_may_cause_more_than_there_is_room_for() {
    for record in [0, 1, 3] {
        let mut config = config();
        config.record = record;
        let mut bench = Bench::connected(config);
        bench.subscribed("room", "a", 0);
        let lines: Vec<_> = (1..=20)
            .map(|n| {
                let offset = n * 2;
                format!(
                    r#"{{"type":"message","channel":"room","event":"e","offset":{offset},"timestamp":1,"payload":1}}"#
                )
            })
            .collect();
        bench.text(&lines.join("\n"));
        assert_eq!(bench.gaps().len(), 20);
        assert_eq!(dump(&bench)["entries"].as_array().unwrap().len(), record);
    }
}

#[test]
fn plain_is_recorded_too() {
    let mut bench = Bench::connected_plain(config());
    let id = bench.subscribe("room");
    bench.publish_now(id, "1");
    bench.text(r#"{"type":"said","channel":"room","payload":1}"#);
    bench.text(r#"{"type":"pong"}"#);
    let whats = whats(&dump(&bench));
    for expected in [r#"sent 1x"subscribe""#, r#"sent 1x"publish""#, r#"received 1x"message""#, r#"received 1x"pong""#]
    {
        assert!(whats.iter().any(|what| what == expected), "{expected} is not in {whats:?}");
    }
}
