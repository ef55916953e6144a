//! The behaviours that all languages share (`tests/scenarios`), through the public API of Rust.
#![allow(clippy::unwrap_used, clippy::panic)]

mod person;
mod runner;

use std::path::PathBuf;
use std::time::Duration;

use runner::Runner;
use serde_json::Value;

/// In Rust a subscription ends with `disconnect()`: it is a stream, and a loop over it has to end some time.
const LEFT_OUT: &str = "subscriptions_last";

/// One test a file, so that a failure names the behaviour.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[tokio::test]
        async fn $name() {
            run(stringify!($name)).await;
        })*

        #[test]
        fn every_file_is_run() {
            let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
            let mut stems: Vec<_> = files
                .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
                .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
                .collect();
            stems.retain(|stem| stem != LEFT_OUT);
            stems.sort();
            assert_eq!(stems, [$(stringify!($name)),*]);
        }
    };
}

scenarios! {
    after_disconnect
    binary
    collection
    collection_conflict
    collection_names
    collection_offline
    collection_recovery
    collection_refusals
    collection_server_restart
    collection_snapshot
    gap_beyond_retention
    half_open
    lost_receipts
    plain_dialect
    presence
    presence_killed
    presence_reconnect
    presence_refusals
    presence_two_tabs
    publish_and_receive
    queue_while_offline
    rate_limits
    recovery_after_a_cut
    refusals
    server_restart
    snapshot_after_a_gap
    snapshot_fails
    tokens
    unreachable
    unsubscribe
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios")
}

async fn run(name: &str) {
    let text = std::fs::read_to_string(folder().join(name).with_extension("json")).unwrap();
    let scenario: Value = serde_json::from_str(&text).unwrap();
    let mut runner = Runner::start(&scenario["server"]).await;
    for (number, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
        if tokio::time::timeout(Duration::from_secs(10), runner.step(step)).await.is_err() {
            panic!("{}: step {} {step} did not end; {runner:?}", scenario["name"], number + 1);
        }
    }
}
