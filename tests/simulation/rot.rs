//! Bits that flip on the disk, writes that never arrive and writes that go astray: whatever it is,
//! it is repaired or named, and never served.

use std::collections::BTreeSet;
use std::sync::Arc;

use railpost::storage::config::Config;
use railpost::storage::disk::Disk;
use railpost::storage::disk::FileName;
use railpost::storage::error::StorageError;
use railpost::storage::message::Cause;
use railpost::storage::reader::Stored;
use railpost::storage::repair::repair;
use railpost::storage::report::Recovery;
use railpost::storage::store::Store;
use railpost::storage::verify::Damage;
use railpost::storage::verify::DamageKind;
use railpost::storage::verify::Verification;
use railpost::storage::verify::verify;

use crate::campaign;
use crate::disk::Fault;
use crate::disk::SimulatedDisk;
use crate::model::Content;
use crate::model::Model;
use crate::model::Queue;
use crate::world::ALL;
use crate::world::World;
use crate::world::assert_content;
use crate::world::config;

/// Flips tried on one store.
const FLIPS: u64 = 40;

/// A store that went through some work, and was closed in good order.
fn closed_store(seed: u64, n_steps: u64, config: Config) -> World {
    let mut world = World::new(seed, config);
    let (mut store, _) = world.open().expect("nothing is wrong yet");
    for _ in 0..n_steps {
        world.step(&mut store).expect("nothing is wrong yet");
    }
    store.seal().expect("nothing is wrong yet");
    drop(store);
    world.disk.settle();
    world.settle();
    world
}

/// How a damaged store came up.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    Whole,
    Named(usize),
    Refused,
}

fn bring_up(disk: &Arc<SimulatedDisk>, config: &Config, model: &Model) -> Outcome {
    let verified = verify(&**disk, config);
    let outcome = start(disk, config, model);
    check_verified(verified, &outcome);
    outcome
}

/// What was said of the store before is what happened.
fn check_verified(verified: Result<Verification, StorageError>, outcome: &Outcome) {
    let Ok(verified) = verified else {
        assert_eq!(*outcome, Outcome::Refused, "UNUSABLE, but it was used");
        return;
    };
    let of_kind = |kind| verified.damage.iter().filter(move |damage| damage.kind == kind);
    let messages = of_kind(DamageKind::Messages).flat_map(|damage| &damage.messages);
    let named: BTreeSet<_> = messages.collect();
    match outcome {
        Outcome::Whole => assert!(verified.is_whole(), "FALSE alarm: {verified:?}"),
        Outcome::Named(n) => assert_eq!(named.len(), *n, "OTHER messages: {verified:?}"),
        Outcome::Refused => {
            let is_log = |damage: &Damage| matches!(damage.kind, DamageKind::Log { .. });
            assert!(verified.damage.iter().any(is_log), "UNSEEN damage: {verified:?}");
        }
    }
}

fn start(disk: &Arc<SimulatedDisk>, config: &Config, model: &Model) -> Outcome {
    match Store::open(disk.clone(), config.clone()) {
        Ok((mut store, report)) => {
            assert!(report.losses.is_empty());
            match check(&mut store, &report, model) {
                0 => Outcome::Whole,
                n => Outcome::Named(n),
            }
        }
        Err(StorageError::Losses { .. } | StorageError::Damaged { .. }) => {
            bring_up_repaired(disk, config);
            Outcome::Refused
        }
        Err(error) => panic!("cannot open: {error}"),
    }
}

