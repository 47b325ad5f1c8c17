//! Commands that ask a running broker, over its HTTP API.

mod access;
pub(in crate::cli) mod api;
mod args;
mod condition;
pub(in crate::cli) mod failure;
mod hash;
mod ls;
mod messages;
mod output;
mod park;
mod policy;
mod queues;
mod retry;
mod status;
pub(in crate::cli) mod target;
mod top;

pub(in crate::cli) use crate::cli::client::args::ClientCommand;

use crate::cli::client::failure::Failure;
use crate::cli::exit::Exit;

type Outcome = Result<Exit, Failure>;

/// Runs a command, and says what went wrong.
pub(in crate::cli) fn run(command: &ClientCommand) -> Exit {
    let done = match command {
        ClientCommand::Status(args) => status::status(args),
        ClientCommand::Ping(args) => return status::ping(args),
        ClientCommand::Top(args) => top::run(args),
        ClientCommand::Ls(args) => ls::run(args),
        ClientCommand::Publish(args) => messages::publish(args),
        ClientCommand::Peek(args) => messages::peek(args),
        ClientCommand::Get(args) => messages::get(args),
        ClientCommand::Purge(args) => queues::purge(args),
        ClientCommand::Pause(args) => queues::pause(args, "pause"),
        ClientCommand::Resume(args) => queues::pause(args, "resume"),
        ClientCommand::Close(args) => queues::close(args),
        ClientCommand::Retry(args) => retry::run(args),
        ClientCommand::Park(args) => park::run(args),
        ClientCommand::User(args) => access::user(args),
        ClientCommand::Vhost(args) => access::vhost(args),
        ClientCommand::Policy(args) => policy::run(args),
        ClientCommand::HashPassword(args) => hash::run(args),
        ClientCommand::Endpoint(args) => target::show(args),
    };
    done.unwrap_or_else(|failure| report(&failure))
}

/// Says what went wrong; the exit code for it.
pub(in crate::cli) fn report(failure: &Failure) -> Exit {
    eprintln!("error: {failure}");
    if let Some(hint) = failure.hint() {
        eprintln!("hint: {hint}");
    }
    failure.exit()
}
