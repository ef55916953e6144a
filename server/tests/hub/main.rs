//! The hub in virtual time, without a socket. One file, one behaviour.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, missing_debug_implementations)]

mod application;
mod auth;
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
mod properties;
mod recovery;
mod sessions;
mod slow_consumers;
mod timeouts;
mod world;
