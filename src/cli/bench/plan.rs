//! What a run will do, worked out before anything is sent.

use std::time::Duration;

use crate::amqp::limit;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::cli::bench::args::BenchArgs;
use crate::cli::bench::args::Flag;
use crate::cli::bench::args::LoadArgs;
use crate::cli::bench::args::TopologyArgs;
use crate::cli::bench::args::Workload;
use crate::cli::bench::quantity::Rate;
use crate::cli::bench::stamp::STAMP_BYTES;

/// Everything about one run but the broker and the clock.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Plan {
    /// Without one, the command line is PerfTest's.
    pub(super) workload: Option<Workload>,
    /// In the names of what the run declares; also the stamp's number of the run.
    pub(super) run: RunName,
    /// `None` is the default exchange.
    pub(super) exchange: Option<ExchangePlan>,
    pub(super) queues: Vec<QueuePlan>,
    pub(super) bindings: Vec<BindingPlan>,
    pub(super) routes: Vec<Route>,
    /// Where the messages of each slot go; a stream is a producer and a slot.
    pub(super) slots: Vec<Destination>,
    /// The routes each producer takes, in turn.
    pub(super) producers: Vec<Vec<u32>>,
    /// The queues each consumer consumes, by index.
    pub(super) consumers: Vec<Vec<usize>>,
    pub(super) predeclared: bool,
    /// Of the load generator.
    pub(super) threads: usize,
    pub(super) load: Load,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RunName {
    pub(super) tag: u8,
    /// As `railpost-bench-1a2b3c4d`.
    pub(super) name: String,
}

