//! What the Python and Node bindings share: options, runtime ownership, batches, wake-up, shutdown.
//!
//! A [`Connection`] is one client. Its socket and timers live on one I/O thread for the whole process; what happens
//! comes back in [`Batch`]es:
//!
//! 1. The I/O thread fills a batch and calls `wake`, once.
//! 2. The host's own thread calls [`Connection::drain`] until it returns `None`, which arms the next wake.
//! 3. The host calls [`Connection::consumed`] for what its handlers are done with: that is the backpressure.
//!
//! Bindings convert, nothing else: whatever both hosts need is here or below.

#[cfg(test)]
mod allocations;
mod ascii;
mod batch;
mod connection;
mod fork;
mod inbox;
mod options;
mod proxy;
mod pulse;
mod report;
mod runtime;
mod server;
mod sink;

pub use ascii::{NotUtf8, ascii_json};
pub use batch::{Batch, Kind, Record};
pub use connection::Connection;
pub use fork::note_fork;
pub use options::Options;
pub use proxy::EmbeddedProxy;
pub use pulse::Overdue;
pub use realtime_client::{Change, ChangeKind, Data, Error, ErrorKind, Status};
pub use realtime_engine::wire::ErrorCode;
pub use report::error_json;
pub use server::{EmbeddedServer, run_cli};
