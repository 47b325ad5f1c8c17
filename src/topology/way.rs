//! The way of one message through the declared exchanges, with the reason at every hop: what
//! `railpost route` prints. Nothing is sent.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use crate::amqp::id::QueueId;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::property::PropertyList;
use crate::amqp::table::Table as Headers;
use crate::broker::rules::Delivers;
use crate::routing::Destination;
use crate::routing::explain;
use crate::routing::explain::Verdict;
use crate::routing::route;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::fate;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

/// The way of one message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Way {
    pub vhost: String,
    /// Empty for the default exchange.
    pub exchange: String,
    pub key: String,
    /// In the order in which the message comes to them.
    pub hops: Vec<Hop>,
    pub queues: Vec<Arrival>,
    /// What becomes of the message when no queue takes it.
    pub unroutable: Option<String>,
}

/// One exchange on the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Hop {
    pub exchange: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `broadcast` or `work`; absent for exchanges that no file declares.
    pub delivers: Option<&'static str>,
    /// `path:line` of the declaration.
    pub place: Option<String>,
    pub matched: Vec<Branch>,
    pub not_matched: Vec<Branch>,
    /// The exchange that took the message because no binding matched.
    pub alternate: Option<String>,
}

/// A binding at an exchange, and why it matched or not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Branch {
    /// The binding key and its arguments, for people.
    pub binding: String,
    pub to: String,
    pub to_exchange: bool,
    pub reason: String,
    pub place: Option<String>,
    /// Where the binding is declared.
    #[serde(skip)]
    pub origin: Option<Origin>,
}

/// A queue that gets a copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Arrival {
    pub queue: String,
    pub service: Option<String>,
    /// Who takes its messages, and how they share them.
    pub consumers: String,
    /// What becomes of failed deliveries.
    pub failed: String,
    pub place: Option<String>,
}

/// Why there is no way to show.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WayError {
    #[error("no file declares the exchange `{exchange}` in the vhost `{vhost}`")]
    NoSuchExchange { exchange: String, vhost: String },
    #[error("the exchange `{0}` is internal: nobody can publish to it")]
    Internal(String),
    #[error("the header `{0}` must be an array")]
    CopiesNotArray(&'static str),
}

/// Follows a message through the vhost.
///
/// # Errors
/// When nothing can be published that way.
pub fn of(
    topology: &Topology,
    vhost: &Vhost,
    exchange: &str,
    key: &str,
    headers: &Headers,
) -> Result<Way, WayError> {
    let facts = Facts::new(topology, vhost);
    match facts.table().exchange(exchange) {
        Some(it) if it.internal => return Err(WayError::Internal(exchange.to_owned())),
        None if !exchange.is_empty() => {
            let vhost = vhost.name.to_string();
            return Err(WayError::NoSuchExchange { exchange: exchange.to_owned(), vhost });
        }
        Some(_) | None => {}
    }
    let mut list = PropertyList::default();
    list.headers = Some(headers).filter(|it| !it.is_empty()).cloned();
    let bytes = list.to_bytes();
    let publication = route::Publication {
        exchange,
        routing_key: RoutingKey(key),
        properties: Properties::from_checked(&bytes),
        copies: true,
    };
    let explained = match explain::explain(facts.table(), publication) {
        Ok(explained) => explained,
        Err(route::RouteError::NoSuchExchange) => {
            let vhost = vhost.name.to_string();
            return Err(WayError::NoSuchExchange { exchange: exchange.to_owned(), vhost });
        }
        Err(route::RouteError::CopiesNotArray { header, .. }) => {
            return Err(WayError::CopiesNotArray(header));
        }
    };
    let walk = Walk { topology, vhost, facts: &facts, key };
    let hops = match exchange {
        "" => vec![walk.default_exchange(&explained.queues)],
        _ => explained.hops.iter().map(|it| walk.hop(it)).collect(),
    };
    let queues: Vec<Arrival> = explained.queues.iter().map(|id| walk.arrival(*id)).collect();
    let unroutable = queues.is_empty().then(|| fate::of_unroutable(facts.exchange(exchange)));
    Ok(Way {
        vhost: vhost.name.to_string(),
        exchange: exchange.to_owned(),
        key: key.to_owned(),
        hops,
        queues,
        unroutable,
    })
}

struct Walk<'t> {
    topology: &'t Topology,
    vhost: &'t Vhost,
    facts: &'t Facts<'t>,
    key: &'t str,
}

