//! Crashes of process and machine at any step of the disk, those of recovery included.

use railpost::storage::config::Config;
use railpost::storage::error::StorageError;
use railpost::storage::store::Store;

use crate::campaign;
use crate::disk::Fault;
use crate::disk::SimulatedDisk;
use crate::world::World;
use crate::world::config;

/// Power losses in the life of one store.
const CRASHES: u64 = 6;

/// Opens the store, whatever crashes on the way.
fn open(world: &mut World, fault: Fault) -> Store<SimulatedDisk> {
    loop {
        if world.random.once_in(3) {
            let steps = 1 + world.random.below(60);
            world.disk.set_fault(steps, Some(fault));
        }
        let opened = world.open();
        match opened {
            Ok((store, report)) => {
                assert!(report.losses.is_empty() && report.damaged.is_empty(), "{report:?}");
                world.disk.set_fault(0, None);
                return store;
            }
            // What cannot be read without power looks lost.
            Err(StorageError::Losses { losses }) if !world.disk.is_off() => {
                let listed: Vec<String> = losses.iter().map(ToString::to_string).collect();
                panic!("REFUSED to start: {listed:?}");
            }
            Err(_) => world.disk.power_loss(),
        }
    }
}

pub(crate) fn live(seed: u64, fault: Fault, config: Config) -> World {
    let mut world = World::new(seed, config);
    for _ in 0..CRASHES {
        let mut store = open(&mut world, fault);
        world.check_restart(&mut store);
        let steps = 1 + world.random.below(400);
        world.disk.set_fault(steps, Some(fault));
        // An error of a read is no end: what it met is reported as unreadable.
        let n_steps = 20 + world.random.below(300);
        let _ = (0..n_steps).try_for_each(|_| world.step(&mut store));
        drop(store);
        world.disk.power_loss();
    }
    let mut store = open(&mut world, fault);
    world.check_restart(&mut store);
    world
}

/// Each seed crashes six times: more than ten thousand power losses.
#[test]
fn power_losses_lose_nothing_that_was_confirmed() {
    campaign(1700, |seed| {
        live(seed, Fault::PowerLoss, config());
    });
}

#[test]
fn errors_of_the_disk_lose_nothing_that_was_confirmed() {
    campaign(300, |seed| {
        live(seed, Fault::Error, config());
    });
}
