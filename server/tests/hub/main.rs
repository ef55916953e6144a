//! The hub in virtual time, without a socket. One file, one behaviour.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, missing_debug_implementations)]

mod application;
mod auth;
mod collections;
mod collections_durable;
mod drain;
mod durable;
mod durable_chaos;
mod flow_control;
mod framing;
mod gaps;
mod idempotency;
mod limits;
mod memory;
mod offsets;
mod plain;
mod presence;
mod presence_chaos;
mod properties;
mod recovery;
mod replica;
mod replicas;
mod sessions;
mod slow_consumers;
mod snapshots;
mod timeouts;
mod world;
