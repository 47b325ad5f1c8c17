//! The arguments of `railpost bench`; the letters are those of RabbitMQ's PerfTest.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::ValueEnum;

use crate::amqp::table::Table;
use crate::cli::bench::quantity;
use crate::cli::bench::quantity::Rate;

/// What a run does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum Workload {
    /// Producers and consumers share queues; each message goes to one consumer.
    Work,
    /// A fanout exchange copies each message to every queue.
    Broadcast,
    /// A topic exchange with many bindings, of which each message matches one.
    Topic,
    /// As work, but a share of the deliveries is given back and comes again.
    Retry,
    /// Queues are filled first, then drained; both are measured.
    Backlog,
    /// As work, with a key in a header; the order of the messages of a key is checked.
    Partition,
    /// Many connections with a channel each, and nothing else.
    Connections,
}

/// How the result is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum Format {
    Text,
    Json,
}

/// What a message is marked with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum Flag {
    Persistent,
    Mandatory,
}

/// Measures a broker: rates, latencies, and whether every message arrives once and in order.
///
/// A workload's name chooses careful defaults: persistent messages, confirms and acks, 30 s after a
/// warm-up of 3 s. Without a name the command line is read as PerfTest's: transient messages
/// without confirms, until Ctrl-C.
#[derive(Clone, Debug, Args)]
#[command(disable_help_flag = true, after_help = EXAMPLES)]
pub(in crate::cli) struct BenchArgs {
    #[arg(long, action = clap::ArgAction::Help, help = "Print this text")]
    help: Option<bool>,
    #[arg(value_enum)]
    pub(super) workload: Option<Workload>,
    /// The broker, as `amqp://user:password@host:port/vhost`
    #[arg(
        short = 'h',
        long = "url",
        visible_alias = "uri",
        env = "RAILPOST_URL",
        hide_env_values = true,
        default_value = "amqp://guest:guest@localhost:5672/%2F"
    )]
    pub(super) url: String,
    #[command(flatten)]
    pub(super) load: LoadArgs,
    #[command(flatten)]
    pub(super) topology: TopologyArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Who sends and takes how much.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Load")]
pub(in crate::cli) struct LoadArgs {
    /// Producers, one connection each
    #[arg(short = 'x', long)]
    pub(super) producers: Option<usize>,
    /// Consumers, one connection each
    #[arg(short = 'y', long)]
    pub(super) consumers: Option<usize>,
    /// Bytes of a message's body, at least 16
    #[arg(short = 's', long, value_parser = quantity::size)]
    pub(super) size: Option<usize>,
    /// Marks of a message; persistent messages also make the queues durable
    #[arg(short = 'f', long = "flag", value_enum, ignore_case = true, value_delimiter = ',')]
    pub(super) flags: Vec<Flag>,
    /// Transient messages, in a workload that would send persistent ones
    #[arg(long, conflicts_with = "flags")]
    pub(super) transient: bool,
    /// Messages a producer may have unconfirmed; 0 or -1: without confirms
    #[arg(short = 'c', long, allow_negative_numbers = true)]
    pub(super) confirm: Option<i64>,
    /// Messages a producer may be ahead of the consumers; 0: any number
    #[arg(long)]
    pub(super) window: Option<u64>,
    /// Messages a consumer may hold unacked; 0: any number
    #[arg(short = 'q', long)]
    pub(super) qos: Option<u16>,
    /// Consume without acks
    #[arg(short = 'a', long)]
    pub(super) autoack: bool,
    /// Ack once for this many messages
    #[arg(short = 'A', long)]
    pub(super) multi_ack_every: Option<u32>,
    /// Messages per second of each producer, sent when they are due; -1: as fast as it goes
    #[arg(short = 'r', long, value_parser = quantity::rate, allow_negative_numbers = true)]
    pub(super) rate: Option<Rate>,
    /// Messages per second each consumer takes
    #[arg(short = 'R', long, value_parser = quantity::rate, allow_negative_numbers = true)]
    pub(super) consumer_rate: Option<Rate>,
    /// Messages of each producer, after which it ends
    #[arg(short = 'C', long)]
    pub(super) pmessages: Option<u64>,
    /// Messages of each consumer, after which it ends
    #[arg(short = 'D', long)]
    pub(super) cmessages: Option<u64>,
    /// How long to measure after the warm-up, or to have the connections
    #[arg(short = 'z', long, value_parser = quantity::duration)]
    pub(super) time: Option<Duration>,
    /// How long to run before measuring
    #[arg(long, value_parser = quantity::duration)]
    pub(super) warm_up: Option<Duration>,
    /// How long nothing may arrive at the end before what is missing counts as lost
    #[arg(long, value_parser = quantity::duration, default_value = "5s")]
    pub(super) drain_time: Duration,
    /// Share of the deliveries that are given back once (retry)
    #[arg(long, value_parser = quantity::share)]
    pub(super) nack_share: Option<f64>,
    /// Different keys of each producer (partition)
    #[arg(long)]
    pub(super) keys: Option<u32>,
    /// Connections to open (connections)
    #[arg(long)]
    pub(super) connections: Option<usize>,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1)]
    pub(super) threads: usize,
}

