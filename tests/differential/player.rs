//! Leading both brokers through a script, and comparing.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::client::Client;
use crate::meant;
use crate::script::CHANNELS;
use crate::script::CLIENTS;
use crate::script::EXCHANGES;
use crate::script::EXCLUSIVE;
use crate::script::QUEUES;
use crate::script::Step;
use crate::words;

/// How often something is asked that will be so in the end.
const PATIENCE: usize = 3000;

pub struct Player {
    sides: [Side; 2],
    pub n_answers: usize,
}

/// One broker, and the clients on it.
struct Side {
    address: SocketAddr,
    clients: Vec<Client>,
    /// Asks about queues, each on a channel of its own.
    control: Client,
    /// By client and channel.
    channels: BTreeMap<(usize, u16), Channel>,
}

/// What a client knows of one of its channels.
#[derive(Default)]
struct Channel {
    confirms: bool,
    n_published: u64,
    unconfirmed: BTreeSet<u64>,
    /// Deliveries it has not settled, as far as it knows.
    unsettled: BTreeSet<u64>,
}

impl Player {
    /// What a client may settle; RabbitMQ's word counts.
    pub fn tags(&self, client: usize, channel: u16) -> Vec<u64> {
        let channel = self.sides[0].channels.get(&(client, channel));
        channel.map(|it| it.unsettled.iter().copied().collect()).unwrap_or_default()
    }

    /// On two brokers made empty.
    pub fn new(rabbitmq: SocketAddr, railpost: SocketAddr) -> Player {
        let mut player = Player { sides: [Side::new(rabbitmq), Side::new(railpost)], n_answers: 0 };
        player.tidy_up();
        player
    }

    /// Deletes what scripts declare.
    pub fn tidy_up(&mut self) {
        for side in &mut self.sides {
            *side = Side::new(side.address);
            for queue in QUEUES.iter().chain(&EXCLUSIVE).chain(&["missing"]) {
                side.control.say(1, &format!("queue.delete queue={queue}"));
                side.control.wait_for("1 queue.delete-ok");
            }
            for exchange in EXCHANGES {
                side.control.say(1, &format!("exchange.delete exchange={exchange}"));
                side.control.wait_for("1 exchange.delete-ok");
            }
            side.control.heard.clear();
        }
    }

    /// Both brokers take a step: what they answered, or what they answered differently.
    pub fn play(&mut self, step: &Step) -> Result<Vec<String>, String> {
        let [rabbitmq, railpost] = &mut self.sides;
        let theirs = rabbitmq.take(step);
        let ours = railpost.take(step);
        self.n_answers += theirs.len();
        let (theirs, ours) = meant::leave_out(step, theirs, ours);
        if theirs == ours {
            return Ok(ours);
        }
        let only = |these: &[String], those: &[String]| {
            let lines = these.iter().filter(|it| !those.contains(it));
            lines.cloned().collect::<Vec<_>>().join("\n    ")
        };
        Err(format!(
            "  RabbitMQ says\n    {}\n  railpost says\n    {}\n  (in all: {theirs:#?} and {ours:#?})",
            only(&theirs, &ours),
            only(&ours, &theirs)
        ))
    }
}

impl Side {
    fn new(address: SocketAddr) -> Side {
        let clients = (0..CLIENTS).map(|_| ready(address)).collect();
        let mut control = Client::connect(address);
        open(&mut control, 1);
        for at in 0..QUEUES.len() + EXCLUSIVE.len() {
            open(&mut control, 10 + at as u16);
        }
        control.heard.clear();
        Side { address, clients, control, channels: BTreeMap::new() }
    }

