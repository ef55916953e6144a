use std::sync::Arc;
use std::time::Duration;

use realtime_engine::wire::Frame;
use realtime_server::Identity;
use realtime_server::hub::{Authorizer, ConnectionId, Dialect, HistoryConfig, HubConfig, Input, PresenceConfig};
use serde_json::{Value, json};

use crate::replica::Audience;
use crate::world::World;

fn track(id: u64, state: Value) -> Value {
    json!({"type": "track", "id": id, "channel": "room", "status": "online", "state": state})
}

fn watch(world: &mut World, client: ConnectionId) -> Vec<Value> {
    world.ask(client, json!({"type": "subscribe", "id": 1, "channel": "room", "presence": true}))
}

fn with_presence(presence: PresenceConfig) -> World {
    World::new(HubConfig { presence, ..HubConfig::default() })
}

/// As a user that a token proved.
fn open_as(world: &mut World, user: &str, session: &str) -> ConnectionId {
    let identity = Identity { user: Some(user.into()), expires_at: None };
    let client = world.open(Dialect::V1, Some(identity));
    world.ask(client, json!({"type": "hello", "session": format!("{session:_<24}")}));
    client
}

#[test]
fn a_client_is_seen_by_those_who_watch_and_watching_is_not_being_there() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let answers = watch(&mut world, bob);
    assert_eq!(
        (&answers[0]["type"], &answers[0]["presence"], &answers[0]["grace"]),
        (&json!("subscribed"), &json!(true), &json!(10_000))
    );
    assert_eq!(
        (&answers[1]["type"], &answers[1]["members"], &answers[1]["end"]),
        (&json!("snapshot"), &json!([]), &json!(0))
    );
    assert_eq!(world.hub.members("room"), []);
    let tracked = world.ask(alice, track(2, json!({"name": "Ada"})));
    let reference = tracked[0]["ref"].clone();
    assert_eq!((&tracked[0]["type"], &tracked[0]["key"]), (&json!("tracked"), &reference));
    let line = &world.hear(bob)[0];
    assert_eq!((&line["type"], &line["offset"], line.get("leave")), (&json!("presence"), &json!(1), None));
    let now = world.now;
    assert_eq!(
        line["join"],
        json!([{"ref": reference, "key": reference, "status": "online", "state": {"name": "Ada"}, "joined_at": now, "seen_at": now}])
    );
    world.advance(100);
    assert_eq!(world.ask(alice, json!({"type": "untrack", "id": 3, "channel": "room"}))[0]["type"], "untracked");
    let line = &world.hear(bob)[0];
    assert_eq!((line.get("join"), &line["leave"]), (None, &json!([{"ref": reference, "seen_at": now + 100}])));
    assert_eq!(world.ask(alice, json!({"type": "untrack", "id": 4, "channel": "room"}))[0]["type"], "untracked");
    assert_eq!(world.hear(bob), [] as [Value; 0], "it was not there");
}

#[test]
fn nobody_passes_for_a_verified_user() {
    let mut world = World::new(HubConfig::default());
    let (ada, eve) = (open_as(&mut world, "ada", "one"), world.v1("eve"));
    let own = world
        .ask(ada, json!({"type": "track", "id": 1, "channel": "room", "key": "bob", "status": "busy", "state": {}}));
    assert_eq!(own[0]["key"], "ada", "whatever the client says");
    let forged = world.ask(eve, json!({"type": "track", "id": 1, "channel": "room", "key": "ada", "status": "online", "verified": true, "state": {"verified": true}}));
    assert_eq!(forged[0]["key"], "ada");
    let members = world.hub.members("room");
    let seen: Vec<_> = members.iter().map(|member| (&*member.key, member.verified, member.status.as_str())).collect();
    assert!(seen.contains(&("ada", true, "busy")) && seen.contains(&("ada", false, "online")), "{seen:?}");
    assert_ne!(members[0].reference, members[1].reference);
}

#[test]
fn saying_it_again_changes_only_what_differs() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let first = world.ask(alice, track(1, json!({"n": 1})))[0].clone();
    let joined = world.now;
    watch(&mut world, bob);
    world.advance(1000);
    assert_eq!(world.ask(alice, track(2, json!({"n": 1})))[0]["ref"], first["ref"]);
    assert_eq!(world.hear(bob), [] as [Value; 0]);
    world.ask(alice, track(3, json!({"n": 2})));
    let join = world.hear(bob)[0]["join"][0].clone();
    assert_eq!(
        (&join["ref"], &join["joined_at"], &join["seen_at"]),
        (&first["ref"], &json!(joined), &json!(joined + 1000))
    );
}

