//! The native API, `/v1`: what railpost can do that the management API has no words for. The same
//! logins and rights; what is changed here is in [`ROUTES`], from which its description is made.

pub mod audit;
pub mod estate;
pub mod events;
pub mod job;
pub mod openapi;
pub mod parked;
pub mod peek;
pub mod queues;
pub mod retries;
pub mod route;
pub mod selector;
pub mod topology;

use serde_json::json;

use crate::admin::caller::Caller;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::table::matched;
use crate::admin::v1::estate::Operations;

/// Something that can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Describe,
    Topology,
    LiveTopology,
    Plan,
    Apply,
    Explain,
    Figures,
    Peek,
    Cancel,
    Lots,
    Parked,
    Redrive,
    Discard,
    Restore,
    Retries,
    RetryNow,
    Pause,
    Resume,
    Jobs,
    Job,
    StopJob,
    Audit,
    Events,
}

/// A line of the router and of the API's description.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub action: Action,
    pub method: Method,
    /// Below `/v1`; `{name}` stands for one part.
    pub path: &'static str,
    pub summary: &'static str,
    /// Values of the query, and what each says.
    pub query: &'static [(&'static str, &'static str)],
    /// Fields of the body, their JSON types, and what each says.
    pub body: &'static [(&'static str, &'static str, &'static str)],
}

const PAGE: [(&str, &str); 2] = [
    ("after", "The id behind which to go on: `next` of the page before."),
    ("limit", "Messages of a page: 1 to 500, else 50."),
];

const SELECTOR: [(&str, &str, &str); 8] = [
    ("ids", "array", "Ids of messages."),
    ("reason", "string", "Only messages parked for this reason."),
    ("older_than_secs", "integer", "Only messages that were parked so long ago."),
    ("all", "boolean", "Needed when nothing else chooses."),
    ("limit", "integer", "At most so many messages."),
    ("rate", "integer", "At most so many messages a second."),
    (
        "stop_at",
        "integer",
        "A redrive with a rate ends when so many of a hundred are parked again.",
    ),
    (
        "canary",
        "integer",
        "So many are redriven first, the others once the queue had as many acknowledged and none \
         was parked again.",
    ),
];

const FILES: [(&str, &str, &str); 2] = [
    ("sources", "array", "Topology files: `path` and `text` of each."),
    ("options", "object", "`prune`, and queues to `delete` with what is in them."),
];

