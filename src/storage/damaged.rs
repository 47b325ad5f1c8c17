//! Records that failed their checksum: kept aside, never served.

use std::io;

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::batch::BLOCK_BYTES;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Folder;
use crate::storage::disk::Found;
use crate::storage::error::StorageError;
use crate::storage::record::Frame;
use crate::storage::record::Record;
use crate::storage::report::DamagedMessage;

/// Keeps the raw bytes of a record aside and names its messages.
///
/// `places` is whose it is, for when its header is damaged too.
pub(crate) fn keep(disk: &dyn Disk, record: &[u8], places: &[(QueueId, Seq)]) -> DamagedMessage {
    let mut message =
        DamagedMessage { places: places.to_vec(), flags: 0, head: Vec::new(), kept: None };
    let mut n_bytes = record.len();
    if let Ok(frame) = Frame::parse(record) {
        n_bytes = n_bytes.min(usize::try_from(frame.total_bytes()).unwrap_or(usize::MAX));
        if let Ok(Record::Message(found)) = frame.record() {
            let targets = found.targets.map(|target| (target.queue, target.seq));
            if places.is_empty() {
                message.places = targets.collect();
            }
            message.flags = found.flags;
            message.head = found.head.to_vec();
        }
    }
    message.kept = write(disk, &record[..n_bytes]);
    message
}

/// Copies a whole file aside; what the disk cannot read of it becomes zeros.
pub(crate) fn keep_file(
    disk: &dyn Disk,
    Found { file, bytes }: Found,
) -> Result<FileName, StorageError> {
    let kept = next_file(disk).map_err(StorageError::at("list the folder of", file))?;
    let copied = copy(disk, file, bytes, kept).and_then(|()| disk.sync_folder(Folder::Damaged));
    copied.map_err(StorageError::at("write", kept))?;
    Ok(kept)
}

fn copy(disk: &dyn Disk, from: FileName, n_bytes: u64, to: FileName) -> io::Result<()> {
    disk.create(to, 0)?;
    let mut block = vec![0; BLOCK_BYTES];
    for at in (0..n_bytes).step_by(BLOCK_BYTES) {
        let left = usize::try_from(n_bytes - at).unwrap_or(BLOCK_BYTES);
        let block = &mut block[..left.min(BLOCK_BYTES)];
        block.fill(0);
        if disk.read_at(from, at, block).is_err() {
            block.fill(0);
        }
        disk.write_at(to, at, block)?;
    }
    disk.sync(to)
}

/// Best effort: the copy is for a person to look at, and a full disk must not stop the store.
fn write(disk: &dyn Disk, bytes: &[u8]) -> Option<FileName> {
    let file = next_file(disk).ok()?;
    disk.create(file, 0).ok()?;
    disk.write_at(file, 0, bytes).ok()?;
    disk.sync(file).ok()?;
    disk.sync_folder(Folder::Damaged).ok()?;
    Some(file)
}

/// A name that no kept file has.
fn next_file(disk: &dyn Disk) -> io::Result<FileName> {
    let found = disk.list()?;
    let numbers = found.iter().filter_map(|found| match found.file {
        FileName::Damaged(number) => Some(number),
        FileName::Store | FileName::Segment(_) | FileName::Checkpoint(_) | FileName::Index(_) => {
            None
        }
    });
    Ok(FileName::Damaged(numbers.max().map_or(1, |number| number + 1)))
}
