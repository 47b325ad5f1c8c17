//! What a store holds, in numbers: queues, segments, index.

use crate::storage::config::Config;
use crate::storage::disk::Disk;
use crate::storage::error::StorageError;
use crate::storage::examine::Files;
use crate::storage::examine::examine;
use crate::storage::index::Index;
use crate::storage::store::view::QueueView;
use crate::storage::store_file::StoreFile;

/// The numbers of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// In order of number.
    pub queues: Vec<QueueView>,
    /// The parts of the log, in order of number.
    pub segments: Vec<SegmentView>,
    /// Segment files that hold nothing and wait for use, and their bytes.
    pub n_spares: u64,
    pub spare_bytes: u64,
    /// Sealed pieces of the index that the disk has, and their bytes.
    pub n_chunks: u64,
    pub chunk_bytes: u64,
    /// Entries of the map of everything durable that is no message, and their bytes.
    pub n_definitions: u64,
    pub definition_bytes: u64,
    /// Bytes of log that a start now would replay.
    pub replay_bytes: u64,
}

/// A part of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentView {
    pub number: u32,
    /// Size of the file.
    pub bytes: u64,
    /// Bytes written to it.
    pub used_bytes: u64,
    /// Places in queues whose message lies here; a message in three queues counts three times.
    pub n_live: u64,
    /// Bytes of the records of these, as often as they are counted.
    pub live_bytes: u64,
}

impl Statistics {
    /// Everything but spares and replay, which the index does not know.
    pub(crate) fn new(index: &Index) -> Statistics {
        let ids = index.queue_ids();
        let queue = |id| Some(QueueView::new(id, index.queue(id)?));
        let segments = index.segments.iter().map(|(number, segment)| SegmentView {
            number,
            bytes: segment.bytes,
            used_bytes: segment.used,
            n_live: segment.n_live,
            live_bytes: segment.live_bytes,
        });
        let chunks = || ids.iter().filter_map(|id| index.queue(*id)).flat_map(|it| &it.chunks);
        let placed = || chunks().chain(&index.garbage).filter_map(|chunk| chunk.place);
        let definitions = index.defined.iter();
        Statistics {
            segments: segments.collect(),
            n_chunks: placed().count() as u64,
            chunk_bytes: placed().map(|place| u64::from(place.bytes)).sum(),
            n_definitions: index.defined.len() as u64,
            definition_bytes: definitions.map(|(k, v)| (k.len() + v.len()) as u64).sum(),
            queues: ids.iter().copied().filter_map(queue).collect(),
            ..Statistics::default()
        }
    }
}

/// The numbers of a store that no process writes to. Changes nothing.
///
/// # Errors
/// As [`verify`](crate::storage::verify::verify).
pub fn statistics(disk: &dyn Disk, config: &Config) -> Result<Statistics, StorageError> {
    let files = Files::list(disk)?;
    let store_file = StoreFile::require(disk)?;
    let examined = examine(disk, &files, store_file.salt(), config)?;
    let mut numbers = Statistics::new(&examined.index);
    let used = |number: &u32| examined.index.segments.get(*number).is_some();
    let spares = || files.segments.iter().filter(|(number, _)| !used(number));
    numbers.n_spares = spares().count() as u64;
    numbers.spare_bytes = spares().map(|(_, bytes)| bytes).sum();
    numbers.replay_bytes = examined.report.bytes;
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::amqp::id::QueueId;
    use crate::storage::batch::Batch;
    use crate::storage::disk::memory::MemoryDisk;
    use crate::storage::store::tests::open;
    use crate::storage::store::tests::publish;
    use crate::storage::store::tests::tiny;

    #[test]
    fn a_store_says_the_same_running_and_at_rest() {
        let disk = Arc::new(MemoryDisk::default());
        let (mut store, _) = open(&disk);
        let mut batch = Batch::new();
        for seq in 1..=60 {
            publish(&mut batch, &[(1, seq), (2, seq)], &[0; 3000]);
            store.commit(&mut batch).unwrap();
        }
        batch.define(b"key", b"value");
        store.commit(&mut batch).unwrap();
        while store.step(1000).unwrap().more {}
        let running = store.statistics();
        drop(store);
        assert_eq!(statistics(&*disk, &tiny()).unwrap(), running);
        assert_eq!((running.n_definitions, running.definition_bytes), (1, 8));
        let queues: Vec<_> = running.queues.iter().map(|it| (it.id, it.n_messages)).collect();
        assert_eq!(queues, [(QueueId(1), 60), (QueueId(2), 60)]);
        let n_live: u64 = running.segments.iter().map(|it| it.n_live).sum();
        assert_eq!((n_live, running.n_spares), (120, 3));
        assert_eq!(running.replay_bytes, 61 * 4096 + (running.segments.len() as u64 - 1) * 4096);
    }
}
