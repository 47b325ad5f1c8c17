//! Policies and operator policies.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::admin::caller::Caller;
use crate::admin::estate::Estate;
use crate::admin::list;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::request::integer_of;
use crate::admin::request::text_of;
use crate::broker::effective;
use crate::broker::host::Host;
use crate::broker::policy::Policy;
use crate::broker::policy::Side;

pub fn policies<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    rest: &[&str],
) -> Outcome {
    serve(estate, caller, request, rest, Side::User)
}

pub fn operator_policies<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    rest: &[&str],
) -> Outcome {
    serve(estate, caller, request, rest, Side::Operator)
}

fn serve<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    rest: &[&str],
    side: Side,
) -> Outcome {
    match (request.method, rest) {
        (Method::Get, [] | [_]) => {
            let vhosts = caller.vhosts(estate, rest.first().copied())?;
            let all = vhosts.iter().flat_map(|it| all_of(estate, it, side));
            list::whole(all.collect(), request)
        }
        (Method::Get, [vhost, name]) => {
            caller.vhost(estate, vhost)?;
            let found = all_of(estate, vhost, side).into_iter().find(|it| it["name"] == **name);
            list::single(found.ok_or(Problem::NotFound)?, request)
        }
        (Method::Put, [vhost, name]) => {
            caller.vhost(estate, vhost)?;
            put(estate, side, vhost, name, request.fields()?)
        }
        (Method::Delete, [vhost, name]) => {
            caller.vhost(estate, vhost)?;
            let cleared = estate.in_vhost(vhost, |turn| effective::clear_policy(turn, side, name));
            cleared.flatten().map(Response::done).ok_or(Problem::NotFound)
        }
        (_, _) => Err(Problem::NotFound),
    }
}

/// The policies of one vhost.
pub fn all_of<E: Estate>(estate: &E, vhost: &str, side: Side) -> Vec<Value> {
    let all = estate.in_vhost(vhost, |turn| {
        let policies = &turn.vhost().policies;
        policies.iter(side).map(|it| view(it, vhost)).collect::<Vec<_>>()
    });
    all.unwrap_or_default()
}

fn view(policy: &Policy, vhost: &str) -> Value {
    let mut view = json!({
        "vhost": vhost,
        "name": policy.name,
        "pattern": policy.pattern.as_str(),
        "apply-to": policy.apply_to.as_str(),
        "definition": policy.definition,
        "priority": policy.priority,
    });
    let ignored = policy.ignored();
    if !ignored.is_empty() {
        // Ours: what is taken and means nothing here is named.
        view["without_effect"] = json!(ignored);
    }
    view
}

/// Makes or changes a policy as a request or an import says.
pub fn put<E: Estate>(
    estate: &E,
    side: Side,
    vhost: &str,
    name: &str,
    fields: &Map<String, Value>,
) -> Outcome {
    let pattern = text_of(fields, "pattern")?;
    let pattern = pattern.ok_or_else(|| Problem::bad("[{key_missing,pattern}]"))?;
    let definition = match fields.get("definition") {
        Some(Value::Object(definition)) => definition.clone(),
        Some(_) => return Err(Problem::bad("`definition` is no object")),
        None => return Err(Problem::bad("[{key_missing,definition}]")),
    };
    let apply_to = text_of(fields, "apply-to")?.unwrap_or("all");
    let priority = integer_of(fields, "priority")?.unwrap_or_default();
    let failed = |error: crate::broker::policy::PolicyError| {
        Problem::bad(format!("Validation failed\n\n{error}\n"))
    };
    let policy = Policy::new(side, name, pattern, apply_to, priority, definition);
    let policy = policy.map_err(failed)?;
    let set = estate.in_vhost(vhost, |turn| {
        let existed = turn.vhost().policies.get(side, name).is_some();
        effective::set_policy(turn, side, policy).map(|after| (existed, after))
    });
    let (existed, after) = set.ok_or(Problem::Missing("vhost_not_found"))?.map_err(failed)?;
    Ok(Response::put(existed, after))
}

/// COMPAT: components of plugins that are not here; there are none, and none can be set.
pub fn parameters(request: &Request, rest: &[&str]) -> Outcome {
    match (request.method, rest) {
        (Method::Get, [] | [_] | [_, _]) => list::whole(Vec::new(), request),
        (Method::Get, _) => Err(Problem::NotFound),
        (Method::Put, [component, ..]) => {
            Err(Problem::bad(format!("component {component} not found")))
        }
        (_, _) => Err(Problem::NotFound),
    }
}