/// Every message is there, or named; nothing else is there. Returns how many are named.
fn check(store: &mut Store<SimulatedDisk>, report: &Recovery, model: &Model) -> usize {
    let mut named: BTreeSet<(u32, u64)> = BTreeSet::new();
    for damaged in &report.damaged {
        named.extend(damaged.places.iter().map(|(queue, seq)| (queue.0, seq.0)));
    }
    let mut found: BTreeSet<(u32, u64)> = BTreeSet::new();
    let empty = Queue::default();
    for view in store.queues() {
        let expected = model.queues.get(&view.id.0).unwrap_or(&empty);
        assert_eq!(view.watermark.0, expected.watermark, "WATERMARK of {}", view.id);
        let locations = store.locate(view.id, ALL).expect("chunks are checked at the start");
        let stored = store.reader().read(&locations).expect("the disk can be read");
        for (location, stored) in locations.iter().zip(&stored) {
            let held = expected.messages.get(&location.seq.0).expect("PHANTOM message");
            assert_eq!(store.mark(view.id, location.seq), held.mark.as_deref(), "MARK");
            assert_eq!(location.expires_at, held.expires_at, "EXPIRY");
            found.insert((view.id.0, location.seq.0));
            match stored {
                Stored::Message { .. } => assert_content(held, stored),
                Stored::Damaged => {
                    store.reader().keep_damaged(location);
                    named.insert((view.id.0, location.seq.0));
                }
                Stored::Stale => panic!("STALE message"),
            }
        }
    }
    for (id, queue) in &model.queues {
        for seq in queue.messages.keys() {
            let place = (*id, *seq);
            assert!(found.contains(&place) || named.contains(&place), "SILENT loss: {place:?}");
        }
    }
    let defined = store.defined().map(|(key, value)| (key.to_vec(), value.to_vec()));
    assert_eq!(defined.collect::<Vec<_>>(), model.defined.clone().into_iter().collect::<Vec<_>>());
    named.len()
}

/// After a repair the store starts, and serves what can be read and nothing that cannot.
fn bring_up_repaired(disk: &Arc<SimulatedDisk>, config: &Config) {
    let disk = Arc::new(disk.copy());
    match repair(&disk, config, Cause(8)) {
        Ok(repaired) => assert!(repaired.recovery.is_some(), "REFUSED, but nothing to repair"),
        // The file that says whose directory this is cannot be made up.
        Err(StorageError::Damaged { file: FileName::Store, .. }) => return,
        Err(error) => panic!("cannot repair: {error}"),
    }
    assert!(verify(&*disk, config).expect("it was repaired").is_whole());
    let (mut store, _) = Store::open(disk, config.clone()).expect("it was repaired");
    for view in store.queues() {
        let locations = store.locate(view.id, ALL).expect("the index can be read");
        for stored in store.reader().read(&locations).expect("the disk can be read") {
            let Stored::Message { head, body, .. } = stored else { panic!("UNREADABLE message") };
            let id = u64::from_le_bytes(*head.first_chunk().expect("heads are longer"));
            let content = Content { id, body_bytes: body.len() };
            assert!(content.body() == body[..], "CORRUPT message served");
        }
    }
}

fn flip_some(world: &mut World, n: u64) {
    let files = world.disk.list().expect("the disk works");
    for _ in 0..n {
        let found = world.random.pick(&files).expect("there are files");
        let disk = Arc::new(world.disk.copy());
        let at = world.random.below(found.bytes.max(1));
        disk.flip(found.file, at, 1 << world.random.below(8));
        bring_up(&disk, &world.config, &world.now);
    }
}

pub(crate) fn flips(seed: u64, config: Config) {
    let n_steps = 20 + seed % 300;
    let mut world = closed_store(seed, n_steps, config);
    flip_some(&mut world, FLIPS);
}

#[test]
fn a_flipped_bit_is_harmless_or_named() {
    campaign(60, |seed| flips(seed, config()));
}

#[test]
fn every_byte_of_a_small_store_may_rot() {
    let mut world = closed_store(3, 30, config());
    let files = world.disk.list().expect("the disk works");
    let mut n_refused = 0;
    let mut n = 0;
    for found in files {
        let content = world.disk.content(found.file);
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let step = if std::env::var("RAILPOST_EVERY_BYTE").is_ok() { 1 } else { 61 };
        for at in (0..used).step_by(step) {
            let disk = Arc::new(world.disk.copy());
            disk.flip(found.file, at as u64, 1 << world.random.below(8));
            n += 1;
            n_refused += u32::from(bring_up(&disk, &world.config, &world.now) == Outcome::Refused);
        }
    }
    assert!(n > 100 && n_refused < n / 2, "{n_refused} of {n} refused");
}

