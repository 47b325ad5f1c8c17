//! `railpost park`: what could not be handled.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::cli::args::PlainFormat;
use crate::cli::client::Outcome;
use crate::cli::client::api::Api;
use crate::cli::client::args::ParkArgs;
use crate::cli::client::args::ParkCommand;
use crate::cli::client::args::ParkDiscardArgs;
use crate::cli::client::args::ParkJobsArgs;
use crate::cli::client::args::ParkRedriveArgs;
use crate::cli::client::args::ParkRestoreArgs;
use crate::cli::client::args::ParkStopArgs;
use crate::cli::client::args::PeekState;
use crate::cli::client::args::RetryListArgs;
use crate::cli::client::args::SelectorArgs;
use crate::cli::client::failure::Failure;
use crate::cli::client::messages;
use crate::cli::client::output;
use crate::cli::client::output::number;
use crate::cli::client::target::escape;
use crate::cli::exit::Exit;

/// Time between two looks at a job.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(args: &ParkArgs) -> Outcome {
    match &args.command {
        ParkCommand::List(args) => list(args),
        ParkCommand::Show(args) => {
            let api = Api::new(&args.target)?;
            let after = args.after.clone();
            messages::show(&api, &args.queue, PeekState::Parked, args.count, after, args.format)
        }
        ParkCommand::Redrive(args) => redrive(args),
        ParkCommand::Discard(args) => discard(args),
        ParkCommand::Restore(args) => restore(args),
        ParkCommand::Jobs(args) => jobs(args),
        ParkCommand::Stop(args) => stop(args),
    }
}

fn list(args: &RetryListArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let queues = match &args.queue {
        Some(queue) => {
            let path = api.queue_path("/v1", queue, "/parked");
            vec![api.get_of(&path, &api.queue_name(queue))?]
        }
        None => {
            let path = format!("/v1/parked?vhost={}", escape(api.vhost()));
            let mut all = api.get_of(&path, &format!("vhost `{}`", api.vhost()))?;
            all["queues"].as_array_mut().map(std::mem::take).unwrap_or_default()
        }
    };
    match args.format {
        PlainFormat::Json => output::say_json("parked", "queues", Value::Array(queues)),
        PlainFormat::Text => output::say(&text(&queues)),
    }
    Ok(Exit::Fine)
}

fn text(queues: &[Value]) -> String {
    let mut rows = Vec::new();
    for queue in queues {
        for it in queue["groups"].as_array().into_iter().flatten() {
            rows.push(vec![
                output::cell(&queue["queue"]),
                output::cell(&it["count"]),
                output::moment(number(&it["first_ms"])),
                output::moment(number(&it["last_ms"])),
                output::cell(&it["reason"]),
            ]);
        }
    }
    if rows.is_empty() {
        return "nothing is parked\n".to_owned();
    }
    output::table(&["queue", "count", "first", "last", "reason"], &rows, true)
}

fn selector(args: &SelectorArgs) -> Value {
    let mut body = json!({
        "reason": args.reason,
        "older_than_secs": args.older_than.map(|it| it.as_secs()),
        "all": args.all,
        "limit": args.limit,
        "rate": args.rate,
    });
    if !args.ids.is_empty() {
        body["ids"] = json!(args.ids);
    }
    body
}

/// How many messages a job would take.
fn count(api: &Api, queue: &str, verb: &str, body: &Value) -> Result<u64, Failure> {
    let path = api.queue_path("/v1", queue, &format!("/parked/{verb}?dry_run=true"));
    let answer = api.send("POST", &path, Some(body), &api.queue_name(queue))?;
    Ok(number(&answer.body["matching"]))
}

fn redrive(args: &ParkRedriveArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let mut body = selector(&args.selector);
    if args.dry_run {
        let n = count(&api, &args.queue, "redrive", &body)?;
        output::say(&format!("would: redrive {n} messages of {}\n", api.queue_name(&args.queue)));
        return Ok(Exit::Fine);
    }
    body["stop_at"] = json!(args.stop_at);
    body["canary"] = json!(args.canary);
    begin(&api, &args.queue, "redrive", &body, args.selector.no_wait)
}

fn discard(args: &ParkDiscardArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let body = selector(&args.selector);
    let n = count(&api, &args.queue, "discard", &body)?;
    let told = format!("discards {n} parked messages of {}", api.queue_name(&args.queue));
    if !output::consent(args.consent, &told)? {
        return Ok(Exit::Fine);
    }
    begin(&api, &args.queue, "discard", &body, args.selector.no_wait)
}

fn restore(args: &ParkRestoreArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    begin(&api, &args.queue, "restore", &selector(&args.selector), args.selector.no_wait)
}

fn begin(api: &Api, queue: &str, verb: &str, body: &Value, no_wait: bool) -> Outcome {
    let path = api.queue_path("/v1", queue, &format!("/parked/{verb}"));
    let mut job = api.send("POST", &path, Some(body), &api.queue_name(queue))?.body;
    let id = output::cell(&job["id"]);
    if no_wait {
        output::say(&format!("job {id} runs\n"));
        return Ok(Exit::Fine);
    }
    while job["state"] == "running" {
        thread::sleep(LOOK_EVERY);
        job = api.get_of(&format!("/v1/jobs/{}", escape(&id)), &format!("job `{id}`"))?;
    }
    output::say(&format!("{}\n", described(&job)));
    Ok(match job["state"].as_str() {
        Some("done") if number(&job["skipped"]) == 0 => Exit::Fine,
        Some("done") => Exit::Partial,
        _ if number(&job["done"]) > 0 => Exit::Partial,
        _ => Exit::Findings,
    })
}

fn described(job: &Value) -> String {
    let verb = match job["kind"].as_str() {
        Some("discard") => "discarded",
        Some("restore") => "restored",
        _ => "redriven",
    };
    let mut text = format!("{} {verb}", number(&job["done"]));
    if number(&job["skipped"]) > 0 {
        text.push_str(&format!(", {} stay: their queue is no more", number(&job["skipped"])));
    }
    if let Some(reason) = job["reason"].as_str() {
        text.push_str(&format!("; it ended because {reason}"));
    }
    text
}

fn jobs(args: &ParkJobsArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let jobs = api.list("/v1/jobs", "job")?;
    match args.format {
        PlainFormat::Json => output::say_json("jobs", "jobs", Value::Array(jobs)),
        PlainFormat::Text => {
            let columns = ["id", "kind", "vhost", "queue", "state", "done", "skipped", "user"];
            let row = |job: &Value| columns.iter().map(|it| output::cell(&job[*it])).collect();
            let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
            output::say(&output::table(&columns, &rows, true));
        }
    }
    Ok(Exit::Fine)
}

fn stop(args: &ParkStopArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let path = format!("/v1/jobs/{}", escape(&args.job));
    api.send("DELETE", &path, None, &format!("job `{}`", args.job))?;
    output::say(&format!("job {} ends\n", args.job));
    Ok(Exit::Fine)
}
