use super::*;
use crate::cli::bench::plan::tests::plan;
use crate::cli::bench::template::Template;

fn live() -> Live {
    let plan = plan("work --queues 12").unwrap();
    let template = Template::new(&plan, 4096);
    Live::new(plan, template)
}

fn deliver(tag: &str) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 60, tag.len() as u8];
    payload.extend_from_slice(tag.as_bytes());
    payload.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 9, 1, 0, 1, b'q']);
    payload
}

fn header(body_bytes: u64) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend_from_slice(&body_bytes.to_be_bytes());
    payload.extend_from_slice(&[0, 0]);
    payload
}

/// Feeds frames; returns the queues and stamps of what they complete, or the error.
fn feed(frames: &[(FrameKind, Vec<u8>)]) -> Result<Vec<(usize, Option<Stamp>)>, String> {
    let live = live();
    let mut content = Content::Method;
    let mut found = Vec::new();
    for (kind, payload) in frames {
        let frame = Frame { kind: *kind, channel: CHANNEL, payload };
        let (next, whole) = advance(content, &frame, &live).map_err(|it| it.to_string())?;
        content = next;
        found.extend(whole.map(|(delivery, stamp)| (delivery.queue, stamp)));
    }
    Ok(found)
}

#[test]
fn a_stamp_is_read_from_a_body_in_any_pieces() {
    let stamp = Stamp { run: 4, stream: 1, sequence: 7, sent_at: 42 };
    let mut body = stamp.encode().to_vec();
    body.extend_from_slice(&[0xAA; 30]);
    for piece_bytes in [1, 5, 16, 46] {
        let mut frames = vec![
            (FrameKind::Heartbeat, Vec::new()),
            (FrameKind::Method, deliver("11")),
            (FrameKind::Header, header(body.len() as u64)),
        ];
        frames.extend(body.chunks(piece_bytes).map(|it| (FrameKind::Body, it.to_vec())));
        frames.extend([(FrameKind::Method, deliver("0")), (FrameKind::Header, header(0))]);
        assert_eq!(feed(&frames), Ok(vec![(11, Some(stamp)), (0, None)]), "{piece_bytes}");
    }
}

#[test]
fn what_does_not_belong_there_is_an_error() {
    let cases = [
        (vec![(FrameKind::Body, vec![1])], "wrong place"),
        (vec![(FrameKind::Method, deliver("0")), (FrameKind::Method, deliver("0"))], "wrong place"),
        (vec![(FrameKind::Method, deliver("12"))], "unknown consumer tag"),
        (vec![(FrameKind::Method, deliver("x"))], "unknown consumer tag"),
        (
            vec![
                (FrameKind::Method, deliver("0")),
                (FrameKind::Header, header(3)),
                (FrameKind::Body, vec![0; 4]),
            ],
            "longer than its header",
        ),
    ];
    for (frames, expected) in cases {
        let error = feed(&frames).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_share_that_is_given_back_is_a_share() {
    for share in [0.0, 0.1, 0.5, 1.0] {
        let stamp = |sequence| Stamp { run: 0, stream: 3, sequence, sent_at: 0 };
        let n = (0..10_000).filter(|it| is_chosen(stamp(*it), share)).count();
        assert!((n as f64 / 10_000.0 - share).abs() < 0.02, "{share}: {n}");
    }
}