impl Walk<'_> {
    fn name(&self, id: QueueId) -> String {
        self.facts.table().queue_name(id).map(ToString::to_string).unwrap_or_default()
    }

    fn default_exchange(&self, queues: &[QueueId]) -> Hop {
        let branch = |id: &QueueId| Branch {
            binding: String::new(),
            to: self.name(*id),
            to_exchange: false,
            reason: "the key is the queue's name".to_owned(),
            place: None,
            origin: None,
        };
        Hop {
            exchange: String::new(),
            kind: "direct",
            delivers: None,
            place: None,
            matched: queues.iter().map(branch).collect(),
            not_matched: Vec::new(),
            alternate: None,
        }
    }

    fn hop(&self, hop: &explain::Hop) -> Hop {
        let declared = self.vhost.exchanges.get(&hop.exchange);
        let branches = |wanted: bool| {
            let all = hop.bindings.iter().filter(move |(_, it)| it.is_match() == wanted);
            all.map(|(binding, verdict)| self.branch(&hop.exchange, binding, verdict)).collect()
        };
        Hop {
            exchange: hop.exchange.to_string(),
            kind: hop.kind.as_str(),
            delivers: declared.map(|it| match it.delivers() {
                Delivers::Broadcast => "broadcast",
                Delivers::Work => "work",
            }),
            place: declared.map(|it| self.topology.sources.cite(it.origin).to_string()),
            matched: branches(true),
            not_matched: branches(false),
            alternate: hop.alternate.as_ref().map(ToString::to_string),
        }
    }

    fn branch(
        &self,
        exchange: &str,
        binding: &crate::routing::Binding,
        verdict: &Verdict,
    ) -> Branch {
        let (to, to_exchange) = match &binding.destination {
            Destination::Queue(id) => (self.name(*id), false),
            Destination::Exchange(name) => (name.to_string(), true),
        };
        let arguments = binding.arguments();
        let bindings = match to_exchange {
            true => self.vhost.exchanges.get(&*to).map(|it| &it.bindings),
            false => {
                let queue = self.vhost.queues.get(&*to).map(|it| &it.bindings);
                queue.or_else(|| self.vhost.per_instance.get(&*to).map(|it| &it.bindings))
            }
        };
        let origin = bindings.into_iter().flatten().find(|it| {
            *it.exchange.value == *exchange
                && it.key.value == binding.key
                && it.arguments == arguments
        });
        let origin = origin.map(|it| it.origin);
        Branch {
            binding: match arguments.is_empty() {
                true => binding.key.to_string(),
                false => format!("{} {arguments}", binding.key).trim_start().to_owned(),
            },
            to,
            to_exchange,
            reason: self.reason(verdict),
            place: origin.map(|it| self.topology.sources.cite(it).to_string()),
            origin,
        }
    }

    fn reason(&self, verdict: &Verdict) -> String {
        match verdict {
            Verdict::Matched => "matches".to_owned(),
            Verdict::KeyDiffers => format!("the key is `{}`", self.key),
            Verdict::WordDiffers { at, wanted, found } => {
                format!("word {at} is `{found}`, not `{wanted}`")
            }
            Verdict::KeyTooShort => format!("`{}` has too few words", self.key),
            Verdict::KeyTooLong => format!("`{}` has more words", self.key),
            Verdict::HeaderDiffers(header) => {
                format!("the header `{header}` is absent or has another value")
            }
            Verdict::NoHeaderMatches => "no header has the value asked for".to_owned(),
            Verdict::NotChosen => "the hash chose another one".to_owned(),
            Verdict::Possible => "by chance, one of them".to_owned(),
        }
    }

    fn arrival(&self, id: QueueId) -> Arrival {
        let queue = self.name(id);
        let nobody = "people look at it";
        let (service, consumers, failed, origin) = match self.facts.end(id) {
            Some(End::Queue(it)) => {
                (it.service(), fate::of_consumers(it), fate::of_failed(it), Some(it.origin))
            }
            Some(End::Instances) => {
                let pattern = self.vhost.per_instance.get(&*queue);
                let service = pattern.and_then(|it| it.services.first()).map(|it| &it.value);
                let consumers = "each instance has a queue of its own".to_owned();
                (
                    service,
                    consumers,
                    "as each instance asks".to_owned(),
                    pattern.map(|it| it.origin),
                )
            }
            Some(End::Lot) | None => (None, nobody.to_owned(), "stays".to_owned(), None),
        };
        Arrival {
            service: service.map(ToString::to_string),
            consumers,
            failed,
            place: origin.map(|it| self.topology.sources.cite(it).to_string()),
            queue,
        }
    }
}

impl Way {
    /// One document, `"schema": "railpost.route/1"`.
    pub fn json(&self) -> String {
        let mut document = json!({ "schema": "railpost.route/1" });
        if let (Some(map), Ok(serde_json::Value::Object(own))) =
            (document.as_object_mut(), serde_json::to_value(self))
        {
            map.extend(own);
        }
        format!("{document:#}\n")
    }

