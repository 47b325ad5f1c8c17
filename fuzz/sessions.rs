//! Any bytes, read as what four clients do: well-formed and broken frames, lost sockets, time, and
//! alarms.
//!
//! Each step is one octet that says what is done and by whom, and what belongs to it:
//!
//! ```text
//! 0..=3   raw bytes: a length octet, then that many
//! 4..=7   a method frame: a channel octet, a length octet, then the payload
//! 8..=11  a publish: channel, exchange, key (length octet and bytes each), flags, properties
//!         (length octet; flag bits and fields), a body (length octet and bytes)
//! 12..=15 a header or body frame: a kind octet, a channel octet, a length octet, the payload
//! 16..=19 the client's socket breaks (bit 4 of the next octet says whether it closes first)
//! 20..=23 the client reads what the broker wrote
//! 24..=27 a socket without a login
//! 28, 30  so many milliseconds, squared, go by
//! 29, 31  the disk is nearly full, or not any more
//! ```
//!
//! The octet is taken modulo 32; its lowest two bits name the client.

use amq_protocol::frame::parse_frame;
use railpost::amqp::id::ConnectionId;

use crate::world::World;

/// What one client may leave unread before it is read for it: queues that feed each other grow
/// without end otherwise, as they do in any broker.
const STEPS_MAX: usize = 400;

/// Plays `bytes`. Panics when the broker does, or writes what is no frame.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut world = World::new();
    for _ in 0..STEPS_MAX {
        let Some(step) = input.octet() else { break };
        let who = ConnectionId(u64::from(step & 3));
        match step % 32 {
            0..=3 => say(&mut world, who, input.text()),
            4..=7 => {
                let channel = input.channel();
                let frame = frame(1, channel, input.text());
                say(&mut world, who, &frame);
            }
            8..=11 => {
                let publish = publish(&mut input);
                say(&mut world, who, &publish);
            }
            12..=15 => {
                let kind = input.octet().unwrap_or(2);
                let channel = input.channel();
                let frame = frame(kind, channel, input.text());
                say(&mut world, who, &frame);
            }
            16..=19 => {
                if input.octet().unwrap_or(0) & 16 != 0 {
                    say(&mut world, who, &frame(1, 0, b"\0\x0a\0\x32\0\xc8\0\0\0\0\0"));
                }
                world.break_off(who);
            }
            20..=23 => read(&mut world, who),
            24..=27 => {
                if !world.connections().contains(&who) {
                    world.connect(who);
                }
            }
            28 | 30 => {
                let ms = u64::from(input.octet().unwrap_or(0));
                world.wait(ms * ms);
            }
            _ => world.set_alarm(step % 32 == 29),
        }
    }
    world.set_alarm(false);
    world.wait(1000);
    for who in world.connections() {
        read(&mut world, who);
        world.break_off(who);
    }
}

/// The client sends; it logs in and opens channels 1 and 2 first, if it has said nothing yet.
fn say(world: &mut World, who: ConnectionId, bytes: &[u8]) {
    if !world.connections().contains(&who) {
        world.connect(who);
        let mut hello = Vec::new();
        let capabilities = b"\x0ccapabilitiesF\0\0\0\x32\x16consumer_cancel_notifyt\x01\
            \x12connection.blockedt\x01\x02xxV";
        let mut start_ok = b"\0\x0a\0\x0b".to_vec();
        let n = u32::try_from(capabilities.len()).expect("short");
        start_ok.extend_from_slice(&n.to_be_bytes());
        start_ok.extend_from_slice(capabilities);
        start_ok.extend_from_slice(b"\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US");
        hello.extend(frame(1, 0, &start_ok));
        hello.extend(frame(1, 0, b"\0\x0a\0\x1f\x07\xff\0\0\x20\0\0\0"));
        hello.extend(frame(1, 0, b"\0\x0a\0\x28\x01/\0\0"));
        hello.extend(frame(1, 1, b"\0\x14\0\x0a\0"));
        hello.extend(frame(1, 2, b"\0\x14\0\x0a\0"));
        world.receive(who, &hello);
    }
    if world.hung_up(who) {
        read(world, who);
        world.break_off(who);
        return;
    }
    world.receive(who, bytes);
}

/// Takes what the broker wrote; all of it is frames.
fn read(world: &mut World, who: ConnectionId) {
    let written = world.written(who);
    let mut rest = written.as_slice();
    while !rest.is_empty() {
        match parse_frame(rest) {
            Ok((after, _)) => rest = after,
            Err(error) => panic!("the broker wrote what is no frame: {error:?} in {rest:02x?}"),
        }
    }
}

fn publish(input: &mut Input<'_>) -> Vec<u8> {
    let channel = input.channel();
    let mut method = b"\0\x3c\0\x28\0\0".to_vec();
    for _ in 0..2 {
        let text = input.text();
        method.push(u8::try_from(text.len()).expect("at most 255"));
        method.extend_from_slice(text);
    }
    method.push(input.octet().unwrap_or(0));
    let properties = input.text();
    let body = input.text();
    let mut header = b"\0\x3c\0\0".to_vec();
    header.extend_from_slice(&(body.len() as u64).to_be_bytes());
    header.extend_from_slice(properties);
    if properties.len() < 2 {
        header.resize(14, 0);
    }
    let mut frames = frame(1, channel, &method);
    frames.extend(frame(2, channel, &header));
    if !body.is_empty() {
        frames.extend(frame(3, channel, body));
    }
    frames
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&channel.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.push(0xCE);
    bytes
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn channel(&mut self) -> u16 {
        u16::from(self.octet().unwrap_or(1))
    }

    /// A length octet and as many bytes, if they are there.
    fn text(&mut self) -> &'a [u8] {
        let n = usize::from(self.octet().unwrap_or(0)).min(self.0.len());
        let (text, rest) = self.0.split_at(n);
        self.0 = rest;
        text
    }
}
