//! `cargo +nightly fuzz run session`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| realtime_simulation::fuzz::session(data));