impl RunName {
    pub(super) fn new(random: [u8; 4]) -> RunName {
        let number = u32::from_be_bytes(random);
        RunName { tag: random[3], name: format!("railpost-bench-{number:08x}") }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ExchangePlan {
    pub(super) name: String,
    pub(super) kind: String,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct QueuePlan {
    pub(super) name: String,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) arguments: Table,
}

/// A binding from the run's exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BindingPlan {
    pub(super) queue: usize,
    pub(super) key: String,
}

/// What one kind of message looks like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Route {
    pub(super) routing_key: String,
    /// The header `user_id`, whose order a keyed queue keeps.
    pub(super) user_id: Option<String>,
    pub(super) slot: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Destination {
    Queue(usize),
    EveryQueue,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ack {
    /// The broker counts a message as settled when it has sent it.
    Automatic,
    /// One ack for this many messages.
    Every(u32),
}

/// How much and how fast.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Load {
    pub(super) body_bytes: usize,
    pub(super) persistent: bool,
    pub(super) mandatory: bool,
    /// Most unconfirmed messages of a producer; `None` is without confirms.
    pub(super) confirm_window: Option<u64>,
    /// Most messages a producer may be ahead of the consumers.
    pub(super) window: Option<u64>,
    /// 0 is no limit.
    pub(super) prefetch: u16,
    pub(super) ack: Ack,
    pub(super) rate: Rate,
    pub(super) consumer_rate: Rate,
    pub(super) messages_per_producer: Option<u64>,
    pub(super) messages_per_consumer: Option<u64>,
    /// `None` is until the counts are reached or Ctrl-C.
    pub(super) time: Option<Duration>,
    pub(super) warm_up: Duration,
    pub(super) drain_time: Duration,
    pub(super) nack_share: f64,
    pub(super) connections: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error("`{option}` must be at least 1 for this workload")]
    Zero { option: &'static str },
    #[error("`{option}` is too large: {value}")]
    TooLarge { option: &'static str, value: u64 },
    #[error("`{option}` has no meaning in the workload `{workload}`")]
    NoMeaning { option: &'static str, workload: String },
    #[error("exchanges of type `{0}` are not used by bench: direct, fanout or topic")]
    ExchangeType(String),
    #[error("a queue pattern holds one `%d` or `%05d`, and its numbers rise: {0}")]
    Pattern(String),
    #[error("the name is longer than 255 bytes: {0}")]
    LongName(String),
}

const TIME: Duration = Duration::from_secs(30);
/// How long connections idle, when they are all there is.
const IDLE_TIME: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(3);

impl Plan {
    /// Works out a run. What the arguments leave open depends on the workload.
    pub(super) fn new(args: &BenchArgs, run: RunName) -> Result<Plan, PlanError> {
        let workload = args.workload;
        refuse_what_has_no_meaning(args)?;
        let load = load(workload, &args.load)?;
        let n_producers = args.load.producers.unwrap_or(match workload {
            Some(Workload::Work | Workload::Retry | Workload::Partition) => 2,
            Some(Workload::Broadcast | Workload::Topic | Workload::Backlog) | None => 1,
            Some(Workload::Connections) => 0,
        });
        let queues = queues(workload, args, &run, load.persistent)?;
        let n_queues = queues.len();
        let n_consumers = args.load.consumers.unwrap_or(match workload {
            Some(Workload::Work | Workload::Retry) => 2,
            Some(Workload::Partition) => 4,
            Some(Workload::Broadcast) => n_queues,
            Some(Workload::Topic | Workload::Backlog) | None => 1,
            Some(Workload::Connections) => 0,
        });
        let mut plan = Plan {
            workload,
            run,
            exchange: None,
            queues,
            bindings: Vec::new(),
            routes: Vec::new(),
            slots: Vec::new(),
            producers: Vec::new(),
            consumers: spread(n_consumers, n_queues),
            predeclared: args.topology.predeclared,
            threads: at_least_one(args.load.threads, "--threads")?,
            load,
        };
        plan.lay_routes(&args.topology, args.load.keys)?;
        let n_routes = plan.routes.len();
        plan.producers = if plan.walks_all_routes() {
            (0..n_producers).map(|at| rotated(at * n_routes / n_producers, n_routes)).collect()
        } else {
            spread(n_producers, n_routes).into_iter().map(|it| to_u32(&it)).collect()
        };
        u32::try_from(n_producers.saturating_mul(plan.slots.len())).map_err(|_| {
            PlanError::TooLarge { option: "--producers", value: n_producers as u64 }
        })?;
        Ok(plan)
    }

    /// Whether each producer takes every route, not only its share of them.
    fn walks_all_routes(&self) -> bool {
        matches!(self.workload, Some(Workload::Topic | Workload::Partition))
    }

    pub(super) fn stream(&self, producer: usize, slot: u32) -> u32 {
        let first = producer * self.slots.len();
        u32::try_from(first).map_or(u32::MAX, |first| first + slot)
    }

    /// The producer and the slot of a stream, if there is such a stream.
    pub(super) fn producer_of(&self, stream: u32) -> Option<(usize, usize)> {
        let (producer, slot) =
            (stream as usize / self.slots.len(), stream as usize % self.slots.len());
        (producer < self.producers.len()).then_some((producer, slot))
    }

    /// How many queues get a message of this slot.
    pub(super) fn n_copies(&self, slot: usize) -> usize {
        match self.slots[slot] {
            Destination::Queue(_) => 1,
            Destination::EveryQueue => self.queues.len(),
        }
    }

    /// Whether the order of a stream is to hold across all consumers of a queue, not only for
    /// each of them.
    pub(super) fn is_keyed(&self) -> bool {
        self.workload == Some(Workload::Partition)
    }

    /// Fills `exchange`, `bindings`, `routes` and `slots`.
    fn lay_routes(&mut self, args: &TopologyArgs, keys: Option<u32>) -> Result<(), PlanError> {
        let n_queues = self.queues.len();
        self.slots = (0..n_queues).map(Destination::Queue).collect();
        let kind = self.exchange_kind(args)?;
        self.exchange = kind.map(|kind| {
            let name = args.exchange.clone().filter(|it| !it.is_empty());
            let name = name.unwrap_or_else(|| self.run.name.clone());
            ExchangePlan { name, kind: kind.to_owned() }
        });
        let key = args.routing_key.as_deref();
        match (self.workload, kind) {
            (Some(Workload::Topic), _) => {
                let n_bindings = args.bindings.unwrap_or(1000);
                for at in 0..at_least_one(n_bindings, "--bindings")? {
                    let queue = at % n_queues;
                    self.bindings.push(BindingPlan { queue, key: format!("bench.{at}.*") });
                    self.push_route(&format!("bench.{at}.m"), None, queue);
                }
            }
            (Some(Workload::Partition), kind) => {
                let n_keys = at_least_one(keys.unwrap_or(100) as usize, "--keys")?;
                self.slots = (0..n_keys).map(|at| Destination::Queue(at % n_queues)).collect();
                let key = key.filter(|_| n_queues == 1);
                self.bind_each(key, kind);
                for at in 0..n_keys {
                    let routing_key = self.key_of(at % n_queues, key);
                    self.push_route(&routing_key, Some(format!("user-{at}")), at);
                }
            }
            (_, Some(kind)) if kind == "fanout" || self.is_one_key_for_all(args) => {
                self.slots = vec![Destination::EveryQueue];
                let key = key.unwrap_or(&self.run.name).to_owned();
                self.bindings =
                    (0..n_queues).map(|queue| BindingPlan { queue, key: key.clone() }).collect();
                self.push_route(&key, None, 0);
            }
            (_, kind) => {
                self.bind_each(key, kind);
                for queue in 0..n_queues {
                    let routing_key = self.key_of(queue, key);
                    self.push_route(&routing_key, None, queue);
                }
            }
        }
        Ok(())
    }

    /// The type of the exchange; `None` when the default exchange does.
    fn exchange_kind<'a>(&self, args: &'a TopologyArgs) -> Result<Option<&'a str>, PlanError> {
        let kind = args.kind.as_deref();
        if let Some(other) = kind.filter(|it| !["direct", "fanout", "topic"].contains(it)) {
            return Err(PlanError::ExchangeType(other.to_owned()));
        }
        let is_named = args.exchange.as_ref().is_some_and(|it| !it.is_empty())
            || args.routing_key.is_some()
            || kind.is_some();
        Ok(match self.workload {
            Some(Workload::Broadcast) => Some("fanout"),
            Some(Workload::Topic) => Some("topic"),
            _ if is_named || self.is_one_key_for_all(args) => Some(kind.unwrap_or("direct")),
            _ => None,
        })
    }

    /// COMPAT: PerfTest gives each consumer a queue of its own when none is named, all bound with
    /// the same key; and a key that is given is everybody's.
    fn is_one_key_for_all(&self, args: &TopologyArgs) -> bool {
        let is_unnamed = self.workload.is_none()
            && args.queue.is_none()
            && args.queue_pattern.is_none()
            && args.queues.is_none();
        self.queues.len() > 1 && (is_unnamed || args.routing_key.is_some())
    }

    fn bind_each(&mut self, key: Option<&str>, kind: Option<&str>) {
        if kind.is_some() {
            let keys = (0..self.queues.len()).map(|queue| (queue, self.key_of(queue, key)));
            self.bindings = keys.map(|(queue, key)| BindingPlan { queue, key }).collect();
        }
    }

    fn key_of(&self, queue: usize, key: Option<&str>) -> String {
        key.unwrap_or(&self.queues[queue].name).to_owned()
    }

    fn push_route(&mut self, routing_key: &str, user_id: Option<String>, slot: usize) {
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        self.routes.push(Route { routing_key: routing_key.to_owned(), user_id, slot });
    }
}

fn load(workload: Option<Workload>, args: &LoadArgs) -> Result<Load, PlanError> {
    let is_named = workload.is_some();
    let is_backlog = workload == Some(Workload::Backlog);
    let persistent = !args.transient && (is_named || args.flags.contains(&Flag::Persistent));
    let confirm = args.confirm.unwrap_or(if is_named { 200 } else { 0 });
    let is_paced = matches!(args.rate, Some(Rate::PerSecond(_)));
    let window = match args.window {
        Some(window) => window,
        // A fixed rate is not held back by consumers: that they are late is what it is to show.
        None if is_named && !is_backlog && !is_paced && args.consumers != Some(0) => 1000,
        None => 0,
    };
    let ack = match (args.autoack, args.multi_ack_every.unwrap_or(1)) {
        (true, _) => Ack::Automatic,
        (false, every) => Ack::Every(at_least_one(every as usize, "-A").map(|_| every)?),
    };
    let prefetch = args.qos.unwrap_or(if is_named { 100 } else { 0 });
    if let (Ack::Every(every), 1..) = (ack, prefetch)
        && every > u32::from(prefetch)
    {
        return Err(PlanError::TooLarge { option: "-A", value: u64::from(every) });
    }
    let is_counted = args.pmessages.is_some() || args.cmessages.is_some() || is_backlog;
    let messages = args.pmessages.or(is_backlog.then_some(200_000));
    let is_crowd = workload == Some(Workload::Connections);
    let default_time = if is_crowd { IDLE_TIME } else { TIME };
    let time = args.time.or((is_named && !is_counted).then_some(default_time));
    let body_bytes = args.size.unwrap_or(if is_named { 256 } else { STAMP_BYTES });
    if body_bytes as u64 > limit::BODY_BYTES_HARD {
        return Err(PlanError::TooLarge { option: "--size", value: body_bytes as u64 });
    }
    Ok(Load {
        body_bytes: body_bytes.max(STAMP_BYTES),
        persistent,
        mandatory: args.flags.contains(&Flag::Mandatory),
        confirm_window: u64::try_from(confirm).ok().filter(|it| *it > 0),
        window: Some(window).filter(|it| *it > 0),
        prefetch,
        ack,
        rate: args.rate.unwrap_or(Rate::Unlimited),
        consumer_rate: args.consumer_rate.unwrap_or(Rate::Unlimited),
        messages_per_producer: messages.filter(|it| *it > 0),
        messages_per_consumer: args.cmessages.filter(|it| *it > 0),
        time: time.filter(|it| !it.is_zero()),
        warm_up: args.warm_up.unwrap_or(if is_counted || !is_named {
            Duration::ZERO
        } else {
            WARM_UP
        }),
        drain_time: args.drain_time,
        nack_share: args.nack_share.unwrap_or(if workload == Some(Workload::Retry) {
            0.1
        } else {
            0.0
        }),
        connections: at_least_one(args.connections.unwrap_or(1000), "--connections")?,
    })
}

fn queues(
    workload: Option<Workload>,
    args: &BenchArgs,
    run: &RunName,
    persistent: bool,
) -> Result<Vec<QueuePlan>, PlanError> {
    let topology = &args.topology;
    let names = match (&topology.queue, &topology.queue_pattern) {
        (Some(name), _) => vec![name.clone()],
        (None, Some(pattern)) => {
            let first = topology.queue_pattern_from;
            numbered(pattern, first..=topology.queue_pattern_to.unwrap_or(first))?
        }
        (None, None) => {
            let n_queues = topology.queues.unwrap_or(match workload {
                Some(Workload::Broadcast) => 8,
                Some(_) => 1,
                None => args.load.consumers.unwrap_or(1).max(1),
            });
            let n_queues = at_least_one(n_queues, "--queues")?;
            (1..=n_queues).map(|at| format!("{}-{at}", run.name)).collect()
        }
    };
    if let Some(long) = names.iter().find(|it| it.len() > limit::SHORT_STRING_BYTES) {
        return Err(PlanError::LongName(long.clone()));
    }
    let mut arguments = topology.queue_args.clone().unwrap_or_default();
    if topology.quorum_queue {
        arguments.set("x-queue-type", Value::text("quorum"));
    }
    if workload == Some(Workload::Partition) && arguments.get("x-railpost-key").is_none() {
        arguments.set("x-railpost-key", Value::text("header:user_id"));
    }
    let queue = |name| QueuePlan {
        name,
        durable: persistent || topology.quorum_queue,
        auto_delete: topology.auto_delete.unwrap_or(false),
        arguments: arguments.clone(),
    };
    Ok(names.into_iter().map(queue).collect())
}

fn refuse_what_has_no_meaning(args: &BenchArgs) -> Result<(), PlanError> {
    let only = [
        ("--keys", args.load.keys.is_some(), Workload::Partition),
        ("--bindings", args.topology.bindings.is_some(), Workload::Topic),
        ("--connections", args.load.connections.is_some(), Workload::Connections),
    ];
    let Some(workload) = args.workload else {
        return match only.iter().find(|(_, given, _)| *given) {
            Some((option, _, _)) => {
                Err(PlanError::NoMeaning { option, workload: "PerfTest's".to_owned() })
            }
            None => Ok(()),
        };
    };
    let wrong = only.iter().find(|(_, given, meant)| *given && workload != *meant);
    let option = match (workload, wrong) {
        (_, Some((option, _, _))) => option,
        (Workload::Backlog, None) if args.load.cmessages.is_some() => "-D",
        (Workload::Backlog, None) if args.load.time.is_some() => "-z",
        (Workload::Broadcast | Workload::Topic, None) if args.topology.kind.is_some() => "-t",
        _ => return Ok(()),
    };
    Err(PlanError::NoMeaning { option, workload: format!("{workload:?}").to_lowercase() })
}

/// Shares `n_things` out among `n_takers`: each thing has a taker and each taker a thing.
fn spread(n_takers: usize, n_things: usize) -> Vec<Vec<usize>> {
    let things_of = |taker: usize| match n_takers < n_things {
        true => (taker..n_things).step_by(n_takers).collect(),
        false => vec![taker % n_things],
    };
    (0..n_takers).map(things_of).collect()
}

fn rotated(first: usize, n_things: usize) -> Vec<u32> {
    to_u32(&(first..n_things).chain(0..first).collect::<Vec<usize>>())
}

fn to_u32(indices: &[usize]) -> Vec<u32> {
    indices.iter().map(|it| u32::try_from(*it).unwrap_or(u32::MAX)).collect()
}

fn at_least_one(number: usize, option: &'static str) -> Result<usize, PlanError> {
    if number == 0 { Err(PlanError::Zero { option }) } else { Ok(number) }
}

/// COMPAT: PerfTest's pattern is a format of Java's with one number, `%d` or `%05d`.
fn numbered(
    pattern: &str,
    numbers: std::ops::RangeInclusive<usize>,
) -> Result<Vec<String>, PlanError> {
    let wrong = || PlanError::Pattern(pattern.to_owned());
    let (before, rest) = pattern.split_once('%').ok_or_else(wrong)?;
    let (width, after) = rest.split_once('d').ok_or_else(wrong)?;
    let width = match width {
        "" => 0,
        digits => digits.parse::<usize>().ok().filter(|it| *it < 20).ok_or_else(wrong)?,
    };
    if after.contains('%') || numbers.is_empty() {
        return Err(wrong());
    }
    Ok(numbers.map(|it| format!("{before}{it:0width$}{after}")).collect())
}

#[cfg(test)]
pub(super) mod tests;
