use realtime_engine::wire::Frame;
use realtime_server::hub::{Dialect, HubConfig, Input};
use serde_json::json;

use crate::world::World;

#[test]
fn silence_is_closed_after_the_timeout() {
    let mut world = World::new(HubConfig::default());
    let bob = world.v1("bob");
    world.subscribe(bob, "room");
    let alice = world.v1("alice");
    world.advance(59_999);
    assert!(world.closed.is_empty());
    world.ask(alice, json!({"type": "ping", "id": 1}));
    world.advance(1);
    assert_eq!((world.closed.get(&bob), world.closed.get(&alice)), (Some(&4002), None));
    assert_eq!(world.hub.stats().timeouts, 1);
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let mut world = World::new(HubConfig::default());
    let bob = world.v1("bob");
    for frame in [Frame::Ping("".into()), Frame::Pong("".into()), Frame::Text("".into()), Frame::Text("x".into())] {
        world.advance(59_000);
        world.input(Input::Frame { connection: bob, frame });
    }
    assert!(world.closed.is_empty());
}

#[test]
fn no_hello_in_time() {
    let mut world = World::new(HubConfig::default());
    let silent = world.open(Dialect::V1, None);
    world.advance(9_999);
    assert!(world.closed.is_empty());
    world.advance(1);
    assert_eq!(world.closed.get(&silent), Some(&4003));
}

#[test]
fn plain_clients_are_pinged_when_they_are_silent() {
    let mut world = World::new(HubConfig::default());
    let plain = world.plain();
    world.advance(30_000);
    assert_eq!(world.frames[&plain], [Frame::Ping("".into())]);
    world.input(Input::Frame { connection: plain, frame: Frame::Pong("".into()) });
    world.advance(59_999);
    assert!(world.closed.is_empty());
    world.advance(1);
    assert_eq!(world.closed.get(&plain), Some(&4002));
}

#[test]
fn a_hub_at_rest_wakes_up_rarely() {
    let mut world = World::new(HubConfig::default());
    let bob = world.v1("bob");
    world.disconnect(bob);
    let mut wakes = 0;
    let end = world.now + 3_600_000;
    while let Some(at) = world.hub.deadline().filter(|at| *at < end) {
        world.now = at;
        world.input(Input::Tick);
        wakes += 1;
    }
    assert!(wakes <= 60, "{wakes} in an hour");
}
