//! `railpost policy`.

use serde_json::Value;
use serde_json::json;

use crate::cli::client::Outcome;
use crate::cli::client::access::remove;
use crate::cli::client::api::Api;
use crate::cli::client::args::LsKind;
use crate::cli::client::args::PolicyArgs;
use crate::cli::client::args::PolicyCommand;
use crate::cli::client::args::PolicySetArgs;
use crate::cli::client::failure::Failure;
use crate::cli::client::ls;
use crate::cli::client::output;
use crate::cli::client::target::Target;
use crate::cli::client::target::escape;
use crate::cli::exit::Exit;

pub(super) fn run(args: &PolicyArgs) -> Outcome {
    match &args.command {
        PolicyCommand::List(args) => {
            let api = Api::new(&args.target)?;
            ls::list(LsKind::Policies, &api, api.target.vhost.as_deref(), args.format)?;
            Ok(Exit::Fine)
        }
        PolicyCommand::Set(args) => set(args),
        PolicyCommand::Rm(args) => {
            let vhost = escape(Target::of(&args.target)?.vhost());
            remove(args, &format!("policies/{vhost}"), "policy", "from all that it governs")
        }
    }
}

fn set(args: &PolicySetArgs) -> Outcome {
    let definition: Value = serde_json::from_str(&args.definition)
        .map_err(|it| Failure::usage(format!("the definition is no JSON: {it}")))?;
    let api = Api::new(&args.target)?;
    let body = json!({
        "pattern": args.pattern,
        "definition": definition,
        "apply-to": args.apply_to,
        "priority": args.priority,
    });
    let path = format!("/api/policies/{}/{}", escape(api.vhost()), escape(&args.name));
    let what = format!("vhost `{}`", api.vhost());
    let answer = api.send("PUT", &path, Some(&body), &what)?;
    let verb = if answer.status == 201 { "added" } else { "changed" };
    output::say(&format!("{verb} policy `{}`\n", args.name));
    let policy = api.get_of(&path, &format!("policy `{}`", args.name))?;
    if let Some(keys) = policy.get("without_effect") {
        eprintln!("warning: without effect here: {}", output::cell(keys));
    }
    Ok(Exit::Fine)
}
