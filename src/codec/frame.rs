//! Cutting frames out of a stream of bytes, without copying.
//!
//! Layout: type `u8`, channel `u16`, payload size `u32`, payload, end octet 0xCE.
//! SPEC: section 2.3.5.

use std::fmt;

use crate::amqp::limit;

/// SPEC: `frame-end`.
pub const END: u8 = 0xCE;
const HEAD: usize = 7;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    Method = 1,
    Header = 2,
    Body = 3,
    Heartbeat = 8,
}

/// One frame, borrowed from the bytes it was read in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    pub kind: FrameKind,
    pub channel: u16,
    pub payload: &'a [u8],
}

/// The first seven bytes of a frame whose payload may not have arrived yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    pub kind: u8,
    pub channel: u16,
    pub payload_bytes: u32,
}

/// Bytes that are no frame; all of them end the connection with 501 FRAME_ERROR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FrameError {
    TooLarge { kind: u8, payload_bytes: u32, payload_bytes_max: u32 },
    UnknownKind { kind: u8, head: Vec<u8>, whole: bool },
    BadEnd { kind: u8, head: Vec<u8>, whole: bool, end: u8 },
}

/// Reads a frame's head, when all of it is there.
pub fn head(bytes: &[u8]) -> Option<FrameHead> {
    let head = bytes.get(..HEAD)?;
    Some(FrameHead {
        kind: head[0],
        channel: u16::from_be_bytes([head[1], head[2]]),
        payload_bytes: u32::from_be_bytes([head[3], head[4], head[5], head[6]]),
    })
}

/// Step 2 of a message's path, called by `server::connection::read_loop`; next is
/// `session::connection::on_frame`.
///
/// The first frame of `bytes` and how many bytes it takes; `None` when it has not arrived whole.
/// A frame larger than `frame_max` is refused by its head, before its payload arrives.
///
/// COMPAT: a payload of up to `frame_max` is taken, though the frame around it is 8 bytes larger.
pub fn next_frame(bytes: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some(head) = head(bytes) else {
        return Ok(None);
    };
    if head.payload_bytes > frame_max {
        return Err(FrameError::TooLarge {
            kind: head.kind,
            payload_bytes: head.payload_bytes,
            payload_bytes_max: frame_max.saturating_sub(limit::FRAME_ENVELOPE),
        });
    }
    let end = HEAD + head.payload_bytes as usize;
    let Some(&last) = bytes.get(end) else {
        return Ok(None);
    };
    let payload = &bytes[HEAD..end];
    if last != END {
        let (head_bytes, whole) = first_octets(payload);
        return Err(FrameError::BadEnd { kind: head.kind, head: head_bytes, whole, end: last });
    }
    let kind = match head.kind {
        1 => FrameKind::Method,
        2 => FrameKind::Header,
        3 => FrameKind::Body,
        8 => FrameKind::Heartbeat,
        kind => {
            let (head_bytes, whole) = first_octets(payload);
            return Err(FrameError::UnknownKind { kind, head: head_bytes, whole });
        }
    };
    Ok(Some((Frame { kind, channel: head.channel, payload }, end + 1)))
}

fn first_octets(payload: &[u8]) -> (Vec<u8>, bool) {
    let shown = payload.len().min(16);
    (payload[..shown].to_vec(), shown == payload.len())
}

/// COMPAT: the explanation RabbitMQ gives, its dump of octets included.
impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLarge { kind, payload_bytes, payload_bytes_max } => write!(
                f,
                "type {kind}, all octets = <<>>: {{frame_too_large,{payload_bytes},{payload_bytes_max}}}"
            ),
            FrameError::UnknownKind { kind, head, whole } => {
                write!(f, "type {kind}, {}: unknown_frame", Octets(head, *whole))
            }
            FrameError::BadEnd { kind, head, whole, end } => write!(
                f,
                "type {kind}, {}: {{invalid_frame_end_marker,{end}}}",
                Octets(head, *whole)
            ),
        }
    }
}

/// Octets as RabbitMQ prints them: `all octets = <<"abc">>` or `<<1,2>>`.
#[derive(Debug)]
pub struct Octets<'a>(pub &'a [u8], pub bool);

impl<'a> Octets<'a> {
    /// The first octets of a payload, as many as are shown.
    pub fn of(payload: &'a [u8]) -> Octets<'a> {
        let shown = payload.len().min(16);
        Octets(&payload[..shown], shown == payload.len())
    }
}

impl fmt::Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.1 { "all octets = " } else { "first 16 octets = " })?;
        Binary(self.0).fmt(f)
    }
}

/// Octets alone, as RabbitMQ prints them: `<<"abc">>` or `<<1,2>>`.
#[derive(Debug)]
pub struct Binary<'a>(pub &'a [u8]);

impl fmt::Display for Binary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<<")?;
        let printable = self.0.iter().all(|it| it.is_ascii_graphic() || *it == b' ');
        if self.0.is_empty() {
            return f.write_str(">>");
        }
        if printable {
            return write!(f, "\"{}\">>", String::from_utf8_lossy(self.0));
        }
        for (at, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet}", if at > 0 { "," } else { "" })?;
        }
        f.write_str(">>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&channel.to_be_bytes());
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes.push(END);
        bytes
    }

    #[test]
    fn a_frame_is_cut_only_when_it_is_whole() {
        let mut bytes = frame(3, 7, b"hello");
        for end in 0..bytes.len() {
            assert_eq!(next_frame(&bytes[..end], 4096), Ok(None), "{end} bytes");
        }
        bytes.extend_from_slice(b"next");
        let expected = Frame { kind: FrameKind::Body, channel: 7, payload: b"hello" };
        assert_eq!(next_frame(&bytes, 4096), Ok(Some((expected, 13))));
    }

    #[test]
    fn too_large_is_known_from_the_head() {
        let head = [3, 0, 1, 0xff, 0xff, 0xff, 0xff];
        let error = next_frame(&head, 8192).unwrap_err();
        assert_eq!(
            error.to_string(),
            "type 3, all octets = <<>>: {frame_too_large,4294967295,8184}"
        );
        assert!(next_frame(&frame(3, 1, &[0; 4096]), 4096).is_ok());
        assert!(next_frame(&frame(3, 1, &[0; 4097]), 4096).is_err());
    }

    #[test]
    fn wrong_frames_are_quoted() {
        let text = |bytes: &[u8]| next_frame(bytes, 4096).unwrap_err().to_string();
        assert_eq!(text(&frame(9, 0, b"abcd")), "type 9, all octets = <<\"abcd\">>: unknown_frame");
        let mut bad = frame(1, 0, &[0, 60, 0, 10]);
        *bad.last_mut().unwrap() = 205;
        assert_eq!(
            text(&bad),
            "type 1, all octets = <<0,60,0,10>>: {invalid_frame_end_marker,205}"
        );
        assert!(text(&frame(9, 0, &[0; 17])).contains("first 16 octets"));
    }
}
