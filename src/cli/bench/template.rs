//! Publishing frames made once, so that a message costs two copies and sixteen bytes.

use crate::amqp::limit;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::cli::bench::connection::CHANNEL;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::plan::Route;
use crate::cli::bench::request::Request;
use crate::cli::bench::stamp::STAMP_BYTES;
use crate::cli::bench::stamp::Stamp;
use crate::codec::frame::END;
use crate::codec::frame::FrameKind;

/// SPEC: property flags of `basic`, in the order in which the properties follow.
const HAS_HEADERS: u16 = 1 << 13;
const HAS_DELIVERY_MODE: u16 = 1 << 12;
const PERSISTENT: u8 = 2;
const FRAME_HEAD_BYTES: usize = 7;

/// The frames of every route of a plan.
#[derive(Debug)]
pub(super) struct Template {
    /// Method and header frame of each route.
    heads: Vec<Box<[u8]>>,
    /// The body frames, the same for all, with a hole for the stamp.
    body: Vec<u8>,
}

impl Template {
    /// `frame_max` is the one agreed with the broker.
    pub(super) fn new(plan: &Plan, frame_max: u32) -> Template {
        let exchange = plan.exchange.as_ref().map_or("", |it| it.name.as_str());
        let heads = plan.routes.iter().map(|it| head(plan, exchange, it)).collect();
        Template { heads, body: body(plan.load.body_bytes, frame_max) }
    }

    /// Appends the frames of one message.
    pub(super) fn append(&self, out: &mut Vec<u8>, route: usize, stamp: Stamp) {
        out.extend_from_slice(&self.heads[route]);
        let stamp_at = out.len() + FRAME_HEAD_BYTES;
        out.extend_from_slice(&self.body);
        out[stamp_at..stamp_at + STAMP_BYTES].copy_from_slice(&stamp.encode());
    }
}

fn head(plan: &Plan, exchange: &str, route: &Route) -> Box<[u8]> {
    let publish = Request::new(CHANNEL, 60, 40)
        .short(0)
        .text(exchange)
        .text(&route.routing_key)
        .bits(&[plan.load.mandatory, false]);
    let mut bytes = publish.finish();
    let mut header = vec![0, 60, 0, 0];
    header.extend_from_slice(&(plan.load.body_bytes as u64).to_be_bytes());
    let headers = if route.user_id.is_some() { HAS_HEADERS } else { 0 };
    let delivery_mode = if plan.load.persistent { HAS_DELIVERY_MODE } else { 0 };
    header.extend_from_slice(&(headers | delivery_mode).to_be_bytes());
    if let Some(user_id) = &route.user_id {
        Table(vec![("user_id".to_owned(), Value::text(user_id))]).encode(&mut header);
    }
    if plan.load.persistent {
        header.push(PERSISTENT);
    }
    frame(&mut bytes, FrameKind::Header, &header);
    bytes.into_boxed_slice()
}

fn body(body_bytes: usize, frame_max: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Not all the same octet, so that nothing on the way profits from compressing it.
    let body: Vec<u8> = (0..body_bytes).map(filler).collect();
    let piece_bytes = (frame_max - limit::FRAME_ENVELOPE) as usize;
    body.chunks(piece_bytes).for_each(|it| frame(&mut bytes, FrameKind::Body, it));
    bytes
}

/// The top octet of a multiplicative hash of the place.
fn filler(at: usize) -> u8 {
    (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]
}

fn frame(out: &mut Vec<u8>, kind: FrameKind, payload: &[u8]) {
    out.push(kind as u8);
    out.extend_from_slice(&CHANNEL.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::plan::tests::plan;
    use crate::codec::content;
    use crate::codec::frame::next_frame;
    use crate::codec::method;
    use crate::codec::method::Method;

    /// Reads the frames as a broker does; returns the routing key and the number of body frames.
    fn check(line: &str, route: usize, frame_max: u32) -> (String, usize) {
        let plan = plan(line).unwrap();
        let template = Template::new(&plan, frame_max);
        let stamp = Stamp { run: 7, stream: 3, sequence: 99, sent_at: 123_456 };
        let mut out = b"before".to_vec();
        template.append(&mut out, route, stamp);
        let mut rest = &out[6..];
        let mut next = || {
            let (frame, taken) = next_frame(rest, frame_max).unwrap()?;
            rest = &rest[taken..];
            Some(frame)
        };
        let publish = method::parse(next().unwrap().payload).unwrap();
        let Method::BasicPublish { exchange, routing_key, .. } = publish else { panic!() };
        assert_eq!(exchange, plan.exchange.as_ref().map_or("", |it| it.name.as_str()));
        let header = content::parse(next().unwrap().payload).unwrap();
        assert_eq!(header.properties.is_persistent(), plan.load.persistent);
        let frames: Vec<&[u8]> = std::iter::from_fn(next).map(|it| it.payload).collect();
        assert!(frames.iter().all(|it| it.len() + 8 <= frame_max as usize));
        let body = frames.concat();
        assert_eq!(body.len() as u64, header.body_bytes);
        let (first, _) = body.split_first_chunk().unwrap();
        assert_eq!(Stamp::decode(first), stamp);
        (routing_key.to_owned(), frames.len())
    }

    #[test]
    fn a_broker_reads_what_a_template_writes() {
        let cases = [
            ("-u q", 0, 4096, "q", 1),
            ("work -s 16", 0, 4096, "railpost-bench-01020304-1", 1),
            ("work -s 8176", 0, 4096, "railpost-bench-01020304-1", 2),
            ("work -s 8177", 0, 4096, "railpost-bench-01020304-1", 3),
            ("topic --bindings 50", 49, 131_072, "bench.49.m", 1),
            (
                "partition --keys 5 --queues 2 -f persistent",
                4,
                8192,
                "railpost-bench-01020304-1",
                1,
            ),
            ("-e x -k key", 0, 4096, "key", 1),
        ];
        for (line, route, frame_max, key, n_frames) in cases {
            assert_eq!(check(line, route, frame_max), (key.to_owned(), n_frames), "{line}");
        }
    }
}
