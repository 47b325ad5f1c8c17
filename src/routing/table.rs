//! The routing table: which exchanges exist and what is bound to what.

use std::collections::BTreeSet;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::amqp::id::QueueId;
use crate::amqp::name::BindingKey;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::table::Table as Arguments;
use crate::routing::delay::TYPE;
use crate::routing::hash::HashSource;
use crate::routing::hash::HashSourceError;
use crate::routing::headers::Criteria;
use crate::routing::headers::CriteriaError;
use crate::routing::matcher::Matcher;
use crate::routing::matcher::Others;

/// What an exchange does with a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
    /// One queue by a hash of the routing key, each queue weighted by its binding key.
    ConsistentHash,
    /// One queue by a hash of the routing key modulo the number of bound queues.
    ModulusHash,
    /// One of the bound queues, by chance.
    Random,
    /// As `Random`, for queues on the node a publisher is connected to: here, all.
    LocalRandom,
}

/// Where a binding leads.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Destination {
    Queue(QueueId),
    Exchange(ExchangeName),
}

/// One binding of an exchange; identical ones exist once.
///
/// Ordered by destination first, so that all bindings of one destination stand together.
#[derive(Clone, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct Binding {
    pub destination: Destination,
    pub key: BindingKey,
    /// The encoded arguments: part of a binding's identity.
    arguments: Box<[u8]>,
}

/// An exchange and everything bound to it.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub name: ExchangeName,
    pub kind: Kind,
    /// Messages with a delay are held back before they are routed as `kind` says.
    pub delays: bool,
    pub durable: bool,
    pub auto_delete: bool,
    /// Only other exchanges may publish to it.
    pub internal: bool,
    /// Gets what no binding of this exchange matches.
    pub alternate: Option<ExchangeName>,
    /// As `alternate`, which counts before it; said by a policy.
    pub policy_alternate: Option<ExchangeName>,
    pub arguments: Arguments,
    /// Where messages with a delay wait.
    pub schedule: Option<QueueId>,
    bindings: BTreeSet<Binding>,
    matcher: Matcher,
}

/// The properties of an exchange to be declared.
#[derive(Clone, PartialEq, Debug)]
pub struct ExchangeSpec {
    pub name: ExchangeName,
    pub kind: Kind,
    /// Messages with a delay are held back before they are routed as `kind` says.
    pub delays: bool,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub alternate: Option<ExchangeName>,
    pub arguments: Arguments,
}

/// Exchanges, their bindings, and the names of queues (the bindings of the default exchange).
#[derive(Clone, Debug, Default)]
pub struct Table {
    exchanges: HashMap<ExchangeName, Exchange, RandomState>,
    queues: HashMap<QueueName, QueueId, RandomState>,
    names: HashMap<QueueId, QueueName, RandomState>,
    /// Exchanges that have at least one binding to the destination.
    sources: HashMap<Destination, BTreeSet<ExchangeName>, RandomState>,
    n_bindings: usize,
}

/// Why a binding is refused. Missing ends are not among these: the caller looks them up first.
#[derive(Clone, PartialEq, Debug)]
pub enum BindError {
    NoSuchExchange(ExchangeName),
    Criteria(CriteriaError),
    /// The binding key of a consistent-hash exchange is a weight, an integer above zero.
    WeightNotInteger(String),
    WeightNotPositive,
    WeightTooLarge,
    /// A local random exchange has bindings without keys.
    KeyNotEmpty(String),
}

/// Exchanges that went because their last binding did (auto-delete), in the order they went.
pub type Vanished = Vec<ExchangeName>;

