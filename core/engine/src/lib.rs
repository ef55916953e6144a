//! The sans-IO engine of realtime-client: everything a connection does, without sockets, clocks, threads or OS randomness.
pub mod wire;

mod backoff;
mod budget;
mod channel;
mod channels;
mod config;
mod error;
mod heartbeat;
mod io;
mod outbox;
mod rate;
mod rng;
mod session;
mod stats;
mod status;
mod time;
mod timers;

pub use budget::{Budget, Permit};
pub use config::{Config, Protocol, Token, TokenPlacement, WhenFull};
pub use error::{Error, ErrorKind};
pub use io::{
    Attempt, ChannelId, ChannelMessage, Data, DirectMessage, Event, Gap, Input, OpenError, OpenRequest, Opened, Output,
    Receipt, RequestId, Text,
};
pub use session::Session;
pub use stats::{Quality, Stats};
pub use status::{ChannelState, Status};
pub use time::Timestamp;
