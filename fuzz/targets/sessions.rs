//! Fuzzes whole sessions.

#![no_main]

#[path = "../sessions.rs"]
mod sessions;
#[path = "../../tests/wire/world.rs"]
#[allow(dead_code, reason = "the conversations need more of it")]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sessions::run(bytes));
