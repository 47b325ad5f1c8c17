//! The walk of one message through exchanges: bindings, exchange-to-exchange, alternate exchanges,
//! and the extra keys of CC and BCC.

use smallvec::SmallVec;

use crate::amqp::delay::delay;
use crate::amqp::id::QueueId;
use crate::amqp::limit;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::table::Value;
use crate::routing::hash::hash_bytes;
use crate::routing::matcher::Targets;
use crate::routing::table::Destination;
use crate::routing::table::Table;
use crate::routing::topic::Walk;

/// What decides where a message goes.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    pub exchange: &'a str,
    pub routing_key: RoutingKey<'a>,
    pub properties: Properties<'a>,
    /// Whether the CC and BCC headers add keys; a dead letter with a key of its own goes only
    /// there.
    pub copies: bool,
}

/// The queues a message goes to, and the working memory of finding them; reused per message.
#[derive(Debug, Default)]
pub struct Routes {
    queues: Vec<QueueId>,
    /// Exchanges still to be visited, and behind them in `visited` those already known.
    exchanges: Vec<ExchangeName>,
    visited: Vec<ExchangeName>,
    n_sources: usize,
    /// What the next choice by chance comes from.
    dice: u64,
    pub(in crate::routing) walk: Walk,
}

/// Why a message cannot be routed at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RouteError {
    NoSuchExchange,
    /// The CC or BCC header is not an array.
    CopiesNotArray {
        header: &'static str,
        got: &'static str,
    },
}

impl Routes {
    /// Each queue once.
    pub fn queues(&self) -> &[QueueId] {
        &self.queues
    }

    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// `Routes` whose choices by chance differ from those of other seeds.
    pub fn seeded(seed: u64) -> Routes {
        Routes { dice: seed, ..Routes::default() }
    }

    /// What choices by chance would go on with.
    pub fn seed(&self) -> u64 {
        self.dice
    }

    /// A number below `n`, which must not be 0; another one each time.
    pub(in crate::routing) fn draw(&mut self, n: usize) -> usize {
        self.dice = self.dice.wrapping_add(1);
        #[allow(clippy::cast_possible_truncation, reason = "smaller than n")]
        let at = (hash_bytes(&self.dice.to_be_bytes()) % n as u64) as usize;
        at
    }

    /// Makes one queue the only destination.
    pub fn set(&mut self, queue: QueueId) {
        self.clear();
        self.queues.push(queue);
    }

    /// Takes a queue out again, for example because a message must not go round in circles.
    pub fn remove(&mut self, queue: QueueId) {
        self.queues.retain(|it| *it != queue);
    }

    /// Exchanges found but not yet visited.
    pub(in crate::routing) fn waiting(&self) -> &[ExchangeName] {
        &self.exchanges
    }

    pub fn clear(&mut self) {
        self.queues.clear();
        self.exchanges.clear();
        self.visited.clear();
        self.n_sources = 0;
    }

    /// Adds the targets of one binding key; always true, for use in conditions.
    pub(in crate::routing) fn add(&mut self, targets: &Targets) -> bool {
        self.queues.extend_from_slice(&targets.queues);
        self.n_sources += usize::from(!targets.queues.is_empty());
        targets.exchanges.iter().for_each(|name| self.visit(name));
        true
    }

    pub(in crate::routing) fn add_one(&mut self, to: &Destination) {
        match to {
            Destination::Queue(id) => {
                self.queues.push(*id);
                self.n_sources += 1;
            }
            Destination::Exchange(name) => self.visit(name),
        }
    }

    /// Puts an exchange on the work list, unless it was there already.
    fn visit(&mut self, name: &ExchangeName) {
        if !self.visited.contains(name) && self.visited.len() < limit::HOPS {
            self.visited.push(name.clone());
            self.exchanges.push(name.clone());
        }
    }

    /// One copy per queue, however many bindings matched.
    fn keep_each_once(&mut self) {
        if self.n_sources > 1 {
            self.queues.sort_unstable();
            self.queues.dedup();
        }
    }
}

/// Step 6 of a message's path, called by `broker::publish`; next is `queue::enqueue`.
///
/// Fills `routes` with the queues `publication` goes to. An exchange that matches no binding hands
/// the message to its alternate exchange; each exchange is visited once.
pub fn route(
    table: &Table,
    publication: Publication<'_>,
    routes: &mut Routes,
) -> Result<(), RouteError> {
    routes.clear();
    let copies = match publication.copies {
        true => copies(publication.properties)?,
        false => Vec::new(),
    };
    let mut keys: SmallVec<[&str; 4]> = SmallVec::new();
    keys.push(publication.routing_key.0);
    keys.extend(copies.iter().map(String::as_str));
    if publication.exchange.is_empty() {
        for key in &keys {
            routes.queues.extend(table.queue(key).filter(|_| !is_schedule(key)));
            routes.n_sources += 1;
        }
        routes.keep_each_once();
        return Ok(());
    }
    let first = table.exchange(publication.exchange).ok_or(RouteError::NoSuchExchange)?;
    let mut exchange = Some(first);
    routes.visited.push(first.name.clone());
    while let Some(it) = exchange {
        let any = match it.schedule {
            Some(schedule) if delay(publication.properties).is_some() => {
                routes.add_one(&Destination::Queue(schedule));
                true
            }
            Some(_) | None => it.matcher().collect(&keys, publication.properties, routes),
        };
        if let (false, Some(alternate)) = (any, it.effective_alternate()) {
            routes.visit(alternate);
        }
        exchange = loop {
            match routes.exchanges.pop() {
                // A missing alternate exchange is passed over.
                Some(name) => {
                    if let Some(next) = table.exchange(&name) {
                        break Some(next);
                    }
                }
                None => break None,
            }
        };
    }
    routes.keep_each_once();
    Ok(())
}

/// What the queues are called that hold messages back for an exchange.
pub const SCHEDULE_PREFIX: &str = "amq.delayed.";

/// Nobody publishes to these: how long a message stays is for its exchange to say.
pub fn is_schedule(queue: &str) -> bool {
    queue.starts_with(SCHEDULE_PREFIX)
}

/// The extra routing keys in the CC and BCC headers.
///
/// COMPAT: elements that are not strings are skipped; a header that is not an array is an error.
fn copies(properties: Properties<'_>) -> Result<Vec<String>, RouteError> {
    let mut keys = Vec::new();
    if !properties.may_have_header(b"CC") {
        return Ok(keys);
    }
    let headers = properties.headers().unwrap_or_default();
    for header in ["CC", "BCC"] {
        match headers.get(header) {
            None => {}
            Some(Value::Array(items)) => {
                keys.extend(items.iter().filter_map(|it| it.as_text()).map(str::to_owned));
            }
            Some(other) => {
                return Err(RouteError::CopiesNotArray { header, got: other.type_name() });
            }
        }
    }
    Ok(keys)
}
