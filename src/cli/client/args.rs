//! What can be typed after the names of commands that ask a running broker.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

use crate::cli::args::PlainFormat;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ClientCommand {
    /// How the broker is, on one screen.
    Status(StatusArgs),
    /// Ask whether the broker answers: exit 0 it does, 1 it does not.
    Ping(PingArgs),
    /// The queues as they change, with the busiest first.
    Top(TopArgs),
    /// List what there is.
    Ls(LsArgs),
    /// Publish messages, and say whether a queue took them.
    Publish(PublishArgs),
    /// Look at messages. Nothing changes: none is delivered, marked or moved.
    Peek(PeekArgs),
    /// Take messages out of a queue, or put them back marked as redelivered.
    Get(GetArgs),
    /// Drop all ready messages of a queue.
    Purge(PurgeArgs),
    /// Stop delivery to the consumers of a queue, until `resume` or a restart.
    Pause(PauseArgs),
    /// Deliver again to the consumers of a queue.
    Resume(PauseArgs),
    /// Close a connection.
    Close(CloseArgs),
    /// What waits for a retry.
    Retry(RetryArgs),
    /// What is parked: look at it, send it back, drop it.
    Park(ParkArgs),
    /// Users and their permissions.
    User(UserArgs),
    /// Vhosts.
    Vhost(VhostArgs),
    /// Policies.
    Policy(PolicyArgs),
    /// Hash a password as RabbitMQ's definitions want it. Asks no broker.
    HashPassword(HashArgs),
    /// Say which broker would be asked, and as whom.
    Endpoint(EndpointArgs),
}

/// Which broker, and who asks.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Broker")]
pub(in crate::cli) struct TargetArgs {
    /// The HTTP API, as http://user:password@host:15672 [env: RAILPOST_API].
    #[arg(long, value_name = "URL", conflicts_with = "url")]
    pub(super) api: Option<String>,
    /// The broker as AMQP clients name it; the API is on the port 10000 above
    /// [env: RAILPOST_URL, AMQP_URL, RABBITMQ_URL].
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// The vhost [default: the one of --url, else /].
    #[arg(short = 'V', long, value_name = "NAME")]
    pub(super) vhost: Option<String>,
    /// Who asks, when the address does not say [env: RAILPOST_USER, default: guest].
    #[arg(short, long, value_name = "NAME")]
    pub(super) user: Option<String>,
    /// A file with the password, `-` for standard input [env: RAILPOST_PASSWORD].
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EndpointArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 fine, 1 an alarm is on, 4 the broker cannot be reached.

Examples:
  railpost status
  railpost status --wait 60s --api http://ops:secret@broker:15672")]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Wait so long for a broker that lets publishers in.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) wait: Option<Duration>,
    #[arg(long, value_enum, default_value_t = PlainFormat::Text)]
    pub(super) format: PlainFormat,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PingArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Ends with Ctrl-C.")]
pub(in crate::cli) struct TopArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Time between two looks.
    #[arg(short, long, value_name = "TIME", default_value = "1s",
        value_parser = humantime::parse_duration)]
    pub(super) delay: Duration,
    /// Queues that are shown.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 30)]
    pub(super) lines: usize,
    #[arg(long, value_enum, default_value_t = TopSort::Depth)]
    pub(super) sort: TopSort,
    /// Print one screen and end.
    #[arg(long)]
    pub(super) once: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum TopSort {
    Depth,
    In,
    Out,
    Name,
}

#[derive(Debug, Args)]
#[command(after_help = "A column is a name of the table, or any key of the answer, with dots.

Examples:
  railpost ls queues --where 'ready>1000 and consumers=0'
  railpost ls q --columns name,ready,arguments.x-max-length
  railpost ls connections --format json")]
