//! Running the `[[tests]]` of topology files, in virtual time, on the routing table and the queues
//! that the live broker has.

mod part;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;

use crate::amqp::id::ChannelId;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::DeliveryTag;
use crate::amqp::id::QueueId;
use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::name::ConsumerTag;
use crate::amqp::name::QueueName;
use crate::amqp::name::RoutingKey;
use crate::amqp::name::ServiceName;
use crate::amqp::property::Properties;
use crate::amqp::property::Property;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::broker::consume;
use crate::broker::consume::Held;
use crate::broker::memory::Clients;
use crate::broker::memory::Memory;
use crate::broker::parking::parked_name;
use crate::broker::publish;
use crate::broker::publish::Scratch;
use crate::broker::vhost;
use crate::queue::consumer::ConsumerSpec;
use crate::queue::dispatch::Delivery;
use crate::queue::settle::Settlement;
use crate::queue::totals::Totals;
use crate::topology::apply::apply;
use crate::topology::declared::Queue;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::run::part::Whole;
use crate::topology::scenario::Counted;
use crate::topology::scenario::INSTANCES;
use crate::topology::scenario::Outcome;
use crate::topology::scenario::Publish;
use crate::topology::scenario::Scenario;
use crate::topology::source::Located;
use crate::topology::source::Origin;

/// An expectation that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Where the expectation stands.
    pub origin: Origin,
    /// What was expected, and what came.
    pub text: String,
}

/// Deliveries after which a test is taken to go on for ever.
const DELIVERIES_MAX: usize = 1_000_000;

/// When virtual time begins; not 0, which means "never" in some places.
const START: Timestamp = Timestamp(1_000_000_000_000);

/// Runs the tests of one vhost.
#[allow(missing_debug_implementations, reason = "a whole broker would be shown")]
pub struct Runner<'t> {
    topology: &'t Topology,
    whole: Result<Whole, String>,
}

impl<'t> Runner<'t> {
    pub fn new(topology: &'t Topology, vhost: &'t Vhost) -> Runner<'t> {
        Runner { topology, whole: Whole::new(topology, vhost) }
    }

    /// Runs one test; what did not hold, in the order of the file. Deterministic: retries come
    /// without jitter.
    pub fn run(&mut self, scenario: &Scenario) -> Vec<Failure> {
        let failed = |text: &String| vec![Failure { origin: scenario.origin, text: text.clone() }];
        match &mut self.whole {
            Ok(whole) => play(self.topology, &whole.part(scenario), scenario),
            Err(text) => failed(text),
        }
    }
}

fn play(topology: &Topology, part: &Vhost, scenario: &Scenario) -> Vec<Failure> {
    let mut run = match Run::new(topology, part, scenario) {
        Ok(run) => run,
        Err(text) => return vec![Failure { origin: scenario.origin, text }],
    };
    run.play();
    run.judge();
    run.failures.sort_by_key(|it| it.origin);
    run.failures
}

/// A delivery on its way to a consumer's hands.
struct Delivered {
    held: Held,
    consumer: ConsumerId,
    message: Message,
    /// How often it came back before.
    returns: usize,
}

/// What consumers have been given and not looked at yet.
#[derive(Default)]
struct Inbox(VecDeque<Delivered>);

impl Clients for Inbox {
    fn deliver(&mut self, queue: QueueId, delivery: &Delivery<'_>) -> bool {
        let Some(handle) = delivery.handle else { return false };
        let tag = DeliveryTag(0);
        let consumer = delivery.consumer;
        let held = Held { tag, queue, handle, consumer: Some(consumer) };
        let message = delivery.message.clone();
        let returns = usize::from(delivery.mark.returns);
        self.0.push_back(Delivered { held, consumer, message, returns });
        true
    }

    fn begin_consumer(&mut self, _: QueueId, _: ConsumerId, _: &ConsumerTag, _: bool) {}

    fn cancel(&mut self, _: ConsumerId) {}

    fn late(&mut self, _: ConsumerId, _: Millis) {}

