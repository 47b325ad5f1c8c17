//! `railpost serve`: the broker, from its configuration to its last line.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tracing_subscriber::EnvFilter;

use crate::cli::args::LogFormat;
use crate::cli::args::ServeArgs;
use crate::cli::exit::Exit;
use crate::cli::files;
use crate::cli::files::color_of;
use crate::server::config::ConfigFile;
use crate::server::config::DefaultUser;
use crate::server::config::Http;
use crate::server::config::ServerConfig;
use crate::server::rollout;
use crate::server::run::Server;
use crate::server::run::StartError;
use crate::topology;
use crate::topology::Diagnostic;
use crate::topology::Loaded;
use crate::topology::diagnostic::Tally;
use crate::topology::render;

/// What `serve` was asked to do, all sources taken together.
struct Plan {
    config: ServerConfig,
    topology: Vec<PathBuf>,
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
    let loaded = match read_topology(&plan) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    start_logging(plan.log_format, "info");
    let mut builder = match plan.workers {
        Some(1) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Some(workers) = plan.workers.filter(|it| *it > 1) {
        builder.worker_threads(workers);
    }
    match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(serve(&plan, &loaded)),
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            Exit::Findings
        }
    }
}

/// Reads the topology; with an error in it the broker does not start.
fn read_topology(plan: &Plan) -> Result<Loaded, Exit> {
    let read = match plan.config.resumes {
        true => rollout::kept(&plan.config.data).map_err(|error| {
            let path = plan.config.data.join(rollout::APPLIED);
            format!("cannot read `{}`: {error}", path.display())
        }),
        false => files::read(&plan.topology).map_err(|error| error.to_string()),
    };
    let sources = match read {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("error: {error}");
            return Err(Exit::Unusable);
        }
    };
    let loaded = topology::check(&sources, files::today());
    let tally = Tally::of(&loaded.diagnostics);
    if tally.errors == 0 {
        return Ok(loaded);
    }
    let errors: Vec<Diagnostic> =
        loaded.diagnostics.iter().filter(|it| it.is_error()).cloned().collect();
    let color = color_of(std::io::stderr().is_terminal());
    eprint!("{}", render::text(&errors, &loaded.topology.sources, color));
    eprintln!("the broker does not start on a topology with errors: {tally}");
    Err(Exit::Findings)
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
    let named = args.topology.clone().into_iter().chain(args.paths.iter().cloned());
    let mut topology: Vec<PathBuf> = named.collect();
    if topology.is_empty() {
        topology.extend(file.topology.clone());
    }
    let resumes = topology.is_empty();
    Ok(Plan {
        topology,
        log_format,
        workers: args.workers.or(file.workers),
        config: ServerConfig {
            resumes,
            listen: args.listen.or(address(&file.listen, "listen")?).unwrap_or(defaults.listen),
            metrics: http("metrics", args.metrics.as_deref().or(file.metrics.as_deref()))?,
            http: http("http", args.http.as_deref().or(file.http.as_deref()))?,
            data: args.data.clone().or(file.data).unwrap_or(defaults.data),
            body_bytes_max: file.body_bytes_max.unwrap_or(defaults.body_bytes_max),
            heartbeat_secs: file.heartbeat_secs.unwrap_or(defaults.heartbeat_secs),
            connections_max: file.connections_max.unwrap_or(defaults.connections_max),
            users: file.users,
            vhosts: file.vhosts,
            compat: file.compat,
            default_user: DefaultUser {
                name: args.default_user.clone().unwrap_or(defaults.default_user.name),
                password: args.default_pass.clone().unwrap_or(defaults.default_user.password),
                vhost: args.default_vhost.clone().unwrap_or(defaults.default_user.vhost),
            },
        },
    })
}

/// Off, the address that is given, or the usual one.
fn http(key: &str, text: Option<&str>) -> Result<Http, String> {
    match text {
        None => Ok(Http::Usual),
        Some("off") => Ok(Http::Off),
        Some(text) => match text.parse() {
            Ok(address) => Ok(Http::At(address)),
            Err(error) => Err(format!("`{key} = \"{text}\"` is no address: {error}")),
        },
    }
}

fn read_config(path: &Path) -> Result<ConfigFile, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("in `{}`: {error}", path.display()))
}

