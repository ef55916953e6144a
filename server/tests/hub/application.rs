use realtime_server::hub::{Content, HubConfig, Output};
use serde_json::json;

use crate::world::World;

fn world() -> World {
    World::new(HubConfig { application: true, ..HubConfig::default() })
}

#[test]
fn without_an_application_a_send_is_refused() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let answer = world.ask(alice, json!({"type": "send", "id": 1, "event": "e", "payload": 1}));
    assert_eq!((&answer[0]["code"], &answer[0]["id"]), (&json!("no_handler"), &json!(1)));
}

#[test]
fn a_send_reaches_the_application_and_its_answer_the_sender() {
    let mut world = world();
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    assert_eq!(
        world.ask(alice, json!({"type": "send", "id": 1, "event": "greet", "payload": {"a": 1}})),
        [json!({"type": "receipt", "id": 1})]
    );
    let expected = Output::Sent {
        connection: alice,
        user: None,
        event: Some("greet".into()),
        content: Content::Json(r#"{"a":1}"#.into()),
    };
    assert_eq!(world.sent, [expected]);
    assert_eq!(world.hub.direct(world.now, alice, "answer", &Content::Json("[1]".into())), Ok(true));
    world.hub.direct(world.now, alice, "", &Content::Binary("!".into())).unwrap_err();
    world.hub.direct(world.now, alice, "b", &Content::Binary("!".into())).unwrap();
    world.settle();
    let heard = world.hear(alice);
    assert_eq!(heard[0], json!({"type": "direct", "event": "answer", "timestamp": world.now, "payload": [1]}));
    assert_eq!(heard[1]["bytes"], json!(b"\x04\x00!"));
    assert!(world.hear(bob).is_empty());
    world.disconnect(alice);
    assert_eq!(world.hub.direct(world.now, alice, "late", &Content::Json("1".into())), Ok(false));
}

#[test]
fn other_types_of_plain_clients_go_to_the_application() {
    let mut world = world();
    let plain = world.plain();
    world.say(plain, json!({"type": "greet", "payload": {"a": 1}, "timestamp": 5}));
    world.say_binary(plain, b"\x01bytes");
    assert_eq!(world.sent.len(), 2);
    assert!(
        matches!(&world.sent[0], Output::Sent { event: Some(event), content: Content::Json(json), .. } if event == "greet" && json == r#"{"a":1}"#)
    );
    assert!(
        matches!(&world.sent[1], Output::Sent { event: None, content: Content::Binary(bytes), .. } if &bytes[..] == b"\x01bytes")
    );
    world.hub.direct(world.now, plain, "answer", &Content::Json("1".into())).unwrap();
    world.hub.direct(world.now, plain, "answer", &Content::Binary("!".into())).unwrap();
    world.settle();
    let heard = world.hear(plain);
    assert_eq!(heard[0], json!({"type": "answer", "payload": 1, "timestamp": world.now}));
    assert_eq!(heard[1]["bytes"], json!(b"!"));
}