pub(in crate::cli) struct LsArgs {
    #[arg(value_enum, value_name = "KIND")]
    pub(super) kind: LsKind,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Columns, with commas between.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(super) columns: Vec<String>,
    /// Only lines for which this holds: comparisons with = != < <= > >= ~ (contains), with `and`.
    #[arg(long = "where", value_name = "CONDITION")]
    pub(super) condition: Option<String>,
    /// Leave out the line of headings.
    #[arg(long)]
    pub(super) no_headers: bool,
    #[arg(long, value_enum, default_value_t = PlainFormat::Text)]
    pub(super) format: PlainFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum LsKind {
    #[value(alias = "q")]
    Queues,
    #[value(alias = "x")]
    Exchanges,
    #[value(alias = "b")]
    Bindings,
    #[value(alias = "c")]
    Connections,
    Channels,
    Consumers,
    Users,
    Vhosts,
    Policies,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 a queue took every message, 1 none took one of them.

Examples:
  railpost publish orders order.eu.created -b '{\"id\": 7}' -H tenant=7
  railpost publish \"\" billing -b @body.json -p content_type=application/json")]
pub(in crate::cli) struct PublishArgs {
    /// The exchange; \"\" is the default exchange.
    #[arg(value_name = "EXCHANGE")]
    pub(super) exchange: String,
    #[arg(value_name = "KEY", default_value = "")]
    pub(super) key: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// The body: a text, @FILE, or - for standard input.
    #[arg(short, long, value_name = "BODY", default_value = "")]
    pub(super) body: String,
    /// A header; numbers, true and false are taken as such, other values as text.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    pub(super) headers: Vec<String>,
    /// A property, such as message_id=7; messages are persistent unless delivery_mode=1.
    #[arg(short, long = "property", value_name = "NAME=VALUE")]
    pub(super) properties: Vec<String>,
    /// How many.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    pub(super) count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum PeekState {
    Ready,
    Unacked,
    Delayed,
    Parked,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  railpost peek billing
  railpost peek billing --state parked -n 100 --format json")]
pub(in crate::cli) struct PeekArgs {
    #[arg(value_name = "QUEUE")]
    pub(super) queue: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub(super) count: u64,
    #[arg(long, value_enum, default_value_t = PeekState::Ready)]
    pub(super) state: PeekState,
    /// Go on behind this id.
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<String>,
    #[arg(long, value_enum, default_value_t = PlainFormat::Text)]
    pub(super) format: PlainFormat,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Without --ack or --reject messages go back, marked as redelivered; `peek` \
marks nothing.

Examples:
  railpost get billing
  railpost get billing -n 5 --ack --format json"
)]
pub(in crate::cli) struct GetArgs {
    #[arg(value_name = "QUEUE")]
    pub(super) queue: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    pub(super) count: u64,
    /// They are done: take them out.
    #[arg(long, conflicts_with_all = ["reject", "requeue"])]
    pub(super) ack: bool,
    /// They failed: they are retried, parked or dead-lettered as the queue says.
    #[arg(long, conflicts_with = "requeue")]
    pub(super) reject: bool,
    /// Put them back, which is what happens anyway.
    #[arg(long)]
    pub(super) requeue: bool,
    #[arg(long, value_enum, default_value_t = PlainFormat::Text)]
    pub(super) format: PlainFormat,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 done, 1 no such queue, 5 nobody said --yes.")]
pub(in crate::cli) struct PurgeArgs {
    #[arg(value_name = "QUEUE")]
    pub(super) queue: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) consent: ConsentArgs,
}

