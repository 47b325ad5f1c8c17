//! `railpost status` and `railpost ping`.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::cli::args::PlainFormat;
use crate::cli::client::Outcome;
use crate::cli::client::api::Api;
use crate::cli::client::args::PingArgs;
use crate::cli::client::args::StatusArgs;
use crate::cli::client::failure::Failure;
use crate::cli::client::output;
use crate::cli::client::output::number;
use crate::cli::client::target::Target;
use crate::cli::exit::Exit;

/// A broker that takes longer is not well.
const PING_PATIENCE: Duration = Duration::from_secs(1);
/// Time between two tries of `--wait`.
const TRY_EVERY: Duration = Duration::from_millis(200);
/// Queues that are shown.
const WORST: usize = 5;

pub(super) fn ping(args: &PingArgs) -> Exit {
    let answer = Target::of(&args.target)
        .and_then(|target| Api::patient(target, PING_PATIENCE).get("/healthz"));
    match answer {
        Ok(_) => Exit::Fine,
        Err(failure) => {
            eprintln!("error: {failure}");
            Exit::Findings
        }
    }
}

pub(super) fn status(args: &StatusArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    if let Some(patience) = args.wait {
        wait(&api, patience)?;
    }
    let overview = api.get("/api/overview")?;
    // Only monitors see the node.
    let node = match api.list("/api/nodes", "node") {
        Ok(mut nodes) if !nodes.is_empty() => nodes.swap_remove(0),
        Ok(_) | Err(Failure::NotAllowed { .. }) => Value::Null,
        Err(failure) => return Err(failure),
    };
    let queues = api.list("/api/queues", "vhost")?;
    let alerts = alerts(&node, &queues);
    match args.format {
        PlainFormat::Json => {
            let all = json!({ "overview": overview, "node": node, "alerts": alerts.all() });
            output::say_json("status", "status", all);
        }
        PlainFormat::Text => {
            output::say(&text(&api, &overview, &node, &queues));
            alerts.all().iter().for_each(|it| output::say(&format!("alert     {it}\n")));
        }
    }
    Ok(if alerts.alarms.is_empty() { Exit::Fine } else { Exit::Findings })
}

/// Asks until the broker lets publishers in.
fn wait(api: &Api, patience: Duration) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        match api.get("/readyz") {
            Ok(_) => return Ok(()),
            Err(failure) if begun.elapsed() >= patience => return Err(failure),
            Err(_) => thread::sleep(TRY_EVERY),
        }
    }
}

struct Alerts {
    /// Publishers are held back.
    alarms: Vec<String>,
    /// Somebody should look at it.
    warnings: Vec<String>,
}

impl Alerts {
    fn all(&self) -> Vec<&str> {
        self.alarms.iter().chain(&self.warnings).map(String::as_str).collect()
    }
}

fn alerts(node: &Value, queues: &[Value]) -> Alerts {
    let mut alarms = Vec::new();
    if node["disk_free_alarm"] == true {
        alarms.push("the disk is nearly full: publishers are held back".to_owned());
    }
    let alone = queues.iter().filter(|it| is_alone(it));
    let alone = alone.map(|it| {
        let (name, n) = (output::cell(&it["name"]), number(&it["messages_ready"]));
        format!("queue `{name}` has {n} ready messages and no consumer")
    });
    Alerts { alarms, warnings: alone.take(WORST).collect() }
}

/// A queue that fills and nobody empties. Parking lots are there to be looked at.
fn is_alone(queue: &Value) -> bool {
    let is_lot = queue["name"].as_str().is_some_and(|it| it.ends_with(".parked"));
    !is_lot && number(&queue["consumers"]) == 0 && number(&queue["messages_ready"]) > 0
}

fn text(api: &Api, overview: &Value, node: &Value, queues: &[Value]) -> String {
    let mut text = format!(
        "{} {}  {}  {}\n",
        output::cell(&overview["product_name"]),
        output::cell(&overview["product_version"]),
        output::cell(&overview["node"]),
        api.target.base(),
    );
    if !node.is_null() {
        let alarm = node["disk_free_alarm"] == true;
        text.push_str(&format!(
            "health    {} · up {} · memory {} · disk {} free\n",
            if alarm { "low on disk" } else { "ok" },
            output::span(number(&node["uptime"])),
            output::size(number(&node["mem_used"])),
            output::size(number(&node["disk_free"])),
        ));
    }
    let listeners = overview["listeners"].as_array().into_iter().flatten().map(|it| {
        let [protocol, address, port] =
            ["protocol", "ip_address", "port"].map(|key| output::cell(&it[key]));
        format!("{protocol} {address}:{port}")
    });
    text.push_str(&format!("listening {}\n", listeners.collect::<Vec<_>>().join(" · ")));
    let kinds = ["connections", "channels", "exchanges", "queues", "consumers"];
    let objects = kinds.map(|kind| format!("{} {kind}", number(&overview["object_totals"][kind])));
    text.push_str(&format!("objects   {}\n", objects.join(" · ")));
    let totals = &overview["queue_totals"];
    let delayed: u64 = queues.iter().map(|it| number(&it["messages_delayed"])).sum();
    text.push_str(&format!(
        "messages  {} ready · {} unacked · {delayed} delayed\n",
        number(&totals["messages_ready"]),
        number(&totals["messages_unacknowledged"]),
    ));
    let rates = [("publish", "publish"), ("deliver", "deliver_get"), ("ack", "ack")];
    let rates = rates.map(|(name, key)| format!("{name} {:.1}/s", rate(overview, key)));
    text.push_str(&format!("rates     {}\n", rates.join(" · ")));
    let mut worst: Vec<&Value> =
        queues.iter().filter(|it| number(&it["messages_ready"]) > 0).collect();
    worst.sort_by_key(|it| u64::MAX - number(&it["messages_ready"]));
    for queue in worst.iter().take(WORST) {
        let [name, ready, consumers] =
            ["name", "messages_ready", "consumers"].map(|key| output::cell(&queue[key]));
        text.push_str(&format!("queue     {name}  {ready} ready · {consumers} consumers\n"));
    }
    text
}

/// A rate of `message_stats`, messages a second.
pub(super) fn rate(item: &Value, key: &str) -> f64 {
    item["message_stats"][format!("{key}_details")]["rate"].as_f64().unwrap_or_default()
}
