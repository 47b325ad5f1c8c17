//! Everything that is defined, as one document: to keep, to compare, and to bring elsewhere.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::admin::bindings;
use crate::admin::bindings::Named;
use crate::admin::caller::Caller;
use crate::admin::draft::Draft;
use crate::admin::estate::Estate;
use crate::admin::exchanges;
use crate::admin::overview::CLUSTER;
use crate::admin::permissions;
use crate::admin::policies;
use crate::admin::queues;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::request::text_of;
use crate::admin::users;
use crate::admin::users::limit_of;
use crate::admin::vhosts;
use crate::amqp::id::BatchId;
use crate::amqp::json;
use crate::broker::host::Host;
use crate::broker::policy::Side;
use crate::broker::vhost::QueueKind;
use crate::broker::vhost::Vhost;

pub fn definitions<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    rest: &[&str],
) -> Outcome {
    match (request.method, rest) {
        (Method::Get, []) => Ok(Response::ok(export(estate))),
        (Method::Get, [vhost]) => {
            caller.vhost(estate, vhost)?;
            Ok(Response::ok(export_vhost(estate, vhost)))
        }
        (Method::Post, []) => import(estate, request, None),
        (Method::Post, [vhost]) => {
            exchanges::check_vhost(estate, caller, vhost)?;
            import(estate, request, Some(vhost))
        }
        (_, _) => Err(Problem::NotFound),
    }
}

/// What a vhost has, each with its own name in it if `named`.
#[derive(Default)]
struct Parts {
    queues: Vec<Value>,
    exchanges: Vec<Value>,
    bindings: Vec<Value>,
    policies: Vec<Value>,
    parameters: Vec<Value>,
}

impl Parts {
    /// COMPAT: what goes with a connection, and what every vhost has, is not exported. Nor is what
    /// the broker makes by itself: parking lots and schedules.
    fn add(&mut self, vhost: &Vhost, named: bool) {
        let name = |mut value: Value| {
            if named {
                value["vhost"] = Value::from(vhost.name.as_str());
            }
            value
        };
        let kept = |kind| matches!(kind, QueueKind::Client | QueueKind::Declared);
        let queues = vhost.queues().filter(|it| it.exclusive.is_none() && kept(it.kind));
        self.queues.extend(queues.map(|it| name(queues::definition(it))));
        let own = |it: &str| !it.starts_with("amq.");
        let exchanges = vhost.table.exchanges().into_iter().filter(|it| own(&it.name));
        self.exchanges.extend(exchanges.map(|it| name(exchanges::definition(it))));
        let lasts = |it: &Named| {
            let queue = (!it.to_exchange).then(|| vhost.queue(&it.destination)).flatten();
            !it.source.is_empty() && queue.is_none_or(|it| it.exclusive.is_none() && kept(it.kind))
        };
        let bindings = bindings::all_of(vhost).into_iter().filter(lasts);
        self.bindings.extend(bindings.map(|it| name(it.definition())));
        for side in [Side::User, Side::Operator] {
            for policy in vhost.policies.iter(side) {
                let mut value = json!({
                    "pattern": policy.pattern.as_str(),
                    "apply-to": policy.apply_to.as_str(),
                    "definition": policy.definition,
                    "priority": policy.priority,
                });
                match side {
                    Side::User => {
                        value["name"] = Value::from(policy.name.as_str());
                        self.policies.push(name(value));
                    }
                    Side::Operator => self.parameters.push(name(json!({
                        "component": "operator_policy", "name": policy.name, "value": value,
                    }))),
                }
            }
        }
        let limits = vhosts::limits_view(&vhost.profile);
        if !limits.is_empty() {
            let limits = json!({ "component": "vhost-limits", "name": "limits", "value": limits });
            self.parameters.push(name(limits));
        }
    }

    fn into_document(self, mut head: Value) -> Value {
        head["queues"] = Value::Array(self.queues);
        head["exchanges"] = Value::Array(self.exchanges);
        head["bindings"] = Value::Array(self.bindings);
        head["policies"] = Value::Array(self.policies);
        head["parameters"] = Value::Array(self.parameters);
        head
    }
}

fn head<E: Estate>(estate: &E, format: &str) -> Value {
    let vitals = estate.vitals();
    json!({
        "rabbit_version": vitals.rabbitmq_version,
        "rabbitmq_version": vitals.rabbitmq_version,
        "product_name": "railpost",
        "product_version": vitals.version,
        "rabbitmq_definition_format": format,
    })
}

