//! A consumer: takes deliveries, settles them, and checks what they say about themselves.

use std::sync::Arc;
use std::time::Duration;

use crate::amqp::table::Table;
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
use crate::cli::bench::plan::Ack;
use crate::cli::bench::request;
use crate::cli::bench::request::Request;
use crate::cli::bench::sequence::Arrival;
use crate::cli::bench::stamp::STAMP_BYTES;
use crate::cli::bench::stamp::Stamp;
use crate::cli::bench::tally::Delivery;
use crate::cli::bench::tally::Order;
use crate::codec::frame::Frame;
use crate::codec::frame::FrameKind;

/// One consumer, on a connection of its own.
#[derive(Debug)]
pub(super) struct Consumer {
    live: Arc<Live>,
    connection: Connection,
    at: usize,
    content: Content,
    /// Deliveries of this batch, not yet counted.
    batch: Vec<Arrived>,
    order: Order,
    /// Copies that arrived in this batch, per producer.
    received: Vec<u64>,
    n_taken: u64,
    /// Deliveries since the last ack, and the tag of the latest.
    n_unacked: u32,
    last_tag: u64,
    schedule: Option<Schedule>,
    alarm: Alarm,
}

/// Where in the frames of a delivery the consumer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Content {
    Method,
    Header { delivery: Begun },
    Body { delivery: Begun, missing_bytes: u64, first: [u8; STAMP_BYTES], n_first: usize },
}

/// What `basic.deliver` said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Begun {
    queue: usize,
    delivery_tag: u64,
    redelivered: bool,
}

/// A delivery whose last octet has come, and its stamp if it has one.
type Whole = (Begun, Option<Stamp>);

/// A delivery to be counted; without a stamp it is not one of the run's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Arrived {
    queue: usize,
    redelivered: bool,
    given_back: bool,
    stamp: Option<Stamp>,
}

impl Consumer {
    /// Takes a connection over and sets its prefetch.
    pub(super) async fn new(
        live: Arc<Live>,
        mut connection: Connection,
        at: usize,
    ) -> Result<Consumer, Fault> {
        let prefetch = live.plan.load.prefetch;
        if prefetch > 0 && live.plan.load.ack != Ack::Automatic {
            let request = Request::new(CHANNEL, 60, 10).long(0).short(prefetch).bits(&[false]);
            connection.call(Call { name: "basic.qos", request, answer: (60, 11) }).await?;
        }
        Ok(Consumer {
            connection,
            at,
            content: Content::Method,
            batch: Vec::new(),
            order: Order::default(),
            received: vec![0; live.plan.producers.len()],
            n_taken: 0,
            n_unacked: 0,
            last_tag: 0,
            schedule: None,
            alarm: Alarm::new()?,
            live,
        })
    }

