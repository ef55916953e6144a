//! engine
pub mod wire;
