//! `railpost user` and `railpost vhost`.

use serde_json::Value;
use serde_json::json;

use crate::cli::client::Outcome;
use crate::cli::client::api::Api;
use crate::cli::client::args::LsKind;
use crate::cli::client::args::NameArgs;
use crate::cli::client::args::RemoveArgs;
use crate::cli::client::args::UserAddArgs;
use crate::cli::client::args::UserArgs;
use crate::cli::client::args::UserCommand;
use crate::cli::client::args::UserGrantArgs;
use crate::cli::client::args::VhostAddArgs;
use crate::cli::client::args::VhostArgs;
use crate::cli::client::args::VhostCommand;
use crate::cli::client::failure::Failure;
use crate::cli::client::ls;
use crate::cli::client::output;
use crate::cli::client::target::escape;
use crate::cli::exit::Exit;

pub(super) fn user(args: &UserArgs) -> Outcome {
    match &args.command {
        UserCommand::List(args) => {
            ls::list(LsKind::Users, &Api::new(&args.target)?, None, args.format)?;
            Ok(Exit::Fine)
        }
        UserCommand::Add(args) => add(args),
        UserCommand::Passwd(args) => {
            let api = Api::new(&args.target)?;
            let tags = there(&api, &args.name)?["tags"].take();
            let body = json!({ "password": output::read_password()?, "tags": tags });
            put_user(&api, &args.name, &body)
        }
        UserCommand::Tag(args) => {
            let api = Api::new(&args.target)?;
            let known = there(&api, &args.name)?;
            let body = json!({ "password_hash": known["password_hash"], "tags": args.tags });
            put_user(&api, &args.name, &body)
        }
        UserCommand::Grant(args) => grant(args),
        UserCommand::Revoke(args) => revoke(args),
        UserCommand::Rm(args) => remove(args, "users", "user", "and all its permissions"),
    }
}

fn there(api: &Api, name: &str) -> Result<Value, Failure> {
    api.get_of(&format!("/api/users/{}", escape(name)), &format!("user `{name}`"))
}

fn put_user(api: &Api, name: &str, body: &Value) -> Outcome {
    let path = format!("/api/users/{}", escape(name));
    let answer = api.send("PUT", &path, Some(body), &format!("user `{name}`"))?;
    done(answer.status, &format!("user `{name}`"))
}

fn add(args: &UserAddArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let body = match &args.hash {
        Some(hash) => json!({ "password_hash": hash, "tags": args.tags }),
        None => json!({ "password": output::read_password()?, "tags": args.tags }),
    };
    put_user(&api, &args.name, &body)
}

/// COMPAT: 201 is for what is new.
fn done(status: u16, what: &str) -> Outcome {
    output::say(&format!("{} {what}\n", if status == 201 { "added" } else { "changed" }));
    Ok(Exit::Fine)
}

fn permission_path(api: &Api, user: &str) -> String {
    format!("/api/permissions/{}/{}", escape(api.vhost()), escape(user))
}

fn grant(args: &UserGrantArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let body = json!({ "configure": args.configure, "write": args.write, "read": args.read });
    let what = format!("user `{}` or vhost `{}`", args.name, api.vhost());
    api.send("PUT", &permission_path(&api, &args.name), Some(&body), &what)?;
    output::say(&format!("`{}` may open vhost `{}`\n", args.name, api.vhost()));
    Ok(Exit::Fine)
}

fn revoke(args: &NameArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let what = format!("permission of `{}` in vhost `{}`", args.name, api.vhost());
    api.send("DELETE", &permission_path(&api, &args.name), None, &what)?;
    output::say(&format!("`{}` may not open vhost `{}` any more\n", args.name, api.vhost()));
    Ok(Exit::Fine)
}

/// Deletes what `/api/KIND/NAME` is, once somebody agrees.
pub(super) fn remove(args: &RemoveArgs, path: &str, kind: &str, with: &str) -> Outcome {
    let api = Api::new(&args.target)?;
    let what = format!("{kind} `{}`", args.name);
    if !output::consent(args.consent, &format!("removes {what} {with}"))? {
        return Ok(Exit::Fine);
    }
    match api.send("DELETE", &format!("/api/{path}/{}", escape(&args.name)), None, &what) {
        Err(Failure::NotFound(_)) if args.idempotent => {}
        other => drop(other?),
    }
    output::say(&format!("removed {what}\n"));
    Ok(Exit::Fine)
}

pub(super) fn vhost(args: &VhostArgs) -> Outcome {
    match &args.command {
        VhostCommand::List(args) => {
            ls::list(LsKind::Vhosts, &Api::new(&args.target)?, None, args.format)?;
            Ok(Exit::Fine)
        }
        VhostCommand::Add(args) => add_vhost(args),
        VhostCommand::Rm(args) => remove(args, "vhosts", "vhost", "and everything in it"),
    }
}

fn add_vhost(args: &VhostAddArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let mut body = json!({});
    if let Some(description) = &args.description {
        body["description"] = json!(description);
    }
    if !args.tags.is_empty() {
        body["tags"] = json!(args.tags);
    }
    let what = format!("vhost `{}`", args.name);
    let path = format!("/api/vhosts/{}", escape(&args.name));
    done(api.send("PUT", &path, Some(&body), &what)?.status, &what)
}
