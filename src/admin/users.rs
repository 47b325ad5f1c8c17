//! Users, their limits, and who is asking.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::access::password::PasswordHash;
use crate::access::user::Origin;
use crate::access::user::User;
use crate::access::user::UserLimits;
use crate::admin::caller::Caller;
use crate::admin::estate::Estate;
use crate::admin::estate::Refused;
use crate::admin::list;
use crate::admin::permissions;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::request::text_of;
use crate::amqp::id::BatchId;
use crate::amqp::name::UserName;

pub fn whoami(caller: &Caller) -> Outcome {
    let User { name, tags, .. } = &caller.user;
    let body = json!({ "name": name.as_str(), "tags": tags, "is_internal_user": true });
    Ok(Response::ok(body))
}

pub fn users<E: Estate>(estate: &E, request: &Request, rest: &[&str]) -> Outcome {
    match (request.method, rest) {
        (Method::Get, []) => list::paged(all(estate), request),
        (Method::Get, ["without-permissions"]) => {
            let bare = |user: &User| {
                estate.directory(|it| it.permissions().all(|(name, ..)| *name != user.name))
            };
            let users = estate.directory(|it| it.users().cloned().collect::<Vec<_>>());
            list::whole(users.iter().filter(|it| bare(it)).map(view).collect(), request)
        }
        (Method::Post, ["bulk-delete"]) => bulk_delete(estate, request),
        (Method::Get, [name]) => {
            let user = estate.directory(|it| it.user(name).map(view));
            list::single(user.ok_or(Problem::NotFound)?, request)
        }
        (Method::Put, [name]) => put(estate, name, request.fields()?),
        (Method::Delete, [name]) => estate.delete_user(name).map(Response::done).map_err(refused),
        (Method::Get, [name, "permissions"]) => {
            check_there(estate, name)?;
            let of = permissions::list_where(estate, |user, _| user == *name);
            list::whole(of, request)
        }
        (Method::Get, [name, "topic-permissions"]) => {
            check_there(estate, name)?;
            let of = permissions::topics_where(estate, |user, _| user == *name);
            list::whole(of, request)
        }
        (_, _) => Err(Problem::NotFound),
    }
}

fn all<E: Estate>(estate: &E) -> Vec<Value> {
    estate.directory(|it| it.users().map(view).collect())
}

pub fn check_there<E: Estate>(estate: &E, name: &str) -> Result<(), Problem> {
    let there = estate.directory(|it| it.user(name).is_some());
    there.then_some(()).ok_or(Problem::NotFound)
}

/// The fields of a user; nothing of it can be logged in with.
pub fn view(user: &User) -> Value {
    let hash = user.password.as_ref();
    json!({
        "name": user.name.as_str(),
        "password_hash": hash.map(PasswordHash::to_text).unwrap_or_default(),
        "hashing_algorithm": hash.map_or("rabbit_password_hashing_sha256", |it| {
            it.algorithm().as_str()
        }),
        "tags": user.tags,
        "limits": limits_view(user.limits),
    })
}

fn limits_view(limits: UserLimits) -> Value {
    let mut view = Map::new();
    for (key, max) in
        [("max-connections", limits.connections_max), ("max-channels", limits.channels_max)]
    {
        view.extend(max.map(|max| (key.to_owned(), Value::from(max))));
    }
    Value::Object(view)
}

/// Makes or changes a user as a request or an import says.
pub fn put<E: Estate>(estate: &E, name: &str, fields: &Map<String, Value>) -> Outcome {
    if name.is_empty() {
        return Err(Problem::bad("a user needs a name"));
    }
    let tags = match fields.get("tags") {
        None => return Err(Problem::bad("tags_not_present")),
        Some(tags) => tags_of(tags)?,
    };
    let password = match (text_of(fields, "password")?, text_of(fields, "password_hash")?) {
        (Some(""), _) => return Err(Problem::bad("the password is empty")),
        (Some(password), _) => Some(estate.hash(password)),
        (None, None | Some("")) => None,
        (None, Some(hash)) => {
            let wrong = || Problem::bad("`password_hash` is in no form that is known");
            Some(PasswordHash::parse(hash).ok_or_else(wrong)?)
        }
    };
    let there = estate.directory(|it| it.user(name).cloned());
    let limits = match fields.get("limits") {
        Some(Value::Object(limits)) => limits_of(limits)?,
        _ => there.map(|it| it.limits).unwrap_or_default(),
    };
    let user = User {
        name: UserName::new(name),
        password,
        tags,
        limits,
        loopback_only: User::is_loopback_only(name),
        origin: Origin::Stored,
    };
    let put = estate.put_user(user).map_err(refused)?;
    Ok(Response::put(put.existed, put.after))
}

