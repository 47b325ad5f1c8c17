//! Policies: behaviour given to queues and exchanges by a pattern over their names, by people who
//! run the broker rather than by the clients that declare.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;

use crate::access::pattern::Pattern;
use crate::access::pattern::PatternError;
use crate::amqp::argument::DelayedRetry;
use crate::amqp::argument::Overflow;
use crate::amqp::argument::QueueArguments;
use crate::amqp::argument::QueueType;
use crate::amqp::limit;
use crate::amqp::name::ExchangeName;
use crate::amqp::time::Millis;
use crate::broker::definition::Definition;
use crate::queue::settings::Settings;

/// A policy, or an operator policy.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    pub name: String,
    pub pattern: Pattern,
    pub apply_to: ApplyTo,
    pub priority: i64,
    /// As it was given.
    pub definition: Map<String, Value>,
    terms: Terms,
}

/// Whose policies: those of people who use a vhost, or those of people who operate the broker,
/// which bound the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    User,
    Operator,
}

/// What a policy is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApplyTo {
    All,
    Exchanges,
    Queues,
    ClassicQueues,
    QuorumQueues,
    Streams,
}

/// The policies of one vhost, by name.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Policies {
    of_users: BTreeMap<String, Policy>,
    of_operators: BTreeMap<String, Policy>,
}

/// The two policies, at most, that hold for one object.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Governing<'a> {
    pub policy: Option<&'a Policy>,
    pub operator: Option<&'a Policy>,
}

/// What a definition says, typed; the fields have the meaning of the arguments of the same names.
#[derive(Clone, PartialEq, Debug, Default)]
struct Terms {
    message_ttl: Option<Millis>,
    expires: Option<Millis>,
    length_max: Option<u64>,
    length_bytes_max: Option<u64>,
    overflow: Option<Overflow>,
    dead_letter_exchange: Option<ExchangeName>,
    dead_letter_routing_key: Option<String>,
    /// `Some(None)` is no limit.
    delivery_limit: Option<Option<u32>>,
    consumer_timeout: Option<Millis>,
    retry_min: Option<Millis>,
    retry_max: Option<Millis>,
    alternate_exchange: Option<ExchangeName>,
    age_max: Option<Millis>,
}

/// Why a policy is refused; for people, never for AMQP clients.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("the pattern is no regular expression: {0}")]
    Pattern(#[from] PatternError),
    #[error(
        "apply-to is '{0}'; it can be all, exchanges, queues, classic_queues, quorum_queues or \
         streams"
    )]
    ApplyTo(String),
    #[error("the definition is empty")]
    Empty,
    #[error("'{0}' is not a recognised policy setting")]
    UnknownKey(String),
    #[error("'{0}' cannot be set by an operator policy")]
    NotForOperators(String),
    #[error("'{key}' is {got}; it must be {wanted}")]
    WrongValue { key: &'static str, got: String, wanted: &'static str },
    #[error("there are {} policies in this vhost already", limit::POLICIES_PER_VHOST)]
    TooMany,
}

impl ApplyTo {
    pub fn as_str(self) -> &'static str {
        match self {
            ApplyTo::All => "all",
            ApplyTo::Exchanges => "exchanges",
            ApplyTo::Queues => "queues",
            ApplyTo::ClassicQueues => "classic_queues",
            ApplyTo::QuorumQueues => "quorum_queues",
            ApplyTo::Streams => "streams",
        }
    }

    pub fn parse(text: &str) -> Result<ApplyTo, PolicyError> {
        let all = [
            ApplyTo::All,
            ApplyTo::Exchanges,
            ApplyTo::Queues,
            ApplyTo::ClassicQueues,
            ApplyTo::QuorumQueues,
            ApplyTo::Streams,
        ];
        let found = all.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| PolicyError::ApplyTo(text.to_owned()))
    }

    fn has_exchanges(self) -> bool {
        matches!(self, ApplyTo::All | ApplyTo::Exchanges)
    }

    fn has_queues(self, queue_type: QueueType) -> bool {
        match self {
            ApplyTo::All | ApplyTo::Queues => true,
            ApplyTo::Exchanges => false,
            ApplyTo::Streams => queue_type == QueueType::Stream,
            ApplyTo::ClassicQueues => queue_type == QueueType::Classic,
            ApplyTo::QuorumQueues => queue_type == QueueType::Quorum,
        }
    }
}

