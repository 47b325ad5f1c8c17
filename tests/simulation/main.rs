//! Power losses, torn writes, read errors and rot on a simulated disk, against a model of what
//! was confirmed.
//!
//! `RAILPOST_SIMULATIONS` sets how many lives of a store each test simulates, `RAILPOST_SEED` which
//! one to replay: every failure names its seed.
#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "sizes are small, and the environment says how long to simulate"
)]

mod disk;
mod full;
mod model;
#[cfg(feature = "planted-bugs")]
mod planted;
mod power;
mod random;
mod rot;
mod world;

use std::panic;
use std::panic::AssertUnwindSafe;

/// Runs `simulate` with many seeds; panics with the seed of the first that fails.
pub(crate) fn campaign(n_default: u64, simulate: impl Fn(u64)) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    if let Some(seed) = variable("RAILPOST_SEED") {
        simulate(seed);
        return;
    }
    let n: u64 = variable("RAILPOST_SIMULATIONS").unwrap_or(n_default);
    for seed in 0..n {
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            panic!("RAILPOST_SEED={seed}: {text}");
        }
    }
}