#[test]
fn the_first_change_goes_at_once_and_those_that_follow_together() {
    let mut world = World::new(HubConfig::default());
    let bob = world.v1("bob");
    watch(&mut world, bob);
    let clients: Vec<_> = (0..20).map(|n| world.v1(&format!("c{n}"))).collect();
    for (n, client) in clients.iter().enumerate() {
        world.ask(*client, track(1, json!({ "n": n })));
    }
    assert_eq!(world.hear(bob)[0]["join"].as_array().unwrap().len(), 1);
    // One of them comes and goes within the interval: nobody needs to hear of it.
    world.ask(clients[7], json!({"type": "untrack", "id": 2, "channel": "room"}));
    world.advance(49);
    assert_eq!(world.hear(bob), [] as [Value; 0]);
    world.advance(1);
    let lines = world.hear(bob);
    assert_eq!((lines.len(), lines[0]["join"].as_array().unwrap().len(), lines[0].get("leave")), (1, 18, None));
    world.advance(1000);
    assert_eq!(world.hear(bob), [] as [Value; 0]);
    world.ask(clients[7], track(3, json!({})));
    assert_eq!(world.hear(bob).len(), 1, "a lone change goes at once");
}

#[test]
fn coming_back_in_time_is_not_seen_and_later_is() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.ask(alice, track(1, json!({})));
    watch(&mut world, bob);
    world.advance(3000);
    let heard = world.now;
    world.ask(alice, json!({"type": "ping", "id": 2}));
    world.advance(1000);
    world.disconnect(alice);
    world.advance(9_999);
    let alice = world.v1("alice");
    world.advance(20_000);
    world.ask(alice, track(1, json!({})));
    assert_eq!(world.hear(bob), [] as [Value; 0]);
    assert_eq!(world.hub.members("room").len(), 1);
    world.ask(alice, json!({"type": "ping", "id": 2}));
    let last = world.now;
    world.disconnect(alice);
    world.advance(9_999);
    assert_eq!(world.hear(bob), [] as [Value; 0]);
    world.advance(1);
    assert_eq!(world.hear(bob)[0]["leave"][0]["seen_at"], last);
    assert!(last > heard);
    // Afterwards it is somebody new.
    world.advance(50);
    let alice = world.v1("alice");
    world.ask(alice, track(1, json!({})));
    assert_eq!(world.hear(bob)[0]["join"][0]["joined_at"], world.now);
}

#[test]
fn who_falls_silent_is_closed_and_gone_after_the_grace_period() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.ask(alice, track(1, json!({})));
    let heard = world.now;
    watch(&mut world, bob);
    for _ in 0..7 {
        world.advance(10_000);
        world.ask(bob, json!({"type": "ping", "id": 2}));
        assert_eq!(world.hub.members("room").len(), usize::from(world.now < heard + 70_000));
    }
    assert_eq!(world.closed[&alice], 4002);
}

#[test]
fn a_session_that_is_taken_over_stays_present() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let first = world.ask(alice, track(1, json!({})))[0].clone();
    watch(&mut world, bob);
    let again = world.v1("alice");
    assert_eq!(world.closed[&alice], 4502);
    world.disconnect(alice);
    world.advance(30_000);
    world.ask(bob, json!({"type": "ping", "id": 2}));
    assert_eq!(world.hub.members("room").len(), 1);
    assert_eq!(world.ask(again, track(1, json!({})))[0]["ref"], first["ref"]);
}

#[test]
fn a_session_that_is_forgotten_is_present_no_more() {
    let mut world = World::new(HubConfig { sessions: 2, ..HubConfig::default() });
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.ask(alice, track(1, json!({})));
    watch(&mut world, bob);
    world.disconnect(alice);
    world.v1("carol");
    world.advance(50);
    assert_eq!(world.hear(bob)[0]["leave"].as_array().unwrap().len(), 1);
    assert_eq!(world.hub.stats().members, 0);
}

