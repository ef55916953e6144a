//! Sockets around the hub.

mod clock;
mod connection;
mod frames;
mod handshake;
mod link;
mod listener;
mod shared;
mod socket;
mod writer;

pub(crate) use listener::Listener;
pub(crate) use shared::Shared;
