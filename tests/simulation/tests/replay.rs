//! Dumps of simulated clients do the same again; what was changed in one, or in the engine, is seen.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use realtime_simulation::replay::{Replayed, replay};
use realtime_simulation::{Profile, World};
use serde_json::Value;

fn dumps(seed: u64, record: usize) -> Vec<Value> {
    let mut profile = Profile::of_seed(seed);
    (profile.duration, profile.messages) = (Duration::from_secs(90), profile.messages.min(500));
    // What is not replayed.
    (profile.collections, profile.mutate_share, profile.present_share) = (0, 0.0, 0.0);
    profile.record = record;
    World::new(seed, profile).dumps().iter().map(|dump| serde_json::from_str(dump).unwrap()).collect()
}

fn show(replayed: &Replayed) -> String {
    let (at, did) = replayed.first.as_ref().unwrap();
    let from = at.saturating_sub(25);
    let before = replayed.timeline[from..(at + 3).min(replayed.timeline.len())].join("\n");
    format!("{before}\nat {at} of {}, the replay: {did}", replayed.timeline.len())
}

#[test]
fn dumps_of_simulated_clients_replay_without_a_difference() {
    let (mut clients, mut entries) = (0, 0);
    let mut wrong = Vec::new();
    for seed in 1..=60 {
        for (client, dump) in dumps(seed, 100_000).iter().enumerate() {
            let replayed = replay(dump).unwrap();
            assert!(replayed.note.is_none(), "{:?}", replayed.note);
            assert!(
                replayed.compared > replayed.timeline.len() && !replayed.timeline.is_empty()
                    || replayed.differences > 0
            );
            if replayed.differences > 0 {
                wrong.push(format!(
                    "seed {seed} client {client} differs {}:\n{}",
                    replayed.differences,
                    show(&replayed)
                ));
            }
            (clients, entries) = (clients + 1, entries + replayed.timeline.len());
        }
    }
    println!("{clients} clients, {entries} entries, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.iter().take(4).cloned().collect::<Vec<_>>().join("\n\n"));
}

#[test]
fn what_was_changed_in_a_dump_is_a_difference() {
    let dumps: Vec<Value> = (1..=12).flat_map(|seed| dumps(seed, 100_000)).collect();
    let change = |what: &str, name: &str, value: Value| {
        // What a socket that was given up has to say changes nothing: something has to follow.
        let is = |pair: &[Value]| {
            let follows = what != "closed" || pair[1]["what"] == "channel";
            pair[0]["what"] == what && !pair[0][name].is_null() && follows
        };
        let place = |dump: &Value| dump["entries"].as_array().unwrap().windows(2).position(is);
        let dump = dumps.iter().find(|dump| place(dump).is_some()).unwrap_or_else(|| panic!("no {what}"));
        let mut changed = dump.clone();
        changed["entries"][place(dump).unwrap()][name] = value;
        let replayed = replay(&changed).unwrap();
        assert!(replayed.differences > 0, "a changed {name} of {what} is no difference");
    };
    change("status", "status", "error".into());
    change("channel", "state", "failed".into());
    change("sent", "first", 77.into());
    change("closed", "code", 4501.into());
    change("error", "code", "other".into());
    change("timer", "timer", "Goaway".into());
    let mut changed = dumps[0].clone();
    changed["channels"][0]["offset"] = 1_000_000.into();
    let first = replay(&changed).unwrap().first.unwrap();
    assert_eq!(first.0, changed["entries"].as_array().unwrap().len());
}

#[test]
fn a_ring_that_begins_in_the_middle_is_told_and_not_compared() {
    let dump = dumps(3, 50).remove(0);
    let replayed = replay(&dump).unwrap();
    assert!(replayed.note.unwrap().contains("in the middle"));
    assert_eq!((replayed.timeline.len(), replayed.compared, replayed.differences), (50, 0, 0));
}

#[cfg(feature = "mutants")]
#[test]
fn an_engine_that_does_something_else_is_a_difference() {
    let dumps: Vec<Value> = (1..=10).flat_map(|seed| dumps(seed, 100_000)).collect();
    for mutant in ["no-rewind", "since-too-far", "no-credit", "never-dead", "resend-under-new-ids", "gap-in-silence"] {
        realtime_engine::mutants::activate(mutant);
        let differ = dumps.iter().filter(|dump| replay(dump).unwrap().differences > 0).count();
        realtime_engine::mutants::activate("");
        assert!(differ > 0, "{mutant} made no difference");
    }
}
