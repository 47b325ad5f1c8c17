//! Records that failed their checksum: kept aside, never served.

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Folder;
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

/// Best effort: the copy is for a person to look at, and a full disk must not stop the store.
fn write(disk: &dyn Disk, bytes: &[u8]) -> Option<FileName> {
    let found = disk.list().ok()?;
    let numbers = found.iter().filter_map(|found| match found.file {
        FileName::Damaged(number) => Some(number),
        FileName::Store | FileName::Segment(_) | FileName::Checkpoint(_) | FileName::Index(_) => {
            None
        }
    });
    let file = FileName::Damaged(numbers.max().map_or(1, |number| number + 1));
    disk.create(file, 0).ok()?;
    disk.write_at(file, 0, bytes).ok()?;
    disk.sync(file).ok()?;
    disk.sync_folder(Folder::Damaged).ok()?;
    Some(file)
}