impl Side {
    pub fn as_str(self) -> &'static str {
        match self {
            Side::User => "policy",
            Side::Operator => "operator policy",
        }
    }
}

impl Policy {
    /// Checks and types a policy.
    ///
    /// # Errors
    /// The first key, in the order of the alphabet, that is unknown or has the wrong value.
    pub fn new(
        side: Side,
        name: &str,
        pattern: &str,
        apply_to: &str,
        priority: i64,
        definition: Map<String, Value>,
    ) -> Result<Policy, PolicyError> {
        if definition.is_empty() {
            return Err(PolicyError::Empty);
        }
        let mut terms = Terms::default();
        for (key, value) in &definition {
            terms.read(side, key, value)?;
        }
        Ok(Policy {
            name: name.to_owned(),
            pattern: Pattern::new(pattern)?,
            apply_to: ApplyTo::parse(apply_to)?,
            priority,
            definition,
            terms,
        })
    }

    pub fn to_definition(&self, vhost: &str, side: Side) -> Definition {
        Definition::Policy {
            vhost: vhost.to_owned(),
            operator: side == Side::Operator,
            name: self.name.clone(),
            pattern: self.pattern.as_str().to_owned(),
            apply_to: self.apply_to.as_str().to_owned(),
            priority: self.priority,
            definition: self.definition.clone(),
        }
    }

    /// The keys that are accepted and have no effect in this broker.
    pub fn ignored(&self) -> Vec<&str> {
        let keys = self.definition.keys().map(String::as_str);
        keys.filter(|it| WITHOUT_EFFECT.contains(it)).collect()
    }

    /// COMPAT: a policy with a key that the queue's type does not have is not for that queue at
    /// all. Classic queues have no `delivery-limit`, unless the policy is about them alone.
    pub fn is_for_queue(&self, queue: &str, queue_type: QueueType) -> bool {
        let has = |keys: &[&str]| keys.iter().any(|it| self.definition.contains_key(*it));
        let foreign = match queue_type {
            QueueType::Classic => {
                has(&OF_STREAMS) || (has(&OF_QUORUM) && self.apply_to != ApplyTo::ClassicQueues)
            }
            QueueType::Quorum => has(&OF_STREAMS) || has(&OF_CLASSIC),
            QueueType::Stream => has(&OF_QUORUM) || has(&OF_CLASSIC) || has(&NOT_OF_STREAMS),
        };
        self.apply_to.has_queues(queue_type) && !foreign && self.pattern.matches(queue)
    }

    pub fn is_for_exchange(&self, exchange: &str) -> bool {
        self.apply_to.has_exchanges() && self.pattern.matches(exchange)
    }
}

const OF_STREAMS: [&str; 4] = [
    "max-age",
    "stream-max-segment-size-bytes",
    "stream-filter-size-bytes",
    "initial-cluster-size",
];
const OF_QUORUM: [&str; 5] = [
    "delivery-limit",
    "delayed-retry-type",
    "delayed-retry-min",
    "delayed-retry-max",
    "target-group-size",
];
const NOT_OF_STREAMS: [&str; 7] = [
    "message-ttl",
    "expires",
    "max-length",
    "overflow",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "consumer-timeout",
];
const OF_CLASSIC: [&str; 2] = ["queue-mode", "queue-version"];

