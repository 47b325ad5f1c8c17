//! Why a message went where it went: the same walk as [`route`], binding by binding, in words that
//! can be printed. Slower, and written from the rules rather than from the matching structures, so
//! that each checks the other.
//!
//! [`route`]: crate::routing::route::route

use std::collections::BTreeSet;

use crate::amqp::id::QueueId;
use crate::amqp::name::ExchangeName;
use crate::amqp::table::Value;
use crate::routing::headers::Criteria;
use crate::routing::route::Publication;
use crate::routing::route::RouteError;
use crate::routing::route::Routes;
use crate::routing::route::route;
use crate::routing::table::Binding;
use crate::routing::table::Destination;
use crate::routing::table::Exchange;
use crate::routing::table::Kind;
use crate::routing::table::Table;
use crate::routing::topic;

/// The way of one message.
#[derive(Clone, PartialEq, Debug)]
pub struct Explanation {
    pub hops: Vec<Hop>,
    /// Each queue reached, once.
    pub queues: Vec<QueueId>,
}

/// One exchange on the way.
#[derive(Clone, PartialEq, Debug)]
pub struct Hop {
    pub exchange: ExchangeName,
    pub kind: Kind,
    pub bindings: Vec<(Binding, Verdict)>,
    /// The alternate exchange that took the message because no binding matched.
    pub alternate: Option<ExchangeName>,
}

/// Whether a binding matched, and if not, why.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    Matched,
    /// Direct: the keys differ.
    KeyDiffers,
    /// Topic: word `at` (from 1) of the routing key is not what the binding key asks for.
    WordDiffers {
        at: usize,
        wanted: String,
        found: String,
    },
    /// Topic: the routing key ends before the binding key is satisfied.
    KeyTooShort,
    /// Topic: the routing key goes on after the binding key ended.
    KeyTooLong,
    /// Headers: this header is absent or has another value.
    HeaderDiffers(String),
    /// Headers with `any`: none of the headers has the value asked for.
    NoHeaderMatches,
    /// Hash exchanges: the hash chose another destination.
    NotChosen,
    /// Random exchanges: it may be the one.
    Possible,
}

impl Verdict {
    /// Whether the message goes, or may go, this way.
    pub fn is_match(&self) -> bool {
        matches!(self, Verdict::Matched | Verdict::Possible)
    }
}

/// Walks `publication` through `table`.
pub fn explain(table: &Table, publication: Publication<'_>) -> Result<Explanation, RouteError> {
    let mut routes = Routes::default();
    route(table, publication, &mut routes)?;
    let mut explanation = Explanation { hops: Vec::new(), queues: routes.queues().to_vec() };
    explanation.queues.sort_unstable();
    let keys = all_keys(publication);
    let mut visited = BTreeSet::new();
    let mut todo = vec![ExchangeName::new(publication.exchange)];
    while let Some(name) = todo.pop() {
        if !visited.insert(name.clone()) {
            continue;
        }
        let Some(exchange) = table.exchange(&name) else {
            continue;
        };
        let hop = explain_hop(exchange, publication, &keys);
        for (binding, verdict) in &hop.bindings {
            if let (Destination::Exchange(to), true) = (&binding.destination, verdict.is_match()) {
                todo.push(to.clone());
            }
        }
        todo.extend(hop.alternate.clone());
        explanation.hops.push(hop);
    }
    Ok(explanation)
}

/// The routing key and those of CC and BCC.
fn all_keys(publication: Publication<'_>) -> Vec<String> {
    let headers = publication.properties.headers().filter(|_| publication.copies);
    let headers = headers.unwrap_or_default();
    let copies = ["CC", "BCC"].into_iter().filter_map(|name| headers.get(name)?.as_array());
    let copies = copies.flatten().filter_map(Value::as_text).map(str::to_owned);
    std::iter::once(publication.routing_key.0.to_owned()).chain(copies).collect()
}

fn explain_hop(exchange: &Exchange, publication: Publication<'_>, keys: &[String]) -> Hop {
    let chosen = chosen_by_hash(exchange, publication, keys);
    let bindings: Vec<(Binding, Verdict)> = exchange
        .bindings()
        .map(|binding| {
            let verdict = match exchange.kind {
                Kind::Fanout => Verdict::Matched,
                Kind::Direct if keys.iter().any(|key| *key == *binding.key) => Verdict::Matched,
                Kind::Direct => Verdict::KeyDiffers,
                Kind::Topic => topic_verdict(&binding.key, keys),
                Kind::Headers => headers_verdict(binding, publication),
                // Any of them may be the one.
                Kind::Random | Kind::LocalRandom => Verdict::Possible,
                Kind::ConsistentHash | Kind::ModulusHash => {
                    let is_chosen = chosen.contains(&binding.destination);
                    if is_chosen { Verdict::Matched } else { Verdict::NotChosen }
                }
            };
            (binding.clone(), verdict)
        })
        .collect();
    let any = bindings.iter().any(|(_, verdict)| verdict.is_match());
    let alternate = if any { None } else { exchange.effective_alternate().cloned() };
    Hop { exchange: exchange.name.clone(), kind: exchange.kind, bindings, alternate }
}

/// Hash exchanges have no rule to restate, so the matcher itself is asked.
fn chosen_by_hash(
    exchange: &Exchange,
    publication: Publication<'_>,
    keys: &[String],
) -> Vec<Destination> {
    let mut routes = Routes::default();
    if matches!(exchange.kind, Kind::ConsistentHash | Kind::ModulusHash) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        exchange.matcher().collect(&keys, publication.properties, &mut routes);
    }
    let queues = routes.queues().iter().map(|id| Destination::Queue(*id));
    let exchanges = routes.waiting().iter().map(|name| Destination::Exchange(name.clone()));
    queues.chain(exchanges).collect()
}

fn topic_verdict(binding_key: &str, keys: &[String]) -> Verdict {
    if keys.iter().any(|key| topic::matches(binding_key, key)) {
        return Verdict::Matched;
    }
    let wanted: Vec<&str> = topic::words(binding_key).collect();
    let found: Vec<&str> = keys.first().map(|key| topic::words(key).collect()).unwrap_or_default();
    for (at, word) in wanted.iter().enumerate() {
        match found.get(at) {
            // After a `#` positions no longer correspond, so nothing more exact can be said.
            _ if *word == "#" => break,
            None => return Verdict::KeyTooShort,
            Some(it) if *word != "*" && word != it => {
                return Verdict::WordDiffers {
                    at: at + 1,
                    wanted: (*word).to_owned(),
                    found: (*it).to_owned(),
                };
            }
            Some(_) => {}
        }
    }
    if wanted.contains(&"#") { Verdict::KeyDiffers } else { Verdict::KeyTooLong }
}

fn headers_verdict(binding: &Binding, publication: Publication<'_>) -> Verdict {
    let headers = publication.properties.headers().unwrap_or_default();
    let Ok(criteria) = Criteria::parse(&binding.arguments()) else {
        return Verdict::NoHeaderMatches;
    };
    match criteria.first_mismatch(&headers) {
        _ if criteria.matches(&headers) => Verdict::Matched,
        Some(header) if criteria.is_all() => Verdict::HeaderDiffers(header.to_owned()),
        Some(_) | None => Verdict::NoHeaderMatches,
    }
}