    /// Everything that was said to anybody because of a step.
    fn take(&mut self, step: &Step) -> Vec<String> {
        let channel = self.channels.entry((step.client, step.channel)).or_default();
        if step.is_publish() && channel.confirms {
            channel.n_published += 1;
            channel.unconfirmed.insert(channel.n_published);
        }
        let settled: Vec<u64> = step.settles().map_or(Vec::new(), |(tag, multiple)| {
            let these = channel.unsettled.iter().copied();
            these.filter(|it| if multiple { *it <= tag } else { *it == tag }).collect()
        });
        let client = &mut self.clients[step.client];
        client.send(&step.bytes());
        if step.name() == "channel.close" {
            while let Some(line) = client.hear() {
                if line.starts_with(&format!("{} channel.close-ok", step.channel)) {
                    client.reopen(step.channel, &line);
                    break;
                }
            }
            self.channels.remove(&(step.client, step.channel));
        }
        let mut before: Vec<Vec<String>> = vec![Vec::new(); CLIENTS];
        let counts = self.settle(&mut before);
        // Not earlier: a tag that is not known ends the channel instead.
        if let Some(channel) = self.channels.get_mut(&(step.client, step.channel)) {
            channel.unsettled.retain(|it| !settled.contains(it));
        }
        let mut said = Vec::new();
        for (at, lines) in before.into_iter().enumerate() {
            let name = ["A", "B", "C"][at];
            said.extend(told(lines).into_iter().map(|it| format!("{name} {it}")));
        }
        said.extend(counts);
        said
    }

    /// Waits until everybody has heard what there is to hear: each channel answers a request that
    /// changes nothing, again and again, with the queues asked between. What the queues say last.
    fn settle(&mut self, said: &mut [Vec<String>]) -> Vec<String> {
        let mut counts = Vec::new();
        for _ in 0..3 {
            for at in 0..CLIENTS {
                self.ask(at, &CHANNELS, said);
                for channel in CHANNELS {
                    for _ in 0..PATIENCE {
                        if self.channels.entry((at, channel)).or_default().unconfirmed.is_empty() {
                            break;
                        }
                        self.ask(at, &[channel], said);
                    }
                }
            }
            counts = self.counts();
        }
        counts
    }

    /// One request on each of some channels and the answers; what else came is added to `said`.
    fn ask(&mut self, at: usize, channels: &[u16], said: &mut [Vec<String>]) {
        let flows: Vec<u8> =
            channels.iter().flat_map(|it| words::to_bytes(*it, "channel.flow")).collect();
        self.clients[at].send(&flows);
        let mut missing: BTreeSet<u16> = channels.iter().copied().collect();
        while !missing.is_empty() && !self.clients[at].ended {
            let client = &mut self.clients[at];
            let Some(line) = client.hear() else { break };
            let (channel, rest) = line.split_once(' ').expect("a channel and more");
            let channel: u16 = channel.parse().expect("a number");
            match rest.split(' ').next().unwrap_or_default() {
                // A channel that was closed answers again when it is open.
                "channel.flow-ok" | "channel.open-ok" => {
                    client.heard.pop();
                    missing.remove(&channel);
                }
                "channel.close" => {
                    client.say(channel, "channel.close-ok");
                    client.say(channel, "channel.open");
                    self.channels.remove(&(at, channel));
                    missing.insert(channel);
                }
                _ => {}
            }
        }
        self.listen(at, said);
    }

    /// Takes what a client heard; one whose connection has ended is replaced.
    fn listen(&mut self, at: usize, said: &mut [Vec<String>]) {
        for line in std::mem::take(&mut self.clients[at].heard) {
            let (channel, rest) = line.split_once(' ').expect("a channel and more");
            let known = self.channels.entry((at, channel.parse().expect("a number"))).or_default();
            match known.hear(rest) {
                Some(confirms) => {
                    said[at].extend(confirms.iter().map(|it| format!("{channel} {it}")));
                }
                None => said[at].push(line),
            }
        }
        if self.clients[at].ended {
            self.channels.retain(|(it, _), _| *it != at);
            self.clients[at] = ready(self.address);
            // Its exclusive queue goes when its end has got about.
            let own = EXCLUSIVE[at];
            let gone = (0..PATIENCE)
                .any(|_| !self.count(QUEUES.len() + at, own).contains("RESOURCE_LOCKED"));
            assert!(gone, "{own} outlives its connection");
        }
    }