impl Kind {
    /// The exchange type's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Fanout => "fanout",
            Kind::Topic => "topic",
            Kind::Headers => "headers",
            Kind::ConsistentHash => "x-consistent-hash",
            Kind::ModulusHash => "x-modulus-hash",
            Kind::Random => "x-random",
            Kind::LocalRandom => "x-local-random",
        }
    }

    /// Whether each message goes to one of the bindings only, whichever they are.
    pub fn picks_one(self) -> bool {
        match self {
            Kind::ConsistentHash | Kind::ModulusHash | Kind::Random | Kind::LocalRandom => true,
            Kind::Direct | Kind::Fanout | Kind::Topic | Kind::Headers => false,
        }
    }

    pub fn parse(text: &str) -> Option<Kind> {
        let all = [
            Kind::Direct,
            Kind::Fanout,
            Kind::Topic,
            Kind::Headers,
            Kind::ConsistentHash,
            Kind::ModulusHash,
            Kind::Random,
            Kind::LocalRandom,
        ];
        all.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Binding {
    pub fn new(destination: Destination, key: &str, arguments: &Arguments) -> Binding {
        let mut encoded = Vec::new();
        if !arguments.is_empty() {
            arguments.encode(&mut encoded);
        }
        Binding { destination, key: BindingKey::new(key), arguments: encoded.into() }
    }

    pub fn arguments(&self) -> Arguments {
        Arguments::decode(&self.arguments).map(|(table, _)| table).unwrap_or_default()
    }
}

impl ExchangeSpec {
    /// The exchange type's name on the wire.
    pub fn type_name(&self) -> &'static str {
        if self.delays { TYPE } else { self.kind.as_str() }
    }

    /// A durable exchange without arguments.
    pub fn durable(name: &str, kind: Kind) -> ExchangeSpec {
        ExchangeSpec {
            name: ExchangeName::new(name),
            kind,
            delays: false,
            durable: true,
            auto_delete: false,
            internal: false,
            alternate: None,
            arguments: Arguments::default(),
        }
    }
}

impl Exchange {
    /// The exchange type's name on the wire.
    pub fn type_name(&self) -> &'static str {
        if self.delays { TYPE } else { self.kind.as_str() }
    }

    pub(in crate::routing) fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    /// All bindings, those of one destination together, in a fixed order.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter()
    }

    pub fn n_bindings(&self) -> usize {
        self.bindings.len()
    }

    /// Where a message goes that no binding matches.
    pub fn effective_alternate(&self) -> Option<&ExchangeName> {
        self.alternate.as_ref().or(self.policy_alternate.as_ref())
    }

    /// Whether nothing is bound to it.
    pub fn is_unused(&self) -> bool {
        self.bindings.is_empty()
    }

    fn bindings_to<'a>(&'a self, to: &'a Destination) -> impl Iterator<Item = &'a Binding> {
        let first = Binding {
            destination: to.clone(),
            key: BindingKey::new(""),
            arguments: Box::default(),
        };
        self.bindings.range(first..).take_while(move |it| it.destination == *to)
    }

    /// What else leads to the destination of a binding that is not (or no longer) in the set.
    fn others(&self, binding: &Binding) -> Others {
        let mut all = self.bindings_to(&binding.destination).peekable();
        if all.peek().is_none() {
            Others::None
        } else if all.any(|it| it.key == binding.key) {
            Others::SameKey
        } else {
            Others::OtherKeys
        }
    }

    fn add(&mut self, binding: Binding) -> Result<bool, BindError> {
        if self.bindings.contains(&binding) {
            return Ok(false);
        }
        check_binding(self.kind, &binding)?;
        let others = self.others(&binding);
        self.matcher.add(&binding, others);
        self.bindings.insert(binding);
        Ok(true)
    }

    fn remove(&mut self, binding: &Binding) -> bool {
        if !self.bindings.remove(binding) {
            return false;
        }
        let others = self.others(binding);
        self.matcher.remove(binding, others);
        true
    }
}

