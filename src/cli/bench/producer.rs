//! A producer: publishes as its windows and its schedule allow, and counts confirms.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::bench::connection;
use crate::cli::bench::connection::CHANNEL;
use crate::cli::bench::connection::Call;
use crate::cli::bench::connection::Connection;
use crate::cli::bench::fault::Fault;
use crate::cli::bench::incoming;
use crate::cli::bench::incoming::Incoming;
use crate::cli::bench::live::Live;
use crate::cli::bench::pace::Alarm;
use crate::cli::bench::pace::Schedule;
use crate::cli::bench::request::Request;
use crate::cli::bench::stamp::STAMP_BYTES;
use crate::cli::bench::stamp::Stamp;
use crate::cli::bench::tally::SendTally;
use crate::cli::bench::window::Sent;
use crate::cli::bench::window::Window;
use crate::codec::frame::FrameKind;

/// Frames written in one go; more would let a message wait in our own buffer.
const BATCH_BYTES: usize = 32 * 1024;

/// One producer, on a connection of its own.
#[derive(Debug)]
pub(super) struct Producer {
    live: Arc<Live>,
    connection: Connection,
    at: usize,
    window: Window,
    /// When the messages are due, at a fixed rate.
    schedule: Option<Schedule>,
    alarm: Alarm,
    n_sent: u64,
    /// The next sequence of each slot.
    next_in: Vec<u64>,
    /// A message is on its way back: what its body says is still to come.
    is_returning: bool,
}

/// What keeps a producer from publishing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Allowance {
    Messages(u64),
    /// The next message is due then.
    NotBefore(u64),
    /// Confirms or consumers are behind, or the broker blocks.
    Wait,
    Over,
}

impl Producer {
    /// Takes a connection over; asks for confirms if the plan wants them.
    pub(super) async fn new(
        live: Arc<Live>,
        mut connection: Connection,
        at: usize,
    ) -> Result<Producer, Fault> {
        if live.plan.load.confirm_window.is_some() {
            let request = Request::new(CHANNEL, 85, 10).bits(&[false]);
            connection.call(Call { name: "confirm.select", request, answer: (85, 11) }).await?;
        }
        let alarm = Alarm::new()?;
        let next_in = vec![0; live.plan.slots.len()];
        Ok(Producer {
            live,
            connection,
            at,
            window: Window::default(),
            schedule: None,
            alarm,
            n_sent: 0,
            next_in,
            is_returning: false,
        })
    }

