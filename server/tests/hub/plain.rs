use realtime_server::hub::{HistoryConfig, HubConfig};
use serde_json::{Value, json};

use crate::world::World;

fn subscribe(channel: &str) -> Value {
    json!({"type": "subscribe", "payload": {"channel": channel}, "timestamp": 1})
}

fn message(channel: &str, payload: Value) -> Value {
    json!({"type": "channel_message", "payload": {"channel": channel, "event": "e", "payload": payload}, "timestamp": 1})
}

#[test]
fn both_dialects_meet_in_a_channel() {
    let mut world = World::new(HubConfig::default());
    let (v1, plain) = (world.v1("alice"), world.plain());
    world.subscribe(v1, "room");
    assert_eq!(world.ask(plain, subscribe("room")), [] as [Value; 0], "nothing is acknowledged");
    let own = world.ask(plain, message("room", json!({"n": 1})));
    assert_eq!(own, [json!({"type": "e", "payload": {"n": 1}, "timestamp": world.now, "channel": "room"})]);
    let heard = world.hear(v1);
    assert_eq!((&heard[0]["payload"], &heard[0]["offset"]), (&json!({"n": 1}), &json!(1)));
    world.publish(v1, 1, "room");
    assert_eq!(world.hear(plain)[0]["payload"], 1);
    world.say(plain, json!({"type": "unsubscribe", "payload": {"channel": "room"}}));
    world.publish(v1, 2, "room");
    assert!(world.hear(plain).is_empty());
}

#[test]
fn white_space_between_lines_does_not_break_the_lines_of_others() {
    let mut world = World::new(HubConfig::default());
    let (v1, plain) = (world.v1("alice"), world.plain());
    world.subscribe(v1, "room");
    let pretty = serde_json::to_string_pretty(&message("room", json!({"a": [1, 2]}))).unwrap();
    assert!(pretty.contains('\n'));
    world.say_text(plain, &pretty);
    assert_eq!(world.hear(v1)[0]["payload"], json!({"a": [1, 2]}));
}

#[test]
fn each_message_has_a_frame_of_its_own_also_under_backlog() {
    let mut world = World::new(HubConfig::default());
    let (v1, plain) = (world.v1("alice"), world.plain());
    world.say(plain, subscribe("room"));
    world.stick(plain);
    world.publish_all(v1, 1..=100, "room");
    world.unstick(plain);
    assert_eq!(world.frames[&plain].len(), 100);
    assert_eq!(
        world.hear(plain).iter().map(|m| m["payload"].as_u64().unwrap()).collect::<Vec<_>>(),
        (1..=100).collect::<Vec<_>>()
    );
}

#[test]
fn gaps_are_told() {
    let history = HistoryConfig { messages: 2, ..HistoryConfig::default() };
    let mut world = World::new(HubConfig { history, ..HubConfig::default() });
    let (v1, plain) = (world.v1("alice"), world.plain());
    world.say(plain, subscribe("room"));
    world.stick(plain);
    world.publish_all(v1, 1..=5, "room");
    world.unstick(plain);
    let heard = world.hear(plain);
    assert_eq!(
        heard[0],
        json!({"type": "gap", "payload": {"from": 1, "to": 3}, "timestamp": world.now, "channel": "room"})
    );
    assert_eq!(heard.len(), 3);
}

#[test]
fn a_binary_channel_message_is_a_gap_for_plain_clients() {
    let mut world = World::new(HubConfig::default());
    let (v1, plain) = (world.v1("alice"), world.plain());
    world.say(plain, subscribe("r"));
    world.say_binary(v1, b"\x01\x00\0\0\0\0\0\0\0\x01\x01\x01re!");
    world.publish(v1, 2, "r");
    let heard = world.hear(plain);
    assert_eq!((&heard[0]["type"], &heard[0]["payload"]), (&json!("gap"), &json!({"from": 1, "to": 1})));
    assert_eq!(heard[1]["payload"], 2);
}

#[test]
fn pongs_carry_the_timestamp_of_the_ping() {
    let mut world = World::new(HubConfig::default());
    let plain = world.plain();
    assert_eq!(
        world.ask(plain, json!({"type": "ping", "payload": {"timestamp": 7}, "timestamp": 8})),
        [json!({"type": "pong", "timestamp": 7})]
    );
    assert_eq!(world.ask(plain, json!({"type": "ping", "timestamp": 8})), [json!({"type": "pong", "timestamp": 8})]);
    assert_eq!(world.ask(plain, json!({"type": "ping"})), [json!({"type": "pong", "timestamp": world.now})]);
}

#[test]
fn refusals_have_a_code() {
    let mut config = HubConfig::default();
    config.limits.channels = 1;
    config.limits.rate = 1;
    config.limits.payload = 5;
    let mut world = World::new(config);
    let plain = world.plain();
    let code = |answer: Vec<Value>| {
        assert_eq!(answer[0]["type"], "error");
        answer[0]["payload"]["code"].as_str().unwrap().to_owned()
    };
    world.say(plain, subscribe("a"));
    assert_eq!(code(world.ask(plain, subscribe("b"))), "too_many_channels");
    assert_eq!(code(world.ask(plain, subscribe(""))), "invalid_name");
    assert_eq!(code(world.ask(plain, json!([1]))), "malformed");
    assert_eq!(code(world.ask(plain, json!({"type": "subscribe"}))), "malformed");
    assert_eq!(code(world.ask(plain, message("a", json!("long")))), "payload_too_large");
    assert_eq!(code(world.ask(plain, message("a", json!(1)))), "rate_limited");
    world.advance(1000);
    assert_eq!(code(world.ask(plain, json!({"type": "dance", "payload": 1}))), "no_handler");
    world.say_text(plain, "nonsense");
    assert_eq!(code(world.hear(plain)), "malformed");
}

#[test]
fn a_flood_of_nonsense_is_closed() {
    let mut world = World::new(HubConfig::default());
    let plain = world.plain();
    for _ in 0..20 {
        world.say_text(plain, "nonsense");
    }
    assert_eq!(world.closed.get(&plain), Some(&4500));
}