impl Table {
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(name)
    }

    /// All exchanges by name.
    pub fn exchanges(&self) -> Vec<&Exchange> {
        let mut all: Vec<&Exchange> = self.exchanges.values().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    pub fn n_exchanges(&self) -> usize {
        self.exchanges.len()
    }

    pub fn n_bindings(&self) -> usize {
        self.n_bindings
    }

    /// Adds an exchange, unless one of that name exists (then nothing changes).
    ///
    /// # Errors
    /// When the arguments of a hash exchange do not say what to hash.
    pub fn declare(&mut self, spec: ExchangeSpec) -> Result<(), HashSourceError> {
        if self.exchanges.contains_key(&spec.name) {
            return Ok(());
        }
        let source = HashSource::parse(&spec.arguments)?;
        let exchange = Exchange {
            name: spec.name.clone(),
            kind: spec.kind,
            delays: spec.delays,
            durable: spec.durable,
            auto_delete: spec.auto_delete,
            internal: spec.internal,
            alternate: spec.alternate,
            policy_alternate: None,
            arguments: spec.arguments,
            schedule: None,
            bindings: BTreeSet::new(),
            matcher: Matcher::new(spec.kind, source),
        };
        self.exchanges.insert(spec.name, exchange);
        Ok(())
    }

    /// Changes what of an exchange may change while it lives: all but its name, type and
    /// durability, and what a hash exchange hashes. Nothing happens when there is none.
    pub fn alter(&mut self, spec: ExchangeSpec) {
        let Some(exchange) = self.exchanges.get_mut(&spec.name) else { return };
        exchange.auto_delete = spec.auto_delete;
        exchange.internal = spec.internal;
        exchange.alternate = spec.alternate;
        exchange.arguments = spec.arguments;
    }

    /// Says where messages with a delay wait for an exchange. Nothing happens when there is none.
    pub fn set_schedule(&mut self, exchange: &str, schedule: QueueId) {
        if let Some(exchange) = self.exchanges.get_mut(exchange) {
            exchange.schedule = Some(schedule);
        }
    }

    /// Says where an exchange sends what no binding matches, unless its declaration says so.
    pub fn set_policy_alternate(&mut self, name: &str, alternate: Option<ExchangeName>) {
        if let Some(exchange) = self.exchanges.get_mut(name) {
            exchange.policy_alternate = alternate;
        }
    }

    /// Removes an exchange and every binding at either of its ends.
    pub fn delete(&mut self, name: &str) -> Vanished {
        let Some(exchange) = self.exchanges.remove(name) else {
            return Vanished::new();
        };
        self.n_bindings -= exchange.bindings.len();
        for binding in &exchange.bindings {
            self.forget_source(&exchange.name, &binding.destination);
        }
        let mut vanished = vec![exchange.name.clone()];
        vanished.extend(self.unbind_all(&Destination::Exchange(exchange.name)));
        vanished
    }

    /// Makes a queue known to the default exchange.
    pub fn add_queue(&mut self, name: QueueName, id: QueueId) {
        self.names.insert(id, name.clone());
        self.queues.insert(name, id);
    }

    /// Forgets a queue and its bindings; returns the auto-delete exchanges that went with them.
    pub fn remove_queue(&mut self, id: QueueId) -> Vanished {
        if let Some(name) = self.names.remove(&id) {
            self.queues.remove(&name);
        }
        self.unbind_all(&Destination::Queue(id))
    }

    pub fn queue(&self, name: &str) -> Option<QueueId> {
        self.queues.get(name).copied()
    }

    pub fn queue_name(&self, id: QueueId) -> Option<&QueueName> {
        self.names.get(&id)
    }

    /// All queues by name.
    pub fn queues(&self) -> Vec<(&QueueName, QueueId)> {
        let mut all: Vec<_> = self.queues.iter().map(|(name, id)| (name, *id)).collect();
        all.sort_unstable();
        all
    }

    pub fn n_queues(&self) -> usize {
        self.queues.len()
    }

    /// Whether a binding could be made, as far as its exchange is concerned.
    pub fn check_binding(&self, source: &str, binding: &Binding) -> Result<(), BindError> {
        let exchange = self.exchanges.get(source);
        let exchange = exchange.ok_or_else(|| BindError::NoSuchExchange(source.into()))?;
        check_binding(exchange.kind, binding)
    }

    /// Binds; `false` when this very binding exists already.
    pub fn bind(&mut self, source: &str, binding: Binding) -> Result<bool, BindError> {
        let exchange = self
            .exchanges
            .get_mut(source)
            .ok_or_else(|| BindError::NoSuchExchange(ExchangeName::new(source)))?;
        let destination = binding.destination.clone();
        let name = exchange.name.clone();
        let added = exchange.add(binding)?;
        if added {
            self.n_bindings += 1;
            self.sources.entry(destination).or_default().insert(name);
        }
        Ok(added)
    }

    /// Removes a binding; `None` when there is no such binding.
    pub fn unbind(&mut self, source: &str, binding: &Binding) -> Option<Vanished> {
        let exchange = self.exchanges.get_mut(source)?;
        if !exchange.remove(binding) {
            return None;
        }
        self.n_bindings -= 1;
        let name = exchange.name.clone();
        let last = exchange.bindings_to(&binding.destination).next().is_none();
        let goes = exchange.auto_delete && exchange.is_unused();
        if last {
            self.forget_source(&name, &binding.destination);
        }
        Some(if goes { self.delete(&name) } else { Vanished::new() })
    }

    pub fn has_binding(&self, source: &str, binding: &Binding) -> bool {
        self.exchanges.get(source).is_some_and(|it| it.bindings.contains(binding))
    }

    /// The bindings that lead to `to`, each with its source, in a fixed order.
    pub fn bindings_to(&self, to: &Destination) -> Vec<(&ExchangeName, &Binding)> {
        let sources = self.sources.get(to).into_iter().flatten();
        sources
            .filter_map(|name| self.exchanges.get(name))
            .flat_map(|exchange| {
                let first = Binding {
                    destination: to.clone(),
                    key: BindingKey::new(""),
                    arguments: Box::default(),
                };
                let all = exchange.bindings.range(first..);
                all.take_while(|it| it.destination == *to).map(|it| (&exchange.name, it))
            })
            .collect()
    }

    fn forget_source(&mut self, source: &ExchangeName, to: &Destination) {
        if let Some(sources) = self.sources.get_mut(to) {
            sources.remove(source);
            if sources.is_empty() {
                self.sources.remove(to);
            }
        }
    }

    /// Removes every binding to `to`. A work list, because an auto-delete exchange that goes may
    /// be the destination of another one.
    fn unbind_all(&mut self, to: &Destination) -> Vanished {
        let mut vanished = Vanished::new();
        let mut todo = vec![to.clone()];
        while let Some(to) = todo.pop() {
            for source in self.sources.remove(&to).unwrap_or_default() {
                let Some(exchange) = self.exchanges.get_mut(&source) else {
                    continue;
                };
                let gone: Vec<Binding> = exchange.bindings_to(&to).cloned().collect();
                self.n_bindings -= gone.len();
                gone.iter().for_each(|binding| {
                    exchange.remove(binding);
                });
                if exchange.auto_delete && exchange.is_unused() {
                    self.exchanges.remove(&source);
                    todo.push(Destination::Exchange(source.clone()));
                    vanished.push(source);
                }
            }
        }
        vanished
    }
}

/// COMPAT: what RabbitMQ's exchange types check of a binding.
fn check_binding(kind: Kind, binding: &Binding) -> Result<(), BindError> {
    match kind {
        Kind::Direct | Kind::Fanout | Kind::Topic | Kind::ModulusHash | Kind::Random => Ok(()),
        Kind::LocalRandom if binding.key.is_empty() => Ok(()),
        Kind::LocalRandom => Err(BindError::KeyNotEmpty(binding.key.to_string())),
        Kind::Headers => {
            Criteria::parse(&binding.arguments()).map(|_| ()).map_err(BindError::Criteria)
        }
        Kind::ConsistentHash => match binding.key.parse::<i64>() {
            Err(_) => Err(BindError::WeightNotInteger(binding.key.to_string())),
            Ok(weight) if weight < 1 => Err(BindError::WeightNotPositive),
            Ok(weight) if weight > hash_weight_max() => Err(BindError::WeightTooLarge),
            Ok(_) => Ok(()),
        },
    }
}

/// Weights are numbers of buckets, so they are bounded.
pub fn hash_weight_max() -> i64 {
    crate::routing::hash::WEIGHT_MAX
}

#[cfg(test)]
mod tests;
