//! Any bytes, read as frames.

use railpost::amqp::table;
use railpost::amqp::table::Table;
use railpost::codec::content;
use railpost::codec::frame;
use railpost::codec::frame::FrameKind;
use railpost::codec::method;
use railpost::codec::preamble;

/// Reads `bytes` as a client's stream. Panics when a frame is not what it was cut from, when a
/// shorter stream gives another first frame, or when a table is not the same written and read again.
pub fn run(bytes: &[u8]) {
    let _ = preamble::check(bytes);
    if let Ok((table, _)) = Table::decode(bytes) {
        assert!(table::check(bytes).is_ok(), "a table that can be read passes the check");
        let mut written = Vec::new();
        table.encode(&mut written);
        let (again, rest) = Table::decode(&written).expect("what was written can be read");
        assert!(rest.is_empty());
        let mut twice = Vec::new();
        again.encode(&mut twice);
        assert_eq!(written, twice);
    }
    for frame_max in [4096, 131_072] {
        let mut rest = bytes;
        while let Ok(Some((frame, used))) = frame::next_frame(rest, frame_max) {
            assert_eq!(used, frame.payload.len() + 8);
            assert_eq!(frame.payload, &rest[7..used - 1]);
            assert!(frame.payload.len() <= frame_max as usize);
            for shorter in [0, 6, 7, used / 2, used - 1] {
                let shorter = shorter.min(used - 1);
                let early = frame::next_frame(&rest[..shorter], frame_max);
                assert!(matches!(early, Ok(None)), "a part of a frame is no frame");
            }
            match frame.kind {
                FrameKind::Method => drop(method::parse(frame.payload).map(|it| format!("{it:?}"))),
                FrameKind::Header => drop(content::parse(frame.payload)),
                FrameKind::Body | FrameKind::Heartbeat => {}
            }
            rest = &rest[used..];
        }
    }
}
