//! Brings up a store that refuses to start, and names what is lost. What was damaged is kept aside.

use std::sync::Arc;

use crate::storage::batch::Batch;
use crate::storage::config::Config;
use crate::storage::damaged;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Found;
use crate::storage::error::StorageError;
use crate::storage::message::Cause;
use crate::storage::reader::Stored;
use crate::storage::report::DamagedMessage;
use crate::storage::report::Recovery;
use crate::storage::store::Store;
use crate::storage::store::view::Wanted;
use crate::storage::verify::Damage;
use crate::storage::verify::DamageKind;
use crate::storage::verify::Verification;
use crate::storage::verify::verify;

/// What a repair did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repair {
    /// What was damaged before.
    pub found: Verification,
    /// Copies of damaged files as they were: what is copied, and where it is.
    pub kept: Vec<(FileName, FileName)>,
    /// How the store came up; `None` when nothing was wrong with it.
    pub recovery: Option<Recovery>,
    /// Messages that were taken out of their queues because they cannot be read, besides those
    /// that [`Recovery::damaged`] names.
    pub removed: Vec<DamagedMessage>,
}

/// Brings a store up with what can be read of it, leaving the rest behind: afterwards it starts.
///
/// Damaged files are copied aside first, in full; without room for that nothing is changed.
/// Messages that cannot be read are settled, for `cause`. Settled messages may come back when the
/// record of that is among what was lost.
///
/// # Errors
/// [`StorageError::Locked`] when a process uses the store; [`StorageError::Damaged`] when it cannot
/// be said whose directory this is.
pub fn repair<D: Disk>(
    disk: &Arc<D>,
    config: &Config,
    cause: Cause,
) -> Result<Repair, StorageError> {
    Store::lock(&**disk)?;
    let strict = Config { accept_loss: false, ..config.clone() };
    let config = Config { accept_loss: true, ..config.clone() };
    let (found, starts) = match verify(&**disk, &strict) {
        Err(StorageError::Damaged { .. }) => (verify(&**disk, &config)?, false),
        found => (found?, true),
    };
    let (mut kept, mut removed, mut recovery) = (Vec::new(), Vec::new(), None);
    if !found.is_whole() || !starts {
        for changed in changed_files(&**disk, &found)? {
            kept.push((changed.file, damaged::keep_file(&**disk, changed)?));
        }
        let (mut store, report) = Store::open(disk.clone(), config)?;
        recovery = Some(report);
        removed = remove_unreadable(&mut store, &found.damage, cause)?;
        store.seal()?;
    }
    Ok(Repair { found, kept, recovery, removed })
}

/// Files that have a part that will not be there afterwards.
fn changed_files(disk: &dyn Disk, found: &Verification) -> Result<Vec<Found>, StorageError> {
    let mut list = disk.list().map_err(StorageError::at("list the folder of", FileName::Store))?;
    let is_changed = |damage: &&Damage| match damage.kind {
        // Messages are kept one by one.
        DamageKind::Unused | DamageKind::Messages => false,
        DamageKind::Mended => damage.file != FileName::Store,
        DamageKind::Log { .. } => true,
    };
    let changed = || found.damage.iter().filter(is_changed);
    list.retain(|it| changed().any(|damage| damage.file == it.file));
    Ok(list)
}

fn remove_unreadable<D: Disk>(
    store: &mut Store<D>,
    damage: &[Damage],
    cause: Cause,
) -> Result<Vec<DamagedMessage>, StorageError> {
    let mut removed = Vec::new();
    let mut batch = Batch::new();
    let reader = store.reader();
    for (queue, seq) in damage.iter().flat_map(|damage| &damage.messages) {
        let wanted = Wanted { from: *seq, end: seq.next(), count: 1, bytes: 1, priority: None };
        for location in store.locate(*queue, wanted)? {
            if reader.read(&[location])? == [Stored::Damaged] {
                removed.push(reader.keep_damaged(&location));
                batch.ack(*queue, *seq, cause);
            }
        }
    }
    batch.require_sync();
    store.commit(&mut batch)?;
    Ok(removed)
}

#[cfg(test)]
mod tests;