/// COMPAT: `"a, b"` or `["a", "b"]`.
fn tags_of(tags: &Value) -> Result<Vec<String>, Problem> {
    let wrong = || Problem::bad("`tags` must be a string or a list of strings");
    match tags {
        Value::String(text) => {
            let tags = text.split(',').map(str::trim).filter(|it| !it.is_empty());
            Ok(tags.map(str::to_owned).collect())
        }
        Value::Array(tags) => {
            tags.iter().map(|it| it.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(wrong()),
    }
}

fn limits_of(fields: &Map<String, Value>) -> Result<UserLimits, Problem> {
    let mut limits = UserLimits::default();
    for (key, value) in fields {
        set_limit(&mut limits, key, limit_of(value)?)?;
    }
    Ok(limits)
}

/// COMPAT: a negative number is no limit.
pub fn limit_of(value: &Value) -> Result<Option<u64>, Problem> {
    let number = value.as_i64().ok_or_else(|| Problem::bad("a limit must be an integer"))?;
    Ok(u64::try_from(number).ok())
}

fn set_limit(limits: &mut UserLimits, key: &str, max: Option<u64>) -> Result<(), Problem> {
    match key {
        "max-connections" => limits.connections_max = max,
        "max-channels" => limits.channels_max = max,
        _ => {
            let known = "max-connections or max-channels";
            return Err(Problem::bad(format!("`{key}` is no limit of a user; {known} are")));
        }
    }
    Ok(())
}

/// COMPAT: nobody is deleted when one of them is not there.
fn bulk_delete<E: Estate>(estate: &E, request: &Request) -> Outcome {
    let names = request.fields()?.get("users").and_then(Value::as_array);
    let names = names.ok_or_else(|| Problem::bad("[{key_missing,users}]"))?;
    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    for name in &names {
        check_there(estate, name).map_err(|_| Problem::bad(format!("no user '{name}'")))?;
    }
    let mut after = BatchId(0);
    for name in names {
        after = after.max(estate.delete_user(name).map_err(refused)?);
    }
    Ok(Response::done(after))
}

/// What people are told of something about users that is not done.
#[allow(clippy::needless_pass_by_value, reason = "an error on its way to another")]
pub fn refused(error: Refused) -> Problem {
    match error {
        Refused::NoSuchUser => Problem::NotFound,
        Refused::NoSuchVhost => Problem::Missing("vhost_not_found"),
        Refused::Configured(_) | Refused::Declared(_) => Problem::bad(error.to_string()),
    }
}

pub fn limits<E: Estate>(estate: &E, request: &Request, rest: &[&str]) -> Outcome {
    let of = |name: &str| estate.directory(|it| it.user(name).cloned()).ok_or(Problem::NotFound);
    let view = |user: &User| {
        let limits = limits_view(user.limits);
        let some = limits.as_object().is_some_and(|it| !it.is_empty());
        some.then(|| json!({ "user": user.name.as_str(), "value": limits }))
    };
    match (request.method, rest) {
        (Method::Get, []) => {
            let all = estate.directory(|it| it.users().filter_map(view).collect());
            list::whole(all, request)
        }
        (Method::Get, [name]) => list::whole(view(&of(name)?).into_iter().collect(), request),
        (Method::Put, [name, key]) => {
            let value = request.fields()?.get("value");
            let max = limit_of(value.ok_or_else(|| Problem::bad("[{key_missing,value}]"))?)?;
            change_limit(estate, of(name)?, key, max)
        }
        (Method::Delete, [name, key]) => change_limit(estate, of(name)?, key, None),
        (_, _) => Err(Problem::NotFound),
    }
}

fn change_limit<E: Estate>(estate: &E, mut user: User, key: &str, max: Option<u64>) -> Outcome {
    set_limit(&mut user.limits, key, max)?;
    estate.put_user(user).map(|it| Response::done(it.after)).map_err(refused)
}
