use realtime_server::hub::{Content, HubConfig};
use serde_json::json;

use crate::world::World;

#[test]
fn offsets_count_from_one_in_each_channel() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    assert_eq!(world.subscribe(bob, "a")["offset"], 0);
    assert_eq!(world.subscribe(bob, "b")["offset"], 0);
    for (id, channel, offset) in [(1, "a", 1), (2, "a", 2), (3, "b", 1), (4, "a", 3)] {
        assert_eq!(world.publish(alice, id, channel)["offset"], offset);
    }
    let heard = world.hear(bob);
    let a: Vec<_> = heard.iter().filter(|m| m["channel"] == "a").map(|m| m["offset"].as_u64().unwrap()).collect();
    assert_eq!(a, [1, 2, 3]);
    assert_eq!(heard.len(), 4);
}

#[test]
fn a_subscriber_begins_at_the_end_and_is_told_where_that_is() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.publish_all(alice, 1..=3, "room");
    let subscribed = world.subscribe(bob, "room");
    assert_eq!(subscribed["offset"], 3);
    assert_eq!(subscribed.get("recovered"), None);
    assert_eq!(world.publish(alice, 4, "room")["epoch"], subscribed["epoch"]);
    assert_eq!(world.hear_offsets(bob).0, [4]);
}

#[test]
fn a_publisher_that_is_subscribed_gets_its_own_messages() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    world.subscribe(alice, "room");
    let answer =
        world.ask(alice, json!({"type": "publish", "id": 1, "channel": "room", "event": "e", "payload": null}));
    assert_eq!(answer.iter().map(|m| m["type"].as_str().unwrap()).collect::<Vec<_>>(), ["receipt", "message"]);
    assert_eq!(answer[1]["payload"], json!(null));
}

#[test]
fn after_unsubscribe_nothing_comes() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    let answer = world.ask(bob, json!({"type": "unsubscribe", "id": 2, "channel": "room"}));
    assert_eq!(answer, [json!({"type": "unsubscribed", "id": 2, "channel": "room"})]);
    world.publish(alice, 1, "room");
    assert!(world.hear(bob).is_empty());
    let again = world.ask(bob, json!({"type": "unsubscribe", "id": 3, "channel": "never"}));
    assert_eq!(again[0]["type"], "unsubscribed");
}

#[test]
fn keys_stand_in_the_order_of_the_specification_and_the_payload_is_not_touched() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    let payload = r#"{"n" : 12345678901234567890123 ,"s":"\u00e4\/"}"#;
    world.say_text(alice, &format!(r#"{{"payload":{payload},"event":"e","channel":"room","id":1,"type":"publish"}}"#));
    let frame = world.frames.remove(&bob).unwrap().pop_front().unwrap();
    let realtime_engine::wire::Frame::Text(line) = frame else { panic!("text") };
    let expected = format!(
        r#"{{"type":"message","channel":"room","event":"e","offset":1,"timestamp":{},"payload":{payload}}}"#,
        world.now
    );
    assert_eq!(std::str::from_utf8(&line).unwrap(), expected);
}

#[test]
fn a_binary_message_has_an_offset_among_the_others() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "r");
    world.publish(alice, 1, "r");
    world.hear(alice);
    world.say_binary(alice, b"\x01\x00\0\0\0\0\0\0\0\x02\x01\x01re\xff\x00");
    assert_eq!(world.hear(alice)[0]["offset"], 2);
    let heard = world.hear(bob);
    assert_eq!(heard[0]["offset"], 1);
    let mut expected = b"\x02\x00\0\0\0\0\0\0\0\x02".to_vec();
    expected.extend_from_slice(&world.now.to_be_bytes());
    expected.extend_from_slice(b"\x01\x01\x00re\xff\x00");
    assert_eq!(heard[1]["bytes"], json!(expected));
}

#[test]
fn the_server_publishes_too() {
    let mut world = World::new(HubConfig::default());
    let bob = world.v1("bob");
    world.subscribe(bob, "room");
    let position = world.hub.publish(world.now, "room", "news", &Content::Json("[1]".into())).unwrap();
    world.settle();
    let heard = world.hear(bob);
    assert_eq!((position.offset, &heard[0]["offset"], &heard[0]["event"]), (1, &json!(1), &json!("news")));
    for bad in ["", "1},\"x\":{", "[1\n]", "\"\u{1}\""] {
        world.hub.publish(world.now, "room", "news", &Content::Json(bad.to_owned().into())).unwrap_err();
    }
    world.hub.publish(world.now, &"x".repeat(256), "news", &Content::Json("1".into())).unwrap_err();
    assert!(world.hear(bob).is_empty());
}
