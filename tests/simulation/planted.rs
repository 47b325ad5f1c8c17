//! The simulator must find every mistake that is built in on purpose.

use std::panic;
use std::panic::AssertUnwindSafe;

use railpost::storage::config::Config;
use railpost::storage::planted::Bugs;
use railpost::storage::planted::PlantedBug;

use crate::disk::Fault;
use crate::power::live;
use crate::rot::astray;
use crate::rot::flips;
use crate::world::config;

/// Lives after which a mistake should have shown.
const SEEDS: u64 = 1500;

/// The seed and the kind of simulation that found the mistake.
fn found_by(bug: PlantedBug) -> Option<(u64, &'static str, String)> {
    let with = || Config { bugs: Bugs::planted(bug), ..config() };
    let kinds: [(&str, &dyn Fn(u64)); 4] = [
        ("power loss", &|seed| {
            live(seed, Fault::PowerLoss, with());
        }),
        ("disk error", &|seed| {
            live(seed, Fault::Error, with());
        }),
        ("rot", &|seed| flips(seed, with())),
        ("lost write", &|seed| astray(seed, Fault::LostWrite, with())),
    ];
    (0..SEEDS).find_map(|seed| {
        kinds.iter().find_map(|(kind, simulate)| {
            let payload = panic::catch_unwind(AssertUnwindSafe(|| simulate(seed))).err()?;
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or(payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some((seed, *kind, text.unwrap_or_default()))
        })
    })
}

#[test]
fn every_planted_bug_is_found() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let found: Vec<_> = PlantedBug::ALL.into_iter().map(|bug| (bug, found_by(bug))).collect();
    panic::set_hook(hook);
    for (bug, how) in &found {
        match how {
            Some((seed, kind, text)) => {
                let line = text.lines().find(|line| line.contains(char::is_uppercase));
                println!("{bug:?}: seed {seed}, {kind}: {}", line.unwrap_or(text));
            }
            None => println!("{bug:?}: NOT FOUND"),
        }
    }
    assert!(found.iter().all(|(_, how)| how.is_some()));
}
