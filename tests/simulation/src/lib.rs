//! Many sessions and the pure hub over a seeded, faulty network in virtual time.
//!
//! A run is a seed: the same seed gives the same run, event for event. The [`checker`] knows nothing of how the code under test works;
//! it sees what applications see. `docs/simulation.md` says what is simulated and what must hold.
#![allow(clippy::unwrap_used, missing_docs, missing_debug_implementations)]

pub mod checker;
mod client;
mod driver;
mod faults;
mod link;
mod network;
mod profile;
mod server;
mod world;

pub use checker::{Invariant, Violation};
pub use profile::Profile;
pub use world::{Report, World};

/// Runs one seed to its end.
pub fn run(seed: u64) -> Report {
    World::new(seed, Profile::of_seed(seed)).run()
}