/// COMPAT: keys of clusters, of older versions and of plugins: taken, because definitions of other
/// brokers have them.
const WITHOUT_EFFECT: [&str; 22] = [
    "consumer-disconnected-timeout",
    "dead-letter-strategy",
    "federation-upstream",
    "federation-upstream-set",
    "ha-mode",
    "ha-params",
    "ha-promote-on-failure",
    "ha-promote-on-shutdown",
    "ha-sync-batch-size",
    "ha-sync-mode",
    "initial-cluster-size",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "queue-leader-locator",
    "queue-master-locator",
    "queue-mode",
    "queue-version",
    "routing-key",
    "shards-per-node",
    "stream-filter-size-bytes",
    "stream-max-segment-size-bytes",
    "target-group-size",
];

/// COMPAT: what an operator may bound; where dead letters go is the user's business.
const FOR_OPERATORS: [&str; 13] = [
    "delayed-retry-max",
    "delayed-retry-min",
    "delayed-retry-type",
    "delivery-limit",
    "expires",
    "ha-mode",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "overflow",
    "target-group-size",
];

impl Terms {
    fn read(&mut self, side: Side, key: &str, value: &Value) -> Result<(), PolicyError> {
        let whole = |key| number(key, value, 0);
        match key {
            "message-ttl" => self.message_ttl = Some(millis("message-ttl", value, 0)?),
            "expires" => self.expires = Some(millis("expires", value, 1)?),
            "max-length" => self.length_max = Some(whole("max-length")?),
            "max-length-bytes" => self.length_bytes_max = Some(whole("max-length-bytes")?),
            "overflow" => self.overflow = Some(overflow(value)?),
            "dead-letter-exchange" => {
                let name = text("dead-letter-exchange", value)?;
                self.dead_letter_exchange = Some(ExchangeName::new(name));
            }
            "dead-letter-routing-key" => {
                let key = text("dead-letter-routing-key", value)?;
                self.dead_letter_routing_key = Some(key.to_owned());
            }
            "delivery-limit" => self.delivery_limit = Some(delivery_limit(value)?),
            "consumer-timeout" => {
                self.consumer_timeout = Some(millis("consumer-timeout", value, 0)?);
            }
            "max-age" => {
                let wanted = "a number and one of Y, M, D, h, m, s";
                let age = Millis::from_age(text("max-age", value)?);
                self.age_max = Some(age.ok_or_else(|| wrong("max-age", value, wanted))?);
            }
            "delayed-retry-type" => {
                let wanted = "'all', 'failed', 'returned' or 'disabled'";
                let known = ["all", "failed", "returned", "disabled"];
                if !known.contains(&text("delayed-retry-type", value)?) {
                    return Err(wrong("delayed-retry-type", value, wanted));
                }
            }
            "delayed-retry-min" => self.retry_min = Some(millis("delayed-retry-min", value, 1)?),
            "delayed-retry-max" => self.retry_max = Some(millis("delayed-retry-max", value, 1)?),
            "alternate-exchange" => {
                let name = text("alternate-exchange", value)?;
                self.alternate_exchange = Some(ExchangeName::new(name));
            }
            _ if WITHOUT_EFFECT.contains(&key) => {}
            _ => return Err(PolicyError::UnknownKey(key.to_owned())),
        }
        if side == Side::Operator && !FOR_OPERATORS.contains(&key) {
            return Err(PolicyError::NotForOperators(key.to_owned()));
        }
        Ok(())
    }

    fn retry(&self) -> Option<DelayedRetry> {
        let min = self.retry_min?;
        let max = self.retry_max.unwrap_or(Millis(limit::TTL_MS)).max(min);
        Some(DelayedRetry { min, max, multiplier_milli: 2000 })
    }
}

fn wrong(key: &'static str, value: &Value, wanted: &'static str) -> PolicyError {
    PolicyError::WrongValue { key, got: value.to_string(), wanted }
}

