//! What topology files declare, as the running broker holds its clients to it.

use serde_json::Value;
use serde_json::json;

use crate::admin::caller::Caller;
use crate::admin::request::Outcome;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::v1::estate::Operations;
use crate::broker::host::Host as _;
use crate::broker::rules::Delivers;
use crate::broker::rules::Enforce;
use crate::broker::rules::Unroutable;
use crate::broker::vhost::Vhost;

/// Per vhost, with `file:line` for each thing.
pub fn topology<E: Operations>(estate: &E, caller: &Caller, request: &Request) -> Outcome {
    let vhosts = caller.vhosts(estate, request.query("vhost"))?;
    let views = vhosts.iter().filter_map(|it| estate.in_vhost(it, |turn| view(turn.vhost())));
    Ok(Response::ok(json!({ "vhosts": views.collect::<Vec<_>>() })))
}

/// Of all vhosts, whoever may work in them.
pub fn live<E: Operations>(estate: &E, caller: &Caller) -> Outcome {
    caller.check_monitoring()?;
    Ok(Response::ok(estate.live_topology()))
}

pub fn plan<E: Operations>(estate: &E, caller: &Caller, request: &Request) -> Outcome {
    caller.check_monitoring()?;
    estate.plan(&request.body).map(Response::ok)
}

pub fn apply<E: Operations>(estate: &E, caller: &Caller, request: &Request) -> Outcome {
    caller.check_administrator()?;
    let (document, after) = estate.roll_out(&request.body)?;
    Ok(Response { after, ..Response::ok(document) })
}

fn view(vhost: &Vhost) -> Value {
    let rules = &vhost.rules;
    let services = rules.services.iter();
    let services = services.map(|it| json!({ "name": it.name.as_str(), "at": &*it.origin }));
    let exchanges = rules.exchanges.iter().map(|(name, it)| {
        json!({
            "name": name.as_str(),
            "type": it.kind.as_str(),
            "delivers": match it.delivers {
                Delivers::Broadcast => "broadcast",
                Delivers::Work => "work",
            },
            "unroutable": match it.unroutable {
                Unroutable::Return => "return",
                Unroutable::Park => "park",
                Unroutable::Reject => "reject",
                Unroutable::Drop => "drop",
            },
            "at": &*it.origin,
        })
    });
    let queues = rules.queues.iter().map(|(name, it)| {
        let bindings = it
            .bindings
            .iter()
            .map(|(exchange, key)| json!({ "exchange": exchange.as_str(), "routing_key": &**key }));
        json!({
            "name": name.as_str(),
            "service": it.service.as_ref().map(|it| it.as_str()),
            "bindings": bindings.collect::<Vec<_>>(),
            "at": &*it.origin,
        })
    });
    json!({
        "vhost": vhost.name.as_str(),
        "enforce": enforce(rules.enforce),
        "undeclared": enforce(rules.undeclared),
        "services": services.collect::<Vec<_>>(),
        "exchanges": exchanges.collect::<Vec<_>>(),
        "queues": queues.collect::<Vec<_>>(),
    })
}

fn enforce(enforce: Enforce) -> &'static str {
    match enforce {
        Enforce::Off => "off",
        Enforce::Warn => "warn",
        Enforce::Deny => "deny",
    }
}
