//! Bindings, and the key by which tools name one of several between two ends.

use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::access::permission::Right;
use crate::admin::caller::Caller;
use crate::admin::estate::Estate;
use crate::admin::exchanges::check_vhost;
use crate::admin::exchanges::real_name;
use crate::admin::exchanges::refused;
use crate::admin::list;
use crate::admin::queues::NOBODY;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::request::text_of;
use crate::amqp::json;
use crate::amqp::table::Table;
use crate::broker::declare;
use crate::broker::declare::Bind;
use crate::broker::declare::Resource;
use crate::broker::host::Host;
use crate::broker::vhost::Vhost;
use crate::routing::Binding;
use crate::routing::Destination;

/// A binding by names.
#[derive(Clone, PartialEq, Debug)]
pub struct Named {
    pub source: String,
    pub to_exchange: bool,
    pub destination: String,
    pub key: String,
    pub arguments: Table,
}

pub fn bindings<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    rest: &[&str],
) -> Outcome {
    match (request.method, rest) {
        (Method::Get, [] | [_]) => {
            let vhosts = caller.vhosts(estate, rest.first().copied())?;
            let all = vhosts.iter().flat_map(|it| list_where(estate, it, |_| true));
            list::paged(all.collect(), request)
        }
        (Method::Get, [vhost, "e", source, kind @ ("q" | "e"), destination]) => {
            caller.vhost(estate, vhost)?;
            let ends = Ends::new(source, kind, destination);
            list::whole(list_where(estate, vhost, |it| ends.are_of(it)), request)
        }
        (Method::Post, [vhost, "e", source, kind @ ("q" | "e"), destination]) => {
            check_vhost(estate, caller, vhost)?;
            let ends = Ends::new(source, kind, destination);
            let binding = ends.with(request.fields()?)?;
            check_rights(estate, caller, vhost, &binding)?;
            bind(estate, vhost, &binding)
        }
        (Method::Get, [vhost, "e", source, kind @ ("q" | "e"), destination, key]) => {
            caller.vhost(estate, vhost)?;
            let ends = Ends::new(source, kind, destination);
            let found = find(estate, vhost, ends, key).ok_or(Problem::NotFound)?;
            list::single(found.view(vhost), request)
        }
        (Method::Delete, [vhost, "e", source, kind @ ("q" | "e"), destination, key]) => {
            check_vhost(estate, caller, vhost)?;
            let ends = Ends::new(source, kind, destination);
            let found = find(estate, vhost, ends, key).ok_or(Problem::NotFound)?;
            unbind(estate, caller, vhost, &found)
        }
        (_, _) => Err(Problem::NotFound),
    }
}

/// The two ends in a path.
#[derive(Clone, Copy, Debug)]
struct Ends<'a> {
    source: &'a str,
    to_exchange: bool,
    destination: &'a str,
}

impl<'a> Ends<'a> {
    fn new(source: &'a str, kind: &str, destination: &'a str) -> Ends<'a> {
        Ends { source: real_name(source), to_exchange: kind == "e", destination }
    }

    fn are_of(&self, it: &Named) -> bool {
        it.source == self.source
            && it.to_exchange == self.to_exchange
            && it.destination == self.destination
    }

    fn with(&self, fields: &Map<String, Value>) -> Result<Named, Problem> {
        Ok(Named {
            source: self.source.to_owned(),
            to_exchange: self.to_exchange,
            destination: self.destination.to_owned(),
            key: text_of(fields, "routing_key")?.unwrap_or_default().to_owned(),
            arguments: json::to_table(fields.get("arguments"))?,
        })
    }
}

impl Named {
    /// COMPAT: the routing key as in a query, where `~` is escaped too, and behind a `~` a hash of
    /// the arguments, if there are any; `~` alone when there is nothing.
    pub fn properties_key(&self) -> String {
        let key = escape(&self.key);
        if self.arguments.is_empty() {
            return if key.is_empty() { "~".to_owned() } else { key };
        }
        let mut bytes = Vec::new();
        self.arguments.encode(&mut bytes);
        let hash = FixedState::with_seed(0).hash_one(&bytes);
        format!("{key}~{hash:016x}")
    }

    pub fn view(&self, vhost: &str) -> Value {
        let mut view = self.definition();
        view["vhost"] = Value::from(vhost);
        view["properties_key"] = Value::from(self.properties_key());
        view
    }

    /// What definitions say of a binding.
    pub fn definition(&self) -> Value {
        json!({
            "source": self.source,
            "destination": self.destination,
            "destination_type": if self.to_exchange { "exchange" } else { "queue" },
            "routing_key": self.key,
            "arguments": json::from_table(&self.arguments),
        })
    }

    fn to_bind(&self) -> Bind {
        let destination = self.destination.clone();
        Bind {
            source: self.source.clone(),
            destination: match self.to_exchange {
                true => Resource::Exchange(destination),
                false => Resource::Queue(destination),
            },
            key: self.key.clone(),
            arguments: self.arguments.clone(),
            connection: NOBODY,
            service: None,
        }
    }
}

/// As `quote_plus` of Python, with `~` escaped as well.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