/// For what cannot be undone.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(in crate::cli) struct ConsentArgs {
    /// Do it without asking.
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Only say what would be done.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PauseArgs {
    #[arg(value_name = "QUEUE")]
    pub(super) queue: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CloseArgs {
    /// Its name, as `railpost ls connections` shows it.
    #[arg(value_name = "CONNECTION")]
    pub(super) connection: String,
    /// What its client is told.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RetryArgs {
    #[command(subcommand)]
    pub(super) command: RetryCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum RetryCommand {
    /// How many wait after how many attempts, and when the next is due.
    List(RetryListArgs),
    /// Retry waiting messages before their time.
    Now(RetryNowArgs),
}

#[derive(Debug, Args)]
pub(super) struct RetryListArgs {
    /// Only this queue; else all in which something waits.
    #[arg(value_name = "QUEUE")]
    pub(super) queue: Option<String>,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[arg(long, value_enum, default_value_t = PlainFormat::Text)]
    pub(super) format: PlainFormat,
}

#[derive(Debug, Args)]
pub(super) struct RetryNowArgs {
    #[arg(value_name = "QUEUE")]
    pub(super) queue: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Only these, as `railpost peek --state delayed` names them.
    #[arg(long = "id", value_name = "ID")]
    pub(super) ids: Vec<String>,
    /// Only messages that failed so often.
    #[arg(long, value_name = "N")]
    pub(super) attempt: Option<u64>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Only count.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ParkArgs {
    #[command(subcommand)]
    pub(super) command: ParkCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ParkCommand {
    /// Parked messages by queue and reason.
    List(RetryListArgs),
    /// Look at parked messages.
    Show(ParkShowArgs),
    /// Send parked messages back to the queue that failed.
    Redrive(ParkRedriveArgs),
    /// Drop parked messages.
    Discard(ParkDiscardArgs),
    /// Put messages back that were discarded within the last 24 hours.
    Restore(ParkRestoreArgs),
    /// The redrives and discards that run, and the last ones that ended.
    Jobs(ParkJobsArgs),
    /// End a job; what it has done stays done.
    Stop(ParkStopArgs),
}

#[derive(Debug, Args)]
pub(super) struct ParkShowArgs {
    #[arg(value_name = "QUEUE")]
    pub(super) queue: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub(super) count: u64,
    /// Go on behind this id.
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<String>,
    #[arg(long, value_enum, default_value_t = PlainFormat::Text)]
    pub(super) format: PlainFormat,
}

/// Which parked messages.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which messages")]
pub(super) struct SelectorArgs {
    /// Those with these ids, as `railpost park show` names them.
    #[arg(long = "id", value_name = "ID")]
    pub(super) ids: Vec<String>,
    /// Those parked for this reason.
    #[arg(long, value_name = "REASON")]
    pub(super) reason: Option<String>,
    /// Those parked so long ago.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) older_than: Option<Duration>,
    /// Every one; needed when nothing else chooses.
    #[arg(long)]
    pub(super) all: bool,
    /// At most so many, the oldest first.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// At most so many a second.
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<u64>,
    /// Begin the job and do not wait for its end.
    #[arg(long)]
    pub(super) no_wait: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all of them went back, 3 some did not, 5 \
nobody said --yes.

Examples:
  railpost park redrive billing --reason rejected --rate 50 --stop-at 20%
  railpost park redrive billing --id 17 --id 18
  railpost park redrive billing --all --dry-run")]
pub(super) struct ParkRedriveArgs {
    #[arg(value_name = "QUEUE")]
    pub(super) queue: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) selector: SelectorArgs,
    /// With --rate: end when this share of the messages sent back is parked again.
    #[arg(long, value_name = "PERCENT", requires = "rate", value_parser = percent)]
    pub(super) stop_at: Option<u64>,
    /// Send so many first, and the others once the queue had as many acknowledged; end when one of
    /// them is parked again.
    #[arg(long, value_name = "N")]
    pub(super) canary: Option<u64>,
    /// Only say how many there are.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// `20%` or `20`.
fn percent(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().map_err(|_| "no percentage")?;
    if (1..=100).contains(&number) { Ok(number) } else { Err("not 1% to 100%".to_owned()) }
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 done, 5 nobody said --yes.")]
pub(super) struct ParkDiscardArgs {
    #[arg(value_name = "QUEUE")]
    pub(super) queue: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) selector: SelectorArgs,
    #[command(flatten)]
    pub(super) consent: ConsentArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all of them are parked again, 3 some are not.")]
pub(super) struct ParkRestoreArgs {
    #[arg(value_name = "QUEUE")]
    pub(super) queue: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) selector: SelectorArgs,
}

#[derive(Debug, Args)]
pub(super) struct ParkJobsArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[arg(long, value_enum, default_value_t = PlainFormat::Text)]
    pub(super) format: PlainFormat,
}

#[derive(Debug, Args)]
pub(super) struct ParkStopArgs {
    #[arg(value_name = "JOB")]
    pub(super) job: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UserArgs {
    #[command(subcommand)]
    pub(super) command: UserCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    List(NamelessArgs),
    /// Add a user. The password is read from standard input, unless a hash is given.
    Add(UserAddArgs),
    /// Change a password, which is read from standard input.
    Passwd(NameArgs),
    /// Replace the tags of a user; none takes all away.
    Tag(UserTagArgs),
    /// Let a user into the vhost, with three patterns of names.
    Grant(UserGrantArgs),
    /// Let a user into the vhost no more.
    Revoke(NameArgs),
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct NamelessArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[arg(long, value_enum, default_value_t = PlainFormat::Text)]
    pub(super) format: PlainFormat,
}

#[derive(Debug, Args)]
pub(super) struct NameArgs {
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) consent: ConsentArgs,
    /// It is fine when there is none.
    #[arg(long)]
    pub(super) idempotent: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  railpost user add billing < password.txt
  railpost user add ops --tags administrator --hash \"$(railpost hash-password < password.txt)\"")]
pub(super) struct UserAddArgs {
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// administrator, monitoring, policymaker, management; with commas between.
    #[arg(long, value_delimiter = ',', value_name = "TAGS")]
    pub(super) tags: Vec<String>,
    /// A hash instead of a password.
    #[arg(long, value_name = "HASH")]
    pub(super) hash: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct UserTagArgs {
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[arg(value_name = "TAG")]
    pub(super) tags: Vec<String>,
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(super) struct UserGrantArgs {
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[arg(long, value_name = "PATTERN", default_value = ".*")]
    pub(super) configure: String,
    #[arg(long, value_name = "PATTERN", default_value = ".*")]
    pub(super) write: String,
    #[arg(long, value_name = "PATTERN", default_value = ".*")]
    pub(super) read: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VhostArgs {
    #[command(subcommand)]
    pub(super) command: VhostCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum VhostCommand {
    List(NamelessArgs),
    /// Add a vhost, or change what is said of it.
    Add(VhostAddArgs),
    /// Remove a vhost and everything in it.
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct VhostAddArgs {
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
    #[arg(long, value_delimiter = ',', value_name = "TAGS")]
    pub(super) tags: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PolicyArgs {
    #[command(subcommand)]
    pub(super) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    List(NamelessArgs),
    /// Set a policy.
    Set(PolicySetArgs),
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  railpost policy set short '^tmp[.]' '{\"max-length\": 1000}' --apply-to queues --priority 5")]
pub(super) struct PolicySetArgs {
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// A regular expression for names.
    #[arg(value_name = "PATTERN")]
    pub(super) pattern: String,
    /// What it says, as JSON.
    #[arg(value_name = "DEFINITION")]
    pub(super) definition: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[arg(long, value_name = "KIND", default_value = "all")]
    pub(super) apply_to: String,
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(super) priority: i64,
}

#[derive(Debug, Args)]
#[command(after_help = "The password is read from standard input.

Examples:
  railpost hash-password < password.txt
  railpost hash-password --algorithm argon2id < password.txt")]
pub(in crate::cli) struct HashArgs {
    #[arg(long, value_enum, default_value_t = HashAlgorithm::Sha256)]
    pub(super) algorithm: HashAlgorithm,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum HashAlgorithm {
    Sha256,
    Sha512,
    Md5,
    Argon2id,
}