    /// What is in each queue, as a passive declare says.
    fn counts(&mut self) -> Vec<String> {
        let ask = |(at, queue): (usize, &&str)| {
            words::to_bytes(10 + at as u16, &format!("queue.declare queue={queue} passive"))
        };
        let asked: Vec<u8> = QUEUES.iter().enumerate().flat_map(ask).collect();
        let control = &mut self.control;
        control.send(&asked);
        for _ in QUEUES {
            control.hear();
        }
        let mut counts = std::mem::take(&mut control.heard);
        counts.sort();
        for line in counts.iter().filter(|it| it.contains("channel.close ")) {
            let channel = line.split(' ').next().unwrap_or_default().parse().expect("a number");
            control.reopen(channel, line);
        }
        control.heard.clear();
        counts
    }

    fn count(&mut self, at: usize, queue: &str) -> String {
        let channel = 10 + at as u16;
        let control = &mut self.control;
        control.say(channel, &format!("queue.declare queue={queue} passive"));
        let line = control.hear().expect("the control connection lives");
        control.reopen(channel, &line);
        control.heard.clear();
        line
    }
}

/// A connection with its channels open.
fn ready(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    for channel in CHANNELS {
        open(&mut client, channel);
    }
    client.heard.clear();
    client
}

fn open(client: &mut Client, channel: u16) {
    client.say(channel, "channel.open");
    client.wait_for(&format!("{channel} channel.open-ok"));
}

impl Channel {
    /// Learns from what the broker says; a confirm of several is taken apart.
    fn hear(&mut self, line: &str) -> Option<Vec<String>> {
        let number = |key: &str| {
            let from = line.find(key)? + key.len();
            let end = line[from..].find(' ').map_or(line.len(), |it| from + it);
            line[from..end].parse::<u64>().ok()
        };
        if line.starts_with("basic.deliver ") || line.starts_with("basic.get-ok ") {
            self.unsettled.extend(number(" tag="));
            return None;
        }
        self.confirms |= line == "confirm.select-ok";
        let verdict = line.strip_prefix("basic.")?.split(' ').next()?;
        if !matches!(verdict, "ack" | "nack") {
            return None;
        }
        let tag = number(" tag=")?;
        let multiple = line.contains(" multiple");
        let told: Vec<u64> = match multiple {
            true => self.unconfirmed.range(..=tag).copied().collect(),
            false => vec![tag],
        };
        self.unconfirmed.retain(|it| !told.contains(it));
        Some(told.iter().map(|it| format!("basic.{verdict} tag={it}")).collect())
    }
}

/// Lines as both brokers would say them: names that are made up are alike, and what has no order
/// comes last and sorted: confirms, and that a consumer's queue has gone.
fn told(lines: Vec<String>) -> Vec<String> {
    let (mut confirms, mut rest): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .map(|it| made_up(made_up(it, "amq.ctag-"), "amq.gen-"))
        // RabbitMQ breaks the lines of long terms.
        .map(|it| it.split('\n').map(str::trim_start).collect::<String>())
        .partition(|it| {
            let parts = [" basic.ack ", " basic.nack ", " basic.cancel "];
            parts.iter().any(|part| it.contains(part))
        });
    confirms.sort();
    // The channels of a connection do not wait for each other.
    rest.sort_by_key(|it| it.split(' ').next().unwrap_or_default().to_owned());
    rest.append(&mut confirms);
    rest
}

fn made_up(line: String, prefix: &str) -> String {
    let Some(from) = line.find(prefix) else { return line };
    let from = from + prefix.len();
    let end = line[from..].find([' ', '\'']).map_or(line.len(), |it| from + it);
    format!("{}*{}", &line[..from], &line[end..])
}
