//! What is said to the brokers: steps drawn from a seed.
//!
//! Left out, because RabbitMQ has no one answer to it or the answer comes with time: expiry of
//! single messages (RabbitMQ's wait for those before them, ours do not), sockets that break, consumers of several queues on one channel,
//! queues that are not classic, and what changed between RabbitMQ 3.10, which Debian packages, and
//! 4.3, which we follow: unknown exchange types, delivery modes above 2, bodies that overrun,
//! `x-death` from clients, arguments only one of the two checks.

use std::fmt;

use crate::words;

pub const CLIENTS: usize = 3;
pub const CHANNELS: [u16; 2] = [1, 2];
pub const QUEUES: [&str; 7] = ["d1", "d2", "p1", "l1", "a1", "dl", "m1"];
/// Each client's own.
pub const EXCLUSIVE: [&str; CLIENTS] = ["e1", "e2", "e3"];
pub const EXCHANGES: [&str; 6] = ["xd", "xf", "xt", "xh", "xi", "xa"];

/// One request of one client.
pub struct Step {
    pub client: usize,
    pub channel: u16,
    pub said: Said,
}

pub enum Said {
    /// In the words of `tests/wire`.
    Words(String),
    /// Bytes no client should send, and what they are.
    Bytes(&'static str, Vec<u8>),
}

impl Step {
    pub fn bytes(&self) -> Vec<u8> {
        match &self.said {
            Said::Words(words) => words::to_bytes(self.channel, words),
            Said::Bytes(_, bytes) => bytes.clone(),
        }
    }

    pub fn is_publish(&self) -> bool {
        matches!(&self.said, Said::Words(it) if it.starts_with("basic.publish"))
    }

    /// The delivery it settles, and whether all before it too.
    pub fn settles(&self) -> Option<(u64, bool)> {
        let Said::Words(words) = &self.said else { return None };
        let rest = ["basic.ack tag=", "basic.nack tag=", "basic.reject tag="]
            .iter()
            .find_map(|it| words.strip_prefix(it))?;
        let tag = rest.split(' ').next()?.parse().ok()?;
        Some((if tag == 0 { u64::MAX } else { tag }, rest.contains(" multiple")))
    }

    pub fn name(&self) -> &str {
        match &self.said {
            Said::Words(words) => words.split(' ').next().unwrap_or_default(),
            Said::Bytes(name, _) => name,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = ["A", "B", "C"][self.client];
        match &self.said {
            Said::Words(words) => write!(f, "{client}> {} {words}", self.channel),
            Said::Bytes(name, bytes) => {
                let bytes: Vec<String> = bytes.iter().map(|it| format!("{it:02x}")).collect();
                write!(f, "{client}> hex {} # {name}", bytes.join(" "))
            }
        }
    }
}

pub struct Script {
    state: u64,
    n_said: usize,
    n_published: u64,
}

impl Script {
    pub fn new(seed: u64) -> Script {
        Script { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, n_said: 0, n_published: 0 }
    }

    /// xorshift64*: the same everywhere.
    fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let word = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        word as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, these: &[&'a str]) -> &'a str {
        these[self.below(these.len())]
    }

    /// The next step; `tags` are the deliveries a client may settle.
    pub fn step(&mut self, tags: impl Fn(usize, u16) -> Vec<u64>) -> Step {
        let client = self.below(CLIENTS);
        let channel = CHANNELS[self.below(CHANNELS.len())];
        self.n_said += 1;
        let opening = QUEUES.len() + EXCHANGES.len();
        let said = match self.below(100) {
            // Most of the names are there before anything else is said.
            0..90 if self.n_said <= QUEUES.len() => {
                let queue = QUEUES[self.n_said - 1];
                Said::Words(format!("queue.declare queue={queue} {}", own_queue(queue)))
            }
            0..90 if self.n_said <= opening => {
                let exchange = EXCHANGES[self.n_said - 1 - QUEUES.len()];
                let own = own_exchange(exchange);
                Said::Words(format!("exchange.declare exchange={exchange} {own}"))
            }
            0..=12 => Said::Words(self.queue_declare(client)),
            13..=17 => Said::Words(self.exchange_declare()),
            18..=25 => Said::Words(self.bind(client)),
            26..=49 => Said::Words(self.publish(client)),
            50..=57 => Said::Words(self.get(client)),
            58..=64 => Said::Words(self.consume(client, channel)),
            65..=81 => Said::Words(self.settle(&tags(client, channel))),
            82..=95 => Said::Words(self.other(client)),
            _ => self.wrong(channel),
        };
        Step { client, channel, said }
    }

    fn queue(&mut self, client: usize) -> &'static str {
        match self.below(24) {
            0 => "missing",
            1 => "",
            2 => EXCLUSIVE[self.below(CLIENTS)],
            3 | 4 => EXCLUSIVE[client],
            _ => self.pick(&QUEUES),
        }
    }