fn number(key: &'static str, value: &Value, minimum: u64) -> Result<u64, PolicyError> {
    match value.as_u64() {
        Some(number) if number >= minimum => Ok(number),
        Some(_) => Err(wrong(key, value, "an integer above zero")),
        None if minimum > 0 => Err(wrong(key, value, "an integer above zero")),
        None => Err(wrong(key, value, "an integer, zero or above")),
    }
}

fn millis(key: &'static str, value: &Value, minimum: u64) -> Result<Millis, PolicyError> {
    match number(key, value, minimum)? {
        ms if ms <= limit::TTL_MS => Ok(Millis(ms)),
        _ => Err(wrong(key, value, "at most ten years, in milliseconds")),
    }
}

fn text<'a>(key: &'static str, value: &'a Value) -> Result<&'a str, PolicyError> {
    value.as_str().ok_or_else(|| wrong(key, value, "a string"))
}

fn overflow(value: &Value) -> Result<Overflow, PolicyError> {
    match text("overflow", value)? {
        "drop-head" => Ok(Overflow::DropHead),
        "reject-publish" => Ok(Overflow::RejectPublish),
        "reject-publish-dlx" => Ok(Overflow::RejectPublishDeadLetter),
        _ => {
            let wanted = "'drop-head', 'reject-publish' or 'reject-publish-dlx'";
            Err(wrong("overflow", value, wanted))
        }
    }
}

/// COMPAT: a negative number is no limit.
fn delivery_limit(value: &Value) -> Result<Option<u32>, PolicyError> {
    match value.as_i64() {
        Some(number) => Ok(u32::try_from(number).ok()),
        None => Err(wrong("delivery-limit", value, "an integer")),
    }
}

impl Policies {
    pub fn get(&self, side: Side, name: &str) -> Option<&Policy> {
        self.of(side).get(name)
    }

    /// By name.
    pub fn iter(&self, side: Side) -> impl Iterator<Item = &Policy> {
        self.of(side).values()
    }

    /// # Errors
    /// When there are too many.
    pub fn put(&mut self, side: Side, policy: Policy) -> Result<(), PolicyError> {
        let all = self.of_mut(side);
        if all.len() >= limit::POLICIES_PER_VHOST && !all.contains_key(&policy.name) {
            return Err(PolicyError::TooMany);
        }
        all.insert(policy.name.clone(), policy);
        Ok(())
    }

    pub fn remove(&mut self, side: Side, name: &str) -> Option<Policy> {
        self.of_mut(side).remove(name)
    }

    fn of(&self, side: Side) -> &BTreeMap<String, Policy> {
        match side {
            Side::User => &self.of_users,
            Side::Operator => &self.of_operators,
        }
    }

    fn of_mut(&mut self, side: Side) -> &mut BTreeMap<String, Policy> {
        match side {
            Side::User => &mut self.of_users,
            Side::Operator => &mut self.of_operators,
        }
    }

    /// The policies that hold for a queue.
    pub fn of_queue(&self, name: &str, queue_type: QueueType) -> Governing<'_> {
        let best = |side| highest(self.iter(side).filter(|it| it.is_for_queue(name, queue_type)));
        Governing { policy: best(Side::User), operator: best(Side::Operator) }
    }

    /// The policies that hold for an exchange.
    pub fn of_exchange(&self, name: &str) -> Governing<'_> {
        let best = |side| highest(self.iter(side).filter(|it| it.is_for_exchange(name)));
        Governing { policy: best(Side::User), operator: best(Side::Operator) }
    }
}

/// Of equal priorities, the first name counts.
fn highest<'a>(policies: impl Iterator<Item = &'a Policy>) -> Option<&'a Policy> {
    policies.reduce(|best, it| if it.priority > best.priority { it } else { best })
}

fn smaller<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The smaller limit; none at all only if both say so.
fn fewer(a: Option<Option<u32>>, b: Option<Option<u32>>) -> Option<Option<u32>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(smaller(a, b)),
        (a, b) => a.or(b),
    }
}