/// Everything there is.
pub const ROUTES: [Route; 23] = [
    Route {
        summary: "This description, as OpenAPI.",
        ..route(Action::Describe, Method::Get, "/openapi.json")
    },
    Route {
        summary: "What topology files declare, and where.",
        query: &[("vhost", "Only this one.")],
        ..route(Action::Topology, Method::Get, "/topology")
    },
    Route {
        summary: "What is there, the files that count, and a fingerprint of both.",
        ..route(Action::LiveTopology, Method::Get, "/topology/live")
    },
    Route {
        summary: "What has to be done so that the broker is what files declare. Nothing is done.",
        body: &FILES,
        ..route(Action::Plan, Method::Post, "/plan")
    },
    Route {
        summary: "Makes the broker what files declare; 409 when the plan is stale or refused.",
        body: &[
            FILES[0],
            FILES[1],
            ("fingerprint", "string", "Of the broker as the plan found it; else any will do."),
            ("broker", "string", "The broker that the plan was made for; else any will do."),
        ],
        ..route(Action::Apply, Method::Post, "/apply")
    },
    Route {
        summary: "The way a message would take, binding by binding. Nothing is sent.",
        query: &[
            ("vhost", "Else `/`."),
            ("exchange", "Else the default exchange."),
            ("key", "The routing key."),
            ("header", "`name=value`, as often as needed; `h.name=value` is the same."),
        ],
        ..route(Action::Explain, Method::Get, "/route")
    },
    Route {
        summary: "How many messages are ready, unacked and delayed, and how old the oldest are.",
        ..route(Action::Figures, Method::Get, "/queues/{vhost}/{queue}")
    },
    Route {
        summary: "Looks at messages. Nothing changes: none is delivered, marked or moved.",
        query: &[
            ("state", "`ready`, `unacked`, `delayed` or `parked`; else `ready`."),
            PAGE[0],
            PAGE[1],
            ("truncate", "Bytes that are shown of a body, else 65536."),
        ],
        ..route(Action::Peek, Method::Get, "/queues/{vhost}/{queue}/messages")
    },
    Route {
        summary: "Drops one message that waits for its time in a delayed exchange's queue.",
        ..route(Action::Cancel, Method::Delete, "/queues/{vhost}/{queue}/messages/{id}")
    },
    Route {
        summary: "The parking lots that hold something, their messages counted by reason.",
        query: &[("vhost", "Only this one.")],
        ..route(Action::Lots, Method::Get, "/parked")
    },
    Route {
        summary: "The parked messages of a queue, counted by reason.",
        ..route(Action::Parked, Method::Get, "/queues/{vhost}/{queue}/parked")
    },
    Route {
        summary: "Sends parked messages back to the queue that failed, as a job.",
        query: &[("dry_run", "`true` only counts.")],
        body: &SELECTOR,
        ..route(Action::Redrive, Method::Post, "/queues/{vhost}/{queue}/parked/redrive")
    },
    Route {
        summary: "Discards parked messages, as a job; they can be restored for 24 hours.",
        query: &[("dry_run", "`true` only counts.")],
        body: &SELECTOR,
        ..route(Action::Discard, Method::Post, "/queues/{vhost}/{queue}/parked/discard")
    },
    Route {
        summary: "Parks discarded messages again, as a job.",
        query: &[("dry_run", "`true` only counts.")],
        body: &SELECTOR,
        ..route(Action::Restore, Method::Post, "/queues/{vhost}/{queue}/parked/restore")
    },
    Route {
        summary: "What waits for a retry, by attempt, and when the next is due.",
        ..route(Action::Retries, Method::Get, "/queues/{vhost}/{queue}/retries")
    },
    Route {
        summary: "Retries waiting messages before their time.",
        query: &[("dry_run", "`true` only counts.")],
        body: &[
            ("ids", "array", "Ids of messages; else all that wait."),
            ("attempt", "integer", "Only messages that failed so often."),
            ("limit", "integer", "At most so many messages."),
        ],
        ..route(Action::RetryNow, Method::Post, "/queues/{vhost}/{queue}/retries/now")
    },
    Route {
        summary: "Stops delivery to the consumers of a queue, until `resume` or a restart.",
        ..route(Action::Pause, Method::Post, "/queues/{vhost}/{queue}/pause")
    },
    Route {
        summary: "Delivers again to the consumers of a queue.",
        ..route(Action::Resume, Method::Post, "/queues/{vhost}/{queue}/resume")
    },
    Route {
        summary: "The jobs that run, and the last ones that ended.",
        ..route(Action::Jobs, Method::Get, "/jobs")
    },
    Route { summary: "How far a job is.", ..route(Action::Job, Method::Get, "/jobs/{id}") },
    Route {
        summary: "Ends a job; what it has done stays done.",
        ..route(Action::StopJob, Method::Delete, "/jobs/{id}")
    },
    Route {
        summary: "Who changed what over HTTP since the start, the newest first.",
        query: &[("user", "Only what this one did."), ("limit", "At most so many, else 100.")],
        ..route(Action::Audit, Method::Get, "/audit")
    },
    Route {
        summary: "A stream of events: `snapshot`, then once a second `delta` with what changed.",
        query: &[(
            "topics",
            "`overview`, `queues`, `jobs`, `queue:VHOST/QUEUE`, with commas between; else all.",
        )],
        ..route(Action::Events, Method::Get, "/events")
    },
];

const fn route(action: Action, method: Method, path: &'static str) -> Route {
    Route { action, method, path, summary: "", query: &[], body: &[] }
}

/// Answers a request of somebody who has logged in. May take a while.
pub fn answer<E: Operations>(estate: &E, caller: &Caller, request: &Request) -> Response {
    dispatch(estate, caller, request).unwrap_or_else(|problem| problem.response())
}