    fn queue_declare(&mut self, client: usize) -> String {
        let queue = match self.queue(client) {
            // The end of a connection is waited for by its own exclusive queue.
            it if EXCLUSIVE.contains(&it) => EXCLUSIVE[client],
            "missing" => "d1",
            it => it,
        };
        let own = own_queue(queue);
        let other = [
            "passive",
            "durable",
            "auto-delete",
            "args={x-message-ttl:I0}",
            "args={x-message-ttl:I-1}",
            "args={x-message-ttl:Sten}",
            "args={x-message-ttl:l900000,x-dead-letter-exchange:Sxt}",
            "args={x-expires:I0}",
            "args={x-max-length:I-5}",
            "args={x-max-length-bytes:I30}",
            "args={x-max-length:I2,x-overflow:Sdrop-head}",
            "args={x-max-length:I2,x-overflow:Sreject-publish-dlx,x-dead-letter-exchange:S,\
             x-dead-letter-routing-key:Sdl}",
            "args={x-overflow:Ssomething}",
            "args={x-overflow:I1}",
            "args={x-dead-letter-routing-key:Sdl}",
            "args={x-dead-letter-exchange:I1}",
            "args={x-max-priority:I256}",
            "args={x-max-priority:I2}",
            "args={x-queue-type:Sclassic}",
            "args={x-queue-type:Snone-such}",
            "args={x-single-active-consumer:ttrue}",
            "args={x-single-active-consumer:Syes}",
            "args={unknown:I1}",
            "nowait",
            "passive nowait",
        ];
        let how = if self.below(10) < 7 { own } else { self.pick(&other) };
        let name = match queue {
            _ if self.one_in(40) => "amq.mine",
            // RabbitMQ crashes at that.
            "" if how.contains("none-such") => "d1",
            it => it,
        };
        format!("queue.declare queue={name} {how}")
    }

    fn exchange(&mut self) -> &'static str {
        match self.below(20) {
            0 => "missing",
            1 => "",
            2 => "amq.direct",
            3 => "amq.topic",
            4 => "amq.fanout",
            5 => "amq.match",
            _ => self.pick(&EXCHANGES),
        }
    }

    fn exchange_declare(&mut self) -> String {
        let exchange = match self.exchange() {
            "missing" => "xd",
            it => it,
        };
        let own = own_exchange(exchange);
        let other = [
            "type=direct",
            "type=fanout",
            "type=topic durable",
            "type=headers passive",
            "type=direct auto-delete",
            "type=direct internal",
            "type=topic args={alternate-exchange:I1}",
            "type=topic args={alternate-exchange:Sxd}",
            "type=direct args={unknown:I1}",
            "passive",
            "passive nowait",
            "type=direct nowait",
        ];
        let how = if self.below(10) < 6 { own } else { self.pick(&other) };
        let name = if self.one_in(30) { "amq.mine" } else { exchange };
        format!("exchange.declare exchange={name} {how}")
    }

    fn key(&mut self) -> &'static str {
        let keys =
            ["d1", "d2", "p1", "l1", "m1", "dl", "e1", "a", "a.b", "a.b.c", "", ".", "a.*", "x y"];
        self.pick(&keys)
    }

