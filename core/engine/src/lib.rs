//! The sans-IO engine of realtime-client.
pub mod wire;

mod budget;
mod config;
mod error;
mod io;
mod session;
mod stats;
mod status;
mod time;

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