    /// A block per exchange, and the number of copies.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut counted = BTreeSet::new();
        for hop in &self.hops {
            self.hop_text(hop, &mut counted, &mut text);
        }
        match (&self.unroutable, self.queues.len()) {
            (Some(end), _) => text.push_str(&format!("no queue: {end}\n")),
            (None, 1) => text.push_str("1 queue\n"),
            (None, n) => text.push_str(&format!("{n} queues\n")),
        }
        text
    }

    fn hop_text<'w>(&'w self, hop: &'w Hop, counted: &mut BTreeSet<&'w str>, text: &mut String) {
        let name = if hop.exchange.is_empty() { "the default exchange" } else { &hop.exchange };
        let delivers = hop.delivers.map(|it| format!(", {it}")).unwrap_or_default();
        let place = hop.place.as_ref().map(|it| format!("  {it}")).unwrap_or_default();
        text.push_str(&format!("{name} ({}{delivers}){place}\n", hop.kind));
        let all = hop.matched.iter().chain(&hop.not_matched);
        let wide = all.clone().map(|it| shown(&it.binding).chars().count()).max().unwrap_or(0);
        let to_wide = all.map(|it| it.to.chars().count()).max().unwrap_or(0);
        for (at, branch) in hop.matched.iter().enumerate() {
            let last = at + 1 == hop.matched.len() && hop.alternate.is_none();
            let corner = if last { "└─" } else { "├─" };
            let note = self.note(branch, counted);
            let binding = shown(&branch.binding);
            let line = format!(" {corner} {binding:wide$} → {:to_wide$}  {note}", branch.to);
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if let Some(alternate) = &hop.alternate {
            text.push_str(&format!(" └─ nothing matched → alternate exchange {alternate}\n"));
        }
        for branch in &hop.not_matched {
            let binding = shown(&branch.binding);
            let (to, reason) = (&branch.to, &branch.reason);
            text.push_str(&format!("    not matched: {binding:wide$} → {to:to_wide$}  {reason}\n"));
        }
    }

    fn note<'w>(&'w self, branch: &'w Branch, counted: &mut BTreeSet<&'w str>) -> String {
        if branch.to_exchange {
            return "exchange".to_owned();
        }
        let chance = if branch.reason.contains("chance") { "perhaps: " } else { "" };
        let found = self.queues.iter().position(|it| it.queue == branch.to);
        let Some(arrival) = found.map(|at| &self.queues[at]) else {
            return "perhaps, by chance".to_owned();
        };
        if !counted.insert(&branch.to) {
            return "the same copy".to_owned();
        }
        let (n, of) = (counted.len(), self.queues.len());
        format!("{chance}copy {n} of {of} · {} · {}", arrival.consumers, arrival.failed)
    }
}

/// A binding key as people can see it.
fn shown(binding: &str) -> &str {
    if binding.is_empty() { "\"\"" } else { binding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::table::Value;
    use crate::topology::Source;
    use crate::topology::load;

    const FILE: &str = "[services.a]\n[services.b]\n\
        [exchanges.orders]\ntype = \"topic\"\nunroutable = \"park\"\n\
        [exchanges.eu]\ntype = \"headers\"\n\
        bindings = [{ exchange = \"orders\", key = \"order.eu.#\" }]\n\
        [queues.billing]\nservice = \"a\"\nretry = { attempts = 3, first = \"1s\" }\n\
        bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n\
        [queues.us]\nservice = \"b\"\n\
        bindings = [{ exchange = \"orders\", key = \"order.us.*\" }]\n\
        [queues.tenant]\nservice = \"b\"\ndead_letter = { exchange = \"orders\" }\n\
        bindings = [{ exchange = \"eu\", arguments = { tenant = 7 } }]\n";

    fn way(exchange: &str, key: &str, headers: &Headers) -> Result<Way, WayError> {
        let loaded = load(&[Source { path: "t.toml".into(), text: FILE.into() }]);
        assert_eq!(loaded.diagnostics, []);
        let vhost = loaded.topology.vhost("/").expect("it is there");
        of(&loaded.topology, vhost, exchange, key, headers)
    }

    #[test]
    fn every_hop_says_why() {
        let headers = Headers(vec![("tenant".into(), Value::I64(7))]);
        let way = way("orders", "order.eu.created", &headers).expect("there is a way");
        let text = "orders (topic, broadcast)  t.toml:3\n \
            ├─ order.#    → billing  copy 1 of 2 · instances of a compete · retry 1s 2s → parked\n \
            └─ order.eu.# → eu       exchange\n    \
            not matched: order.us.* → us       word 2 is `eu`, not `us`\n\
            eu (headers, broadcast)  t.toml:6\n \
            └─ {tenant=7} → tenant  copy 2 of 2 · instances of b compete · rejected → exchange \
            orders\n2 queues\n";
        assert_eq!(way.text(), text);
        assert!(way.json().contains("\"schema\": \"railpost.route/1\""));
    }

    #[test]
    fn what_reaches_no_queue_says_what_becomes_of_it() {
        let way = way("orders", "invoice", &Headers::default()).expect("it can be published");
        assert_eq!(way.queues, []);
        assert!(way.text().ends_with("no queue: it is parked in orders.parked\n"));
    }

    #[test]
    fn the_default_exchange_goes_by_the_name_of_the_queue() {
        let reached = way("", "us", &Headers::default()).expect("there is a way");
        assert_eq!(reached.queues[0].queue, "us");
        assert!(way("nothing", "us", &Headers::default()).is_err());
    }
}
