//! `railpost top`: the queues as they change.

use std::thread;

use serde_json::Value;

use crate::cli::client::Outcome;
use crate::cli::client::api::Api;
use crate::cli::client::args::TopArgs;
use crate::cli::client::args::TopSort;
use crate::cli::client::output;
use crate::cli::client::output::number;
use crate::cli::client::status::rate;
use crate::cli::client::target::escape;
use crate::cli::exit::Exit;

/// Moves the cursor home and clears what is below.
const HOME: &str = "\x1b[H\x1b[J";

pub(super) fn run(args: &TopArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let path = match &api.target.vhost {
        Some(vhost) => format!("/api/queues/{}", escape(vhost)),
        None => "/api/queues".to_owned(),
    };
    loop {
        let overview = api.get("/api/overview")?;
        let queues = api.list(&path, &format!("vhost `{}`", api.vhost()))?;
        let screen = screen(args, &overview, queues);
        if args.once {
            output::say(&screen);
            return Ok(Exit::Fine);
        }
        output::say(&format!("{HOME}{screen}"));
        thread::sleep(args.delay);
    }
}

fn screen(args: &TopArgs, overview: &Value, mut queues: Vec<Value>) -> String {
    match args.sort {
        TopSort::Depth => queues.sort_by_key(|it| std::cmp::Reverse(number(&it["messages"]))),
        TopSort::In => sort_by_rate(&mut queues, "publish"),
        TopSort::Out => sort_by_rate(&mut queues, "deliver_get"),
        TopSort::Name => queues.sort_by_key(|it| output::cell(&it["name"])),
    }
    let rows: Vec<Vec<String>> = queues.iter().take(args.lines).map(row).collect();
    let headings =
        ["queue", "vhost", "ready", "unacked", "delayed", "consumers", "in/s", "out/s", "ack/s"];
    let totals = &overview["queue_totals"];
    format!(
        "{}  {} ready · {} unacked · in {:.1}/s · out {:.1}/s · {} connections\n\n{}",
        output::cell(&overview["node"]),
        number(&totals["messages_ready"]),
        number(&totals["messages_unacknowledged"]),
        rate(overview, "publish"),
        rate(overview, "deliver_get"),
        number(&overview["object_totals"]["connections"]),
        output::table(&headings, &rows, true),
    )
}

/// The fastest first.
fn sort_by_rate(queues: &mut [Value], key: &str) {
    queues.sort_by(|one, other| rate(other, key).total_cmp(&rate(one, key)));
}

fn row(queue: &Value) -> Vec<String> {
    let cells = ["name", "vhost", "messages_ready", "messages_unacknowledged", "messages_delayed"];
    let mut row: Vec<String> = cells.iter().map(|it| output::cell(&queue[*it])).collect();
    row.push(output::cell(&queue["consumers"]));
    row.extend(["publish", "deliver_get", "ack"].map(|it| format!("{:.1}", rate(queue, it))));
    row
}
