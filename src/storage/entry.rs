//! Where a message lies in the log, in sixteen bytes.

/// One message of one queue: its place, its lengths and its priority; or that it is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) segment: u32,
    /// First byte of the record in its segment.
    pub(crate) offset: u32,
    pub(crate) body_bytes: u32,
    /// Bit 0: live. Bits 1 to 8: priority. The others: bytes of the record's header.
    tag: u32,
}

const HEADER_SHIFT: u32 = 9;

impl Entry {
    /// Longest header an entry can name; a record with a longer one is read in two steps.
    pub(crate) const HEADER_BYTES_MAX: u32 = u32::MAX >> HEADER_SHIFT;

    /// A sequence number without a message.
    pub(crate) const GONE: Entry = Entry { segment: 0, offset: 0, body_bytes: 0, tag: 0 };

    pub(crate) fn new(
        segment: u32,
        offset: u32,
        header_bytes: u32,
        body_bytes: u32,
        priority: u8,
    ) -> Entry {
        let header_bytes = header_bytes.min(Entry::HEADER_BYTES_MAX);
        let tag = header_bytes << HEADER_SHIFT | u32::from(priority) << 1 | 1;
        Entry { segment, offset, body_bytes, tag }
    }

    pub(crate) fn is_live(self) -> bool {
        self.tag & 1 == 1
    }

    pub(crate) fn priority(self) -> u8 {
        (self.tag >> 1).to_le_bytes()[0]
    }

    /// [`Entry::HEADER_BYTES_MAX`] when it is that or more.
    pub(crate) fn header_bytes(self) -> u32 {
        self.tag >> HEADER_SHIFT
    }

    /// Bytes of header and body.
    pub(crate) fn record_bytes(self) -> u64 {
        u64::from(self.header_bytes()) + u64::from(self.body_bytes)
    }
}
