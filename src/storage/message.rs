//! A message as it is handed to the store: whose it is, an opaque head, and a body.

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;

/// One queue that a message is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    pub queue: QueueId,
    pub seq: Seq,
    pub priority: u8,
    pub expires_at: Option<Timestamp>,
}

/// Why a message left its queue, in the caller's own numbering.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cause(pub u8);

/// The body of a message in pieces, measured and summed once, outside of any lock.
#[derive(Clone, Copy, Debug)]
pub struct Body<I> {
    pieces: I,
    bytes: u32,
    crc: u32,
}

impl<'a, I: Iterator<Item = &'a [u8]> + Clone> Body<I> {
    /// # Panics
    /// When the pieces are 4 GiB or more together; AMQP limits keep bodies far below.
    pub fn new(pieces: I) -> Body<I> {
        let (mut bytes, mut crc) = (0, 0);
        for piece in pieces.clone() {
            bytes += piece.len() as u64;
            crc = crc32c::crc32c_append(crc, piece);
        }
        let bytes = bytes.try_into().expect("a body is shorter than 4 GiB");
        Body { pieces, bytes, crc }
    }

    /// Length of all pieces together.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(crate) fn crc(&self) -> u32 {
        self.crc
    }

    pub(crate) fn pieces(&self) -> I {
        self.pieces.clone()
    }
}

/// A message to be stored. `flags` and `head` mean nothing to the store.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a, I> {
    pub targets: &'a [Target],
    pub flags: u8,
    pub head: &'a [u8],
    pub body: Body<I>,
    pub durability: Durability,
}

/// When a message counts as safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Once the disk has it: it outlives a power loss.
    Sync,
    /// Once the operating system has it: it outlives this process only.
    Write,
}