    /// Consumes until the run is over or the count is reached.
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        let live = self.live.clone();
        let gap = live.plan.load.consumer_rate.gap_nanos();
        let n_consumers = live.plan.consumers.len();
        self.schedule = gap.map(|it| Schedule::new(live.clock.now(), it, self.at, n_consumers));
        self.subscribe();
        self.take_all().await?;
        self.connection.close().await;
        Ok(())
    }

    /// One `basic.consume` per queue, whose tag is the queue's index. Without waiting for answers:
    /// deliveries may come before them.
    fn subscribe(&mut self) {
        let no_ack = self.live.plan.load.ack == Ack::Automatic;
        for &queue in &self.live.plan.consumers[self.at] {
            let consume = Request::new(CHANNEL, 60, 20)
                .short(0)
                .text(&self.live.plan.queues[queue].name)
                .text(&queue.to_string())
                .bits(&[false, no_ack, false, true])
                .table(&Table::default());
            self.connection.out.extend_from_slice(&consume.finish());
        }
    }

    async fn take_all(&mut self) -> Result<(), Fault> {
        let live = self.live.clone();
        loop {
            let now = live.clock.now();
            let may_take = self.may_take(now);
            let taken = self.take_input(may_take);
            // Also what came before an error is counted.
            self.count(now);
            taken?;
            let is_full = live.plan.load.messages_per_consumer == Some(self.n_taken);
            if live.is_over() || is_full {
                self.ack_rest();
                return Ok(());
            }
            self.connection.write()?;
            let due = self.schedule.map(|it| it.due(self.n_taken)).filter(|it| *it > now);
            match due {
                Some(due) => {
                    let span = Duration::from_nanos(due - now);
                    tokio::select! {
                        rang = self.alarm.ring_after(span) => rang?,
                        () = live.consumer_woken(self.at) => {}
                    }
                }
                None => {
                    tokio::select! {
                        waited = self.connection.wait() => waited?,
                        () = live.consumer_woken(self.at) => {}
                    }
                }
            }
            // A consumer whose socket never runs dry would keep the others waiting.
            tokio::task::yield_now().await;
        }
    }

    /// How many deliveries may be taken now.
    fn may_take(&self, now: u64) -> u64 {
        let left =
            self.live.plan.load.messages_per_consumer.map_or(u64::MAX, |it| it - self.n_taken);
        left.min(self.schedule.map_or(u64::MAX, |it| it.n_due(now).saturating_sub(self.n_taken)))
    }

    /// Takes up to `n` deliveries out of what has arrived.
    fn take_input(&mut self, n: u64) -> Result<(), Fault> {
        let last = self.n_taken.saturating_add(n);
        while self.n_taken < last {
            let Some(frame) = self.connection.input.next()? else { return Ok(()) };
            let (content, whole) = advance(self.content, &frame, &self.live)?;
            self.content = content;
            if let Some((delivery, stamp)) = whole {
                self.settle(delivery, stamp);
            }
        }
        Ok(())
    }

    /// Acks or gives back one delivery, and puts it on the list of those to be counted.
    fn settle(&mut self, delivery: Begun, stamp: Option<Stamp>) {
        let load = &self.live.plan.load;
        let stamp = stamp.filter(|it| it.run == self.live.plan.run.tag);
        let stamp = stamp.filter(|it| self.live.plan.producer_of(it.stream).is_some());
        let given_back = !delivery.redelivered
            && load.ack != Ack::Automatic
            && stamp.is_some_and(|it| is_chosen(it, load.nack_share));
        let out = &mut self.connection.out;
        if given_back {
            request::nack(out, CHANNEL, delivery.delivery_tag, true);
        } else if let Ack::Every(every) = load.ack {
            self.n_unacked += 1;
            self.last_tag = delivery.delivery_tag;
            if self.n_unacked >= every {
                request::ack(out, CHANNEL, delivery.delivery_tag, every > 1);
                self.n_unacked = 0;
            }
        }
        self.n_taken += 1;
        let Begun { queue, redelivered, .. } = delivery;
        self.batch.push(Arrived { queue, redelivered, given_back, stamp });
    }

    /// Counts the batch.
    fn count(&mut self, now: u64) {
        if self.batch.is_empty() {
            return;
        }
        let live = &self.live;
        let mut taker = live.taker(self.at);
        let mut queue = self.batch[0].queue;
        let mut ledger = live.ledger(queue);
        for arrived in self.batch.drain(..) {
            taker.delivered += 1;
            taker.redelivered += u64::from(arrived.redelivered);
            taker.given_back += u64::from(arrived.given_back);
            let Some(stamp) = arrived.stamp else {
                taker.foreign += 1;
                continue;
            };
            if arrived.queue != queue {
                queue = arrived.queue;
                drop(ledger);
                ledger = live.ledger(queue);
            }
            let Arrived { redelivered, given_back, .. } = arrived;
            let delivery = Delivery { stamp, redelivered, given_back };
            let order = if live.plan.is_keyed() { &mut ledger.order } else { &mut self.order };
            taker.out_of_order += u64::from(!order.check(&delivery));
            match ledger.take(&delivery) {
                Arrival::New if !given_back => {
                    let (producer, _) =
                        live.plan.producer_of(stamp.stream).expect("`settle` has checked it");
                    self.received[producer] += 1;
                }
                Arrival::New => {}
                Arrival::Duplicate => taker.duplicated += 1,
                Arrival::Absurd => taker.foreign += 1,
            }
            taker.latency.record(now.saturating_sub(stamp.sent_at));
        }
        taker.last_at = now;
        drop(ledger);
        drop(taker);
        for (producer, n) in self.received.iter_mut().enumerate().filter(|(_, n)| **n > 0) {
            live.received(producer, std::mem::take(n));
        }
    }

    /// Acks what waits for an ack of several.
    fn ack_rest(&mut self) {
        if self.n_unacked > 0 {
            request::ack(&mut self.connection.out, CHANNEL, self.last_tag, true);
            self.n_unacked = 0;
        }
    }
}

