//! Sealed pieces of a queue's index: up to some thousand entries at a few bytes each.
//!
//! Entries are differences to the one before. Every [`BLOCK`] entries the differences start anew,
//! and a table in front says where, so that one entry is found without decoding all of them.

use crate::amqp::time::Timestamp;
use crate::storage::entry::Entry;
use crate::storage::varint;
use crate::storage::varint::Input;

/// Entries between two points where decoding can start.
const BLOCK: usize = 64;

/// A run of sequence numbers without messages; their count follows.
const GONE_RUN: u8 = 0;
const LIVE: u8 = 1;
const OTHER_SEGMENT: u8 = 2;
const OTHER_OFFSET: u8 = 4;
const OTHER_BODY: u8 = 8;
const OTHER_HEADER: u8 = 16;
const OTHER_PRIORITY: u8 = 32;
const EXPIRES: u8 = 64;

/// An entry and when its message expires.
pub(crate) type Timed = (Entry, Option<Timestamp>);

/// What the next entry is a difference to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Before {
    segment: u32,
    /// Where the next record starts, when it follows this one directly.
    end: u64,
    header_bytes: u32,
    body_bytes: u32,
    priority: u8,
    expires_at: u64,
}

const START: Before =
    Before { segment: 0, end: 0, header_bytes: 0, body_bytes: 0, priority: 0, expires_at: 0 };

pub(crate) fn encode(entries: &[Timed]) -> Vec<u8> {
    let n_blocks = entries.len().div_ceil(BLOCK);
    let mut out = vec![0; 4 * n_blocks];
    for (block, entries) in entries.chunks(BLOCK).enumerate() {
        let at = u32::try_from(out.len()).expect("a chunk is far shorter than 4 GiB");
        out[4 * block..4 * block + 4].copy_from_slice(&at.to_le_bytes());
        encode_block(&mut out, entries);
    }
    out
}

fn encode_block(out: &mut Vec<u8>, entries: &[Timed]) {
    let mut before = START;
    for run in entries.chunk_by(|(a, _), (b, _)| !a.is_live() && !b.is_live()) {
        match run {
            [(entry, expires_at)] if entry.is_live() => {
                encode_entry(out, &mut before, *entry, *expires_at);
            }
            gone => {
                out.push(GONE_RUN);
                varint::push(out, gone.len() as u64);
            }
        }
    }
}

fn encode_entry(out: &mut Vec<u8>, before: &mut Before, entry: Entry, expires: Option<Timestamp>) {
    let tag_at = out.len();
    let mut tag = LIVE;
    out.push(tag);
    let mut difference = |flag: u8, old: u64, new: u64| {
        if old != new {
            tag |= flag;
            varint::push_signed(out, new.wrapping_sub(old).cast_signed());
        }
    };
    difference(OTHER_SEGMENT, before.segment.into(), entry.segment.into());
    let expected = if entry.segment == before.segment { before.end } else { 0 };
    difference(OTHER_OFFSET, expected, entry.offset.into());
    difference(OTHER_BODY, before.body_bytes.into(), entry.body_bytes.into());
    difference(OTHER_HEADER, before.header_bytes.into(), entry.header_bytes().into());
    difference(OTHER_PRIORITY, before.priority.into(), entry.priority().into());
    let expires_at = expires.map_or(before.expires_at, |at| at.0);
    if expires.is_some() {
        tag |= EXPIRES;
        varint::push_signed(out, expires_at.wrapping_sub(before.expires_at).cast_signed());
    }
    out[tag_at] = tag;
    *before = Before {
        segment: entry.segment,
        end: u64::from(entry.offset) + entry.record_bytes(),
        header_bytes: entry.header_bytes(),
        body_bytes: entry.body_bytes,
        priority: entry.priority(),
        expires_at,
    };
}

/// Where a decoder has come to: the next entry is found from here without what is before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    index: usize,
    at: usize,
    before: Before,
    gone_left: u64,
}

/// The entries of a chunk from some place on; ends early where the bytes are no chunk.
#[derive(Clone)]
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    /// Index of the entry that comes next.
    index: usize,
    n_entries: usize,
    input: Input<'a>,
    before: Before,
    gone_left: u64,
}

impl<'a> Decoder<'a> {
    /// Starts at entry `index` of the `n_entries` that were encoded to `bytes`.
    pub(crate) fn new(bytes: &'a [u8], n_entries: usize, index: usize) -> Decoder<'a> {
        let mut decoder = Decoder {
            bytes,
            index: index / BLOCK * BLOCK,
            n_entries,
            input: Input(&[]),
            before: START,
            gone_left: 0,
        };
        while decoder.index < index && decoder.next().is_some() {}
        decoder
    }

    /// As [`Decoder::new`], from a place an earlier decoder of the same bytes has come to, where
    /// that is nearer.
    pub(crate) fn near(
        bytes: &'a [u8],
        n_entries: usize,
        index: usize,
        place: Option<Place>,
    ) -> Decoder<'a> {
        let near = place.filter(|it| it.index <= index && it.index / BLOCK == index / BLOCK);
        let rest = near.and_then(|it| bytes.get(it.at..));
        let (Some(Place { index: start, before, gone_left, .. }), Some(rest)) = (near, rest) else {
            return Decoder::new(bytes, n_entries, index);
        };
        let input = Input(rest);
        let mut decoder = Decoder { bytes, index: start, n_entries, input, before, gone_left };
        while decoder.index < index && decoder.next().is_some() {}
        decoder
    }

