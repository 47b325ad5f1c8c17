//! Mistakes that can be built in on purpose, to see that the simulator finds them.

/// One mistake. Only builds with the feature `planted-bugs` can have any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlantedBug {
    /// Goes on in the next segment before the way there is durable.
    SwitchWithoutSync,
    /// Gives numbers of lost messages to new ones.
    NumbersReused,
    /// Never proves that the last batch was synced.
    SealMissing,
    /// Uses a segment again before the acks of its messages are in two checkpoints.
    RecycledTooEarly,
    /// Writes a checkpoint of batches that the disk does not have yet.
    CheckpointAheadOfLog,
    /// Writes each checkpoint over the newest one.
    CheckpointOverwritten,
    /// Serves bodies without looking at their checksums.
    BodyNotChecked,
    /// Takes the readable part of a torn batch for a batch.
    TornBatchApplied,
    /// Confirms before the sync.
    ConfirmedBeforeSync,
    /// Takes the name of a new segment for durable.
    FolderNotSynced,
    /// Tries again when a sync failed.
    SyncRetried,
    /// Removes a file of chunks when the newest checkpoint does not need it, whatever the one
    /// before needs.
    ChunksRemovedTooEarly,
    /// Takes a torn end for damage.
    TornEndRefused,
    /// Uses files again that a backup is still to copy.
    BackupNotHeld,
}

impl PlantedBug {
    pub const ALL: [PlantedBug; 14] = [
        PlantedBug::SwitchWithoutSync,
        PlantedBug::NumbersReused,
        PlantedBug::SealMissing,
        PlantedBug::RecycledTooEarly,
        PlantedBug::CheckpointAheadOfLog,
        PlantedBug::CheckpointOverwritten,
        PlantedBug::BodyNotChecked,
        PlantedBug::TornBatchApplied,
        PlantedBug::ConfirmedBeforeSync,
        PlantedBug::FolderNotSynced,
        PlantedBug::SyncRetried,
        PlantedBug::ChunksRemovedTooEarly,
        PlantedBug::TornEndRefused,
        PlantedBug::BackupNotHeld,
    ];
}

/// The mistakes of this build and configuration; none without the feature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bugs {
    #[cfg(feature = "planted-bugs")]
    planted: Option<PlantedBug>,
}

impl Bugs {
    #[cfg(feature = "planted-bugs")]
    pub fn planted(bug: PlantedBug) -> Bugs {
        Bugs { planted: Some(bug) }
    }

    #[cfg(feature = "planted-bugs")]
    pub(crate) fn has(self, bug: PlantedBug) -> bool {
        self.planted == Some(bug)
    }

    #[cfg(not(feature = "planted-bugs"))]
    pub(crate) fn has(self, _: PlantedBug) -> bool {
        false
    }
}
