//! A batch: the records one write and one sync make durable together, all of them or none.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::batch::parse::Header;
use crate::storage::batch::parse::Place;
use crate::storage::message::Cause;
use crate::storage::message::Durability;
use crate::storage::message::NewMessage;
use crate::storage::record::encode;
use crate::storage::record::encode::Origin;

/// Batches start on, and are padded to, multiples of this.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Bytes of a batch before its first record.
pub(crate) const HEADER_BYTES: usize = 64;
/// Longest batch: positions inside of a segment are 32 bits wide.
const BATCH_BYTES_MAX: usize = 0xf000_0000;
/// Buffers that grew beyond this are given back after use.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Collects records until the log takes them; what is added between two commits is atomic.
///
/// The store gives no sequence numbers: the caller does, under the lock that guards the batch, so
/// that the order in the log is the order in every queue.
#[derive(Debug, Default)]
pub struct Batch {
    /// Room for the header, then records.
    bytes: Vec<u8>,
    n_records: u32,
    chain: u32,
    needs_sync: bool,
    acks: Acks,
}

/// Acks since the last commit, gathered by queue so that they become ranges.
#[derive(Debug, Default)]
struct Acks {
    runs: Vec<(QueueId, Cause, Vec<Seq>)>,
    places: HashMap<(QueueId, Cause), usize, FixedState>,
    n_acks: usize,
    /// Emptied lists, for reuse.
    spare: Vec<Vec<Seq>>,
}

