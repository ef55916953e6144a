//! `cargo +nightly fuzz run hub`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| realtime_simulation::fuzz::hub(data));
