//! The parts of a message's path one by one: `cargo bench`. What the whole costs, sockets and
//! threads included, is measured by `railpost bench`.

#![allow(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::sync::Arc;

use divan::Bencher;
use divan::black_box;
use divan::counter::ItemsCount;

use railpost::amqp::id::BatchId;
use railpost::amqp::id::ChannelId;
use railpost::amqp::id::ConnectionId;
use railpost::amqp::id::ConsumerId;
use railpost::amqp::id::QueueId;
use railpost::amqp::id::Seq;
use railpost::amqp::message::Message;
use railpost::amqp::message::Parts;
use railpost::amqp::name::QueueName;
use railpost::amqp::name::RoutingKey;
use railpost::amqp::property::Properties;
use railpost::amqp::table::Table as Arguments;
use railpost::amqp::time::Timestamp;
use railpost::codec::buffer::FrameBuffer;
use railpost::codec::content;
use railpost::codec::encode;
use railpost::codec::encode::Deliver;
use railpost::codec::frame::next_frame;
use railpost::codec::method;
use railpost::queue::Queue;
use railpost::queue::consumer::ConsumerSpec;
use railpost::queue::dispatch::Delivery;
use railpost::queue::dispatch::Handle;
use railpost::queue::dispatch::Outlet;
use railpost::queue::enqueue::Arrival;
use railpost::queue::settings::Settings;
use railpost::queue::settle::Settlement;
use railpost::routing::Binding;
use railpost::routing::Destination;
use railpost::routing::Kind;
use railpost::routing::Table;
use railpost::routing::route::Publication;
use railpost::routing::route::Routes;
use railpost::routing::route::route;
use railpost::routing::table::ExchangeSpec;
use railpost::server::disk::DataFolder;
use railpost::storage::batch::Batch;
use railpost::storage::config::Config;
use railpost::storage::message::Body;
use railpost::storage::message::Durability;
use railpost::storage::message::NewMessage;
use railpost::storage::message::Target;
use railpost::storage::store::Store;

fn main() {
    divan::main();
}

/// Messages of one round, so that a round is long against the clock's grain.
const N: usize = 1000;

/// `delivery-mode` 2 and nothing else.
const PERSISTENT: [u8; 3] = [0x10, 0x00, 2];

fn message(body_bytes: usize) -> Message {
    let parts = Parts {
        exchange: "orders",
        routing_key: RoutingKey("order.created"),
        properties: Properties::check(&PERSISTENT).unwrap(),
        published_at: Timestamp::from_millis(1_700_000_000_000),
    };
    Message::copied(parts, &vec![7; body_bytes], &mut Vec::new())
}

