//! Permissions and topic permissions.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::access::pattern::PatternError;
use crate::access::permission::Permission;
use crate::access::permission::TopicPermission;
use crate::admin::estate::Estate;
use crate::admin::list;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::request::text_of;
use crate::admin::users;

pub fn permissions<E: Estate>(estate: &E, request: &Request, rest: &[&str]) -> Outcome {
    match (request.method, rest) {
        (Method::Get, []) => list::whole(list_where(estate, |_, _| true), request),
        (Method::Get, [vhost, user]) => {
            let found = list_where(estate, |of, at| of == *user && at == *vhost);
            list::single(found.into_iter().next().ok_or(Problem::NotFound)?, request)
        }
        (Method::Put, [vhost, user]) => put(estate, vhost, user, request.fields()?),
        (Method::Delete, [vhost, user]) => {
            estate.delete_permission(user, vhost).map(Response::done).ok_or(Problem::NotFound)
        }
        (_, _) => Err(Problem::NotFound),
    }
}

pub fn list_where<E: Estate>(estate: &E, wanted: impl Fn(&str, &str) -> bool) -> Vec<Value> {
    estate.directory(|all| {
        let wanted = all.permissions().filter(|(user, vhost, _)| wanted(user, vhost));
        let view = wanted.map(|(user, vhost, it)| {
            json!({
                "user": user.as_str(),
                "vhost": vhost.as_str(),
                "configure": it.configure.as_str(),
                "write": it.write.as_str(),
                "read": it.read.as_str(),
            })
        });
        view.collect()
    })
}

/// COMPAT: all three patterns must be there.
pub fn put<E: Estate>(estate: &E, vhost: &str, user: &str, fields: &Map<String, Value>) -> Outcome {
    let permission = Permission::new(
        pattern(fields, "configure")?,
        pattern(fields, "write")?,
        pattern(fields, "read")?,
    );
    let put = estate.put_permission(user, vhost, permission.map_err(wrong_pattern)?);
    let put = put.map_err(users::refused)?;
    Ok(Response::put(put.existed, put.after))
}

fn pattern<'a>(fields: &'a Map<String, Value>, key: &str) -> Result<&'a str, Problem> {
    text_of(fields, key)?.ok_or_else(|| Problem::bad(format!("[{{key_missing,{key}}}]")))
}

#[allow(clippy::needless_pass_by_value, reason = "an error on its way to another")]
fn wrong_pattern(error: PatternError) -> Problem {
    Problem::bad(format!("invalid_regexp: {error}"))
}

pub fn topics<E: Estate>(estate: &E, request: &Request, rest: &[&str]) -> Outcome {
    match (request.method, rest) {
        (Method::Get, []) => list::whole(topics_where(estate, |_, _| true), request),
        (Method::Get, [vhost, user]) => {
            users::check_there(estate, user)?;
            list::whole(topics_where(estate, |of, at| of == *user && at == *vhost), request)
        }
        (Method::Put, [vhost, user]) => put_topic(estate, vhost, user, request.fields()?),
        (Method::Delete, [vhost, user]) => delete_topics(estate, vhost, user, None),
        (Method::Delete, [vhost, user, exchange]) => {
            delete_topics(estate, vhost, user, Some(exchange))
        }
        (_, _) => Err(Problem::NotFound),
    }
}

pub fn topics_where<E: Estate>(estate: &E, wanted: impl Fn(&str, &str) -> bool) -> Vec<Value> {
    estate.directory(|all| {
        let wanted = all.topic_permissions().filter(|(user, vhost, ..)| wanted(user, vhost));
        let view = wanted.map(|(user, vhost, exchange, it)| {
            json!({
                "user": user.as_str(),
                "vhost": vhost.as_str(),
                "exchange": exchange.as_str(),
                "write": it.write(),
                "read": it.read(),
            })
        });
        view.collect()
    })
}

pub fn put_topic<E: Estate>(
    estate: &E,
    vhost: &str,
    user: &str,
    fields: &Map<String, Value>,
) -> Outcome {
    let exchange = pattern(fields, "exchange")?;
    let permission = TopicPermission::new(pattern(fields, "write")?, pattern(fields, "read")?);
    let permission = permission.map_err(wrong_pattern)?;
    let put = estate.put_topic_permission(user, vhost, exchange, permission);
    let put = put.map_err(users::refused)?;
    Ok(Response::put(put.existed, put.after))
}

fn delete_topics<E: Estate>(
    estate: &E,
    vhost: &str,
    user: &str,
    exchange: Option<&str>,
) -> Outcome {
    let after = estate.delete_topic_permissions(user, vhost, exchange);
    after.map(Response::done).ok_or(Problem::NotFound)
}