    fn bind(&mut self, client: usize) -> String {
        let (queue, exchange) = (self.queue(client), self.exchange());
        let key = match exchange {
            "xt" | "amq.topic" => self.pick(&["#", "a.#", "*", "*.b", "#.c", "d1", "a..b", "#.#"]),
            _ => self.key(),
        };
        let args = match exchange {
            "xh" | "amq.match" => self.pick(&[
                "args={x-match:Sall,a:I1}",
                "args={x-match:Sany,a:I1,b:Stwo}",
                "args={x-match:Sall-with-x,x-a:I1}",
                "args={a:I1,b:Stwo}",
                "args={b:V}",
                "args={x-match:Ssome}",
                "args={x-match:I1}",
                "",
            ]),
            _ => self.pick(&["", "", "", "args={a:I1}"]),
        };
        let nowait = self.pick(&["", "", "", "", " nowait"]);
        match self.below(8) {
            0 => format!("queue.unbind queue={queue} exchange={exchange} key=\"{key}\" {args}"),
            1 | 2 => {
                let method = self.pick(&["bind", "bind", "unbind"]);
                let to = match self.exchange() {
                    // Bindings between the brokers' own outlive the script.
                    it if it.starts_with("amq.") => "xd",
                    it => it,
                };
                format!(
                    "exchange.{method} destination={to} source={exchange} key=\"{key}\" \
                     {args}{nowait}"
                )
            }
            _ => {
                format!("queue.bind queue={queue} exchange={exchange} key=\"{key}\" {args}{nowait}")
            }
        }
    }

    fn publish(&mut self, client: usize) -> String {
        self.n_published += 1;
        let exchange = if self.one_in(2) { "" } else { self.exchange() };
        let key = if exchange.is_empty() { self.queue(client) } else { self.key() };
        let mut line = format!("basic.publish exchange={exchange} key=\"{key}\"");
        if self.one_in(4) {
            line.push_str(" mandatory");
        }
        if self.one_in(60) {
            line.push_str(" immediate");
        }
        let properties = [
            "",
            "",
            " delivery-mode=2",
            " delivery-mode=1",
            " priority=0",
            " priority=3",
            " priority=9",
            " message-id=one",
            " content-type=text/plain correlation-id=7 app-id=test type=kind timestamp=9",
            " expiration=900000",
            " user-id=guest",
            " headers={a:I1}",
            " headers={a:I1,b:Stwo,x-a:I1}",
            " headers={b:I2}",
            " headers={CC:A[Sd2,Sdl]}",
            " headers={CC:A[Sd1],BCC:A[Snone],a:I1}",
            " headers={BCC:A[Snone]}",
        ];
        line.push_str(self.pick(&properties));
        if self.one_in(25) {
            line.push_str(self.pick(&[
                " expiration=ten",
                " expiration=-1",
                " expiration=10s",
                " user-id=other",
                " headers={CC:Sd1}",
                " headers={BCC:I1}",
            ]));
        }
        match self.below(12) {
            0 => {}
            1 => line.push_str(&format!(" body=m{}-{}", self.n_published, "x".repeat(70))),
            _ => line.push_str(&format!(" body=m{}", self.n_published)),
        }
        line
    }

    fn get(&mut self, client: usize) -> String {
        let queue = self.queue(client);
        format!("basic.get queue={queue}{}", self.pick(&["", "", "", " no-ack"]))
    }

    fn consume(&mut self, client: usize, channel: u16) -> String {
        // Consumers of one channel have one queue, so that the order of their deliveries is one.
        let own = (client * CHANNELS.len() + usize::from(channel) - 1) % 5;
        let queue = if self.one_in(15) { "missing" } else { QUEUES[own] };
        let tag = self.pick(&["t1", "t2", "t3", "t4", ""]);
        let how = self.pick(&["", "", "", " no-ack", " exclusive", " nowait", " no-local"]);
        let args = self.pick(&[
            "",
            "",
            "",
            " args={x-priority:I5}",
            " args={x-priority:I-1}",
            " args={x-priority:Shigh}",
            " args={unknown:I1}",
        ]);
        format!("basic.consume queue={queue} consumer={tag}{how}{args}")
    }

