//! `railpost serve`: the broker, from its configuration to its last line.

use std::io::IsTerminal as _;
use std::path::Path;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tracing_subscriber::EnvFilter;

use crate::cli::args::LogFormat;
use crate::cli::args::ServeArgs;
use crate::cli::exit::Exit;
use crate::server::config::ConfigFile;
use crate::server::config::ServerConfig;
use crate::server::run::Server;
use crate::server::run::StartError;

/// What `serve` was asked to do, all sources taken together.
struct Plan {
    config: ServerConfig,
    log_format: LogFormat,
    workers: Option<usize>,
}

pub(in crate::cli) fn run(args: &ServeArgs) -> Exit {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("error: {message}");
            return Exit::Unusable;
        }
    };
    start_logging(plan.log_format);
    let mut builder = match plan.workers {
        Some(1) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Some(workers) = plan.workers.filter(|it| *it > 1) {
        builder.worker_threads(workers);
    }
    match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(serve(&plan)),
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            Exit::Findings
        }
    }
}

/// Flags and environment, over the file, over the defaults.
fn plan(args: &ServeArgs) -> Result<Plan, String> {
    let file = match &args.config {
        Some(path) => read_config(path)?,
        None => ConfigFile::default(),
    };
    let address = |text: &Option<String>, key: &str| match text {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(address) => Ok(Some(address)),
            Err(error) => Err(format!("`{key} = \"{text}\"` is no address: {error}")),
        },
    };
    let defaults = ServerConfig::default();
    let log_format = match (args.log_format, file.log_format.as_deref()) {
        (Some(format), _) => format,
        (None, None | Some("text")) => LogFormat::Text,
        (None, Some("json")) => LogFormat::Json,
        (None, Some(other)) => {
            return Err(format!("`log_format = \"{other}\"`: it is \"text\" or \"json\""));
        }
    };
    Ok(Plan {
        log_format,
        workers: args.workers.or(file.workers),
        config: ServerConfig {
            listen: args.listen.or(address(&file.listen, "listen")?).unwrap_or(defaults.listen),
            metrics: args.metrics.or(address(&file.metrics, "metrics")?),
            data: args.data.clone().or(file.data).unwrap_or(defaults.data),
            body_bytes_max: file.body_bytes_max.unwrap_or(defaults.body_bytes_max),
            heartbeat_secs: file.heartbeat_secs.unwrap_or(defaults.heartbeat_secs),
            connections_max: file.connections_max.unwrap_or(defaults.connections_max),
            users: file.users,
            vhosts: file.vhosts,
        },
    })
}

fn read_config(path: &Path) -> Result<ConfigFile, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("in `{}`: {error}", path.display()))
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

async fn serve(plan: &Plan) -> Exit {
    let server = match Server::start(&plan.config).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("error: {error}");
            return match error {
                StartError::Config(_) => Exit::Unusable,
                StartError::Data { .. }
                | StartError::Folder { .. }
                | StartError::Listen { .. }
                | StartError::Thread(_) => Exit::Findings,
            };
        }
    };
    announce(plan, &server);
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        eprintln!("error: cannot listen for signals");
        return Exit::Findings;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        why = server.failed() => {
            eprintln!("error: {why}");
            return Exit::DiskFailed;
        }
    }
    println!("stopping");
    server.stop().await;
    println!("stopped");
    Exit::Fine
}

/// The lines that say what was found and where the broker is.
fn announce(plan: &Plan, server: &Server) {
    let version = env!("CARGO_PKG_VERSION");
    let found = if server.log.created { "new" } else { "opened" };
    println!("railpost {version}  data {} ({found})", plan.config.data.display());
    let recovered = &server.recovered;
    println!(
        "recovered {} messages in {} queues ({} parked, {} waiting to retry)",
        recovered.messages, recovered.queues, recovered.parked, recovered.delayed
    );
    for line in server.log.cut.iter().chain(&server.log.damaged) {
        println!("warning   {line}");
    }
    let metrics = server.metrics_address().map(|it| format!(" · metrics http://{it}/metrics"));
    println!("listening amqp {}{}", server.address(), metrics.unwrap_or_default());
    println!("note      guest/guest works from this machine only");
    println!("Server startup complete; ready in {:.2} s", server.took.as_secs_f64());
}