/// `basic.publish`, its header and its body, as a client sends them.
fn published(body_bytes: usize) -> Vec<u8> {
    let mut frames = FrameBuffer::default();
    let method = Deliver { consumer_tag: "", delivery_tag: 0, redelivered: false };
    encode::deliver(&mut frames, 1, 131_072, method, &message(body_bytes), None);
    let (slices, n) = frames.slices::<16>();
    let all = slices[..n].concat();
    // The content is the same; only the method differs.
    let (_, method_bytes) = next_frame(&all, 131_072).unwrap().unwrap();
    let mut arguments = vec![0, 60, 0, 40, 0, 0];
    for text in ["orders", "order.created"] {
        arguments.push(u8::try_from(text.len()).unwrap());
        arguments.extend_from_slice(text.as_bytes());
    }
    arguments.push(0);
    let mut bytes = vec![1, 0, 1];
    bytes.extend_from_slice(&u32::try_from(arguments.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&arguments);
    bytes.push(0xCE);
    bytes.extend_from_slice(&all[method_bytes..]);
    bytes
}

#[divan::bench(args = [16, 1024])]
fn decode_publish(bencher: Bencher<'_, '_>, body_bytes: usize) {
    let bytes = published(body_bytes).repeat(N);
    bencher.counter(ItemsCount::new(N)).bench_local(|| {
        let mut left = &bytes[..];
        while let Some((frame, n)) = next_frame(left, 131_072).unwrap() {
            match frame.kind {
                railpost::codec::frame::FrameKind::Method => {
                    black_box(method::parse(frame.payload).unwrap());
                }
                railpost::codec::frame::FrameKind::Header => {
                    black_box(content::parse(frame.payload).unwrap());
                }
                railpost::codec::frame::FrameKind::Body
                | railpost::codec::frame::FrameKind::Heartbeat => {
                    black_box(frame.payload);
                }
            }
            left = &left[n..];
        }
    });
}

#[divan::bench(args = [16, 1024])]
fn encode_deliver(bencher: Bencher<'_, '_>, body_bytes: usize) {
    let message = message(body_bytes);
    let mut frames = FrameBuffer::default();
    bencher.counter(ItemsCount::new(N)).bench_local(|| {
        for tag in 0..N as u64 {
            let method = Deliver { consumer_tag: "ctag-1", delivery_tag: tag, redelivered: false };
            encode::deliver(&mut frames, 1, 131_072, method, &message, None);
        }
        let n_bytes = frames.len();
        frames.consume(n_bytes);
    });
}

/// One exchange with this many bindings, each to a queue of its own.
fn table(kind: Kind, n_bindings: u32) -> Table {
    let mut table = Table::default();
    table.declare(ExchangeSpec::durable("orders", kind)).unwrap();
    for n in 0..n_bindings {
        let queue = QueueId(n + 1);
        table.add_queue(QueueName::new(&format!("q{n}")), queue);
        let key = match kind {
            Kind::Topic => format!("region{}.*.item{n}.#", n % 50),
            Kind::Direct
            | Kind::Fanout
            | Kind::Headers
            | Kind::ConsistentHash
            | Kind::ModulusHash
            | Kind::Random
            | Kind::LocalRandom => format!("key{n}"),
        };
        let binding = Binding::new(Destination::Queue(queue), &key, &Arguments::default());
        table.bind("orders", binding).unwrap();
    }
    table
}

fn route_keys(bencher: Bencher<'_, '_>, table: &Table, keys: &[String]) {
    let mut routes = Routes::default();
    bencher.counter(ItemsCount::new(keys.len())).bench_local(|| {
        for key in keys {
            let publication = Publication {
                exchange: "orders",
                routing_key: RoutingKey(key),
                properties: Properties::check(&PERSISTENT).unwrap(),
                copies: true,
            };
            route(table, publication, &mut routes).unwrap();
            assert_eq!(black_box(&routes).queues().len(), 1);
        }
    });
}

#[divan::bench(args = [10, 1_000, 100_000])]
fn route_topic(bencher: Bencher<'_, '_>, n_bindings: u32) {
    let table = table(Kind::Topic, n_bindings);
    let keys = (0..1000).map(|n| (n * 7919) % n_bindings);
    let keys: Vec<String> =
        keys.map(|n| format!("region{}.europe.item{n}.created", n % 50)).collect();
    route_keys(bencher, &table, &keys);
}

#[divan::bench(args = [10, 1_000, 100_000])]
fn route_direct(bencher: Bencher<'_, '_>, n_bindings: u32) {
    let table = table(Kind::Direct, n_bindings);
    let keys: Vec<String> = (0..1000).map(|n| format!("key{}", (n * 7919) % n_bindings)).collect();
    route_keys(bencher, &table, &keys);
}

/// A consumer that takes everything.
#[derive(Default)]
struct Sink {
    held: Vec<Handle>,
}

impl Outlet for Sink {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> bool {
        self.held.extend(delivery.handle);
        true
    }
}

/// Enqueued, delivered at once, acked: what one message costs the queue.
#[divan::bench]
fn queue_enqueue_deliver_ack(bencher: Bencher<'_, '_>) {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut queue = Queue::new("work".into(), Settings::default(), now);
    let (connection, channel) = (ConnectionId(1), ChannelId(1));
    let id = ConsumerId { connection, channel, number: 1 };
    let spec = ConsumerSpec {
        id,
        tag: "c".into(),
        connection_name: "bench".into(),
        no_ack: false,
        exclusive: false,
        priority: None,
        prefetch: 0,
        service: None,
        offset: None,
        has_window: false,
    };
    queue.add_consumer(spec, now).unwrap();
    let message = message(64);
    let (mut sink, mut effects) = (Sink::default(), Vec::new());
    bencher.counter(ItemsCount::new(N)).bench_local(|| {
        for _ in 0..N {
            let arrival =
                Arrival { seq: queue.next_seq(), message: message.clone(), batch: BatchId(0) };
            queue.enqueue(arrival, BatchId(0), now, &mut sink, &mut effects);
            for handle in sink.held.drain(..) {
                queue.settle(handle, Some(id), Settlement::Ack, now, &mut effects);
            }
            effects.clear();
        }
    });
}

fn store(folder: &tempfile::TempDir) -> Store<DataFolder> {
    let disk = Arc::new(DataFolder::new(&folder.path().join("data")).unwrap());
    Store::open(disk, Config::default()).unwrap().0
}

/// Adds `n` messages to a batch.
fn add(batch: &mut Batch, seq: &mut u64, n: usize, body: &[u8], durability: Durability) {
    for _ in 0..n {
        let target = Target { queue: QueueId(1), seq: Seq(*seq), priority: 0, expires_at: None };
        *seq += 1;
        let body = Body::new(std::iter::once(body));
        batch.message(&NewMessage {
            targets: &[target],
            flags: 0,
            head: b"head",
            body,
            durability,
        });
    }
}

/// Into a batch and to the operating system, a thousand messages at a time; nothing is synced.
#[divan::bench(args = [64, 1024])]
fn journal_append(bencher: Bencher<'_, '_>, body_bytes: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, mut batch, mut seq) = (store(&folder), Batch::new(), 1);
    let body = vec![7; body_bytes];
    bencher.counter(ItemsCount::new(N)).bench_local(|| {
        add(&mut batch, &mut seq, N, &body, Durability::Write);
        store.commit(&mut batch).unwrap();
    });
}

/// As above with the sync: a group of one shows the disk, a large one the work.
#[divan::bench(args = [1, 100, 1000])]
fn journal_group_commit(bencher: Bencher<'_, '_>, n: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, mut batch, mut seq) = (store(&folder), Batch::new(), 1);
    bencher.counter(ItemsCount::new(n)).bench_local(|| {
        add(&mut batch, &mut seq, n, &[7; 256], Durability::Sync);
        store.commit(&mut batch).unwrap();
    });
}

/// A start after a crash that left this many messages behind the last checkpoint.
#[divan::bench(args = [100_000], sample_count = 10)]
fn recovery(bencher: Bencher<'_, '_>, n: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, mut batch, mut seq) = (store(&folder), Batch::new(), 1);
    for _ in 0..n / N {
        add(&mut batch, &mut seq, N, &[7; 64], Durability::Write);
        store.commit(&mut batch).unwrap();
    }
    drop(store);
    bencher.counter(ItemsCount::new(n)).bench_local(|| {
        let disk = Arc::new(DataFolder::new(&folder.path().join("data")).unwrap());
        let (store, _) = Store::open(disk, Config::default()).unwrap();
        assert_eq!(store.queues().iter().map(|it| it.n_messages).sum::<u64>(), n as u64);
    });
}
