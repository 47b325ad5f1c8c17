//! Makes damaged index chunks anew from the messages in the log.
//!
//! A checkpoint says of every chunk which of its messages are live, so the log only has to say
//! where they lie. Slow, as it reads all of the log; and exact.

use std::collections::BTreeMap;

use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::chunk::Timed;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::entry::Entry;
use crate::storage::error::StorageError;
use crate::storage::index::Index;
use crate::storage::index::sealed::ChunkPlace;
use crate::storage::index::sealed::Sealed;
use crate::storage::record::Record;
use crate::storage::report::Loss;
use crate::storage::scan::Scan;

/// A chunk whose bytes are damaged, and what was found of it so far.
struct Wanted {
    file: u32,
    found: Vec<Option<Timed>>,
}

/// What had to be done to bring the index up.
#[derive(Debug, Default)]
pub(crate) struct Rebuilt {
    /// Where the chunks lie that are damaged.
    pub(crate) chunks: Vec<ChunkPlace>,
    pub(crate) losses: Vec<Loss>,
}

/// Reads every chunk that lies on disk, and makes those anew that are damaged.
pub(crate) fn check_chunks(
    disk: &dyn Disk,
    index: &mut Index,
    salt: u32,
) -> Result<Rebuilt, StorageError> {
    let mut rebuilt = Rebuilt { chunks: damaged_garbage(disk, index), losses: Vec::new() };
    if !rebuilt.chunks.is_empty() {
        index.garbage.clear();
    }
    let mut wanted = BTreeMap::new();
    for id in index.queue_ids() {
        let queue = index.queue_mut(id).expect("the list is of this index");
        for chunk in &mut queue.chunks {
            if chunk.load(disk).is_err() {
                let place = chunk.place.expect("it is not in memory");
                rebuilt.chunks.push(place);
                let file = place.file;
                let found = vec![None; chunk.n_entries as usize];
                wanted.insert((id, chunk.first), Wanted { file, found });
            }
            chunk.spill();
        }
    }
    if rebuilt.chunks.is_empty() {
        return Ok(rebuilt);
    }
    if !wanted.is_empty() {
        search(disk, index, salt, &mut wanted);
    }
    for ((id, first), wanted) in wanted {
        let missing = replace(index, id, first, &wanted);
        if !missing.is_empty() {
            rebuilt.losses.push(Loss {
                file: FileName::Index(wanted.file),
                bytes: (0, 0),
                batches: None,
                messages: missing,
            });
        }
    }
    index.recount(disk)?;
    Ok(rebuilt)
}

/// Chunks of purged queues that cannot be read; their segments have to be counted anew.
fn damaged_garbage(disk: &dyn Disk, index: &mut Index) -> Vec<ChunkPlace> {
    let mut damaged = Vec::new();
    for chunk in &mut index.garbage {
        match chunk.load(disk) {
            Ok(_) => {}
            Err(_) => damaged.extend(chunk.place),
        }
        chunk.spill();
    }
    damaged
}

/// Looks through the whole log for the messages of damaged chunks.
fn search(
    disk: &dyn Disk,
    index: &Index,
    salt: u32,
    wanted: &mut BTreeMap<(QueueId, u64), Wanted>,
) {
    let mut segments: Vec<(BatchId, u32, u64)> = Vec::new();
    for (number, segment) in index.segments.iter() {
        let mut scan = Scan::new(disk, number, segment.bytes, salt);
        if let Some((_, header)) = scan.next_header(0) {
            segments.push((header.place.id, number, segment.used));
        }
    }
    // In the order they were written, so that the last copy of a message is the one kept.
    segments.sort_unstable();
    for (_, number, used) in segments {
        let mut scan = Scan::new(disk, number, used, salt);
        let mut from = 0;
        while let Some((at, _)) = scan.next_header(from) {
            let Some((header, records)) = scan.records(at) else {
                from = at + 1;
                continue;
            };
            from = at + header.padded_bytes();
            for (offset, frame) in records {
                let Ok(Record::Message(message)) = frame.record() else { continue };
                let Ok(offset) = u32::try_from(at + offset as u64) else { continue };
                for target in message.targets {
                    let (header, body) = (frame.header_bytes, frame.body_bytes);
                    let entry = Entry::new(number, offset, header, body, target.priority);
                    note(wanted, (target.queue, target.seq.0), (entry, target.expires_at));
                }
            }
        }
    }
}

fn note(wanted: &mut BTreeMap<(QueueId, u64), Wanted>, (queue, seq): (QueueId, u64), timed: Timed) {
    let before = wanted.range_mut(..=(queue, seq)).next_back();
    let Some(((id, first), wanted)) = before.filter(|((id, _), _)| *id == queue) else { return };
    debug_assert_eq!(*id, queue);
    let index = usize::try_from(seq - first).unwrap_or(usize::MAX);
    if let Some(found) = wanted.found.get_mut(index) {
        *found = Some(timed);
    }
}

/// Puts what was found in the place of a damaged chunk; returns the live messages that are missing.
fn replace(index: &mut Index, id: QueueId, first: u64, wanted: &Wanted) -> Vec<(QueueId, Seq)> {
    let mut missing = Vec::new();
    let queue = index.queue_mut(id).expect("it had the chunk");
    let Some(at) = queue.chunks.iter().position(|chunk| chunk.first == first) else {
        return missing;
    };
    let old = &queue.chunks[at];
    let mut entries = vec![(Entry::GONE, None); wanted.found.len()];
    for (seq, (found, entry)) in (first..).zip(wanted.found.iter().zip(&mut entries)) {
        match found {
            _ if old.is_gone(seq) => {}
            Some(timed) => *entry = *timed,
            None => missing.push((id, Seq(seq))),
        }
    }
    queue.n_live -= u64::from(old.n_live);
    queue.live_bytes -= old.live_bytes;
    let sealed = Sealed::seal(first, &entries);
    queue.n_live += u64::from(sealed.n_live);
    queue.live_bytes += sealed.live_bytes;
    let n_bytes = sealed.resident_bytes();
    if sealed.n_live > 0 {
        queue.chunks[at] = sealed;
        index.memory.grow(n_bytes);
    } else {
        queue.chunks.remove(at);
    }
    missing
}
