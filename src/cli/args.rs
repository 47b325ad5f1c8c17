//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

use crate::cli::bench::args::BenchArgs;
use crate::cli::client::ClientCommand;
use crate::topology::rollout::Options;

/// An AMQP 0-9-1 message router with reviewed topology files.
#[derive(Debug, Parser)]
#[command(name = "railpost", version, about, max_term_width = 100)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    pub(in crate::cli) command: Command,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Run the broker.
    Serve(Box<ServeArgs>),
    /// Read topology files, and what goes with them, and report everything that is wrong.
    Check(CheckArgs),
    /// Run the [[tests]] of topology files, offline and in virtual time.
    Test(TestArgs),
    /// Show the way of one message, with the reason at every hop. Nothing is sent.
    Route(RouteArgs),
    /// Compare two topologies: objects, and who gets which message.
    Diff(DiffArgs),
    /// Draw a topology, or what a change adds to it and takes away.
    Graph(GraphArgs),
    /// Show what has to be done so that a running broker is what the files declare.
    Plan(PlanArgs),
    /// Do it: a saved plan, or what the files declare.
    Apply(ApplyArgs),
    /// Show what differs between topology files and a running broker.
    Drift(DriftArgs),
    /// Write what clients declared on their own into a topology file.
    Adopt(AdoptArgs),
    /// Retry and park what fails on RabbitMQ, as topology files say.
    Controller(ControllerArgs),
    /// Put topology files in order: keys, spaces and blank lines. Comments stay.
    Fmt(FmtArgs),
    /// Write a first topology, its tests, and a workflow that checks them.
    Init(InitArgs),
    /// Write a topology as definitions of RabbitMQ.
    Export(ExportArgs),
    /// Make topology files of definitions of RabbitMQ.
    Import(ImportArgs),
    /// Print the JSON Schema of topology files, for editors.
    Schema,
    /// Explain a rule or code that `check` names; without a name, list all.
    Explain(ExplainArgs),
    /// Look at a data directory that no broker uses.
    Store(StoreArgs),
    /// Copy the data directory, consistently, while the broker goes on or when none runs.
    Backup(BackupArgs),
    /// Make a data directory of a backup.
    Restore(RestoreArgs),
    /// Measure a broker.
    Bench(Box<BenchArgs>),
    #[command(flatten)]
    Client(Box<ClientCommand>),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  railpost serve topology/
  railpost serve --listen 0.0.0.0:5672 --data /var/lib/railpost --config /etc/railpost.toml
  RAILPOST_LISTEN=127.0.0.1:5680 railpost serve topology/")]
