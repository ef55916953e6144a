//! Pages of a state that changes while it is read.

use realtime_server::hub::{ConnectionId, HistoryConfig, HubConfig};
use serde_json::json;

use crate::collections::{follow, insert, listen, remove, update};
use crate::replica::{Audience, Replica};
use crate::world::World;

/// So many records of about 300 bytes: some fifty to a page.
fn fill(world: &mut World, count: u64) -> ConnectionId {
    let alice = world.v1("alice");
    for id in 1..=count {
        world.ask(alice, insert(id, &format!("k{id:05}"), json!({"x": "y".repeat(100), "n": id})));
    }
    alice
}

/// A client that takes one byte at a time, so that it gets one page for each credit.
fn slow(world: &mut World, name: &str) -> ConnectionId {
    world.v1_with(name, json!({"window": {"connection": 1, "channel": 1}}))
}

fn credit(world: &mut World, client: ConnectionId, replica: &mut Replica) {
    let bytes = std::mem::take(&mut replica.owed);
    world.say(client, json!({"type": "credit", "channel": "room", "collection": "tasks", "bytes": bytes}));
    listen(world, client, replica);
}

#[test]
fn pages_are_bounded_and_in_the_order_of_the_keys_bytes() {
    let mut world = World::new(HubConfig::default());
    let alice = fill(&mut world, 500);
    for (id, key) in [(501, "é"), (502, "Z"), (503, "\u{1F388}"), (504, "\u{FFFD}"), (505, "\"\\\n")] {
        assert_eq!(world.ask(alice, insert(id, key, json!({})))[0]["type"], "receipt");
    }
    let bob = world.v1("bob");
    follow(&mut world, bob, None);
    let lines = world.hear_lines(bob);
    let pages = lines.iter().filter(|line| line.starts_with(b"{\"type\":\"snapshot\"")).count();
    assert!(pages > 5 && lines.iter().all(|line| line.len() < 20_000), "{pages} pages");
    let mut replica = Replica::default();
    lines.iter().for_each(|line| replica.take(line));
    replica.check(&world.hub, "room", "tasks");
    assert_eq!((replica.records.len(), replica.pages, replica.digests), (505, pages as u64, 1));
    assert_eq!(world.hub.stats().pages_out, pages as u64);
}

#[test]
fn what_changes_while_pages_are_read_comes_out_right() {
    let mut world = World::new(HubConfig::default());
    let alice = fill(&mut world, 300);
    let bob = slow(&mut world, "bob");
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    listen(&mut world, bob, &mut replica);
    assert_eq!(replica.pages, 1, "the window is closed");
    // Behind the cursor and before it: changed, removed, added, removed and added again.
    let mut id = 300;
    for key in ["k00001", "k00290"] {
        for mutation in [
            update(0, key, json!({"n": "new"})),
            remove(0, key),
            insert(0, key, json!({"again": true})),
            update(0, key, json!({"n": 1})),
        ] {
            id += 1;
            let mut mutation = mutation;
            mutation["id"] = json!(id);
            assert_eq!(world.ask(alice, mutation)[0]["type"], "receipt");
            credit(&mut world, bob, &mut replica);
        }
    }
    for mutation in
        [remove(309, "k00002"), remove(310, "k00299"), insert(311, "a", json!({})), insert(312, "z", json!({}))]
    {
        world.ask(alice, mutation);
    }
    for _ in 0..40 {
        credit(&mut world, bob, &mut replica);
    }
    replica.check(&world.hub, "room", "tasks");
    assert_eq!((replica.snapshots, replica.digests), (1, 1));
}

#[test]
fn a_history_that_was_evicted_meanwhile_begins_the_snapshot_anew() {
    let history = HistoryConfig { messages: 5, ..HistoryConfig::default() };
    let mut world = World::new(HubConfig { history, ..HubConfig::default() });
    let alice = fill(&mut world, 300);
    let bob = slow(&mut world, "bob");
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    listen(&mut world, bob, &mut replica);
    for id in 301..=306 {
        world.ask(alice, update(id, "k00001", json!({ "n": id })));
    }
    for _ in 0..60 {
        credit(&mut world, bob, &mut replica);
    }
    replica.check(&world.hub, "room", "tasks");
    assert_eq!(replica.snapshots, 2);
    // And one that was up to date, and fell behind.
    for id in 307..=315 {
        world.ask(alice, update(id, "k00002", json!({ "n": id })));
    }
    for _ in 0..60 {
        credit(&mut world, bob, &mut replica);
    }
    replica.check(&world.hub, "room", "tasks");
    assert_eq!(replica.snapshots, 3);
}

#[test]
fn pages_take_turns_with_messages_and_count_for_their_own_window() {
    let mut world = World::new(HubConfig::default());
    let alice = fill(&mut world, 300);
    let bob = world.v1_with("bob", json!({"window": {"connection": 1_000_000, "channel": 1000}}));
    world.subscribe(bob, "room");
    let mut replica = Replica::default();
    follow(&mut world, bob, None);
    listen(&mut world, bob, &mut replica);
    assert_eq!(replica.pages, 1);
    world.publish(alice, 301, "room");
    assert_eq!(world.hear_offsets(bob).0, [1], "the messages have a window of their own");
    // Credit for another stream does not help.
    world.say(bob, json!({"type": "credit", "channel": "room", "bytes": 1_000_000}));
    listen(&mut world, bob, &mut replica);
    assert_eq!(replica.pages, 1);
    credit(&mut world, bob, &mut replica);
    assert_eq!(replica.pages, 2);
    // Subscribing again gives everything back, and begins anew.
    follow(&mut world, bob, None);
    listen(&mut world, bob, &mut replica);
    assert_eq!((replica.pages, replica.snapshots), (3, 2));
}

#[test]
fn a_thousand_members_come_in_pages_too() {
    let mut world = World::new(HubConfig::default());
    let clients: Vec<_> = (0..1000).map(|n| world.v1(&format!("c{n}"))).collect();
    for client in &clients {
        let track = json!({"type": "track", "id": 1, "channel": "room", "status": "online", "state": {"name": "x"}});
        world.say(*client, track);
    }
    world.advance(100);
    let bob = world.v1("bob");
    world.say(bob, json!({"type": "subscribe", "id": 1, "channel": "room", "presence": true}));
    let lines = world.hear_lines(bob);
    assert!(lines.len() > 5 && lines.iter().all(|line| line.len() < 20_000), "{} lines", lines.len());
    let mut audience = Audience::default();
    lines.iter().for_each(|line| audience.take(line));
    audience.check(&world.hub, "room");
    assert_eq!(audience.metas.len(), 1000);
    // All of them go at once.
    clients.iter().for_each(|client| world.disconnect(*client));
    world.advance(11_000);
    world.hear_lines(bob).iter().for_each(|line| audience.take(line));
    audience.check(&world.hub, "room");
    assert_eq!(audience.metas.len(), 0);
}
