//! The tokio driver and the public async Rust API of realtime-client.