fn export<E: Estate>(estate: &E) -> Value {
    let mut parts = Parts::default();
    let mut vhosts = Vec::new();
    for name in estate.vhosts() {
        estate.in_vhost(&name, |turn| {
            let vhost = turn.vhost();
            parts.add(vhost, true);
            let metadata = vhosts::metadata(&vhost.profile);
            let limits = vhosts::limits_view(&vhost.profile);
            let name = name.as_str();
            vhosts.push(json!({ "name": name, "metadata": metadata, "limits": limits }));
        });
    }
    let mut head = head(estate, "cluster");
    head["explanation"] = Value::from(format!("Definitions of cluster '{CLUSTER}'"));
    head["original_cluster_name"] = Value::from(CLUSTER);
    head["users"] = estate.directory(|it| it.users().map(users::view).collect());
    head["vhosts"] = Value::Array(vhosts);
    head["permissions"] = Value::Array(permissions::list_where(estate, |_, _| true));
    head["topic_permissions"] = Value::Array(permissions::topics_where(estate, |_, _| true));
    head["global_parameters"] = json!([]);
    parts.into_document(head)
}

fn export_vhost<E: Estate>(estate: &E, name: &str) -> Value {
    let mut parts = Parts::default();
    let mut head = head(estate, "single_virtual_host");
    head["explanation"] = Value::from(format!("Definitions of virtual host '{name}'"));
    head["original_vhost_name"] = Value::from(name);
    estate.in_vhost(name, |turn| {
        let profile = &turn.vhost().profile;
        head["description"] = Value::from(profile.description.as_str());
        head["metadata"] = vhosts::metadata(profile);
        head["limits"] = Value::Object(vhosts::limits_view(profile));
        parts.add(turn.vhost(), false);
    });
    parts.into_document(head)
}

/// Tries a document on a copy first: one with a mistake in it changes nothing. Then brings it in.
///
/// COMPAT: an object that is there and differs stays as it is. Ours: these are in the answer; with
/// `strict` there must be none, and with `dry_run` the copy is all that changes.
fn import<E: Estate>(estate: &E, request: &Request, into: Option<&str>) -> Outcome {
    let tried = bring_in(&Draft::new(estate), request, into)?;
    let body = |conflicts: &[Value]| json!({ "conflicts": conflicts });
    if request.is_set("dry_run") {
        return Ok(Response {
            n_conflicts: tried.conflicts.len(),
            ..Response::ok(body(&tried.conflicts))
        });
    }
    if request.is_set("strict") && !tried.conflicts.is_empty() {
        return Err(Problem::Conflict(body(&tried.conflicts)));
    }
    let done = bring_in(estate, request, into)?;
    let (n_conflicts, after) = (done.conflicts.len(), done.after);
    let response = match n_conflicts {
        0 => Response::no_content(),
        _ => Response::ok(body(&done.conflicts)),
    };
    Ok(Response { n_conflicts, after, ..response })
}

/// What an import did.
struct Imported {
    after: BatchId,
    conflicts: Vec<Value>,
}

/// Brings in a document, in an order in which nothing comes before what it needs.
fn bring_in<E: Estate>(
    estate: &E,
    request: &Request,
    into: Option<&str>,
) -> Result<Imported, Problem> {
    let mut import = Import { estate, into, after: BatchId(0), conflicts: Vec::new() };
    let document = request.fields()?;
    let of = |key: &str| -> Result<Vec<&Map<String, Value>>, Problem> {
        let Some(list) = document.get(key) else { return Ok(Vec::new()) };
        let items = list.as_array().ok_or_else(|| Problem::bad(format!("`{key}` is no list")))?;
        let object = |it: &'_ Value| it.is_object();
        if !items.iter().all(object) {
            return Err(Problem::bad(format!("`{key}` has something that is no object")));
        }
        Ok(items.iter().filter_map(Value::as_object).collect())
    };
    if into.is_none() {
        for item in of("users")? {
            import.user(item)?;
        }
        for item in of("vhosts")? {
            let done = vhosts::put(estate, required(item, "name")?, item)?;
            import.note(Ok(done), "vhost", item)?;
        }
    }
    for item in of("parameters")? {
        import.parameter(item)?;
    }
    if into.is_none() {
        for item in of("permissions")? {
            let (vhost, user) = (required(item, "vhost")?, required(item, "user")?);
            import.note(permissions::put(estate, vhost, user, item), "permission", item)?;
        }
    }
    for item in of("exchanges")? {
        let (vhost, name) = (import.vhost(item)?, required(item, "name")?);
        let done = exchanges::put(estate, vhost, name, item);
        import.note(done, "exchange", item)?;
    }
    if into.is_none() {
        for item in of("topic_permissions")? {
            let (vhost, user) = (required(item, "vhost")?, required(item, "user")?);
            let done = permissions::put_topic(estate, vhost, user, item);
            import.note(done, "topic permission", item)?;
        }
    }
    for item in of("policies")? {
        let (vhost, name) = (import.vhost(item)?, required(item, "name")?);
        import.note(policies::put(estate, Side::User, vhost, name, item), "policy", item)?;
    }
    for item in of("queues")? {
        let (vhost, name) = (import.vhost(item)?, required(item, "name")?);
        import.note(queues::put(estate, vhost, name, item), "queue", item)?;
    }
    for item in of("bindings")? {
        import.binding(item)?;
    }
    Ok(Imported { after: import.after, conflicts: import.conflicts })
}