    fn settle(&mut self, tags: &[u64]) -> String {
        let tag = match self.below(25) {
            0 => self.below(30) as u64,
            1 => 0,
            _ if tags.is_empty() => return "basic.qos prefetch=3".to_owned(),
            _ => tags[self.below(tags.len())],
        };
        let multiple = self.pick(&["", "", " multiple"]);
        match self.below(6) {
            0 | 1 => format!("basic.ack tag={tag}{multiple}"),
            2 => format!("basic.nack tag={tag}{multiple} requeue"),
            3 => format!("basic.nack tag={tag}{multiple}"),
            4 => format!("basic.reject tag={tag} requeue"),
            _ => format!("basic.reject tag={tag}"),
        }
    }

    fn other(&mut self, client: usize) -> String {
        let queue = self.queue(client);
        match self.below(26) {
            0..=3 => {
                // RabbitMQ's limiter is a process of its own: which of several messages comes
                // first when a full channel gives one back is a race there.
                if self.one_in(3) {
                    "basic.qos prefetch=30 global".to_owned()
                } else {
                    format!("basic.qos prefetch={}", self.below(4))
                }
            }
            4..=7 => {
                let tag = self.pick(&["t1", "t2", "t3", "t4"]);
                format!("basic.cancel consumer={tag}{}", self.pick(&["", "", " nowait"]))
            }
            8 => "basic.recover requeue".to_owned(),
            9 => "basic.recover-async requeue".to_owned(),
            10 | 11 => format!("queue.purge queue={queue}{}", self.pick(&["", "", " nowait"])),
            12 => format!("queue.delete queue={queue} if-unused"),
            13 => format!("queue.delete queue={queue} if-empty"),
            14 => format!("queue.delete queue={queue} if-empty if-unused"),
            15 => format!("queue.delete queue={queue}{}", self.pick(&["", " nowait"])),
            16 | 17 => {
                let exchange = self.exchange();
                let how = self.pick(&["", " if-unused", " if-unused", " nowait"]);
                format!("exchange.delete exchange={exchange}{how}")
            }
            18 | 19 => "confirm.select".to_owned(),
            20 => "tx.select".to_owned(),
            21 | 22 => "tx.commit".to_owned(),
            23 => "tx.rollback".to_owned(),
            24 => "channel.close".to_owned(),
            _ => "access.request".to_owned(),
        }
    }

