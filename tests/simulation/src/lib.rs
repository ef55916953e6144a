//! Many sessions and the pure hub over a seeded, faulty network in virtual time.
//!
//! A run is a seed: the same seed gives the same run, event for event. The [`checker`] knows nothing of how the code under test works; it
//! sees what applications see.
#![allow(clippy::unwrap_used, missing_docs, missing_debug_implementations)]

pub mod checker;
mod client;
mod link;
mod profile;
mod world;

pub use profile::Profile;
pub use world::{Report, World};

/// Runs one seed to its end.
pub fn run(seed: u64) -> Report {
    World::new(seed, Profile::of_seed(seed)).run()
}