/// All bindings of a vhost, those of the default exchange first.
pub fn all_of(vhost: &Vhost) -> Vec<Named> {
    let default = vhost.queues().map(|it| Named {
        source: String::new(),
        to_exchange: false,
        destination: it.name.to_string(),
        key: it.name.to_string(),
        arguments: Table::default(),
    });
    let others = vhost.table.exchanges().into_iter().flat_map(|exchange| {
        let bindings = exchange.bindings();
        bindings.filter_map(|it| named(vhost, &exchange.name, it)).collect::<Vec<_>>()
    });
    default.chain(others).collect()
}

fn named(vhost: &Vhost, source: &str, binding: &Binding) -> Option<Named> {
    let (to_exchange, destination) = match &binding.destination {
        Destination::Exchange(name) => (true, name.to_string()),
        Destination::Queue(id) => (false, vhost.record(*id)?.name.to_string()),
    };
    Some(Named {
        source: source.to_owned(),
        to_exchange,
        destination,
        key: binding.key.to_string(),
        arguments: binding.arguments(),
    })
}

fn list_where<E: Estate>(estate: &E, vhost: &str, wanted: impl Fn(&Named) -> bool) -> Vec<Value> {
    let all = estate.in_vhost(vhost, |turn| all_of(turn.vhost())).unwrap_or_default();
    all.iter().filter(|it| wanted(it)).map(|it| it.view(vhost)).collect()
}

pub fn of_queue<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    vhost: &str,
    name: &str,
) -> Outcome {
    caller.vhost(estate, vhost)?;
    let there = estate.in_vhost(vhost, |turn| turn.vhost().queue(name).is_some());
    if there != Some(true) {
        return Err(Problem::NotFound);
    }
    let is_of = |it: &Named| !it.to_exchange && it.destination == name;
    list::whole(list_where(estate, vhost, is_of), request)
}

pub fn of_exchange<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    vhost: &str,
    name: &str,
    end: &str,
) -> Outcome {
    caller.vhost(estate, vhost)?;
    let there = estate.in_vhost(vhost, |turn| turn.vhost().table.exchange(name).is_some());
    if there != Some(true) && !name.is_empty() {
        return Err(Problem::NotFound);
    }
    let is_of = |it: &Named| match end {
        "source" => it.source == name,
        _ => it.to_exchange && it.destination == name,
    };
    list::whole(list_where(estate, vhost, is_of), request)
}

/// The binding that a path names: by its key, or by the routing key of one without arguments.
fn find<E: Estate>(estate: &E, vhost: &str, ends: Ends<'_>, key: &str) -> Option<Named> {
    let all = estate.in_vhost(vhost, |turn| all_of(turn.vhost()))?;
    let of_ends: Vec<Named> = all.into_iter().filter(|it| ends.are_of(it)).collect();
    let exact = of_ends.iter().find(|it| it.properties_key() == key);
    let plain = || of_ends.iter().find(|it| it.key == key && it.arguments.is_empty());
    exact.or_else(plain).cloned()
}

fn check_rights<E: Estate>(
    estate: &E,
    caller: &Caller,
    vhost: &str,
    binding: &Named,
) -> Result<(), Problem> {
    caller.check_right(estate, vhost, Right::Write, &binding.destination)?;
    caller.check_right(estate, vhost, Right::Read, &binding.source)?;
    let grant = caller.grant(estate, vhost);
    match grant.topic(&binding.source) {
        Some(topic) if !topic.allows(Right::Read, &binding.key) => {
            Err(Problem::NotAllowed("Access refused."))
        }
        Some(_) | None => Ok(()),
    }
}

/// Binds as a request or an import says.
pub fn bind<E: Estate>(estate: &E, vhost: &str, binding: &Named) -> Outcome {
    let bound = estate.in_vhost(vhost, |turn| declare::bind(turn, &binding.to_bind()));
    let bound = bound.ok_or(Problem::Missing("vhost_not_found"))?;
    let after = bound.map_err(|error| refused(estate, &error, vhost))?;
    let location =
        format!("{}/{}", escape(&binding.destination), escape(&binding.properties_key()));
    Ok(Response { location: Some(location), ..Response::put(false, after) })
}

fn unbind<E: Estate>(estate: &E, caller: &Caller, vhost: &str, binding: &Named) -> Outcome {
    check_rights(estate, caller, vhost, binding)?;
    let unbound = estate.in_vhost(vhost, |turn| declare::unbind(turn, &binding.to_bind()));
    let after = unbound.ok_or(Problem::NotFound)?;
    after.map(Response::done).map_err(|error| refused(estate, &error, vhost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::table::Value as Field;

    #[test]
    fn keys_are_rabbitmqs() {
        let of = |key: &str, arguments: &[(&str, Field)]| {
            let arguments = arguments.iter().map(|(key, it)| ((*key).to_owned(), it.clone()));
            let named = Named {
                source: "x".into(),
                to_exchange: false,
                destination: "q".into(),
                key: key.into(),
                arguments: Table(arguments.collect()),
            };
            named.properties_key()
        };
        for (key, expected) in [
            ("", "~"),
            ("#", "%23"),
            ("order.*", "order.%2A"),
            ("a~b/c d", "a%7Eb%2Fc+d"),
            ("k é", "k+%C3%A9"),
        ] {
            assert_eq!(of(key, &[]), expected);
        }
        let with = of("k", &[("x", Field::I32(1))]);
        assert!(with.starts_with("k~") && with != of("k", &[("x", Field::I32(2))]));
    }
}