    /// Publishes until the run says so or the count is reached, then waits for the confirms.
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        let live = self.live.clone();
        let n_producers = live.plan.producers.len();
        let gap = live.plan.load.rate.gap_nanos();
        self.schedule = gap.map(|it| Schedule::new(live.clock.now(), it, self.at, n_producers));
        let result = self.publish_all().await;
        self.count_open();
        if result.is_ok() {
            self.connection.close().await;
        }
        result
    }

    /// What is still unconfirmed may have arrived or not.
    fn count_open(&self) {
        let mut tally = self.live.sender(self.at);
        tally.blocked.end(self.live.clock.now());
        tally.uncertain.extend(self.window.open().map(|it| (it.slot, it.sequence)));
    }

    async fn publish_all(&mut self) -> Result<(), Fault> {
        let live = self.live.clone();
        loop {
            let now = live.clock.now();
            self.take_input(now)?;
            let allowance = self.allowance(now);
            if let Allowance::Messages(n) = allowance {
                self.fill(n, now);
            }
            let is_written = self.connection.write()?;
            let nothing_open = self.window.n_open() == 0 && is_written;
            if live.is_over() || (allowance == Allowance::Over && nothing_open) {
                return Ok(());
            }
            match allowance {
                Allowance::Messages(_) if is_written => {
                    self.connection.read_arrived().await?;
                    tokio::task::yield_now().await;
                }
                Allowance::NotBefore(due) => {
                    let span = Duration::from_nanos(due.saturating_sub(live.clock.now()));
                    tokio::select! {
                        waited = self.connection.wait() => waited?,
                        rang = self.alarm.ring_after(span) => rang?,
                        () = live.producer_woken(self.at) => {}
                    }
                }
                Allowance::Messages(_) | Allowance::Wait | Allowance::Over => {
                    tokio::select! {
                        waited = self.connection.wait() => waited?,
                        () = live.producer_woken(self.at) => {}
                    }
                }
            }
        }
    }

    /// How many messages may be published now, without looking at the socket.
    fn allowance(&self, now: u64) -> Allowance {
        let load = &self.live.plan.load;
        let left = load.messages_per_producer.map_or(u64::MAX, |it| it - self.n_sent);
        if left == 0 || self.live.is_publishing_over() {
            return Allowance::Over;
        }
        if self.live.sender(self.at).blocked.is_now() {
            return Allowance::Wait;
        }
        let unconfirmed = load.confirm_window.map_or(u64::MAX, |it| it - self.window.n_open());
        let ahead = load.window.map_or(u64::MAX, |it| {
            it.saturating_sub(self.n_sent.saturating_sub(self.live.n_received(self.at)))
        });
        let n = left.min(unconfirmed).min(ahead);
        if n == 0 {
            return Allowance::Wait;
        }
        match &self.schedule {
            None => Allowance::Messages(n),
            Some(schedule) => match schedule.n_due(now).saturating_sub(self.n_sent) {
                0 => Allowance::NotBefore(schedule.due(self.n_sent)),
                n_due => Allowance::Messages(n.min(n_due)),
            },
        }
    }

    /// Appends up to `n` messages to the connection's buffer, as far as there is room.
    fn fill(&mut self, n: u64, now: u64) {
        let live = self.live.clone();
        let routes = &live.plan.producers[self.at];
        let mut sender = live.sender(self.at);
        for _ in 0..n {
            if self.connection.out.len() >= BATCH_BYTES {
                break;
            }
            let turn = usize::try_from(self.n_sent % routes.len() as u64).unwrap_or(0);
            let route = routes[turn] as usize;
            let slot = live.plan.routes[route].slot;
            let sequence = self.next_in[slot as usize];
            let sent_at = self.schedule.map_or(now, |it| it.due(self.n_sent));
            let stream = live.plan.stream(self.at, slot);
            let stamp = Stamp { run: live.plan.run.tag, stream, sequence, sent_at };
            live.template.append(&mut self.connection.out, route, stamp);
            if live.plan.load.confirm_window.is_some() {
                self.window.push(Sent { slot, sequence, sent_at });
            }
            self.next_in[slot as usize] += 1;
            sender.published_in[slot as usize] += 1;
            sender.published += 1;
            sender.lag = now.saturating_sub(sent_at);
            self.n_sent += 1;
        }
        sender.last_at = now;
    }

    /// Reads the frames that have arrived: confirms, returned messages, blocks, a close.
    fn take_input(&mut self, now: u64) -> Result<(), Fault> {
        let mut sender = self.live.sender(self.at);
        while let Some(frame) = self.connection.input.next()? {
            match frame.kind {
                FrameKind::Method => {}
                FrameKind::Body if self.is_returning => {
                    self.is_returning = false;
                    take_back(&mut sender, frame.payload, self.live.plan.slots.len());
                    continue;
                }
                FrameKind::Header | FrameKind::Body | FrameKind::Heartbeat => continue,
            }
            match incoming::parse(frame.payload)? {
                Incoming::Ack { delivery_tag, multiple } => {
                    self.window.settle(delivery_tag, multiple, |sent| {
                        sender.confirmed += 1;
                        sender.confirm_latency.record(now.saturating_sub(sent.sent_at));
                    });
                }
                Incoming::Nack { delivery_tag, multiple } => {
                    self.window.settle(delivery_tag, multiple, |sent| {
                        sender.refused += 1;
                        sender.uncertain.push((sent.slot, sent.sequence));
                    });
                }
                Incoming::Return { .. } => {
                    sender.returned += 1;
                    self.is_returning = true;
                }
                Incoming::Blocked { reason } => sender.blocked.begin(now, reason.into_owned()),
                Incoming::Unblocked => sender.blocked.end(now),
                method @ (Incoming::Deliver { .. }
                | Incoming::ConnectionClose { .. }
                | Incoming::ChannelClose { .. }
                | Incoming::Cancel { .. }
                | Incoming::Other { .. }) => connection::check_open(&method)?,
            }
        }
        Ok(())
    }
}

/// Notes which message came back: it will not arrive anywhere.
fn take_back(sender: &mut SendTally, body: &[u8], n_slots: usize) {
    if let Some((stamp, _)) = body.split_first_chunk::<STAMP_BYTES>() {
        let stamp = Stamp::decode(stamp);
        let slot = u32::try_from(stamp.stream as usize % n_slots).unwrap_or(u32::MAX);
        sender.uncertain.push((slot, stamp.sequence));
    }
}