struct Import<'a, E> {
    estate: &'a E,
    into: Option<&'a str>,
    after: BatchId,
    conflicts: Vec<Value>,
}

impl<'a, E: Estate> Import<'a, E> {
    fn vhost<'b>(&self, item: &'b Map<String, Value>) -> Result<&'b str, Problem>
    where
        'a: 'b,
    {
        match self.into {
            Some(vhost) => Ok(vhost),
            None => required(item, "vhost"),
        }
    }

    fn conflict(&mut self, kind: &str, item: &Map<String, Value>, reason: &str) {
        let name = item.get("name").cloned().unwrap_or_default();
        let vhost = match self.into {
            Some(vhost) => Value::from(vhost),
            None => item.get("vhost").cloned().unwrap_or_default(),
        };
        let conflict = json!({ "kind": kind, "name": name, "vhost": vhost, "reason": reason });
        self.conflicts.push(conflict);
    }

    /// What contradicts what is there is only counted; anything else ends the import.
    fn note(
        &mut self,
        outcome: Outcome,
        kind: &str,
        item: &Map<String, Value>,
    ) -> Result<(), Problem> {
        match outcome {
            Ok(response) => self.after = self.after.max(response.after),
            Err(Problem::BadRequest(reason)) if reason.starts_with("inequivalent arg") => {
                self.conflict(kind, item, &reason);
            }
            Err(Problem::BadRequest(reason)) => {
                let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
                return Err(Problem::BadRequest(format!("{kind} '{name}': {reason}")));
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// A user of the configuration file stays as it is there.
    fn user(&mut self, item: &Map<String, Value>) -> Result<(), Problem> {
        let name = required(item, "name")?;
        let outcome = users::put(self.estate, name, item);
        if let Err(Problem::BadRequest(reason)) = &outcome
            && reason.contains("is in the configuration file")
        {
            self.conflict("user", item, reason);
            return Ok(());
        }
        self.note(outcome, "user", item)
    }

    fn parameter(&mut self, item: &Map<String, Value>) -> Result<(), Problem> {
        let (vhost, name) = (self.vhost(item)?, required(item, "name")?);
        let value = item.get("value").and_then(Value::as_object);
        let value = value.ok_or_else(|| Problem::bad("a parameter's value is no object"))?;
        match required(item, "component")? {
            "operator_policy" => {
                let done = policies::put(self.estate, Side::Operator, vhost, name, value);
                self.note(done, "operator policy", item)
            }
            "vhost-limits" => {
                for (key, max) in value {
                    let done = vhosts::set_limit(self.estate, vhost, key, limit_of(max)?);
                    self.note(done, "limit", item)?;
                }
                Ok(())
            }
            other => {
                self.conflict("parameter", item, &format!("component {other} not found"));
                Ok(())
            }
        }
    }

    fn binding(&mut self, item: &Map<String, Value>) -> Result<(), Problem> {
        let vhost = self.vhost(item)?;
        let named = Named {
            source: required(item, "source")?.to_owned(),
            to_exchange: required(item, "destination_type")? == "exchange",
            destination: required(item, "destination")?.to_owned(),
            key: text_of(item, "routing_key")?.unwrap_or_default().to_owned(),
            arguments: json::to_table(item.get("arguments"))?,
        };
        if named.source.is_empty() {
            return Ok(());
        }
        let done = bindings::bind(self.estate, vhost, &named);
        self.note(done, "binding", item)
    }
}

fn required<'a>(item: &'a Map<String, Value>, key: &str) -> Result<&'a str, Problem> {
    text_of(item, key)?.ok_or_else(|| Problem::bad(format!("[{{key_missing,{key}}}]")))
}
