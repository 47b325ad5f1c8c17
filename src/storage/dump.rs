//! Shows the log as it lies on the disk: batch after batch, record after record.

use crate::amqp::id::BatchId;
use crate::storage::batch::parse;
use crate::storage::batch::parse::Records;
use crate::storage::batch::parse::Verdict;
use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::error::StorageError;
use crate::storage::examine::Files;
use crate::storage::record::Record;
use crate::storage::scan::Found;
use crate::storage::scan::Scan;
use crate::storage::store_file::StoreFile;

/// One thing that lies in the log.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Dumped<'a> {
    Batch(BatchView),
    Record(RecordView<'a>),
    /// Bytes, the end not included, that should be a batch or records and are not.
    Unreadable {
        file: FileName,
        bytes: (u64, u64),
    },
}

/// A batch; its records come next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchView {
    pub file: FileName,
    pub offset: u64,
    /// Header and records, without the padding.
    pub bytes: u64,
    pub id: BatchId,
    /// The batch before it, and the newest one that was synced when it was written.
    pub previous: BatchId,
    pub synced: BatchId,
    pub n_records: u32,
}

/// A record.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RecordView<'a> {
    pub file: FileName,
    pub offset: u64,
    /// Bytes of header and body.
    pub bytes: u64,
    /// `None` for a kind of a later format.
    pub record: Option<Record<'a>>,
    /// The body; `None` when it is not as it was written.
    pub body: Option<&'a [u8]>,
}

/// Shows what lies in the log, or in one segment of it, in the order it was written, until `visit`
/// says false. Changes nothing.
///
/// What is shown need not count any more: settled messages stay until their segment is used again.
///
/// # Errors
/// [`StorageError::Damaged`] when it cannot be said whose directory this is.
pub fn dump(
    disk: &dyn Disk,
    only: Option<u32>,
    visit: &mut dyn FnMut(Dumped<'_>) -> bool,
) -> Result<(), StorageError> {
    let files = Files::list(disk)?;
    let salt = StoreFile::require(disk)?.salt();
    let mut segments = Vec::new();
    for (number, n_bytes) in files.segments {
        let mut scan = Scan::new(disk, number, n_bytes, salt);
        if only.is_none_or(|only| only == number)
            && let Some((_, header)) = scan.next_header(0)
        {
            segments.push((header.place.id, number, n_bytes));
        }
    }
    segments.sort_unstable();
    for (_, number, n_bytes) in segments {
        if !segment(&mut Scan::new(disk, number, n_bytes, salt), visit) {
            break;
        }
    }
    Ok(())
}

/// False when `visit` said so.
fn segment(scan: &mut Scan<'_>, visit: &mut dyn FnMut(Dumped<'_>) -> bool) -> bool {
    let file = FileName::Segment(scan.segment);
    let mut at = 0;
    loop {
        if let Some(found) = scan.batch(at) {
            if !batch(file, at, &found, visit) {
                return false;
            }
            at += found.header.padded_bytes();
        } else if let Some((next, _)) = scan.next_header(at + 1) {
            if !visit(Dumped::Unreadable { file, bytes: (at, next) }) {
                return false;
            }
            at = next;
        } else {
            // The rest was never written in this use of the file.
            return true;
        }
    }
}

fn batch(
    file: FileName,
    at: u64,
    found: &Found<'_>,
    visit: &mut dyn FnMut(Dumped<'_>) -> bool,
) -> bool {
    let (header, place) = (found.header, found.header.place);
    let view = BatchView {
        file,
        offset: at,
        bytes: header.bytes,
        id: place.id,
        previous: place.previous,
        synced: place.synced,
        n_records: header.n_records,
    };
    let mut goes_on = visit(Dumped::Batch(view));
    let mut records = Records::new(found.bytes);
    while goes_on && let Some((offset, frame)) = records.next() {
        let record = &found.bytes[offset..];
        let whole = parse::body_is_whole(&frame, record);
        goes_on = visit(Dumped::Record(RecordView {
            file,
            offset: at + offset as u64,
            bytes: frame.total_bytes(),
            record: frame.record().ok(),
            body: parse::body(&frame, record).filter(|_| whole),
        }));
    }
    if goes_on && found.verdict == Verdict::Broken {
        let end = at + header.bytes;
        let start = end - records.rest_bytes() as u64;
        goes_on = visit(Dumped::Unreadable { file, bytes: (start, end) });
    }
    goes_on
}

#[cfg(test)]
mod tests;