#[test]
fn what_was_missed_follows_and_otherwise_a_snapshot() {
    let history = HistoryConfig { messages: 3, ..HistoryConfig::default() };
    let mut world = World::new(HubConfig { history, ..HubConfig::default() });
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let mut audience = Audience::default();
    world.ask(alice, track(1, json!({"n": 0})));
    world.say(bob, json!({"type": "subscribe", "id": 1, "channel": "room", "presence": true}));
    world.hear_lines(bob).iter().for_each(|line| audience.take(line));
    for (missed, recovered) in [(3, true), (4, false)] {
        world.say(bob, json!({"type": "unsubscribe", "id": 1, "channel": "room", "presence": true}));
        for n in 1..=missed {
            world.advance(50);
            world.ask(alice, track(2, json!({ "n": n, "missed": missed })));
        }
        world.hear(bob);
        let since = audience.since().unwrap();
        world.say(bob, json!({"type": "subscribe", "id": 2, "channel": "room", "presence": true, "since": since}));
        let lines = world.hear_lines(bob);
        let first: Value = serde_json::from_slice(&lines[0]).unwrap();
        assert_eq!(first["recovered"], recovered);
        lines.iter().for_each(|line| audience.take(line));
        audience.check(&world.hub, "room");
    }
    assert_eq!(audience.snapshots, 2);
}

#[test]
fn too_much_and_too_many_are_refused() {
    let mut world = with_presence(PresenceConfig { members: 2, state: 100, ..PresenceConfig::default() });
    let (alice, bob, carol) = (world.v1("alice"), world.v1("bob"), world.v1("carol"));
    let refused = world.ask(alice, track(1, json!({"x": "y".repeat(100)})));
    assert_eq!((&refused[0]["code"], &refused[0]["id"]), (&json!("payload_too_large"), &json!(1)));
    world.ask(alice, track(1, json!({})));
    world.ask(bob, track(1, json!({})));
    let refused = world.ask(carol, track(1, json!({})));
    assert_eq!(
        (&refused[0]["code"], &refused[0]["channel"], &refused[0]["presence"]),
        (&json!("presence_full"), &json!("room"), &json!(true))
    );
    assert_eq!(world.ask(bob, track(2, json!({"still": true})))[0]["type"], "tracked");
    world.ask(alice, json!({"type": "untrack", "id": 2, "channel": "room"}));
    assert_eq!(world.ask(carol, track(2, json!({})))[0]["type"], "tracked");

    let mut world = with_presence(PresenceConfig { total_bytes: 1000, ..PresenceConfig::default() });
    let alice = world.v1("alice");
    assert_eq!(world.ask(alice, track(1, json!({"x": "y".repeat(500)})))[0]["type"], "tracked");
    assert_eq!(world.ask(alice, track(1, json!({"x": "z".repeat(600)})))[0]["type"], "tracked", "in its place");
    let refused = world.ask(
        alice,
        json!({"type": "track", "id": 1, "channel": "other", "status": "away", "state": {"x": "y".repeat(500)}}),
    );
    assert_eq!(refused[0]["code"], "presence_full");

    let mut config = HubConfig::default();
    (config.limits.channels, config.limits.rate) = (2, 4);
    let mut world = World::new(config);
    let alice = world.v1("alice");
    let at = |channel: &str| json!({"type": "track", "id": 1, "channel": channel, "status": "away", "state": {}});
    assert_eq!(world.ask(alice, at("a"))[0]["type"], "tracked");
    assert_eq!(world.ask(alice, at("b"))[0]["type"], "tracked");
    assert_eq!(world.ask(alice, at("c"))[0]["code"], "too_many_channels");
    assert_eq!(world.ask(alice, at("a"))[0]["type"], "tracked");
    let refused = world.ask(alice, at("a"));
    assert_eq!((&refused[0]["code"], &refused[0]["retry_after"]), (&json!("rate_limited"), &json!(250)));
}

#[test]
fn bad_tracks_are_answered_and_change_nothing() {
    let mut world = World::new(HubConfig::default());
    let alice = world.v1("alice");
    let long = "x".repeat(256);
    for (message, code) in [
        (json!({"type": "track", "id": 1, "channel": "room", "status": "gone", "state": {}}), "malformed"),
        (json!({"type": "track", "id": 1, "channel": "room", "status": "online", "state": []}), "malformed"),
        (json!({"type": "track", "id": 1, "channel": "room", "status": "online"}), "malformed"),
        (json!({"type": "track", "id": 1, "channel": "", "status": "online", "state": {}}), "invalid_name"),
        (
            json!({"type": "track", "id": 1, "channel": "room", "key": "", "status": "online", "state": {}}),
            "invalid_name",
        ),
        (
            json!({"type": "track", "id": 1, "channel": "room", "key": long, "status": "online", "state": {}}),
            "invalid_name",
        ),
    ] {
        let answer = world.ask(alice, message.clone());
        assert_eq!((&answer[0]["code"], &answer[0]["id"]), (&json!(code), &json!(1)), "{message}");
    }
    assert_eq!((world.hub.members("room").len(), world.hub.stats().members), (0, 0));
    let odd = json!({"__proto__": {"x": 1}, "": null});
    assert_eq!(world.ask(alice, track(1, odd.clone()))[0]["type"], "tracked");
    assert_eq!(serde_json::from_slice::<Value>(&world.hub.members("room")[0].state).unwrap(), odd);
}

