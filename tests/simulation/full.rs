//! A file system that other programs fill: publishers are made to wait in time, and what settles
//! messages goes on.

use std::io;

use railpost::amqp::id::QueueId;
use railpost::amqp::id::Seq;
use railpost::amqp::time::Timestamp;
use railpost::storage::batch::Batch;
use railpost::storage::config::Config;
use railpost::storage::disk::Disk;
use railpost::storage::error::StorageError;
use railpost::storage::message::Cause;
use railpost::storage::store::Store;

use crate::campaign;
use crate::disk::SimulatedDisk;
use crate::world::ALL;
use crate::world::World;
use crate::world::config;

const SEGMENT: u64 = 64 << 10;

fn full_config() -> Config {
    Config { free_bytes_min: 3 * SEGMENT, ..config() }
}

fn used(disk: &SimulatedDisk) -> u64 {
    disk.list().expect("the disk works").iter().map(|found| found.bytes).sum()
}

/// What a server does between commits.
fn upkeep(world: &World, store: &mut Store<SimulatedDisk>, now: u64) -> Result<(), StorageError> {
    while store.step(8000)?.more {}
    if let Some(work) = store.begin_checkpoint(Timestamp(now))? {
        let result = work.run(&*world.disk);
        store.finish_checkpoint(result)?;
    }
    Ok(())
}

/// Acks everything there is, some at a time.
fn drain(world: &mut World, store: &mut Store<SimulatedDisk>) -> Result<(), StorageError> {
    let queues: Vec<QueueId> = store.queues().iter().map(|view| view.id).collect();
    for queue in queues {
        for run in store.locate(queue, ALL)?.chunks(5) {
            let mut batch = Batch::new();
            let seqs: Vec<Seq> = run.iter().map(|location| location.seq).collect();
            seqs.iter().for_each(|seq| batch.ack(queue, *seq, Cause(0)));
            batch.require_sync();
            store.commit(&mut batch)?;
            upkeep(world, store, 0)?;
        }
    }
    Ok(())
}

#[test]
fn settling_goes_on_when_the_disk_is_full() {
    campaign(40, |seed| {
        let mut world = World::new(seed, full_config());
        let (mut store, _) = world.open().expect("there is room");
        world.disk.set_capacity((16 + world.random.below(16)) * SEGMENT);
        let mut n = 0;
        while !store.space().expect("it can be measured").is_low {
            world.commit(&mut store).expect("there is room");
            while store.step(8000).expect("there is room").more {}
            n += 1;
            assert!(n < 10_000, "the disk never fills");
        }
        // Now another program takes the rest.
        world.disk.set_capacity(used(&world.disk));
        drain(&mut world, &mut store).expect("settling needs no more room");
        for now in 0..4 {
            upkeep(&world, &mut store, now).expect("no more room is needed");
        }
        let left = used(&world.disk);
        assert!(left <= 8 * SEGMENT, "{left} bytes are left of an empty store");
    });
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
