//! Plays what the fuzzer starts from, and what it once found, as the fuzzer would.

#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "modules of one test program"
)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/frames.rs"]
mod frames;
#[path = "../fuzz/sessions.rs"]
mod sessions;
#[path = "wire/world.rs"]
#[allow(dead_code, reason = "the conversations need more of it")]
mod world;

fn play(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz-corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the corpus is there") {
        let path = entry.expect("readable").path();
        let bytes = fs::read(&path).expect("readable");
        let played = std::panic::catch_unwind(|| run(&bytes));
        assert!(played.is_ok(), "{} is not taken", path.display());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn frames() {
    play("frames", frames::run);
}

#[test]
fn sessions() {
    play("sessions", sessions::run);
}
