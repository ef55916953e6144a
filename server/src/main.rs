//! The `realtime` binary.
fn main() {}