/// Takes one frame; returns the delivery it completes, and its stamp if it has one.
fn advance(
    content: Content,
    frame: &Frame<'_>,
    live: &Live,
) -> Result<(Content, Option<Whole>), Fault> {
    match (content, frame.kind) {
        (content, FrameKind::Heartbeat) => Ok((content, None)),
        (Content::Method, FrameKind::Method) => match incoming::parse(frame.payload)? {
            Incoming::Deliver { consumer_tag, delivery_tag, redelivered } => {
                let queue = queue_of(consumer_tag, live)?;
                let delivery = Begun { queue, delivery_tag, redelivered };
                Ok((Content::Header { delivery }, None))
            }
            Incoming::Cancel { consumer_tag } => {
                let queue = queue_of(consumer_tag, live)?;
                Err(Fault::Cancelled(live.plan.queues[queue].name.clone()))
            }
            method @ (Incoming::Ack { .. }
            | Incoming::Nack { .. }
            | Incoming::Return { .. }
            | Incoming::ConnectionClose { .. }
            | Incoming::ChannelClose { .. }
            | Incoming::Blocked { .. }
            | Incoming::Unblocked
            | Incoming::Other { .. }) => {
                connection::check_open(&method).map(|()| (Content::Method, None))
            }
        },
        (Content::Header { delivery }, FrameKind::Header) => {
            const SIZE_AT: usize = 4;
            let size = frame.payload.get(SIZE_AT..).and_then(|it| it.first_chunk());
            let size = size.ok_or_else(|| wrong("a content header is too short"))?;
            Ok(match u64::from_be_bytes(*size) {
                0 => (Content::Method, Some((delivery, None))),
                missing_bytes => {
                    let first = [0; STAMP_BYTES];
                    (Content::Body { delivery, missing_bytes, first, n_first: 0 }, None)
                }
            })
        }
        (Content::Body { delivery, missing_bytes, mut first, n_first }, FrameKind::Body) => {
            let bytes = frame.payload;
            let n = bytes.len().min(STAMP_BYTES - n_first);
            first[n_first..n_first + n].copy_from_slice(&bytes[..n]);
            let n_first = n_first + n;
            match missing_bytes.checked_sub(bytes.len() as u64) {
                None => Err(wrong("a body is longer than its header says")),
                Some(0) => {
                    let stamp = (n_first == STAMP_BYTES).then(|| Stamp::decode(&first));
                    Ok((Content::Method, Some((delivery, stamp))))
                }
                Some(missing_bytes) => {
                    Ok((Content::Body { delivery, missing_bytes, first, n_first }, None))
                }
            }
        }
        (
            Content::Method | Content::Header { .. } | Content::Body { .. },
            FrameKind::Method | FrameKind::Header | FrameKind::Body,
        ) => Err(wrong("a frame came at the wrong place in a delivery")),
    }
}

fn wrong(what: &str) -> Fault {
    Fault::Protocol(what.to_owned())
}

/// The queue that a consumer tag of ours names.
fn queue_of(consumer_tag: &[u8], live: &Live) -> Result<usize, Fault> {
    let digits = consumer_tag.iter().try_fold(0_usize, |sum, it| {
        let digit = it.checked_sub(b'0').filter(|it| *it < 10)?;
        sum.checked_mul(10)?.checked_add(usize::from(digit))
    });
    let queue = digits.filter(|it| *it < live.plan.queues.len());
    queue.ok_or_else(|| wrong("a delivery has an unknown consumer tag"))
}

/// Chooses a share of the messages by their stream and sequence, the same in every run.
fn is_chosen(stamp: Stamp, share: f64) -> bool {
    const LARGEST: f64 = u32::MAX as f64;
    let mixed =
        (stamp.sequence ^ u64::from(stamp.stream) << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    share > 0.0 && f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) <= share * LARGEST
}

#[cfg(test)]
mod tests;
