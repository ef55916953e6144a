//! The server over real sockets. One file, one behaviour.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, missing_debug_implementations)]

mod backlog;
mod bad_frames;
mod command;
mod conversation;
mod durable;
mod echo;
mod http;
mod kill;
mod kill_collections;
mod lifecycle;
mod negotiation;
mod serve;
mod slow_consumers;
mod state;
mod stress;
mod support;
mod timeouts;
mod tls;
mod tokens;
