//! Many sessions and the pure hub over a seeded, faulty network in virtual time.
//!
//! A run is a seed: the same seed gives the same run, event for event. The [`checker`] knows nothing of how the code under test works;
//! it sees what applications see. `docs/simulation.md` says what is simulated and what must hold.
#![allow(clippy::unwrap_used, missing_docs, missing_debug_implementations)]

mod application;
pub mod checker;
mod client;
mod disk;
mod driver;
mod faults;
pub mod fuzz;
mod guard;
mod link;
mod loading;
mod network;
mod observer;
mod present;
mod profile;
mod records;
pub mod replay;
mod replay_frame;
mod server;
mod settle;
mod world;

pub use checker::{Invariant, Violation};
pub use profile::Profile;
pub use world::{Report, World};

/// The behaviours that can be broken on purpose, first those of the engine, then those of the hub.
#[cfg(feature = "mutants")]
pub const MUTANTS: &[&str] = &[
    "no-dedupe",
    "no-rewind",
    "resend-under-new-ids",
    "resend-out-of-order",
    "since-too-far",
    "since-too-near",
    "gap-in-silence",
    "dropped-in-silence",
    "credit-twice",
    "no-credit",
    "never-dead",
    "old-sockets",
    "stale-token",
    "messages-before-snapshot",
    "load-never-asked",
    "load-too-early",
    "second-load-forgotten",
    "snapshot-ignored",
    "snapshot-too-far",
    "sends-under-new-ids",
    "no-idempotency",
    "no-hold-up",
    "receipt-for-another",
    "starts-late",
    "window-ignored",
    "evicts-early",
    "epoch-ignored",
    "plain-gap-in-silence",
    "confirms-too-much",
    "receipt-before-disk",
    "sent-before-disk",
    "outcomes-unwritten",
    "restart-begins-anew",
    "failed-offsets-stay-taken",
    "failed-is-acknowledged",
    "staged-without-bound",
    "direct-in-silence",
    "all-may-publish",
    "all-may-subscribe",
    "no-rebase",
    "patch-replaces-record",
    "pending-after-refusal",
    "receipt-ends-pending",
    "snapshot-end-ignored",
    "digest-ignored",
    "tracked-once",
    "untrack-in-silence",
    "restart-empties-presence",
    "if-revision-ignored",
    "changes-under-pages-lost",
    "failed-changes-stay",
    "records-unwritten",
    "grace-ignored",
    "key-unverified",
    "leave-lost-among-joins",
];

/// Runs one seed to its end.
pub fn run(seed: u64) -> Report {
    World::new(seed, Profile::of_seed(seed)).run()
}