fn dispatch<E: Operations>(estate: &E, caller: &Caller, request: &Request) -> Outcome {
    let (action, parts) = find(request)?;
    match (action, &parts[..]) {
        (Action::Describe, _) => Ok(Response::ok(openapi::document())),
        (Action::Topology, _) => topology::topology(estate, caller, request),
        (Action::LiveTopology, _) => topology::live(estate, caller),
        (Action::Plan, _) => topology::plan(estate, caller, request),
        (Action::Apply, _) => topology::apply(estate, caller, request),
        (Action::Explain, _) => route::explain(estate, caller, request),
        (Action::Figures, [vhost, queue]) => queues::figures(estate, caller, vhost, queue),
        (Action::Peek, [vhost, queue]) => peek::messages(estate, caller, request, vhost, queue),
        (Action::Cancel, [vhost, queue, id]) => retries::cancel(estate, caller, vhost, queue, id),
        (Action::Lots, _) => parked::lots(estate, caller, request),
        (Action::Parked, [vhost, queue]) => parked::groups(estate, caller, vhost, queue),
        (Action::Redrive, [vhost, queue]) => {
            parked::begin(estate, caller, request, (vhost, queue), job::Kind::Redrive)
        }
        (Action::Discard, [vhost, queue]) => {
            parked::begin(estate, caller, request, (vhost, queue), job::Kind::Discard)
        }
        (Action::Restore, [vhost, queue]) => {
            parked::begin(estate, caller, request, (vhost, queue), job::Kind::Restore)
        }
        (Action::Retries, [vhost, queue]) => retries::retries(estate, caller, vhost, queue),
        (Action::RetryNow, [vhost, queue]) => retries::now(estate, caller, request, vhost, queue),
        (Action::Pause, [vhost, queue]) => queues::pause(estate, caller, vhost, queue, true),
        (Action::Resume, [vhost, queue]) => queues::pause(estate, caller, vhost, queue, false),
        (Action::Jobs, _) => parked::jobs(estate, caller),
        (Action::Job, [id]) => parked::job(estate, caller, id),
        (Action::StopJob, [id]) => parked::stop(estate, caller, id),
        (Action::Audit, _) => audit::audit(estate, caller, request),
        // The server makes a stream of it; asked for its head alone, this is the first event.
        (Action::Events, _) => {
            events::picture(estate, caller, request).map(|it| Response::ok(json!(it)))
        }
        (_, _) => Err(Problem::NotFound),
    }
}

/// The action a request is for, and the parts of its path that vary.
fn find(request: &Request) -> Result<(Action, Vec<&str>), Problem> {
    let mut known = false;
    for route in ROUTES {
        let Some(parts) = matched(&route.path[1..], &request.path) else { continue };
        if route.method == request.method {
            return Ok((route.action, parts));
        }
        known = true;
    }
    Err(if known { Problem::WrongMethod } else { Problem::NotFound })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, path: &str) -> Request {
        let path = path.split('/').map(str::to_owned).collect();
        Request { method, path, query: Vec::new(), body: json!({}), reason: None }
    }

    #[test]
    fn each_route_is_found_by_its_own_path_and_described() {
        let document = openapi::document();
        for route in ROUTES {
            let path = route.path.trim_start_matches('/').replace(['{', '}'], "");
            let request = request(route.method, &path);
            assert_eq!(find(&request).map(|it| it.0), Ok(route.action), "{path}");
            let method = openapi::method_name(route.method);
            let entry = &document["paths"][format!("/v1{}", route.path)][method];
            assert_eq!(entry["summary"], route.summary, "{}", route.path);
            assert!(!route.summary.is_empty(), "{}", route.path);
        }
        let n = document["paths"].as_object().expect("paths").values();
        let n: usize = n.map(|it| it.as_object().expect("methods").len()).sum();
        assert_eq!(n, ROUTES.len());
    }

    #[test]
    fn unknown_paths_and_methods_are_told_apart() {
        assert_eq!(find(&request(Method::Get, "nothing")), Err(Problem::NotFound));
        assert_eq!(find(&request(Method::Put, "jobs/1")), Err(Problem::WrongMethod));
        let found = request(Method::Get, "queues/a b/c/messages");
        assert_eq!(find(&found), Ok((Action::Peek, vec!["a b", "c"])));
    }
}
