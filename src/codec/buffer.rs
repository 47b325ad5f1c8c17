//! Frames waiting to be written: small ones copied together, large bodies shared.

use std::collections::VecDeque;

use bytes::Bytes;

/// Unsent bytes in order. Encoders append to [`FrameBuffer::open`]; a body that is not worth
/// copying is put in between by [`FrameBuffer::share`].
#[derive(Debug, Default)]
pub struct FrameBuffer {
    /// Closed pieces before `open`, in order.
    closed: VecDeque<Piece>,
    open: Vec<u8>,
    /// Bytes of the first piece (or of `open`, when there is none) that are already written.
    written: usize,
    closed_bytes: usize,
}

#[derive(Debug)]
enum Piece {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Piece {
    fn as_slice(&self) -> &[u8] {
        match self {
            Piece::Copied(bytes) => bytes,
            Piece::Shared(bytes) => bytes,
        }
    }
}

/// An empty buffer larger than this gives its memory back.
const KEPT_BYTES: usize = 64 * 1024;

impl FrameBuffer {
    /// Where frames are appended.
    pub fn open(&mut self) -> &mut Vec<u8> {
        &mut self.open
    }

    /// Appends bytes without copying them.
    pub fn share(&mut self, bytes: Bytes) {
        if !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            self.closed_bytes += open.len();
            self.closed.push_back(Piece::Copied(open));
        }
        self.closed_bytes += bytes.len();
        self.closed.push_back(Piece::Shared(bytes));
    }

    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        self.closed_bytes + self.open.len() - self.written
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The unwritten bytes, in up to `N` slices; the first is empty only if all are.
    pub fn slices<const N: usize>(&self) -> ([&[u8]; N], usize) {
        let mut slices = [&[][..]; N];
        let mut n = 0;
        let pieces = self.closed.iter().map(Piece::as_slice).chain([&self.open[..]]);
        for (at, piece) in pieces.take(N).enumerate() {
            let piece = if at == 0 { &piece[self.written..] } else { piece };
            if !piece.is_empty() {
                slices[n] = piece;
                n += 1;
            }
        }
        (slices, n)
    }

    /// Drops the first `n` unwritten bytes.
    pub fn consume(&mut self, n: usize) {
        self.written += n;
        while let Some(first) = self.closed.front() {
            let len = first.as_slice().len();
            if self.written < len {
                return;
            }
            self.written -= len;
            self.closed_bytes -= len;
            self.closed.pop_front();
        }
        if self.written == self.open.len() {
            self.written = 0;
            if self.open.capacity() > KEPT_BYTES {
                self.open = Vec::new();
            } else {
                self.open.clear();
            }
        }
    }

    /// Gives unused memory back; for connections that have gone quiet.
    pub fn release_memory(&mut self) {
        if self.is_empty() {
            self.open = Vec::new();
            self.closed = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(buffer: &FrameBuffer) -> Vec<u8> {
        let (slices, n) = buffer.slices::<8>();
        slices[..n].concat()
    }

    #[test]
    fn order_is_kept_through_partial_writes() {
        let all = b"head1body1tail1head2body2tail2";
        for step in 1..all.len() {
            let mut buffer = FrameBuffer::default();
            for n in ["1", "2"] {
                buffer.open().extend_from_slice(format!("head{n}").as_bytes());
                buffer.share(Bytes::from(format!("body{n}")));
                buffer.open().extend_from_slice(format!("tail{n}").as_bytes());
            }
            let mut out = Vec::new();
            while !buffer.is_empty() {
                assert_eq!(out.len() + buffer.len(), all.len());
                let bytes = written(&buffer);
                let n = step.min(bytes.len());
                out.extend_from_slice(&bytes[..n]);
                buffer.consume(n);
            }
            assert_eq!(out, all);
            assert_eq!(buffer.slices::<2>().1, 0);
        }
    }
}
