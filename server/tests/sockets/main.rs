//! The server over real sockets. One file, one behaviour.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, missing_debug_implementations)]

mod conversation;
mod support;