impl Batch {
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Stores a message in all its queues, with one copy of the body.
    pub fn message<'a, I>(&mut self, message: &NewMessage<'_, I>)
    where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        self.needs_sync |= message.durability == Durability::Sync;
        self.place(message, Origin::Published);
    }

    /// Takes a message out of `queue` and stores `message` in its place, in one step.
    ///
    /// The record is complete in itself: it repeats the body (see the decision record 0101).
    pub fn moved<'a, I>(&mut self, from: (QueueId, Seq), cause: Cause, message: &NewMessage<'_, I>)
    where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        let (queue, seq) = from;
        self.place(message, Origin::Moved { queue, seq, cause });
    }

    /// Writes a live message again, because the segment it lies in is to be recycled.
    pub(crate) fn relocated<'a, I>(&mut self, message: &NewMessage<'_, I>)
    where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        self.place(message, Origin::Relocated);
    }

    fn place<'a, I>(&mut self, message: &NewMessage<'_, I>, origin: Origin)
    where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        self.record(|out| encode::message(out, message, origin));
    }

    /// Forgets a message. Does not ask for a sync: acks ride along with what does.
    pub fn ack(&mut self, queue: QueueId, seq: Seq, cause: Cause) {
        self.acks.push(queue, seq, cause);
    }

    /// Keeps `mark` for a message that came back to its queue; the latest mark wins. Rides along.
    pub fn returned(&mut self, queue: QueueId, seq: Seq, mark: &[u8]) {
        self.record(|out| encode::returned(out, queue, seq, mark));
    }

    /// As [`Batch::returned`], for a message that waits in its queue until some time.
    pub fn delayed(&mut self, queue: QueueId, seq: Seq, mark: &[u8]) {
        self.record(|out| encode::delayed(out, queue, seq, mark));
    }

    /// Messages of `queue` up to `seq` may have been delivered. Rides along.
    pub fn watermark(&mut self, queue: QueueId, seq: Seq) {
        self.record(|out| encode::watermark(out, queue, seq));
    }

    /// Sets `key` in the map of everything durable that is no message.
    pub fn define(&mut self, key: &[u8], value: &[u8]) {
        self.needs_sync = true;
        self.record(|out| encode::define(out, key, value));
    }

    pub fn undefine(&mut self, key: &[u8]) {
        self.needs_sync = true;
        self.record(|out| encode::undefine(out, key));
    }

    /// Forgets all messages of `queue` before `below`, those of `except` apart.
    ///
    /// `except` must be sorted.
    pub fn purge(&mut self, queue: QueueId, below: Seq, except: &[Seq]) {
        self.needs_sync = true;
        self.record(|out| encode::purge(out, queue, below, except));
    }

    /// Forgets the queue, its messages, marks and numbering.
    pub fn drop_queue(&mut self, queue: QueueId) {
        self.needs_sync = true;
        self.record(|out| encode::drop_queue(out, queue));
    }

    /// Asks for a sync whatever the batch holds: for the acks of a transaction.
    pub fn require_sync(&mut self) {
        self.needs_sync = true;
    }

    /// False when everything in it may ride along with a later sync.
    pub fn needs_sync(&self) -> bool {
        self.needs_sync
    }

    pub fn is_empty(&self) -> bool {
        self.n_records == 0 && self.acks.n_acks == 0
    }

    /// Bytes it will take on disk, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes.len().max(HEADER_BYTES) + 2 * self.acks.n_acks
    }

    pub(crate) fn next(&mut self, segment: u32, bytes: u64) {
        self.record(|out| encode::next(out, segment, bytes));
    }

    pub(crate) fn seal(&mut self) {
        self.record(encode::seal);
    }

    fn record(&mut self, write: impl FnOnce(&mut Vec<u8>) -> u32) {
        if self.bytes.is_empty() {
            self.bytes.resize(HEADER_BYTES, 0);
        }
        let crc = write(&mut self.bytes);
        self.chain = extend_chain(self.chain, crc);
        self.n_records += 1;
        assert!(self.bytes.len() < BATCH_BYTES_MAX, "callers commit before a batch has 3.75 GiB");
    }

    /// Turns what was collected into records and pads them to a block; to be called once, before
    /// [`Batch::stamp`].
    pub(crate) fn close(&mut self) {
        let mut acks = std::mem::take(&mut self.acks);
        for (queue, cause, seqs) in &mut acks.runs {
            seqs.sort_unstable();
            self.record(|out| encode::ack(out, *queue, *cause, seqs));
        }
        acks.clear();
        self.acks = acks;
        self.bytes.resize(self.bytes.len().max(HEADER_BYTES), 0);
    }

    /// Bytes that [`Batch::stamp`] will return, once closed.
    pub(crate) fn padded_bytes(&self) -> u64 {
        self.bytes.len().next_multiple_of(BLOCK_BYTES) as u64
    }

    /// Writes the header; returns the padded bytes to be written.
    pub(crate) fn stamp(&mut self, place: Place, salt: u32) -> &[u8] {
        let header = Header {
            place,
            bytes: self.bytes.len() as u64,
            n_records: self.n_records,
            chain: self.chain,
        };
        header.write(&mut self.bytes, salt);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        &self.bytes
    }

    /// The bytes that [`Batch::stamp`] returned.
    pub(crate) fn stamped(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties the batch and keeps its buffers.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.n_records = 0;
        self.chain = 0;
        self.needs_sync = false;
        self.acks.clear();
    }
}

impl Acks {
    fn push(&mut self, queue: QueueId, seq: Seq, cause: Cause) {
        self.n_acks += 1;
        if let Some((q, c, seqs)) = self.runs.last_mut()
            && (*q, *c) == (queue, cause)
        {
            seqs.push(seq);
            return;
        }
        let place = *self.places.entry((queue, cause)).or_insert(self.runs.len());
        match self.runs.get_mut(place) {
            Some((_, _, seqs)) => seqs.push(seq),
            None => {
                let mut seqs = self.spare.pop().unwrap_or_default();
                seqs.push(seq);
                self.runs.push((queue, cause, seqs));
            }
        }
    }

    fn clear(&mut self) {
        for (_, _, mut seqs) in self.runs.drain(..) {
            seqs.clear();
            seqs.shrink_to(KEPT_BYTES / 64);
            self.spare.push(seqs);
        }
        self.spare.truncate(64);
        self.places.clear();
        self.n_acks = 0;
    }
}

fn extend_chain(chain: u32, header_crc: u32) -> u32 {
    crc32c::crc32c_append(chain, &header_crc.to_le_bytes())
}

pub(crate) mod parse;
#[cfg(test)]
mod tests;