    pub(crate) fn place(&self) -> Place {
        let Decoder { index, before, gone_left, .. } = *self;
        Place { index, at: self.bytes.len() - self.input.0.len(), before, gone_left }
    }

    fn block_start(&self) -> Option<Input<'a>> {
        let at: &[u8; 4] = self.bytes.get(self.index / BLOCK * 4..)?.first_chunk()?;
        let at = usize::try_from(u32::from_le_bytes(*at)).ok()?;
        Some(Input(self.bytes.get(at..)?))
    }

    fn entry(&mut self) -> Option<Timed> {
        if self.gone_left > 0 {
            self.gone_left -= 1;
            return Some((Entry::GONE, None));
        }
        let tag = self.input.byte()?;
        if tag == GONE_RUN {
            self.gone_left = self.input.number()?.checked_sub(1)?;
            return Some((Entry::GONE, None));
        }
        let before = self.before;
        let input = &mut self.input;
        let mut value = |flag: u8, old: u64| match tag & flag {
            0 => Some(old),
            _ => Some(old.wrapping_add(input.signed()?.cast_unsigned())),
        };
        let segment = u32::try_from(value(OTHER_SEGMENT, before.segment.into())?).ok()?;
        let expected = if segment == before.segment { before.end } else { 0 };
        let offset = u32::try_from(value(OTHER_OFFSET, expected)?).ok()?;
        let body_bytes = u32::try_from(value(OTHER_BODY, before.body_bytes.into())?).ok()?;
        let header_bytes = u32::try_from(value(OTHER_HEADER, before.header_bytes.into())?).ok()?;
        let priority = u8::try_from(value(OTHER_PRIORITY, before.priority.into())?).ok()?;
        let expires_at = value(EXPIRES, before.expires_at)?;
        let entry = Entry::new(segment, offset, header_bytes, body_bytes, priority);
        let end = u64::from(offset) + entry.record_bytes();
        self.before = Before { segment, end, header_bytes, body_bytes, priority, expires_at };
        Some((entry, (tag & EXPIRES != 0).then_some(Timestamp(expires_at))))
    }
}

impl Iterator for Decoder<'_> {
    type Item = Timed;

    fn next(&mut self) -> Option<Timed> {
        if self.index == self.n_entries {
            return None;
        }
        if self.index.is_multiple_of(BLOCK) {
            self.input = self.block_start()?;
            self.before = START;
            self.gone_left = 0;
        }
        let entry = self.entry()?;
        self.index += 1;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_entry()(
            live in 0..4,
            segment in 0..4_u32,
            offset: u32,
            header_bytes in 0..70_u32,
            body_bytes: u32,
            priority: u8,
            expires_at in any::<Option<u64>>(),
        ) -> Timed {
            if live == 0 {
                (Entry::GONE, None)
            } else {
                let entry = Entry::new(segment, offset, header_bytes, body_bytes, priority);
                (entry, expires_at.map(Timestamp))
            }
        }
    }

    proptest! {
        #[test]
        fn entries_come_back_from_any_place(entries in vec(any_entry(), 1..300), from in 0..300_usize) {
            let from = from % entries.len();
            let bytes = encode(&entries);
            let back: Vec<Timed> = Decoder::new(&bytes, entries.len(), from).collect();
            prop_assert_eq!(&back, &entries[from..]);
        }

        #[test]
        fn entries_are_found_from_any_place(
            entries in vec(any_entry(), 1..300),
            order in vec(0..300_usize, 1..50),
        ) {
            let bytes = encode(&entries);
            let mut place = None;
            for index in order {
                let index = index % entries.len();
                let mut decoder = Decoder::near(&bytes, entries.len(), index, place);
                prop_assert_eq!(decoder.next(), Some(entries[index]));
                place = Some(decoder.place());
            }
        }

        #[test]
        fn any_bytes_are_decoded_without_harm(bytes in vec(any::<u8>(), 0..900), from in 0..200_usize) {
            prop_assert!(Decoder::new(&bytes, 200, from).count() <= 200 - from);
        }
    }

    fn bytes_per_entry(entries: &[Timed]) -> f64 {
        encode(entries).len() as f64 / entries.len() as f64
    }

    #[test]
    fn entries_take_few_bytes() {
        let entry = |n: u32, stride: u32| (Entry::new(9, n * stride, 60, 64, 0), None);
        let alone: Vec<Timed> = (0..4096).map(|n| entry(n, 124)).collect();
        assert!(bytes_per_entry(&alone) < 1.3);
        let among_others: Vec<Timed> = (0..4096).map(|n| entry(n, 12_400)).collect();
        assert!(bytes_per_entry(&among_others) < 4.3);
        let gone: Vec<Timed> = (0..4096).map(|_| (Entry::GONE, None)).collect();
        assert!(bytes_per_entry(&gone) < 0.2);
    }

    #[test]
    fn an_entry_is_sixteen_bytes() {
        assert_eq!(size_of::<Entry>(), 16);
        let entry = Entry::new(1, 2, u32::MAX, 3, 255);
        assert_eq!(entry.header_bytes(), Entry::HEADER_BYTES_MAX);
        assert_eq!((entry.priority(), entry.is_live()), (255, true));
    }
}