/// Where the body of a stored message lies.
fn a_body(world: &mut World) -> Option<(FileName, usize, usize)> {
    let messages = world.now.queues.values().flat_map(|queue| queue.messages.values());
    let long: Vec<_> = messages.filter(|held| held.content.body_bytes > 64).collect();
    let content = world.random.pick(&long)?.content;
    let body = content.body();
    world.disk.list().ok()?.into_iter().find_map(|found| {
        let bytes = world.disk.content(found.file);
        let at = bytes.windows(64).rposition(|window| *window == body[..64])?;
        Some((found.file, at, body.len()))
    })
}

#[test]
fn a_damaged_body_never_stops_the_start() {
    campaign(60, |seed| {
        let mut world = closed_store(seed, 40 + seed % 200, config());
        for _ in 0..10 {
            let Some((file, at, n_bytes)) = a_body(&mut world) else { return };
            let disk = Arc::new(world.disk.copy());
            disk.flip(file, (at + world.random.index(n_bytes)) as u64, 4);
            let outcome = bring_up(&disk, &world.config, &world.now);
            assert_ne!(outcome, Outcome::Refused, "REFUSED because of a body");
        }
    });
}

pub(crate) fn astray(seed: u64, fault: Fault, config: Config) {
    let mut world = World::new(seed, config);
    let (mut store, _) = world.open().expect("nothing is wrong yet");
    let steps = world.random.below(200);
    world.disk.set_fault(steps, Some(fault));
    for _ in 0..150 {
        let step =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.step(&mut store)));
        // The running store may meet what is missing; it must not go on then.
        match step {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    let sealed = store.seal();
    drop(store);
    world.disk.settle();
    world.settle();
    if sealed.is_ok() {
        bring_up(&world.disk, &world.config, &world.now);
    }
}

#[test]
fn a_lost_write_is_harmless_or_named() {
    campaign(200, |seed| astray(seed, Fault::LostWrite, config()));
}

#[test]
fn a_misdirected_write_is_harmless_or_named() {
    campaign(200, |seed| astray(seed, Fault::MisdirectedWrite, config()));
}

#[test]
fn a_block_that_cannot_be_read_is_harmless_or_named() {
    campaign(60, |seed| {
        let mut world = closed_store(seed, 20 + seed % 200, config());
        let files = world.disk.list().expect("the disk works");
        for _ in 0..10 {
            let found = *world.random.pick(&files).expect("there are files");
            let disk = Arc::new(world.disk.copy());
            let at = world.random.below(found.bytes.max(1)) / 4096 * 4096;
            disk.set_unreadable(Some((found.file, at, at + 4096)));
            bring_up(&disk, &world.config, &world.now);
        }
    });
}

#[test]
fn a_file_that_is_cut_or_missing_is_harmless_or_named() {
    campaign(60, |seed| {
        let mut world = closed_store(seed, 20 + seed % 200, config());
        let files = world.disk.list().expect("the disk works");
        for _ in 0..10 {
            let found = *world.random.pick(&files).expect("there are files");
            let disk = Arc::new(world.disk.copy());
            if world.random.once_in(2) {
                disk.remove(found.file).expect("it is there");
            } else {
                let n_bytes = world.random.index(found.bytes as usize + 1);
                disk.edit(found.file, |content| content.truncate(n_bytes));
            }
            bring_up(&disk, &world.config, &world.now);
        }
    });
}

/// Without its newest checkpoint, a store goes back to the one before and finds all that needs.
pub(crate) fn checkpoints(seed: u64, config: Config) {
    let mut world = closed_store(seed, 100 + seed % 200, config);
    for found in world.disk.list().expect("the disk works") {
        if !matches!(found.file, FileName::Checkpoint(_)) {
            continue;
        }
        let disk = Arc::new(world.disk.copy());
        disk.flip(found.file, world.random.below(found.bytes.max(1)), 16);
        let (mut store, report) =
            Store::open(disk, world.config.clone()).expect("the one before is whole");
        assert_eq!(check(&mut store, &report, &world.now), 0);
        assert_eq!(report.chunks_rebuilt, 0, "REMOVED chunks are needed");
    }
}

#[test]
fn a_damaged_checkpoint_costs_nothing_but_time() {
    campaign(60, |seed| checkpoints(seed, config()));
}
