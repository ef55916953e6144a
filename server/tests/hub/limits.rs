use realtime_server::hub::{Dialect, HubConfig};
use serde_json::json;

use crate::world::World;

fn world(change: impl FnOnce(&mut HubConfig)) -> World {
    let mut config = HubConfig::default();
    change(&mut config);
    World::new(config)
}

#[test]
fn too_many_channels() {
    let mut world = world(|config| config.limits.channels = 2);
    let bob = world.v1("bob");
    world.subscribe(bob, "a");
    world.subscribe(bob, "b");
    let refused = world.ask(bob, json!({"type": "subscribe", "id": 3, "channel": "c"}));
    assert_eq!(
        refused,
        [
            json!({"type": "error", "code": "too_many_channels", "message": "a connection has at most 2 channels", "id": 3, "channel": "c"})
        ]
    );
    world.subscribe(bob, "a");
    world.say(bob, json!({"type": "unsubscribe", "id": 4, "channel": "a"}));
    world.subscribe(bob, "c");
}

#[test]
fn too_large_payloads_and_frames() {
    let mut world = world(|config| {
        config.limits.payload = 10;
        config.limits.frame = 200;
    });
    let alice = world.v1("alice");
    let publish = |id: u64, payload: String| json!({"type": "publish", "id": id, "channel": "a", "event": "e", "payload": payload});
    assert_eq!(world.ask(alice, publish(1, "x".repeat(8)))[0]["type"], "receipt");
    let refused = world.ask(alice, publish(2, "x".repeat(9)));
    assert_eq!((&refused[0]["code"], &refused[0]["id"]), (&json!("payload_too_large"), &json!(2)));
    let refused = world.ask(alice, publish(3, "x".repeat(300)));
    assert_eq!((&refused[0]["code"], refused[0].get("id")), (&json!("frame_too_large"), None));
    world.say_binary(alice, &[&b"\x01\x00\0\0\0\0\0\0\0\x04\x01\x01ae"[..], &[0; 11]].concat());
    assert_eq!(world.hear(alice)[0]["code"], "payload_too_large");
    assert!(world.closed.is_empty());
}

#[test]
fn the_rate_has_a_burst_of_a_second_and_counts_sends_and_publishes() {
    let mut world = world(|config| {
        config.limits.rate = 10;
        config.application = true;
    });
    let alice = world.v1("alice");
    world.publish_all(alice, 1..=9, "a");
    assert_eq!(world.ask(alice, json!({"type": "send", "id": 10, "event": "e", "payload": 1}))[0]["type"], "receipt");
    let refused = world.publish(alice, 11, "a");
    assert_eq!((&refused["code"], &refused["retry_after"]), (&json!("rate_limited"), &json!(100)));
    world.advance(100);
    world.publish_all(alice, 11..=11, "a");
    assert_eq!(world.ask(alice, json!({"type": "ping", "id": 1}))[0]["type"], "pong", "only publishes and sends count");
}

#[test]
fn one_connection_too_many_is_closed() {
    let mut world = world(|config| config.connections = 1);
    let first = world.v1("a");
    assert!(world.hub.is_full());
    let second = world.open(Dialect::V1, None);
    assert_eq!(world.closed.get(&second), Some(&4005));
    world.disconnect(second);
    world.disconnect(first);
    world.v1("b");
}

#[test]
fn what_cannot_be_understood_is_answered() {
    let mut world = world(|_| {});
    let alice = world.v1("alice");
    for (line, code, id) in [
        ("nonsense", "malformed", None),
        (r#"{"type":"dance","id":5}"#, "unknown_type", Some(5)),
        (r#"{"type":"publish","id":6,"channel":"a","event":"e"}"#, "malformed", Some(6)),
        (r#"{"type":"publish","id":7,"channel":"","event":"e","payload":1}"#, "invalid_name", Some(7)),
        (r#"{"type":"subscribe","id":"8","channel":"a"}"#, "malformed", None),
        (r#"{"type":"publish","id":9,"channel":"a","event":"e","payload":1},"x":{}"#, "malformed", None),
        (r#"{"type":"hello","session":"0123456789abcdef"}"#, "malformed", None),
        (r#"[1]"#, "malformed", None),
    ] {
        world.say_text(alice, line);
        let answer = world.hear(alice);
        assert_eq!((&answer[0]["code"], answer[0].get("id").and_then(|id| id.as_u64())), (&json!(code), id), "{line}");
    }
    for (frame, code) in [
        (&b"\x09\x00"[..], "unknown_type"),
        (b"\x01\x00\0", "malformed"),
        (b"\x01\x01", "malformed"),
        (b"", "malformed"),
    ] {
        world.say_binary(alice, frame);
        assert_eq!(world.hear(alice)[0]["code"], code, "{frame:?}");
    }
    let deep = format!(
        r#"{{"type":"publish","id":10,"channel":"a","event":"e","payload":{}{}}}"#,
        "[".repeat(101),
        "]".repeat(101)
    );
    world.say_text(alice, &deep);
    assert_eq!(world.hear(alice)[0]["code"], "malformed");
    assert_eq!(world.ask(alice, json!({"type": "ping", "id": 1}))[0]["type"], "pong");
}

#[test]
fn a_flood_of_nonsense_is_closed() {
    let mut world = world(|_| {});
    let alice = world.v1("alice");
    for _ in 0..19 {
        world.say_text(alice, "nonsense");
    }
    assert!(world.closed.is_empty());
    world.advance(1000);
    for _ in 0..19 {
        world.say_text(alice, "nonsense");
    }
    assert!(world.closed.is_empty());
    world.say_text(alice, "nonsense\nnonsense");
    assert_eq!(world.closed.get(&alice), Some(&4500));
    assert_eq!(world.hub.stats().faults, 39);
}

#[test]
fn errors_that_answer_a_request_are_no_flood() {
    let mut world = world(|_| {});
    let alice = world.v1("alice");
    for id in 0..100 {
        world.say(alice, json!({"type": "dance", "id": id}));
    }
    assert!(world.closed.is_empty());
    assert_eq!(world.hear(alice).len(), 100);
}

#[test]
fn who_does_not_begin_with_hello_does_not_speak_this_protocol() {
    let mut world = world(|_| {});
    for first in [r#"{"type":"ping","id":1}"#, "GET /", r#"{"type":"hello","session":"short"}"#] {
        let client = world.open(Dialect::V1, None);
        world.say_text(client, first);
        assert_eq!(world.closed.get(&client), Some(&4500), "{first}");
    }
}
