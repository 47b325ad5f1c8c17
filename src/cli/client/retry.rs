//! `railpost retry`: what waits for its next attempt.

use serde_json::Value;
use serde_json::json;

use crate::cli::args::PlainFormat;
use crate::cli::client::Outcome;
use crate::cli::client::api::Api;
use crate::cli::client::args::RetryArgs;
use crate::cli::client::args::RetryCommand;
use crate::cli::client::args::RetryListArgs;
use crate::cli::client::args::RetryNowArgs;
use crate::cli::client::failure::Failure;
use crate::cli::client::output;
use crate::cli::client::output::number;
use crate::cli::client::target::escape;
use crate::cli::exit::Exit;

pub(super) fn run(args: &RetryArgs) -> Outcome {
    match &args.command {
        RetryCommand::List(args) => list(args),
        RetryCommand::Now(args) => now(args),
    }
}

fn list(args: &RetryListArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let queues = match &args.queue {
        Some(queue) => vec![queue.clone()],
        None => waiting(&api)?,
    };
    let mut all = Vec::new();
    for queue in &queues {
        let path = api.queue_path("/v1", queue, "/retries");
        all.push(api.get_of(&path, &api.queue_name(queue))?);
    }
    match args.format {
        PlainFormat::Json => output::say_json("retries", "queues", Value::Array(all)),
        PlainFormat::Text => output::say(&text(&all)),
    }
    Ok(Exit::Fine)
}

/// The queues of the vhost in which something waits.
fn waiting(api: &Api) -> Result<Vec<String>, Failure> {
    let path = format!("/api/queues/{}?columns=name,messages_delayed", escape(api.vhost()));
    let queues = api.list(&path, &format!("vhost `{}`", api.vhost()))?;
    let waits = queues.iter().filter(|it| number(&it["messages_delayed"]) > 0);
    Ok(waits.filter_map(|it| it["name"].as_str().map(str::to_owned)).collect())
}

fn text(queues: &[Value]) -> String {
    let mut rows = Vec::new();
    for queue in queues {
        let now = number(&queue["now_ms"]);
        for it in queue["attempts"].as_array().into_iter().flatten() {
            let due = number(&it["next_due_ms"]).saturating_sub(now);
            rows.push(vec![
                output::cell(&queue["queue"]),
                output::cell(&it["attempt"]),
                output::cell(&it["count"]),
                format!("in {}", output::span(due)),
            ]);
        }
    }
    if rows.is_empty() {
        return "nothing waits for a retry\n".to_owned();
    }
    output::table(&["queue", "failed", "waiting", "next"], &rows, true)
}

fn now(args: &RetryNowArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let mut body = json!({ "attempt": args.attempt, "limit": args.limit });
    if !args.ids.is_empty() {
        body["ids"] = json!(args.ids);
    }
    let rest = if args.dry_run { "/retries/now?dry_run=true" } else { "/retries/now" };
    let path = api.queue_path("/v1", &args.queue, rest);
    let answer = api.send("POST", &path, Some(&body), &api.queue_name(&args.queue))?;
    let n = number(&answer.body["retried"]);
    let verb = if args.dry_run { "would retry" } else { "retries" };
    output::say(&format!("{verb} {n} messages of {} now\n", api.queue_name(&args.queue)));
    Ok(Exit::Fine)
}