/// Exchanges and queues.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Topology")]
pub(in crate::cli) struct TopologyArgs {
    /// Queues to use
    #[arg(long)]
    pub(super) queues: Option<usize>,
    /// Bindings of the topic exchange (topic)
    #[arg(long)]
    pub(super) bindings: Option<usize>,
    /// Exchange to publish to
    #[arg(short = 'e', long)]
    pub(super) exchange: Option<String>,
    /// Type of that exchange
    #[arg(short = 't', long = "type")]
    pub(super) kind: Option<String>,
    /// Queue to use; it is removed at the end only if the run made it
    #[arg(short = 'u', long)]
    pub(super) queue: Option<String>,
    /// Names of several queues, as `perf-%d`
    #[arg(long, requires = "queue_pattern_to", conflicts_with = "queue")]
    pub(super) queue_pattern: Option<String>,
    /// First number in the pattern
    #[arg(long, default_value_t = 1)]
    pub(super) queue_pattern_from: usize,
    /// Last number in the pattern
    #[arg(long)]
    pub(super) queue_pattern_to: Option<usize>,
    /// Routing key and binding key
    #[arg(short = 'k', long)]
    pub(super) routing_key: Option<String>,
    /// Exchange and queues exist: neither declare nor remove them
    #[arg(short = 'p', long)]
    pub(super) predeclared: bool,
    /// Quorum queues
    #[arg(long)]
    pub(super) quorum_queue: bool,
    /// Arguments of the queues, as `x-max-length=10,x-overflow=drop-head`
    #[arg(long, value_parser = quantity::arguments)]
    pub(super) queue_args: Option<Table>,
    /// Queues that go with their last consumer
    #[arg(long, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) auto_delete: Option<bool>,
}

/// What is measured, compared and written.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Result")]
pub(in crate::cli) struct OutputArgs {
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Write one line per second to this file
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,
    /// A name for this run, repeated in the result
    #[arg(short = 'd', long)]
    pub(super) id: Option<String>,
    /// Measure this broker too, alternating with the first
    #[arg(long, value_name = "URL")]
    pub(super) compare: Option<String>,
    /// Rounds of a comparison
    #[arg(long, default_value_t = 3)]
    pub(super) rounds: usize,
    /// Exit with 6 when the 99th percentile of the latency is above
    #[arg(long, value_parser = quantity::duration)]
    pub(super) max_p99: Option<Duration>,
    /// Exit with 6 when fewer messages per second arrive
    #[arg(long)]
    pub(super) min_rate: Option<f64>,
    /// The broker's process, when it runs here and is not found by its port
    #[arg(long)]
    pub(super) broker_pid: Option<u32>,
    /// Seconds between two progress lines
    #[arg(short = 'i', long, value_parser = quantity::duration, default_value = "1s")]
    pub(super) interval: Duration,
    /// No progress lines
    #[arg(long)]
    pub(super) no_progress: bool,
}

const EXAMPLES: &str = "\
Examples:
  railpost bench work                                  2 producers, 2 consumers, 30 s
  railpost bench work -x 10 -y 10 --queues 10 -s 1KiB  ten of each
  railpost bench work -r 5000 --max-p99 5ms            latency at a fixed rate, as a test
  railpost bench broadcast --queues 8                  one message, eight copies
  railpost bench work --compare amqp://localhost:5690  side by side with another broker
  railpost bench -x 1 -y 2 -u test -a -s 4000 -z 60    a command line of PerfTest's";

/// PerfTest's options of several letters after one dash, which look like flags with a value.
const LETTERS: [(&str, &str); 7] = [
    ("-ad", "--auto-delete"),
    ("-qa", "--queue-args"),
    ("-qp", "--queue-pattern"),
    ("-qpf", "--queue-pattern-from"),
    ("-qpt", "--queue-pattern-to"),
    ("-qq", "--quorum-queue"),
    ("-uri", "--uri"),
];

/// Writes PerfTest's options of several letters in full, so that a pasted command line is read
/// as it was meant. Only what follows the word `bench` is changed.
pub(in crate::cli) fn spell_out(arguments: Vec<OsString>) -> Vec<OsString> {
    let bench = arguments.iter().position(|it| it == "bench").unwrap_or(arguments.len());
    let spelled = arguments.into_iter().enumerate().map(|(at, argument)| {
        let long = LETTERS.iter().find(|(short, _)| at > bench && argument == *short);
        long.map_or(argument, |(_, long)| OsString::from(long))
    });
    spelled.collect()
}

#[cfg(test)]
mod tests;
