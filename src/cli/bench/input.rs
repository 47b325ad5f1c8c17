//! The bytes a broker sent that are not yet used.

use crate::codec::frame::Frame;
use crate::codec::frame::FrameError;
use crate::codec::frame::next_frame;

const FIRST_BYTES: usize = 4096;
/// Larger reads save few calls and leave the cache.
const READ_BYTES: usize = 256 * 1024;

/// A buffer that frames are read into and cut from.
///
/// It begins small, for runs with many idle connections, and doubles when a read fills it.
#[derive(Debug)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    frame_max: u32,
}

impl Input {
    pub(super) fn new(frame_max: u32) -> Input {
        Input { bytes: vec![0; FIRST_BYTES], start: 0, end: 0, frame_max }
    }

    pub(super) fn set_frame_max(&mut self, frame_max: u32) {
        self.frame_max = frame_max;
    }

    /// Room for the next read, never empty.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let was_filled = self.end == self.bytes.len();
        if was_filled && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        // Bytes that fill it from start to end belong to one frame, which must fit.
        let is_full = self.end == self.bytes.len();
        if is_full || (was_filled && self.bytes.len() < READ_BYTES) {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Says that `n` bytes were read into [`Input::room`].
    pub(super) fn filled(&mut self, n: usize) {
        self.end += n;
    }

    /// Cuts the next frame off; `None` when it has not arrived whole.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let cut = next_frame(&self.bytes[self.start..self.end], self.frame_max)?;
        Ok(cut.map(|(frame, taken)| {
            self.start += taken;
            frame
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::codec::frame::END;
    use crate::codec::frame::FrameKind;

    #[test]
    fn frames_of_all_sizes_come_through_reads_of_all_sizes() {
        let sizes = [0, 1, 100, 4096, 131_000, 5, 70_000, 131_064, 0, 9];
        let mut stream = Vec::new();
        for (at, size) in sizes.into_iter().enumerate() {
            stream.extend_from_slice(&[FrameKind::Body as u8, 0, 1]);
            stream.extend_from_slice(&(size as u32).to_be_bytes());
            stream.extend(std::iter::repeat_n(at as u8, size));
            stream.push(END);
        }
        for step in [1, 3, 1000, 65_536, usize::MAX] {
            let mut input = Input::new(131_072);
            let mut rest = &stream[..];
            let mut found = Vec::new();
            while !rest.is_empty() {
                let room = input.room();
                let room_bytes = room.len().min(step);
                let n = rest.read(&mut room[..room_bytes]).unwrap();
                input.filled(n);
                while let Some(frame) = input.next().unwrap() {
                    assert!(frame.payload.iter().all(|it| usize::from(*it) == found.len()));
                    found.push(frame.payload.len());
                }
            }
            assert_eq!(found, sizes, "step {step}");
        }
    }
}
