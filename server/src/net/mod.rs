//! Sockets around the hub.

mod clock;
mod connection;
mod handshake;
mod link;
mod listener;
mod shared;
mod stream;
mod writer;

pub(crate) use listener::Listener;
pub(crate) use shared::Shared;