/// Reads a configuration to see whether the broker would start with it.
pub(in crate::cli) fn parse_config(path: &Path, text: &str) -> Result<ConfigFile, String> {
    let path = path.display();
    let file: ConfigFile = toml::from_str(text).map_err(|it| format!("in `{path}`: {it}"))?;
    let listen = [("listen", &file.listen), ("http", &file.http), ("metrics", &file.metrics)];
    for (key, text) in listen {
        let text = text.as_deref().filter(|it| key == "listen" || *it != "off");
        if let Some(Err(error)) = text.map(str::parse::<SocketAddr>) {
            let text = text.unwrap_or_default();
            return Err(format!("in `{path}`: `{key} = \"{text}\"` is no address: {error}"));
        }
    }
    let config = ServerConfig { users: file.users.clone(), ..ServerConfig::default() };
    config.users().map_err(|it| format!("in `{path}`: {it}"))?;
    Ok(file)
}

/// Logs to stderr what `RUST_LOG` asks for, else `usual`.
pub(in crate::cli) fn start_logging(format: LogFormat, usual: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

async fn serve(plan: &Plan, loaded: &Loaded) -> Exit {
    let server = match Server::start(&plan.config, &loaded.topology).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("error: {error}");
            return match error {
                StartError::Config(_) => Exit::Unusable,
                StartError::Data { .. }
                | StartError::Folder { .. }
                | StartError::Topology(_)
                | StartError::Listen { .. }
                | StartError::Thread(_) => Exit::Findings,
            };
        }
    };
    announce(plan, loaded, &server);
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        eprintln!("error: cannot listen for signals");
        return Exit::Findings;
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => reload(plan, &server).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            why = server.failed() => {
                eprintln!("error: {why}");
                return Exit::DiskFailed;
            }
        }
    }
    println!("stopping");
    server.stop().await;
    println!("stopped");
    Exit::Fine
}

/// Reads the files anew, on SIGHUP, and makes the broker what they declare; with anything wrong in
/// them or at stake it stays as it was.
async fn reload(plan: &Plan, server: &Server) {
    if plan.topology.is_empty() {
        tracing::warn!("SIGHUP: the broker was started without files; use `railpost apply`");
        return;
    }
    let sources = match files::read(&plan.topology) {
        Ok(sources) => sources,
        Err(error) => {
            tracing::error!("the topology stays as it was: {error}");
            return;
        }
    };
    match server.reload(&sources).await {
        Ok((created, changed, removed)) => {
            tracing::info!(created, changed, removed, "the topology was read again");
        }
        Err(why) => tracing::error!("the topology stays as it was: {why}"),
    }
}

/// The lines that say what was found and where the broker is.
fn announce(plan: &Plan, loaded: &Loaded, server: &Server) {
    let version = env!("CARGO_PKG_VERSION");
    let found = if server.log.created { "new" } else { "opened" };
    println!("railpost {version}  data {} ({found})", plan.config.data.display());
    announce_topology(plan, loaded, server);
    let recovered = &server.recovered;
    println!(
        "recovered {} messages in {} queues ({} parked, {} waiting to retry)",
        recovered.messages, recovered.queues, recovered.parked, recovered.delayed
    );
    for line in server.log.cut.iter().chain(&server.log.damaged) {
        println!("warning   {line}");
    }
    let metrics = server.metrics_address().map(|it| format!(" · metrics http://{it}/metrics"));
    let http = server.http_address().map(|it| format!(" · management http://{it}/api"));
    let (metrics, http) = (metrics.unwrap_or_default(), http.unwrap_or_default());
    println!("listening amqp {}{metrics}{http}", server.address());
    if server.operator().has_user("guest") {
        println!("note      the user guest logs in from this machine only");
    }
    println!("Server startup complete; ready in {:.2} s", server.took.as_secs_f64());
}

fn announce_topology(plan: &Plan, loaded: &Loaded, server: &Server) {
    if plan.topology.is_empty() && loaded.topology.sources.n_files() == 0 {
        println!("topology  none: clients declare what they need, and nothing is enforced");
        return;
    }
    let mut paths: Vec<String> = plan.topology.iter().map(|it| it.display().to_string()).collect();
    if paths.is_empty() {
        paths.push("as applied last".to_owned());
    }
    let vhosts = loaded.topology.vhosts.values();
    let exchanges: usize = vhosts.clone().map(|it| it.exchanges.len()).sum();
    let queues: usize = vhosts.map(|it| it.queues.len()).sum();
    let tally = Tally::of(&loaded.diagnostics);
    let hint = if tally == Tally::default() { "" } else { ", see `railpost check`" };
    println!(
        "topology  {}: {} files, {} vhosts, {exchanges} exchanges, {queues} queues ({tally}{hint})",
        paths.join(" "),
        loaded.topology.sources.n_files(),
        loaded.topology.vhosts.len(),
    );
    let applied = &server.applied;
    println!("applied   {} created, {} changed", applied.created, applied.changed);
    for line in &applied.undeclared {
        println!("warning   {line}");
    }
}