impl Governing<'_> {
    pub fn is_none(&self) -> bool {
        self.policy.is_none() && self.operator.is_none()
    }

    /// The arguments a queue would have been declared with to behave like this.
    ///
    /// COMPAT: of numbers the smallest counts, wherever it comes from. Of the rest, an argument
    /// counts before a policy, except for the overflow of quorum queues.
    pub fn amend(&self, arguments: &QueueArguments) -> QueueArguments {
        let none = Terms::default();
        let user = self.policy.map_or(&none, |it| &it.terms);
        let operator = self.operator.map_or(&none, |it| &it.terms);
        let overflow = operator.overflow.or(user.overflow);
        let limit = fewer(user.delivery_limit, operator.delivery_limit);
        let own = arguments.clone();
        QueueArguments {
            message_ttl: least(own.message_ttl, user.message_ttl, operator.message_ttl),
            expires: least(own.expires, user.expires, operator.expires),
            length_max: least(own.length_max, user.length_max, operator.length_max),
            length_bytes_max: least(
                own.length_bytes_max,
                user.length_bytes_max,
                operator.length_bytes_max,
            ),
            overflow: match own.queue_type {
                QueueType::Classic | QueueType::Stream => own.overflow.or(overflow),
                QueueType::Quorum => overflow.or(own.overflow),
            },
            dead_letter_exchange: own
                .dead_letter_exchange
                .or_else(|| user.dead_letter_exchange.clone()),
            dead_letter_routing_key: own
                .dead_letter_routing_key
                .or_else(|| user.dead_letter_routing_key.clone()),
            delivery_limit: fewer(own.delivery_limit, limit),
            delayed_retry: own.delayed_retry.or(operator.retry()).or(user.retry()),
            consumer_timeout: own.consumer_timeout.or(user.consumer_timeout),
            age_max: least(own.age_max, user.age_max, operator.age_max),
            ..own
        }
    }

    /// What a topology file says, within the bounds of the operator's policy.
    ///
    /// Only numbers, and only downwards; a queue that is declared does not go by itself, so
    /// `expires` counts only where the file has it too.
    pub fn tighten(&self, settings: &Settings) -> Settings {
        let Some(Policy { terms, .. }) = self.operator else { return settings.clone() };
        let limit = terms.delivery_limit.flatten().map(|it| it.saturating_add(1));
        Settings {
            message_ttl: smaller(settings.message_ttl, terms.message_ttl),
            expires: settings.expires.map(|it| terms.expires.map_or(it, |max| it.min(max))),
            length_max: smaller(settings.length_max, terms.length_max),
            length_bytes_max: smaller(settings.length_bytes_max, terms.length_bytes_max),
            deliveries_max: smaller(settings.deliveries_max, limit),
            ..settings.clone()
        }
    }

    /// COMPAT: an argument of the exchange counts before this; who asks knows whether it has one.
    pub fn alternate_exchange(&self) -> Option<&ExchangeName> {
        self.policy.and_then(|it| it.terms.alternate_exchange.as_ref())
    }

    /// The union of both definitions as it counts, before arguments.
    pub fn definition(&self) -> Map<String, Value> {
        let mut union = self.policy.map(|it| it.definition.clone()).unwrap_or_default();
        for (key, bound) in self.operator.iter().flat_map(|it| &it.definition) {
            let merged = match (union.get(key).and_then(Value::as_i64), bound.as_i64()) {
                (Some(own), Some(bound)) if key == "delivery-limit" && own.min(bound) < 0 => {
                    Value::from(own.max(bound))
                }
                (Some(own), Some(bound)) => Value::from(own.min(bound)),
                (_, _) => bound.clone(),
            };
            union.insert(key.clone(), merged);
        }
        union
    }
}

fn least<T: Ord>(a: Option<T>, b: Option<T>, c: Option<T>) -> Option<T> {
    smaller(a, smaller(b, c))
}

#[cfg(test)]
mod tests;
