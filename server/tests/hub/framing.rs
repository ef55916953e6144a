use realtime_engine::wire::Frame;
use realtime_server::hub::{ConnectionId, HubConfig};
use serde_json::json;

use crate::world::World;

fn frames(world: &mut World, client: ConnectionId) -> Vec<Frame> {
    world.frames.remove(&client).unwrap_or_default().into()
}

#[test]
fn a_lone_message_is_alone_in_its_frame() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    world.publish_all(alice, 1..=3, "room");
    let frames = frames(&mut world, bob);
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|frame| matches!(frame, Frame::Text(bytes) if !bytes.contains(&b'\n'))));
}

#[test]
fn what_waits_shares_frames_of_about_64_kib() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "room");
    world.stick(bob);
    world.publish_all(alice, 1..=1000, "room");
    world.say(bob, json!({"type": "ping", "id": 1}));
    world.unstick(bob);
    let frames = frames(&mut world, bob);
    let total: usize = frames.iter().map(Frame::len).sum();
    assert!(frames.len() <= total.div_ceil(64 << 10) + 1, "{} frames for {total} bytes", frames.len());
    assert!(frames.iter().all(|frame| frame.len() <= (64 << 10) + 200));
    let Frame::Text(first) = &frames[0] else { panic!("text") };
    assert!(first.starts_with(br#"{"type":"pong""#), "answers overtake");
    world.frames.insert(bob, frames.into());
    assert_eq!(world.hear_offsets(bob).0, (1..=1000).collect::<Vec<_>>());
}

#[test]
fn answers_share_a_frame_as_their_requests_did() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let line = |id: u64| json!({"type": "ping", "id": id}).to_string();
    world.say_text(alice, &format!("{}\n\n{}\r\n{}\n", line(1), line(2), line(3)));
    let frames = frames(&mut world, alice);
    assert_eq!(frames.len(), 1);
    world.frames.insert(alice, frames.into());
    let ids: Vec<_> = world.hear(alice).iter().map(|pong| pong["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn json_comes_in_binary_frames_where_that_was_asked_for() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let bob = world.open(realtime_server::hub::Dialect::V1, None);
    world.say_text(
        bob,
        "{\"type\":\"hello\",\"session\":\"0123456789abcdef\",\"encoding\":\"binary\"}\n{\"type\":\"subscribe\",\"id\":1,\"channel\":\"room\"}",
    );
    world.publish(alice, 1, "room");
    let frames = frames(&mut world, bob);
    assert!(matches!(&frames[0], Frame::Text(welcome) if welcome.starts_with(b"{\"type\":\"welcome\"")));
    assert_eq!(frames.len(), 3);
    assert!(frames[1..].iter().all(|frame| matches!(frame, Frame::Binary(bytes) if bytes[0] == b'{')));
}

#[test]
fn a_binary_message_is_alone_among_lines_and_keeps_its_place() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "r");
    world.stick(bob);
    world.publish_all(alice, 1..=2, "r");
    world.say_binary(alice, b"\x01\x00\0\0\0\0\0\0\0\x03\x01\x01re!");
    world.publish_all(alice, 4..=5, "r");
    world.unstick(bob);
    let kinds: Vec<_> = frames(&mut world, bob)
        .iter()
        .map(|frame| match frame {
            Frame::Text(bytes) => bytes.split(|byte| *byte == b'\n').count(),
            _ => 0,
        })
        .collect();
    assert_eq!(kinds, [2, 0, 2]);
}

#[test]
fn a_long_backlog_does_not_starve_another_channel() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.subscribe(bob, "busy");
    world.subscribe(bob, "calm");
    world.stick(bob);
    world.publish_all(alice, 1..=900, "busy");
    world.publish_all(alice, 901..=901, "calm");
    world.unstick(bob);
    let heard = world.hear(bob);
    let place = heard.iter().position(|message| message["channel"] == "calm").unwrap();
    assert!(place < 250, "calm came as number {place} of {}", heard.len());
}

/// Where the bytes of frames lie.
fn places(frames: &[Frame]) -> Vec<(*const u8, usize)> {
    let place = |frame: &Frame| match frame {
        Frame::Text(bytes) | Frame::Binary(bytes) => (bytes.as_ptr(), bytes.len()),
        other => panic!("{other:?}"),
    };
    frames.iter().map(place).collect()
}

#[test]
fn a_message_is_serialised_once_for_all_subscribers_of_a_dialect() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let v1: Vec<_> = (0..5).map(|number| world.v1(&format!("v1-{number}"))).collect();
    let plain: Vec<_> = (0..5).map(|_| world.plain()).collect();
    v1.iter().for_each(|client| drop(world.subscribe(*client, "room")));
    plain.iter().for_each(|client| world.say(*client, json!({"type": "subscribe", "payload": {"channel": "room"}})));
    world.publish(alice, 1, "room");
    for dialect in [v1, plain] {
        let all: Vec<_> = dialect.iter().map(|client| places(&frames(&mut world, *client))).collect();
        assert_eq!(all[0].len(), 1);
        assert!(all.iter().all(|places| *places == all[0]), "the very same bytes: {all:?}");
    }
}

#[test]
fn what_waits_is_joined_once_for_all_that_are_behind_by_the_same() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let others: Vec<_> = (0..5).map(|number| world.v1(&format!("other-{number}"))).collect();
    for client in &others {
        world.subscribe(*client, "room");
        world.stick(*client);
    }
    world.publish_all(alice, 1..=1000, "room");
    others.iter().for_each(|client| world.unstick(*client));
    let all: Vec<_> = others.iter().map(|client| frames(&mut world, *client)).collect();
    let places: Vec<_> = all.iter().map(|frames| places(frames)).collect();
    assert!(places[0].len() < 10, "{} frames", places[0].len());
    assert!(places.iter().all(|places_of_one| *places_of_one == places[0]), "the very same bytes: {places:?}");
    for (client, frames) in others.iter().zip(all) {
        world.frames.insert(*client, frames.into());
        assert_eq!(world.hear_offsets(*client).0, (1..=1000).collect::<Vec<_>>());
    }
}

#[test]
fn who_is_behind_by_more_or_less_than_another_gets_what_it_lacks() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let [early, late, later, other] = ["early", "late", "later", "other"].map(|name| world.v1(name));
    world.subscribe(early, "room");
    world.subscribe(other, "elsewhere");
    world.stick(early);
    world.stick(other);
    world.publish_all(alice, 1..=10, "room");
    world.subscribe(late, "room");
    world.subscribe(later, "room");
    world.stick(late);
    world.stick(later);
    world.publish_all(alice, 11..=20, "room");
    world.publish_all(alice, 21..=30, "elsewhere");
    world.unstick(late);
    world.unstick(early);
    world.publish_all(alice, 31..=40, "room");
    world.unstick(later);
    world.unstick(other);
    assert_eq!(world.hear_offsets(early).0, (1..=30).collect::<Vec<_>>());
    assert_eq!(world.hear_offsets(late).0, (11..=30).collect::<Vec<_>>());
    assert_eq!(world.hear_offsets(later).0, (11..=30).collect::<Vec<_>>());
    assert_eq!(world.hear_offsets(other).0, (1..=10).collect::<Vec<_>>());
}