pub(in crate::cli) struct ServeArgs {
    /// Topology files, or folders of them (all *.toml below).
    #[arg(value_name = "PATH", conflicts_with = "topology")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// The same, as a flag.
    #[arg(long, value_name = "PATH", env = "RAILPOST_TOPOLOGY")]
    pub(in crate::cli) topology: Option<PathBuf>,
    /// Where messages and definitions are kept [default: ./railpost-data].
    #[arg(long, value_name = "DIR", env = "RAILPOST_DATA")]
    pub(in crate::cli) data: Option<PathBuf>,
    /// Where AMQP clients connect [default: 127.0.0.1:5672].
    #[arg(long, value_name = "ADDR", env = "RAILPOST_LISTEN")]
    pub(in crate::cli) listen: Option<SocketAddr>,
    /// Where Prometheus reads metrics, at /metrics, or `off` [default: 127.0.0.1:15692].
    #[arg(long, value_name = "ADDR", env = "RAILPOST_METRICS")]
    pub(in crate::cli) metrics: Option<String>,
    /// Where the management API is served, or `off` [default: 127.0.0.1:15672].
    #[arg(long, value_name = "ADDR", env = "RAILPOST_HTTP")]
    pub(in crate::cli) http: Option<String>,
    /// A configuration file; flags and environment win over it.
    #[arg(long, value_name = "FILE", env = "RAILPOST_CONFIG")]
    pub(in crate::cli) config: Option<PathBuf>,
    /// How log lines look; what is logged is set by RUST_LOG.
    #[arg(long, value_enum, env = "RAILPOST_LOG_FORMAT")]
    pub(in crate::cli) log_format: Option<LogFormat>,
    /// Threads for connections [default: one per core].
    #[arg(long, value_name = "N", env = "RAILPOST_WORKERS")]
    pub(in crate::cli) workers: Option<usize>,
    /// The user that the first start on a data directory makes [default: guest].
    #[arg(long, value_name = "NAME", env = "RABBITMQ_DEFAULT_USER")]
    pub(in crate::cli) default_user: Option<String>,
    /// Its password; set the variable, since arguments are seen by everybody.
    #[arg(long, value_name = "TEXT", env = "RABBITMQ_DEFAULT_PASS", hide_env_values = true)]
    pub(in crate::cli) default_pass: Option<String>,
    /// The vhost that the first start makes [default: /].
    #[arg(long, value_name = "NAME", env = "RABBITMQ_DEFAULT_VHOST")]
    pub(in crate::cli) default_vhost: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 no errors, 1 errors found, 2 unreadable.

Examples:
  railpost check
  railpost check topology/ --format github --fail-on warning
  railpost check topology/ definitions.json
  railpost check --config /etc/railpost.toml")]
pub(in crate::cli) struct CheckArgs {
    /// Topology files, or folders of them [default: topology]; a file that ends in `.json` is
    /// definitions of RabbitMQ: its objects, policies, users and permissions are looked at.
    #[arg(value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// The daemon's configuration file, whose listeners, users and limits are looked at as well.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub(in crate::cli) format: CheckFormat,
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(in crate::cli) color: Color,
    /// From which severity on a finding makes the answer "no".
    #[arg(long, value_enum, default_value_t = FailOn::Error)]
    pub(in crate::cli) fail_on: FailOn,
    /// Look at a running broker, too: what is lost, left over, at stake, or made by clients.
    #[arg(long)]
    pub(in crate::cli) live: bool,
    #[command(flatten)]
    pub(in crate::cli) api: ApiArgs,
    /// Correct the files where that cannot change where a message goes.
    #[arg(long)]
    pub(in crate::cli) fix: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum FailOn {
    Error,
    Warning,
    Info,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum CheckFormat {
    Text,
    Json,
    Github,
    Sarif,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 all passed, 1 a test failed or the files have errors, 2 \
unreadable.

Examples:
  railpost test topology/
  railpost test topology/ --coverage
  railpost test topology/ --format junit > junit.xml")]
pub(in crate::cli) struct TestArgs {
    /// Topology files, or folders of them [default: topology].
    #[arg(value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// Only tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) filter: Option<String>,
    #[arg(long, value_enum, default_value_t = TestFormat::Text)]
    pub(in crate::cli) format: TestFormat,
    /// Say which bindings and declared messages no test touches.
    #[arg(long)]
    pub(in crate::cli) coverage: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum TestFormat {
    Text,
    Json,
    Junit,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 shown, 1 the files have errors, or no queue under \
--require-routed, 2 unreadable.

Examples:
  railpost route orders order.eu.created
  railpost route orders order.eu.created -H tenant=7 --topology topology/ --format json")]
pub(in crate::cli) struct RouteArgs {
    /// The exchange it is published to; \"\" is the default exchange.
    #[arg(value_name = "EXCHANGE")]
    pub(in crate::cli) exchange: String,
    /// The routing key.
    #[arg(value_name = "KEY", default_value = "")]
    pub(in crate::cli) key: String,
    /// A header; numbers, true and false are taken as such, other values as text.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    pub(in crate::cli) headers: Vec<String>,
    /// Topology files, or folders of them [default: topology].
    #[arg(long, value_name = "PATH", num_args = 1.., env = "RAILPOST_TOPOLOGY")]
    pub(in crate::cli) topology: Vec<PathBuf>,
    /// The vhost [default: the one that declares the exchange, else /].
    #[arg(short = 'V', long, value_name = "NAME")]
    pub(in crate::cli) vhost: Option<String>,
    #[arg(long, value_enum, default_value_t = PlainFormat::Text)]
    pub(in crate::cli) format: PlainFormat,
    /// Answer "no" when no queue gets the message.
    #[arg(long)]
    pub(in crate::cli) require_routed: bool,
    /// Through what a running broker has, instead of files.
    #[arg(long)]
    pub(in crate::cli) live: bool,
    #[command(flatten)]
    pub(in crate::cli) api: ApiArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each side is a file, a folder, REV:PATH, a path in a revision of git, or `live`, what a running
broker has.

Exit codes: 0 the same, 1 differences, 2 unreadable or with errors; with --detailed-exitcode 0 the
same, 1 unreadable, 2 differences.

Examples:
  railpost diff main:topology topology
  railpost diff v1.2:topology v1.3:topology --format markdown
  railpost diff live topology"
)]
pub(in crate::cli) struct DiffArgs {
    #[arg(value_name = "OLD")]
    pub(in crate::cli) old: String,
    #[arg(value_name = "NEW", default_value = "topology")]
    pub(in crate::cli) new: String,
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    pub(in crate::cli) format: DiffFormat,
    /// End with 2 when there are differences, and with 1 when they cannot be told.
    #[arg(long)]
    pub(in crate::cli) detailed_exitcode: bool,
    #[command(flatten)]
    pub(in crate::cli) api: ApiArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum DiffFormat {
    Text,
    Json,
    Markdown,
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct ApiArgs {
    /// The broker's HTTP API, with user and password.
    #[arg(long, env = "RAILPOST_API", hide_env_values = true, value_name = "URL")]
    #[arg(default_value = "http://guest:guest@localhost:15672")]
    pub(in crate::cli) api: String,
    /// What kind of broker it is.
    #[arg(long, value_enum, env = "RAILPOST_ENGINE", default_value_t = EngineName::Railpost)]
    pub(in crate::cli) engine: EngineName,
    /// Where RabbitMQ speaks AMQP [default: as the API, 10,000 ports below].
    #[arg(long, env = "RAILPOST_URL", hide_env_values = true, value_name = "URL")]
    pub(in crate::cli) url: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum EngineName {
    Railpost,
    Rabbitmq,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RolloutArgs {
    /// Topology files, or folders of them [default: topology].
    #[arg(value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) api: ApiArgs,
    /// Delete what no file declares, too.
    #[arg(long)]
    pub(in crate::cli) prune: bool,
    /// A queue that may go with its messages and consumers; as often as needed.
    #[arg(long, value_name = "QUEUE")]
    pub(in crate::cli) delete: Vec<String>,
}

impl RolloutArgs {
    pub(in crate::cli) fn options(&self) -> Options {
        Options { prune: self.prune, delete: self.delete.iter().cloned().collect() }
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Nothing is changed. What clients declared on their own stays, unless \
--prune is given.

Exit codes: 0 planned, 1 the files have errors, or differences with --check, 2 unreadable, 4 the \
broker cannot be reached.

Examples:
  railpost plan -o plan.json && railpost apply plan.json
  railpost plan topology --format markdown > comment.md")]
pub(in crate::cli) struct PlanArgs {
    #[command(flatten)]
    pub(in crate::cli) target: RolloutArgs,
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    pub(in crate::cli) format: DiffFormat,
    /// Save the plan for `apply`.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Answer "no" when there is something to do.
    #[arg(long)]
    pub(in crate::cli) check: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "A saved plan is carried out as it is, or not at all when the broker has \
changed since. Files are planned first, shown, and carried out after `yes` or with --yes.

Exit codes: 0 done, or nothing to do; 1 the files have errors, 2 unreadable, 4 the broker cannot \
be reached, 5 refused: a stale plan, messages or consumers at stake, something protected, nobody \
who agreed.")]
pub(in crate::cli) struct ApplyArgs {
    #[command(flatten)]
    pub(in crate::cli) target: RolloutArgs,
    /// Do not ask.
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 no drift, 1 drift, 2 unreadable, 4 the broker cannot be \
reached.")]
pub(in crate::cli) struct DriftArgs {
    /// Topology files, or folders of them [default: topology].
    #[arg(value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) api: ApiArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  railpost adopt topology --to topology/adopted.toml")]
pub(in crate::cli) struct AdoptArgs {
    /// Topology files, or folders of them [default: topology].
    #[arg(value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) api: ApiArgs,
    /// The file to write; one that is there is not overwritten. Bindings go to the files that
    /// declare what they lead to.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) to: PathBuf,
    #[arg(short = 'V', long, value_name = "NAME", default_value = "/")]
    pub(in crate::cli) vhost: String,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Any number of controllers may run with the same files; they share the work. \
What was applied must be what they run with: after `railpost apply --engine rabbitmq`, restart \
them.

Exit codes: 0 stopped by SIGTERM, or redriven, 130 by Ctrl-C, 1 the files have errors or are not \
applied, 2 unreadable, 4 RabbitMQ cannot be reached or refuses the login.

Examples:
  railpost controller topology --url amqp://retry:secret@rabbit:5672
  railpost controller topology --redrive billing --count 10"
)]
pub(in crate::cli) struct ControllerArgs {
    /// Topology files, or folders of them [default: topology].
    #[arg(value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// RabbitMQ, with user and password; the vhosts are those of the files.
    #[arg(long, env = "RAILPOST_URL", hide_env_values = true, value_name = "URL")]
    #[arg(default_value = "amqp://guest:guest@localhost:5672")]
    pub(in crate::cli) url: String,
    /// Messages of one queue that may be on their way at once.
    #[arg(long, value_name = "N", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub(in crate::cli) window: u16,
    /// Send what is parked of a queue back to it, as new, and end.
    #[arg(long, value_name = "QUEUE")]
    pub(in crate::cli) redrive: Option<String>,
    /// How many messages, with --redrive [default: all that are parked].
    #[arg(long, value_name = "N", requires = "redrive")]
    pub(in crate::cli) count: Option<u64>,
    /// The vhost of the queue, with --redrive, where files have several.
    #[arg(short = 'V', long, value_name = "NAME", requires = "redrive")]
    pub(in crate::cli) vhost: Option<String>,
    /// The user has RabbitMQ's tag `impersonator`, so messages keep their `user_id`; else it
    /// becomes the header `x-railpost-user-id`.
    #[arg(long)]
    pub(in crate::cli) impersonate: bool,
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(in crate::cli) log_format: LogFormat,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "PATH is a file, a folder, or REV:PATH, a path in a revision of git.

Exit codes: 0 drawn, 1 the files have errors, 2 unreadable.

Examples:
  railpost graph topology > topology.svg
  railpost graph topology --diff main:topology --format mermaid")]
pub(in crate::cli) struct GraphArgs {
    #[arg(value_name = "PATH", default_value = "topology")]
    pub(in crate::cli) path: String,
    #[arg(long, value_enum, default_value_t = GraphFormat::Svg)]
    pub(in crate::cli) format: GraphFormat,
    /// Show what has changed since OLD.
    #[arg(long, value_name = "OLD")]
    pub(in crate::cli) diff: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum GraphFormat {
    Svg,
    Dot,
    Mermaid,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 in order, 1 not, with --check, 2 unreadable.")]
pub(in crate::cli) struct FmtArgs {
    /// Topology files, or folders of them [default: topology].
    #[arg(value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// Change nothing, and name the files that are not in order.
    #[arg(long)]
    pub(in crate::cli) check: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "What is there already is never overwritten.")]
pub(in crate::cli) struct InitArgs {
    #[arg(value_name = "DIR", default_value = ".")]
    pub(in crate::cli) folder: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What RabbitMQ has no word for is listed on stderr. With `--engine rabbitmq` \
retries are made of the queues that `railpost controller` works with, as `apply` would make them; \
without, of what RabbitMQ 4.3 has itself.

Exit codes: 0 written, 1 the files have errors, 2 unreadable.

Examples:
  railpost export topology --to rabbitmq > definitions.json
  railpost export --engine rabbitmq > definitions.json
  railpost export --live --to toml > topology/found.toml"
)]
pub(in crate::cli) struct ExportArgs {
    /// Topology files, or folders of them [default: topology].
    #[arg(value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = ExportTarget::Rabbitmq)]
    pub(in crate::cli) to: ExportTarget,
    /// What a running broker has, instead of files.
    #[arg(long)]
    pub(in crate::cli) live: bool,
    #[command(flatten)]
    pub(in crate::cli) api: ApiArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum ExportTarget {
    Rabbitmq,
    Toml,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "What has no form in a topology file is listed on stderr.

Exit codes: 0 written, 1 something is left out, with --strict, 2 unreadable.

Examples:
  railpost import definitions.json --vhost shop
  railpost import definitions.json --to-toml topology/")]
pub(in crate::cli) struct ImportArgs {
    /// What `GET /api/definitions` or `rabbitmqctl export_definitions` wrote.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// Write one file for each vhost into this folder; files that are there stay as they are.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) to_toml: Option<PathBuf>,
    /// Only this vhost.
    #[arg(short = 'V', long, value_name = "NAME")]
    pub(in crate::cli) vhost: Option<String>,
    /// Answer "no" when something is left out.
    #[arg(long)]
    pub(in crate::cli) strict: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum PlainFormat {
    Text,
    Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  railpost explain
  railpost explain FAN-002
  railpost explain unbounded-queue")]
pub(in crate::cli) struct ExplainArgs {
    /// An id or a name.
    #[arg(value_name = "RULE")]
    pub(in crate::cli) rule: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct StoreArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StoreCommand {
    /// Read every byte, and say what is damaged: exit 0 nothing that matters, 1 something does.
    Verify(DataArgs),
    /// Count queues, segments, bytes.
    Stats(DataArgs),
    /// Print the log, record by record, as JSON lines. Bodies are not shown.
    Dump(DumpArgs),
    /// Make a damaged directory start again, without what cannot be read; damaged files are kept
    /// beside it.
    Repair(RepairArgs),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DumpArgs {
    #[command(flatten)]
    pub(in crate::cli) data: DataArgs,
    /// Only this segment.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) segment: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RepairArgs {
    #[command(flatten)]
    pub(in crate::cli) data: DataArgs,
    /// Do it: without this only what would be given up is printed.
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  railpost backup /backups/monday
  railpost backup /backups/monday --data /var/lib/railpost")]
pub(in crate::cli) struct BackupArgs {
    /// An empty or missing folder.
    #[arg(value_name = "TO")]
    pub(in crate::cli) to: PathBuf,
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "./railpost-data", env = "RAILPOST_DATA")]
    pub(in crate::cli) data: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RestoreArgs {
    /// A backup.
    #[arg(value_name = "FROM")]
    pub(in crate::cli) from: PathBuf,
    /// The data directory, empty or missing.
    #[arg(long, value_name = "DIR", default_value = "./railpost-data", env = "RAILPOST_DATA")]
    pub(in crate::cli) data: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DataArgs {
    /// The data directory.
    #[arg(value_name = "DIR", default_value = "./railpost-data", env = "RAILPOST_DATA")]
    pub(in crate::cli) data: PathBuf,
}
