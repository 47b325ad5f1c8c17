//! A file system that other programs fill: publishers are made to wait in time, and what settles
//! messages goes on.

use std::io;

use railpost::storage::batch::Batch;
use railpost::storage::config::Config;
use railpost::storage::disk::Disk;
use railpost::storage::error::StorageError;

use crate::campaign;
use crate::disk::SimulatedDisk;
use crate::world::World;
use crate::world::config;

const SEGMENT: u64 = 64 << 10;

fn full_config() -> Config {
    Config { free_bytes_min: 3 * SEGMENT, ..config() }
}

fn used(disk: &SimulatedDisk) -> u64 {
    disk.list().expect("the disk works").iter().map(|found| found.bytes).sum()
}

#[test]
fn a_full_disk_loses_nothing_that_was_confirmed() {
    campaign(60, |seed| {
        let mut world = World::new(seed, full_config());
        for _ in 0..4 {
            world.disk.set_capacity(u64::MAX);
            let (mut store, _) = world.open().expect("there is room");
            world.check_restart(&mut store);
            let room = world.random.below(8) * SEGMENT;
            world.disk.set_capacity(used(&world.disk) + room);
            let result = (0..300).try_for_each(|_| world.step(&mut store));
            if let Err(error) = result {
                assert!(error.is_full(), "{error}");
            }
            let error = store.commit(&mut some_batch());
            drop(store);
            if world.random.once_in(2) {
                world.disk.power_loss();
            } else {
                world.disk.kill();
            }
            assert!(matches!(
                error,
                Ok(_) | Err(StorageError::Poisoned | StorageError::Disk { .. })
            ));
        }
    });
}

/// A batch that changes nothing.
fn some_batch() -> Batch {
    let mut batch = Batch::new();
    batch.undefine(b"never defined");
    batch
}

#[test]
fn a_killed_process_loses_nothing_that_was_written() {
    campaign(60, |seed| {
        let mut world = World::new(seed, config());
        for _ in 0..6 {
            let (mut store, report) = world.open().expect("nothing is wrong");
            assert!(report.losses.is_empty() && report.damaged.is_empty());
            world.check_restart(&mut store);
            let n_steps = world.random.below(100);
            (0..n_steps)
                .try_for_each(|_| world.step(&mut store))
                .unwrap_or_else(|error| panic!("{error}: {:?}", io::Error::other("no fault")));
            // With or without a sync: the system has it.
            world.settle();
            drop(store);
            world.disk.kill();
        }
    });
}
