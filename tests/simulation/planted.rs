//! The simulator must find every mistake that is built in on purpose.

use std::panic;
use std::panic::AssertUnwindSafe;

use railpost::storage::config::Config;
use railpost::storage::planted::Bugs;
use railpost::storage::planted::PlantedBug;

use crate::disk::Fault;
use crate::power::live;
use crate::rot::astray;
use crate::rot::checkpoints;
use crate::rot::flips;
use crate::world::config;

/// Lives after which a mistake should have shown.
const SEEDS: u64 = 1500;

/// Whether some simulation fails because of the mistake.
fn is_found(bug: PlantedBug) -> bool {
    let with = || Config { bugs: Bugs::planted(bug), ..config() };
    let kinds: [&dyn Fn(u64); 5] = [
        &|seed| {
            live(seed, Fault::PowerLoss, with());
        },
        &|seed| {
            live(seed, Fault::Error, with());
        },
        &|seed| flips(seed, with()),
        &|seed| checkpoints(seed, with()),
        &|seed| astray(seed, Fault::LostWrite, with()),
    ];
    let fails = |seed, simulate: &dyn Fn(u64)| {
        panic::catch_unwind(AssertUnwindSafe(|| simulate(seed))).is_err()
    };
    (0..SEEDS).any(|seed| kinds.iter().any(|simulate| fails(seed, *simulate)))
}

#[test]
fn every_planted_bug_is_found() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let missed: Vec<_> = PlantedBug::ALL.into_iter().filter(|bug| !is_found(*bug)).collect();
    panic::set_hook(hook);
    assert!(missed.is_empty(), "not found: {missed:?}");
}
