//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

use crate::cli::bench::args::BenchArgs;

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
    Serve(ServeArgs),
    /// Measure a broker.
    Bench(Box<BenchArgs>),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  railpost serve --listen 0.0.0.0:5672 --data /var/lib/railpost --config /etc/railpost.toml
  RAILPOST_LISTEN=127.0.0.1:5680 railpost serve")]
pub(in crate::cli) struct ServeArgs {
    /// Where messages and definitions are kept [default: ./railpost-data].
    #[arg(long, value_name = "DIR", env = "RAILPOST_DATA")]
    pub(in crate::cli) data: Option<PathBuf>,
    /// Where AMQP clients connect [default: 127.0.0.1:5672].
    #[arg(long, value_name = "ADDR", env = "RAILPOST_LISTEN")]
    pub(in crate::cli) listen: Option<SocketAddr>,
    /// Serve Prometheus metrics at http://ADDR/metrics.
    #[arg(long, value_name = "ADDR", env = "RAILPOST_METRICS")]
    pub(in crate::cli) metrics: Option<SocketAddr>,
    /// A configuration file; flags and environment win over it.
    #[arg(long, value_name = "FILE", env = "RAILPOST_CONFIG")]
    pub(in crate::cli) config: Option<PathBuf>,
    /// How log lines look; what is logged is set by RUST_LOG.
    #[arg(long, value_enum, env = "RAILPOST_LOG_FORMAT")]
    pub(in crate::cli) log_format: Option<LogFormat>,
    /// Threads for connections [default: one per core].
    #[arg(long, value_name = "N", env = "RAILPOST_WORKERS")]
    pub(in crate::cli) workers: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum LogFormat {
    Text,
    Json,
}
