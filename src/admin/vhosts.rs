//! Vhosts and their limits.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::access::permission::Permission;
use crate::admin::caller::Caller;
use crate::admin::connections;
use crate::admin::estate::Estate;
use crate::admin::list;
use crate::admin::permissions;
use crate::admin::rates;
use crate::admin::rates::Moment;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::request::text_of;
use crate::admin::users;
use crate::admin::users::limit_of;
use crate::amqp::argument::QueueType;
use crate::broker::host::Host;
use crate::broker::vhost::Profile;

pub fn vhosts<E: Estate>(estate: &E, caller: &Caller, request: &Request, rest: &[&str]) -> Outcome {
    match (request.method, rest) {
        (Method::Get, []) => {
            let vhosts = caller.vhosts(estate, None)?;
            list::paged(vhosts.iter().filter_map(|it| view(estate, it)).collect(), request)
        }
        (Method::Get, [name]) => {
            caller.vhost(estate, name)?;
            list::single(view(estate, name).ok_or(Problem::NotFound)?, request)
        }
        (Method::Put, [name]) => {
            let response = put(estate, name, request.fields()?)?;
            let_in(estate, caller, name);
            Ok(response)
        }
        (Method::Delete, [name]) => {
            caller.vhost(estate, name)?;
            estate.delete_vhost(name).map(Response::done).map_err(users::refused)
        }
        (Method::Get, [name, "permissions"]) => {
            caller.vhost(estate, name)?;
            list::whole(permissions::list_where(estate, |_, at| at == *name), request)
        }
        (Method::Get, [name, "topic-permissions"]) => {
            caller.vhost(estate, name)?;
            list::whole(permissions::topics_where(estate, |_, at| at == *name), request)
        }
        (Method::Get, [name, "connections"]) => {
            connections::list_of_vhost(estate, caller, request, name)
        }
        (Method::Get, [name, "channels"]) => {
            connections::channels_of_vhost(estate, caller, request, name)
        }
        (_, _) => Err(Problem::NotFound),
    }
}

/// COMPAT: who makes a vhost may do everything in it.
fn let_in<E: Estate>(estate: &E, caller: &Caller, vhost: &str) {
    let name = &caller.user.name;
    if !estate.directory(|it| it.may_open(name, vhost)) {
        // Both are there.
        let _ = estate.put_permission(name, vhost, Permission::all());
    }
}

fn view<E: Estate>(estate: &E, name: &str) -> Option<Value> {
    let node = estate.vitals().node;
    let mut view = estate.in_vhost(name, |turn| {
        let profile = turn.vhost().profile.clone();
        let kind = profile.default_queue_type.map_or("undefined", QueueType::as_str);
        json!({
            "name": name,
            "description": profile.description,
            "tags": profile.tags,
            "default_queue_type": kind,
            "metadata": metadata(&profile),
            "tracing": false,
            "cluster_state": { node: "running" },
        })
    })?;
    let history = estate.history();
    let count = |it: &Moment| it.vhosts.get(name).copied();
    let now = count(&estate.moment()).unwrap_or_default();
    let totals = rates::queue_totals(&now.depth, &history, |it| Some(count(it)?.depth));
    let stats = rates::message_stats(&now.totals, &history, |it| Some(count(it)?.totals));
    if let Value::Object(view) = &mut view {
        view.extend(totals);
        view.insert("message_stats".to_owned(), Value::Object(stats));
    }
    Some(view)
}

pub fn metadata(profile: &Profile) -> Value {
    let mut metadata = json!({ "description": profile.description, "tags": profile.tags });
    if let Some(kind) = profile.default_queue_type {
        metadata["default_queue_type"] = Value::from(kind.as_str());
    }
    metadata
}

/// Makes or changes a vhost as a request or an import says; what is not said stays.
pub fn put<E: Estate>(estate: &E, name: &str, fields: &Map<String, Value>) -> Outcome {
    if name.is_empty() {
        return Err(Problem::bad("a vhost needs a name"));
    }
    let mut profile = profile(estate, name).unwrap_or_default();
    let metadata = fields.get("metadata").and_then(Value::as_object);
    for fields in metadata.into_iter().chain([fields]) {
        if let Some(description) = text_of(fields, "description")? {
            description.clone_into(&mut profile.description);
        }
        match fields.get("tags") {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => {
                let tags = text.split(',').map(str::trim).filter(|it| !it.is_empty());
                profile.tags = tags.map(str::to_owned).collect();
            }
            Some(tags) => {
                let tags = tags.as_array().ok_or_else(|| Problem::bad("`tags` is no list"))?;
                profile.tags = tags.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            }
        }
        match text_of(fields, "default_queue_type")?.or(text_of(fields, "defaultqueuetype")?) {
            None => {}
            Some("undefined" | "") => profile.default_queue_type = None,
            Some(kind) => {
                let wrong = || Problem::bad(format!("unsupported queue type '{kind}'"));
                profile.default_queue_type = Some(QueueType::parse(kind).ok_or_else(wrong)?);
            }
        }
    }
    let put = estate.put_vhost(name, profile);
    Ok(Response::put(put.existed, put.after))
}

fn profile<E: Estate>(estate: &E, name: &str) -> Option<Profile> {
    estate.in_vhost(name, |turn| turn.vhost().profile.clone())
}

/// The limits of a vhost as definitions have them; empty without any.
pub fn limits_view(profile: &Profile) -> Map<String, Value> {
    let mut view = Map::new();
    for (key, max) in
        [("max-connections", profile.connections_max), ("max-queues", profile.queues_max)]
    {
        view.extend(max.map(|max| (key.to_owned(), Value::from(max))));
    }
    view
}

pub fn limits<E: Estate>(estate: &E, caller: &Caller, request: &Request, rest: &[&str]) -> Outcome {
    let view = |name: &str| {
        let limits = profile(estate, name).map(|it| limits_view(&it)).unwrap_or_default();
        (!limits.is_empty()).then(|| json!({ "vhost": name, "value": limits }))
    };
    match (request.method, rest) {
        (Method::Get, [] | [_]) => {
            let vhosts = caller.vhosts(estate, rest.first().copied())?;
            list::whole(vhosts.iter().filter_map(|it| view(it)).collect(), request)
        }
        (Method::Put, [name, key]) => {
            let value = request.fields()?.get("value");
            let max = limit_of(value.ok_or_else(|| Problem::bad("[{key_missing,value}]"))?)?;
            set_limit(estate, name, key, max)
        }
        (Method::Delete, [name, key]) => set_limit(estate, name, key, None),
        (_, _) => Err(Problem::NotFound),
    }
}

pub fn set_limit<E: Estate>(estate: &E, name: &str, key: &str, max: Option<u64>) -> Outcome {
    let mut profile = profile(estate, name).ok_or(Problem::NotFound)?;
    match key {
        "max-connections" => profile.connections_max = max,
        "max-queues" => profile.queues_max = max,
        _ => {
            let known = "max-connections and max-queues are";
            return Err(Problem::bad(format!("`{key}` is no limit of a vhost; {known}")));
        }
    }
    Ok(Response::done(estate.put_vhost(name, profile).after))
}
