//! The sans-IO engine of realtime-client: everything a connection does, without sockets, clocks, threads or OS randomness.
//!
//! A [`Session`] is told what happens and says what to do; a *driver* moves the bytes and the time between it and the world.
//! It is deterministic: the same calls with the same times and the same seed give the same outputs. The contract:
//!
//! - **Inputs never fail.** A peer that misbehaves becomes an [`Event`] and a close; only the application's own mistakes
//!   return an [`Error`].
//! - **Outputs are one ordered queue**, drained with [`Session::poll`] until `None`. Several inputs may come before a drain: what
//!   they cause then shares frames.
//! - **Time is given**, as a [`Timestamp`] with every call, and never goes backwards. [`Session::deadline`] says when to call again at the
//!   latest; asking changes nothing.
//! - **Sockets have numbers.** Every input of a socket carries its [`Attempt`]; what comes from one that was given up is ignored.
//! - **Payloads stay bytes**, in the memory of the frame they came in.
//!
//! ```
//! use std::time::Duration;
//! use realtime_engine::{Config, Event, Input, Output, Session, Status, Timestamp};
//!
//! # fn main() -> Result<(), realtime_engine::Error> {
//! let mut now = Timestamp::from_millis(0);
//! let mut session = Session::new(Config::new("ws://localhost:8080"), now, 7)?;
//! session.connect(now);
//! session.subscribe(now, "room")?;
//! loop {
//!     while let Some(output) = session.poll() {
//!         match output {
//!             // A driver opens a socket here. This one has a server that speaks no subprotocol.
//!             Output::Open(open) => session.handle(now, Input::Opened { attempt: open.attempt, protocol: None }),
//!             Output::Send { frame, .. } => println!("to the socket: {frame:?}"),
//!             Output::Close { .. } | Output::RequestToken { .. } => {}
//!             Output::Event(event) => println!("to the application: {event:?}"),
//!             _ => {}
//!         }
//!     }
//!     if session.status() == Status::Connected {
//!         break;
//!     }
//!     // A driver waits here for its socket, or until the deadline.
//!     now = session.deadline().unwrap_or(now + Duration::from_secs(1));
//!     session.handle(now, Input::Tick);
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod wire;

mod backoff;
mod budget;
mod channel;
mod channels;
mod collection;
mod config;
mod content;
mod error;
mod heartbeat;
mod hold;
mod io;
mod journal;
mod outbox;
mod peer;
mod presence;
mod rate;
mod recorder;
mod replica;
mod rng;
mod session;
mod stats;
mod status;
mod sync;
mod time;
mod timers;
mod tracking;

#[cfg(feature = "mutants")]
pub mod mutants;

pub use budget::{Budget, Permit};
pub use config::{Config, Protocol, Token, TokenPlacement, WhenFull};
pub use content::Content;
pub use error::{Error, ErrorKind};
pub use hold::{Covered, LoadOn};
pub use io::{
    Attempt, ChannelId, ChannelMessage, Data, DirectMessage, Event, Gap, Input, Load, OpenError, OpenRequest, Opened,
    Output, Receipt, RequestId, Text,
};
pub use journal::Restored;
pub use session::Session;
pub use stats::{Quality, Stats};
pub use status::{ChannelState, Status};
pub use sync::{Change, ChangeKind, Mutation, PresenceChange, Tracked};
pub use time::Timestamp;

/// Whether this behaviour is broken on purpose: never, without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
const fn mutant(_name: &str) -> bool {
    false
}

#[cfg(feature = "mutants")]
use mutants::is_active as mutant;