    /// What ends the connection, or ought to.
    fn wrong(&mut self, channel: u16) -> Said {
        let words = |it: &str| Said::Words(it.to_owned());
        let frames = |name: &'static str, these: &[&[u8]]| Said::Bytes(name, these.concat());
        let publish = frame(1, channel, b"\0\x3c\0\x28\0\0\0\x02d1\0");
        let header = |class: u8, weight: u8, size: u8| {
            frame(2, channel, &[0, class, 0, weight, 0, 0, 0, 0, 0, 0, 0, size, 0, 0])
        };
        match self.below(30) {
            0 => words("channel.open"),
            1 => words("channel.flow stop"),
            2 => words("basic.recover"),
            3 => frames("an unknown class", &[&frame(1, channel, b"\0\x63\0\x0a")]),
            4 => frames("an unknown method", &[&frame(1, channel, b"\0\x3c\0\x63")]),
            5 => frames("an unknown frame", &[&frame(9, channel, b"abc")]),
            6 => frames("an unknown frame, long", &[&frame(4, 0, &[7; 40])]),
            7 => {
                let mut bytes = frame(1, channel, b"\0\x3c\0\x0a\0\0\0\0\0\0\0");
                *bytes.last_mut().expect("long") = 0x2a;
                Said::Bytes("a bad frame end", bytes)
            }
            8 => Said::Bytes("a frame too large", b"\x03\0\x01\0\x02\0\x01".to_vec()),
            9 => frames("a channel never opened", &[&frame(1, 7, b"\0\x3c\0\x6e\x01")]),
            10 => frames(
                "close of a channel never opened",
                &[&frame(1, 8, b"\0\x14\0\x28\0\xc8\0\0\0\0\0")],
            ),
            11 => frames("open again", &[&frame(1, 0, b"\0\x0a\0\x28\x01/\0\0")]),
            12 => frames("tuned again", &[&frame(1, 0, b"\0\x0a\0\x1f\0\x01\0\0\x20\0\0\0")]),
            13 => frames("a close-ok unasked", &[&frame(1, 0, b"\0\x0a\0\x33")]),
            14 => frames("a queue method on channel 0", &[&frame(1, 0, b"\0\x3c\0\x6e\x01")]),
            15 => frames("a connection method", &[&frame(1, channel, b"\0\x0a\0\x28\x01/\0\0")]),
            16 => frames(
                "a broker's method",
                &[&frame(1, channel, b"\0\x32\0\x0b\x01q\0\0\0\0\0\0\0\0")],
            ),
            17 => frames("a header alone", &[&header(60, 0, 1)]),
            18 => frames("a body alone", &[&frame(3, channel, b"abc")]),
            19 => frames(
                "a method for a header",
                &[&publish, &frame(1, channel, b"\0\x3c\0\x6e\x01")],
            ),
            20 => frames("a body for a header", &[&publish, &frame(3, channel, b"abc")]),
            21 => frames("a header of another class", &[&publish, &header(50, 0, 1)]),
            22 => frames("a header with weight", &[&publish, &header(60, 1, 1)]),
            23 => frames(
                "a method for a body",
                &[&publish, &header(60, 0, 3), &frame(1, channel, b"\0\x3c\0\x6e\x01")],
            ),
            24 => frames("a heartbeat on a channel", &[&frame(8, channel, b"")]),
            25 => frames("a heartbeat with a payload", &[&frame(8, 0, b"abc")]),
            26 => frames(
                "a name that is no text",
                &[&frame(1, channel, b"\0\x32\0\x0a\0\0\x01\xff\x02\0\0\0\0")],
            ),
            27 => frames(
                "a table cut off",
                &[&frame(1, channel, b"\0\x32\0\x0a\0\0\x02d1\0\0\0\0\x09\x01aS\0\0")],
            ),
            28 => frames("a method of two octets", &[&frame(1, channel, b"\0\x32")]),
            _ => frames("a good-bye", &[&frame(1, 0, b"\0\x0a\0\x32\0\xc8\x03bye\0\0\0\0")]),
        }
    }
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&channel.to_be_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.push(0xCE);
    bytes
}

/// How a queue is declared most of the time.
fn own_queue(queue: &str) -> &'static str {
    match queue {
        "p1" => "args={x-max-priority:I5}",
        "l1" => "args={x-max-length:I2,x-overflow:Sreject-publish}",
        "m1" => "durable args={x-max-length:I3,x-dead-letter-exchange:S}",
        "a1" => "auto-delete",
        "dl" => "durable",
        "d1" => "args={x-dead-letter-exchange:S,x-dead-letter-routing-key:Sdl}",
        "d2" => "args={x-dead-letter-exchange:Sxt,x-message-ttl:I900000}",
        "e1" | "e2" | "e3" => "exclusive",
        _ => "",
    }
}

/// How an exchange is declared most of the time.
fn own_exchange(exchange: &str) -> &'static str {
    match exchange {
        "xd" | "amq.direct" => "type=direct",
        "xf" | "amq.fanout" => "type=fanout auto-delete",
        "xt" | "amq.topic" => "type=topic durable",
        "xh" | "amq.match" => "type=headers",
        "xi" => "type=direct internal",
        _ => "type=direct args={alternate-exchange:Sxf}",
    }
}
