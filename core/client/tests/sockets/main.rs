//! The client over real sockets, one behaviour a file.
#![allow(clippy::unwrap_used, clippy::field_reassign_with_default)]

mod backpressure;
mod bad_input;
mod chaos;
mod close_loop;
mod collections;
mod cork;
mod durable;
mod half_open;
mod http_proxy;
mod http_status;
mod lifetime;
mod negotiation;
mod outage;
mod panics;
mod presence;
mod publish;
mod queue;
mod recovery;
mod support;
mod tls;
mod token;
mod unreachable;