#[test]
fn an_authorizer_decides_who_may_be_there_and_who_may_watch() {
    struct Rules;
    impl Authorizer for Rules {
        fn can_publish(&self, _: Option<&str>, channel: &str) -> bool {
            channel != "quiet"
        }
        fn can_subscribe(&self, _: Option<&str>, channel: &str) -> bool {
            channel != "secret"
        }
    }
    let mut world = World::new(HubConfig { authorizer: Arc::new(Rules), ..HubConfig::default() });
    let alice = world.v1("alice");
    let refused = world.ask(alice, json!({"type": "subscribe", "id": 1, "channel": "secret", "presence": true}));
    assert_eq!((&refused[0]["code"], &refused[0]["presence"]), (&json!("forbidden"), &json!(true)));
    let track = json!({"type": "track", "id": 2, "channel": "quiet", "status": "online", "state": {}});
    assert_eq!(world.ask(alice, track)[0]["code"], "forbidden");
    assert_eq!(world.hub.stats().members, 0);
}

#[test]
fn a_channel_where_nobody_is_and_nobody_watches_is_forgotten() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    let epoch = watch(&mut world, bob)[0]["epoch"].clone();
    world.ask(alice, track(1, json!({})));
    world.ask(bob, json!({"type": "unsubscribe", "id": 2, "channel": "room", "presence": true}));
    assert_eq!(watch(&mut world, bob)[0]["epoch"], epoch, "alice is there");
    world.ask(bob, json!({"type": "unsubscribe", "id": 2, "channel": "room", "presence": true}));
    world.ask(alice, json!({"type": "untrack", "id": 2, "channel": "room"}));
    world.advance(50);
    assert_ne!(watch(&mut world, bob)[0]["epoch"], epoch);
    assert_eq!(world.hub.stats().channels, 0, "its messages are another stream");
}

#[test]
fn a_drain_takes_nobody_in_and_lets_everybody_go() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.ask(alice, track(1, json!({})));
    watch(&mut world, bob);
    let now = world.now;
    world.hub.drain(now, 1000, 1000);
    world.settle();
    assert_eq!(world.ask(bob, track(1, json!({})))[0]["code"], "unavailable");
    world.advance(50);
    assert_eq!(world.ask(alice, json!({"type": "untrack", "id": 2, "channel": "room"}))[0]["type"], "untracked");
    assert_eq!(world.hear(bob)[0]["type"], "presence");
    world.advance(10_000);
    assert_eq!(world.hub.stats().members, 0);
}

#[test]
fn a_clock_that_jumps_ahead_only_ends_what_is_over() {
    let mut world = World::new(HubConfig::default());
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    world.ask(alice, track(1, json!({})));
    watch(&mut world, bob);
    // A machine that slept: time jumps without a tick in between, and the first thing that comes is from a client.
    world.now += 3 * 24 * 3_600_000;
    let frame = Frame::Text(json!({"type": "ping", "id": 1}).to_string().into());
    world.input(Input::Frame { connection: alice, frame });
    assert_eq!(world.closed.get(&alice), None);
    world.advance(0);
    assert_eq!(world.hub.members("room").len(), 1);
}

#[test]
fn presence_is_not_stored_and_a_restart_has_another_epoch() {
    let mut world = World::durable(HubConfig::default());
    let alice = world.v1("alice");
    world.ask(alice, track(1, json!({})));
    let epoch = watch(&mut world, alice)[0]["epoch"].clone();
    world.write_all();
    assert!(world.disk.len() == 1, "the session: {:?}", world.disk);
    let mut world = world.crash(43);
    let alice = world.v1("alice");
    let answers = watch(&mut world, alice);
    assert_ne!(answers[0]["epoch"], epoch);
    assert_eq!(answers[1]["members"], json!([]));
}

#[test]
fn no_grace_at_all_and_no_interval() {
    let presence = PresenceConfig { grace: Duration::ZERO, interval: Duration::ZERO, ..PresenceConfig::default() };
    let mut world = with_presence(presence);
    let (alice, bob) = (world.v1("alice"), world.v1("bob"));
    watch(&mut world, bob);
    for n in 0..3 {
        world.ask(alice, track(n, json!({ "n": n })));
    }
    assert_eq!(world.hear(bob).len(), 3);
    world.disconnect(alice);
    assert_eq!(world.hear(bob)[0]["leave"].as_array().unwrap().len(), 1);
}
