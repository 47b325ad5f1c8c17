//! Floor 3: the management API as plain functions from a request to a response. No HTTP, no waiting:
//! the same answers behind a socket and in a test.
//!
//! COMPAT: paths, fields, status codes and reasons are RabbitMQ's, as its command line tools,
//! Terraform, autoscalers and exporters expect them.

pub mod bindings;
pub mod caller;
pub mod connections;
pub mod definitions;
pub mod draft;
pub mod estate;
pub mod exchanges;
pub mod list;
pub mod messages;
pub mod overview;
pub mod permissions;
pub mod policies;
pub mod queues;
pub mod rates;
pub mod request;
pub mod table;
pub mod users;
pub mod v1;
pub mod vhosts;

use crate::admin::caller::Caller;
use crate::admin::estate::Estate;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;

/// Answers a request of somebody who has logged in.
///
/// May take a while, for example to delete a vhost: not for a thread that serves connections.
pub fn answer<E: Estate>(estate: &E, caller: &Caller, request: &Request) -> Response {
    route(estate, caller, request).unwrap_or_else(|problem| problem.response())
}

fn route<E: Estate>(estate: &E, caller: &Caller, request: &Request) -> Outcome {
    table::find(request)?.is_for(caller)?;
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match path[..] {
        ["whoami"] => users::whoami(caller),
        ["overview"] => overview::overview(estate, caller, request),
        ["nodes"] => overview::nodes(estate, request),
        ["nodes", name] => overview::node(estate, request, name),
        ["nodes", name, "memory"] => overview::memory(estate, request, name),
        ["cluster-name"] => overview::cluster_name(request),
        ["version"] => overview::version(),
        ["feature-flags"] => overview::feature_flags(request),
        ["feature-flags", name, "enable"] => overview::enable_feature(name),
        ["auth", "attempts", name] => overview::logins(estate, request, name),
        ["extensions"]
        | ["deprecated-features", ..]
        | ["shovels", ..]
        | ["federation-links", ..]
        | ["stream", "connections" | "publishers" | "consumers", ..]
        | ["global-parameters", ..] => overview::nothing(request),
        ["rebalance", "queues"] => Ok(Response::no_content()),
        ["aliveness-test", vhost] => overview::aliveness(estate, caller, vhost),
        ["health", "checks", ref check @ ..] => overview::health(estate, check),
        ["healthchecks", "node", ..] => overview::health(estate, &["alarms"]),
        ["users", ref rest @ ..] => users::users(estate, request, rest),
        ["user-limits", ref rest @ ..] => users::limits(estate, request, rest),
        ["permissions", ref rest @ ..] => permissions::permissions(estate, request, rest),
        ["topic-permissions", ref rest @ ..] => permissions::topics(estate, request, rest),
        ["vhosts", ref rest @ ..] => vhosts::vhosts(estate, caller, request, rest),
        ["vhost-limits", ref rest @ ..] => vhosts::limits(estate, caller, request, rest),
        ["policies", ref rest @ ..] => policies::policies(estate, caller, request, rest),
        ["operator-policies", ref rest @ ..] => {
            policies::operator_policies(estate, caller, request, rest)
        }
        ["parameters", ref rest @ ..] => policies::parameters(request, rest),
        ["exchanges", vhost, name, "publish"] => {
            messages::publish(estate, caller, request, vhost, exchanges::real_name(name))
        }
        ["exchanges", ref rest @ ..] => exchanges::exchanges(estate, caller, request, rest),
        ["queues", vhost, name, "get"] => messages::get(estate, caller, request, vhost, name),
        ["queues", ref rest @ ..] => queues::queues(estate, caller, request, rest),
        ["bindings", ref rest @ ..] => bindings::bindings(estate, caller, request, rest),
        ["connections", ref rest @ ..] => connections::connections(estate, caller, request, rest),
        ["channels", ref rest @ ..] => connections::channels(estate, caller, request, rest),
        ["consumers", ref rest @ ..] => connections::consumers(estate, caller, request, rest),
        ["definitions" | "all-configuration", ref rest @ ..] => {
            definitions::definitions(estate, caller, request, rest)
        }
        _ => Err(Problem::NotFound),
    }
}
