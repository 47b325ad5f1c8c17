//! `railpost purge`, `pause`, `resume` and `close`.

use crate::cli::client::Outcome;
use crate::cli::client::api::Api;
use crate::cli::client::args::CloseArgs;
use crate::cli::client::args::PauseArgs;
use crate::cli::client::args::PurgeArgs;
use crate::cli::client::output;
use crate::cli::client::output::number;
use crate::cli::client::target::escape;
use crate::cli::exit::Exit;

pub(super) fn purge(args: &PurgeArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let what = api.queue_name(&args.queue);
    let queue = api.get_of(&api.queue_path("/api", &args.queue, ""), &what)?;
    let ready = number(&queue["messages_ready"]);
    let unacked = number(&queue["messages_unacknowledged"]);
    let told = format!("purges {ready} ready messages from {what}; {unacked} unacked stay");
    if !output::consent(args.consent, &told)? {
        return Ok(Exit::Fine);
    }
    api.send("DELETE", &api.queue_path("/api", &args.queue, "/contents"), None, &what)?;
    output::say(&format!("purged {what}\n"));
    Ok(Exit::Fine)
}

/// `verb` is the last part of the path, too.
pub(super) fn pause(args: &PauseArgs, verb: &str) -> Outcome {
    let api = Api::new(&args.target)?;
    let path = api.queue_path("/v1", &args.queue, &format!("/{verb}"));
    let answer = api.send("POST", &path, None, &api.queue_name(&args.queue))?;
    let state = if answer.body["paused"] == true { "paused" } else { "delivering" };
    output::say(&format!("{state}: {}\n", api.queue_name(&args.queue)));
    Ok(Exit::Fine)
}

pub(super) fn close(args: &CloseArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let path = format!("/api/connections/{}", escape(&args.connection));
    let what = format!("connection `{}`", args.connection);
    api.send_with_reason("DELETE", &path, args.reason.as_deref(), &what)?;
    output::say(&format!("closed {what}\n"));
    Ok(Exit::Fine)
}