    fn reply(&mut self, _: ConsumerId, _: &Message) -> bool {
        false
    }
}

struct Run<'t> {
    vhost: &'t Vhost,
    scenario: &'t Scenario,
    memory: Memory<Inbox>,
    queues: BTreeMap<QueueId, &'t Queue>,
    services: BTreeMap<ConsumerId, ServiceName>,
    n_connections: u64,
    reached: BTreeMap<QueueName, u64>,
    n_deliveries: usize,
    of_service: BTreeMap<ServiceName, u64>,
    times: BTreeMap<QueueName, Vec<Millis>>,
    acked: BTreeMap<QueueName, Vec<String>>,
    failures: Vec<Failure>,
}

impl<'t> Run<'t> {
    fn new(
        topology: &'t Topology,
        vhost: &'t Vhost,
        scenario: &'t Scenario,
    ) -> Result<Run<'t>, String> {
        let empty = vhost::Vhost::new(vhost.name.clone());
        let mut memory = Memory::new(empty, Inbox::default(), START);
        apply(&mut memory, vhost, &topology.sources).map_err(|it| it.join("; "))?;
        let id = |it: &'t Queue| Some((memory.vhost.table.queue(&it.name)?, it));
        let queues = vhost.queues.values().filter_map(id).collect();
        let mut run = Run {
            vhost,
            scenario,
            memory,
            queues,
            services: BTreeMap::new(),
            n_connections: 0,
            reached: BTreeMap::new(),
            n_deliveries: 0,
            of_service: BTreeMap::new(),
            times: BTreeMap::new(),
            acked: BTreeMap::new(),
            failures: Vec::new(),
        };
        run.start_consumers();
        Ok(run)
    }

    /// As many consumers on each queue as its service has instances; queues of nobody have some
    /// only when the test says what they do.
    fn start_consumers(&mut self) {
        let scenario = self.scenario;
        for queue in self.vhost.queues.values() {
            let says = scenario.when.get(&queue.name);
            if says.is_some_and(|it| it.value.contains(&Outcome::Absent))
                || (queue.services.is_empty() && says.is_none())
            {
                continue;
            }
            let service = queue.service();
            let instances = service.and_then(|it| scenario.instances.get(it));
            for _ in 0..instances.map_or(INSTANCES, |it| it.value) {
                self.start_consumer(&queue.name, service.cloned());
            }
        }
    }

    fn start_consumer(&mut self, queue: &QueueName, service: Option<ServiceName>) {
        self.n_connections += 1;
        let connection = ConnectionId(self.n_connections);
        let id = ConsumerId { connection, channel: ChannelId(1), number: 1 };
        let spec = ConsumerSpec {
            id,
            tag: ConsumerTag::new("test"),
            connection_name: "test".into(),
            no_ack: false,
            exclusive: false,
            priority: None,
            prefetch: 0,
            service: service.clone(),
            offset: None,
            has_window: false,
        };
        self.services.extend(service.map(|it| (id, it)));
        if let Err(error) = consume::consume(&mut self.memory, queue, spec, false) {
            self.fail(self.scenario.origin, format!("`{queue}` cannot be consumed: {error:?}"));
        }
    }

    fn fail(&mut self, origin: Origin, text: String) {
        self.failures.push(Failure { origin, text });
    }

    fn elapsed(&self) -> Millis {
        Millis(self.memory.now.as_millis() - START.as_millis())
    }

    /// Publishes everything when its time comes, and lets time pass until nothing is due.
    fn play(&mut self) {
        let scenario = self.scenario;
        for publish in &scenario.publish {
            if !self.advance(START + publish.at) {
                return;
            }
            for _ in 0..publish.times {
                self.publish(publish);
                self.handle();
            }
        }
        let end = match scenario.until {
            Some(until) => START + until.value,
            None => Timestamp::NEVER,
        };
        self.advance(end);
    }

    /// Lets time pass up to `end`, or until nothing is due any more; `false` when the test is over.
    fn advance(&mut self, end: Timestamp) -> bool {
        self.handle();
        while let Some(due) = self.memory.next_due().filter(|it| *it <= end) {
            self.memory.advance(due);
            self.handle();
            if self.n_deliveries > DELIVERIES_MAX {
                let text = format!(
                    "still not over after {DELIVERIES_MAX} deliveries; write `until`, or give the \
                     retries an end"
                );
                self.fail(self.scenario.origin, text);
                return false;
            }
        }
        if end != Timestamp::NEVER {
            self.memory.advance(end);
            self.handle();
        }
        true
    }

    fn publish(&mut self, it: &Publish) {
        let properties = it.properties.to_bytes();
        let parts = Parts {
            exchange: &it.exchange.value,
            routing_key: RoutingKey(&it.key.value),
            properties: Properties::from_checked(&properties),
            published_at: self.memory.now,
        };
        let message = Message::copied(parts, it.body.as_bytes(), &mut Vec::new());
        let mut scratch = Scratch::default();
        let user = Properties::from_checked(&properties).text(Property::UserId).unwrap_or_default();
        if let Err(error) = publish::check(&mut self.memory, &mut scratch, &message, user) {
            return self.fail(it.origin, format!("the message is refused: {error:?}"));
        }
        for id in scratch.routes.queues() {
            if let Some(queue) = self.queues.get(id) {
                *self.reached.entry(queue.name.clone()).or_default() += 1;
            }
        }
        if let Some(expected) = self.scenario.expect.unroutable
            && expected.value != scratch.routes.is_empty()
        {
            let text = match expected.value {
                true => format!("it should be unroutable, but reaches {}", self.names(&scratch)),
                false => "it should reach a queue, but is unroutable".to_owned(),
            };
            self.fail(expected.origin, text);
        }
        if let Err(error) = publish::publish(&mut self.memory, &mut scratch, &message, user) {
            self.fail(it.origin, format!("the message is refused: {error:?}"));
        }
        self.memory.pump();
    }

    fn names(&self, scratch: &Scratch) -> String {
        let table = &self.memory.vhost.table;
        let names = scratch.routes.queues().iter().filter_map(|id| table.queue_name(*id));
        names.map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
    }

    /// Lets consumers do with their deliveries what the test says.
    fn handle(&mut self) {
        self.memory.pump();
        while let Some(delivered) = self.memory.ports.clients.0.pop_front() {
            self.n_deliveries += 1;
            if self.n_deliveries > DELIVERIES_MAX {
                return;
            }
            self.handle_one(&delivered);
            self.memory.pump();
        }
    }

    fn handle_one(&mut self, delivered: &Delivered) {
        let Some(queue) = self.queues.get(&delivered.held.queue).copied() else { return };
        let elapsed = self.elapsed();
        self.times.entry(queue.name.clone()).or_default().push(elapsed);
        if let Some(service) = self.services.get(&delivered.consumer).filter(|_| !queue.is_tap()) {
            *self.of_service.entry(service.clone()).or_default() += 1;
        }
        let outcomes = self.scenario.when.get(&queue.name).map(|it| it.value.as_slice());
        let outcome = match outcomes {
            Some(all @ [_, ..]) => all[delivered.returns.min(all.len() - 1)],
            Some([]) | None => Outcome::Ack,
        };
        let settlement = match outcome {
            Outcome::Ack => Settlement::Ack,
            Outcome::Reject { requeue } => Settlement::Reject { requeue },
            Outcome::Nack { requeue } => Settlement::Nack { requeue },
            Outcome::Lost => return self.lose(delivered, &queue.name),
            Outcome::Timeout | Outcome::Absent => return,
        };
        if settlement == Settlement::Ack {
            let body: Vec<u8> = delivered.message.body().pieces().flatten().copied().collect();
            let body = String::from_utf8_lossy(&body).into_owned();
            self.acked.entry(queue.name.clone()).or_default().push(body);
        }
        consume::settle(&mut self.memory, &[delivered.held], settlement);
    }

    /// The consumer's connection goes with everything it holds, and another one comes.
    fn lose(&mut self, delivered: &Delivered, queue: &QueueName) {
        let gone = delivered.consumer;
        let inbox = &mut self.memory.ports.clients.0;
        let mut held = vec![delivered.held];
        held.extend(inbox.iter().filter(|it| it.consumer == gone).map(|it| it.held));
        inbox.retain(|it| it.consumer != gone);
        consume::cancel(&mut self.memory, delivered.held.queue, gone);
        consume::settle(&mut self.memory, &held, Settlement::Lost);
        let service = self.services.remove(&gone);
        self.start_consumer(queue, service);
    }

    fn judge(&mut self) {
        let scenario = self.scenario;
        let expect = &scenario.expect;
        if let Some(reaches) = &expect.reaches {
            self.judge_reached(reaches);
        }
        for (service, expected) in &expect.services {
            let came = self.of_service.get(service).copied().unwrap_or(0);
            self.compare(expected, came, format_args!("deliveries to service `{service}`"));
        }
        for (queue, expected) in &expect.deliveries_at {
            let came = self.times.get(queue).cloned().unwrap_or_default();
            if came != expected.value {
                let (wanted, came) = (times(&expected.value), times(&came));
                let text = format!("`{queue}` should deliver at {wanted}, but did at {came}");
                self.fail(expected.origin, text);
            }
        }
        for (queue, expected) in &expect.order {
            let came = self.acked.get(queue).cloned().unwrap_or_default();
            if came != expected.value {
                let wanted = expected.value.join(", ");
                let came = came.join(", ");
                let text =
                    format!("`{queue}` should be handled in the order {wanted}, was: {came}");
                self.fail(expected.origin, text);
            }
        }
        for (queue, expected) in &expect.parked {
            let came = self.depth(&parked_name(queue));
            self.compare(expected, came, format_args!("parked messages of `{queue}`"));
        }
        for (queue, expected) in &expect.left {
            let came = self.depth(queue);
            self.compare(expected, came, format_args!("messages left in `{queue}`"));
        }
        self.judge_totals(&expect.dead_lettered, "dead letters of", |it| it.dead_lettered);
        self.judge_totals(&expect.expired, "messages expired in", |it| it.expired);
        self.judge_totals(&expect.dropped, "messages dropped by", |it| it.dropped);
    }

    fn judge_reached(&mut self, expected: &Located<Counted<QueueName>>) {
        for (queue, wanted) in &expected.value {
            let came = self.reached.get(queue).copied().unwrap_or(0);
            self.compare(wanted, came, format_args!("copies in `{queue}`"));
        }
        let others = self.reached.iter().filter(|(it, _)| !expected.value.contains_key(*it));
        let others: Vec<String> = others.map(|(queue, n)| format!("`{queue}` ({n})")).collect();
        if !others.is_empty() {
            let text = format!("it also reaches {}, which is not named", others.join(", "));
            self.fail(expected.origin, text);
        }
    }

    fn judge_totals(
        &mut self,
        expected: &Counted<QueueName>,
        what: &str,
        count: impl Fn(&Totals) -> u64,
    ) {
        for (queue, wanted) in expected {
            let id = self.memory.vhost.table.queue(queue);
            let totals = id.and_then(|it| self.memory.peek(it)).map(|it| *it.totals());
            let came = totals.map_or(0, |it| count(&it));
            self.compare(wanted, came, format_args!("{what} `{queue}`"));
        }
    }

    fn compare(&mut self, wanted: &Located<u64>, came: u64, what: fmt::Arguments<'_>) {
        if wanted.value != came {
            self.fail(wanted.origin, format!("{what}: {} expected, {came} found", wanted.value));
        }
    }

    /// Everything that is in a queue.
    fn depth(&self, queue: &str) -> u64 {
        let id = self.memory.vhost.table.queue(queue);
        let depth = id.and_then(|it| self.memory.peek(it)).map(|it| it.depth());
        depth.map_or(0, |it| it.ready + it.unacked + it.delayed)
    }
}

fn times(all: &[Millis]) -> String {
    if all.is_empty() {
        return "no time at all".to_owned();
    }
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
