//! The native module of the Node package. It converts, and nothing else: what it offers is described by `node/src/native.ts`.

// Napi makes the public items of each module part of the module for JavaScript, whose description is in TypeScript.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub)]

mod batch;
mod burst;
mod client;
mod error;
mod proxy;
mod server;
mod streams;
