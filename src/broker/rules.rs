//! What the topology file means, held against every client: who may consume, who may bind.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::amqp::name::BindingKey;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::name::ServiceName;
use crate::routing::Kind;
use crate::routing::topic;

/// The rules of one vhost. Without a topology file there are none, and everything is allowed.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rules {
    pub enforce: Enforce,
    /// What happens to queues and exchanges that the file does not declare.
    pub undeclared: Enforce,
    /// A connection's own word for who it is does not count, only user and certificate do.
    pub authenticated_identity: bool,
    /// Client-sent `x-death` headers do not count (`client_x_death = "ignore"`).
    pub ignore_client_deaths: bool,
    /// A consumer that acks too late loses its channel, not only the delivery
    /// (`late_ack = "close-channel"`).
    pub late_ack_closes: bool,
    pub services: Vec<ServiceRule>,
    pub exchanges: BTreeMap<ExchangeName, ExchangeRule>,
    pub queues: BTreeMap<QueueName, QueueRule>,
    pub per_instance: Vec<PerInstance>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Enforce {
    /// Nothing is checked.
    #[default]
    Off,
    /// A breach is logged and counted.
    Warn,
    /// A breach is refused.
    Deny,
}

/// How a connection shows that it is an instance of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceRule {
    pub name: ServiceName,
    pub identities: Vec<Identity>,
    pub origin: Origin,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    User(String),
    /// A name in the client certificate.
    Certificate(String),
    /// The client property `connection_name` up to the first `@`, `:` or `#`.
    ConnectionName(String),
}

/// Where something is declared: `file:line`.
pub type Origin = Arc<str>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangeRule {
    pub kind: Kind,
    pub delivers: Delivers,
    pub unroutable: Unroutable,
    /// A client's contradicting declare is accepted and changes nothing.
    pub tolerate: bool,
    pub origin: Origin,
}

/// What an exchange's bindings are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivers {
    /// Every bound service gets a copy.
    Broadcast,
    /// Exactly one service handles each message.
    Work,
}

/// What happens to a message that no queue of an exchange takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unroutable {
    /// AMQP's own rule: returned if mandatory, else dropped.
    #[default]
    Return,
    Park,
    /// Refused: nack to a publisher with confirms.
    Reject,
    Drop,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueRule {
    /// Whose instances consume it; `None` for a queue anybody may.
    pub service: Option<ServiceName>,
    pub bindings: Vec<(ExchangeName, BindingKey)>,
    pub tolerate: bool,
    pub origin: Origin,
}

/// Instances of a service may each bind a queue of their own to an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PerInstance {
    pub exchange: ExchangeName,
    pub service: Option<ServiceName>,
    pub origin: Origin,
}

/// A broken rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    pub rule: &'static str,
    /// Names what, why, `file:line` and the remedy.
    pub text: String,
}

/// A queue about to be bound.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub queue: &'a str,
    /// Exclusive, auto-delete or named by the server: made for one connection.
    pub private: bool,
    pub service: Option<&'a ServiceName>,
}

impl Rules {
    /// The service a connection is an instance of.
    ///
    /// The certificate counts before the user, and the user before what the client calls itself.
    pub fn service_of(
        &self,
        certificate_names: &[String],
        user: &str,
        connection_name: Option<&str>,
    ) -> Option<&ServiceName> {
        let stem = |it: &str| it.split(['@', ':', '#']).next().unwrap_or_default().to_owned();
        let name = connection_name.filter(|_| !self.authenticated_identity).map(stem);
        let find = |matches: &dyn Fn(&Identity) -> bool| {
            let service = self.services.iter().find(|it| it.identities.iter().any(matches));
            service.map(|it| &it.name)
        };
        find(&|it| matches!(it, Identity::Certificate(san) if certificate_names.contains(san)))
            .or_else(|| find(&|it| matches!(it, Identity::User(name) if name == user)))
            .or_else(|| {
                find(&|it| matches!(it, Identity::ConnectionName(it) if Some(it) == name.as_ref()))
            })
    }

    /// FAN-002: only instances of its service consume a queue, or get from it.
    pub fn may_consume(&self, queue: &str, service: Option<&ServiceName>) -> Result<(), Breach> {
        let Some(rule) = self.queues.get(queue) else { return Ok(()) };
        let Some(owner) = &rule.service else { return Ok(()) };
        if self.enforce == Enforce::Off || service == Some(owner) {
            return Ok(());
        }
        let origin = &rule.origin;
        let text = match service {
            Some(other) => {
                let remedy = self.own_queue(rule, other);
                format!(
                    "queue '{queue}' belongs to service '{owner}' ({origin}), not '{other}', \
                     which would take its messages; {remedy}"
                )
            }
            None => format!(
                "queue '{queue}' belongs to service '{owner}' ({origin}) and this connection to \
                 none; set connection_name to '{owner}@host' or use its user"
            ),
        };
        Err(Breach { rule: "FAN-002", text })
    }

    /// Whether a breach by a connection that maps to no service is only worth a warning.
    pub fn warns_only(&self, service: Option<&ServiceName>) -> bool {
        self.enforce == Enforce::Warn || (service.is_none() && !self.authenticated_identity)
    }

    /// What another service should do instead of consuming a queue that is not its own.
    fn own_queue(&self, rule: &QueueRule, service: &ServiceName) -> String {
        let same_source = |it: &QueueRule| {
            it.bindings
                .iter()
                .any(|(exchange, _)| rule.bindings.iter().any(|(source, _)| source == exchange))
        };
        let own = self.queues.iter().filter(|(_, it)| it.service.as_ref() == Some(service));
        match own.clone().find(|(_, it)| same_source(it)) {
            Some((queue, _)) => format!("consume from '{queue}'"),
            None => format!("declare a queue with service = \"{service}\""),
        }
    }

    /// FAN-001: a queue that the file does not declare must not take a copy, or a share, of what
    /// the file gives to others.
    pub fn may_bind(
        &self,
        exchange: &str,
        binding_key: &str,
        candidate: Candidate<'_>,
    ) -> Result<(), Breach> {
        let Some(rule) = self.exchanges.get(exchange) else { return Ok(()) };
        if self.enforce == Enforce::Off || self.queues.contains_key(candidate.queue) {
            return Ok(());
        }
        let service = candidate.service;
        let is_instance = self.per_instance.iter().any(|it| {
            it.exchange == *exchange && (it.service.is_none() || it.service.as_ref() == service)
        });
        if is_instance {
            return Ok(());
        }
        let rival = self.queues.iter().find(|(_, it)| {
            let of_this_service = it.service.is_some() && it.service.as_ref() == service;
            let collides = rule.delivers == Delivers::Work || of_this_service;
            collides && self.shares_messages(rule, exchange, binding_key, it)
        });
        let origin = &rule.origin;
        let queue = candidate.queue;
        let text = match rival {
            Some((rival, it)) if rule.delivers == Delivers::Work => format!(
                "'{queue}' would take a copy of work that goes to '{rival}' ({}); consume from \
                 '{rival}', whose consumers share it",
                it.origin
            ),
            Some((rival, it)) => format!(
                "'{queue}' would be a second copy for service '{}' ({}); consume from '{rival}'",
                service.map_or("", |it| it.as_str()),
                it.origin
            ),
            None if candidate.private => format!(
                "'{queue}' is private and '{exchange}' is declared ({origin}); declare a queue \
                 for the service, or one with consumers = \"per-instance\""
            ),
            None => return Ok(()),
        };
        Err(Breach { rule: "FAN-001", text })
    }

    /// Whether some message would go to both the binding and a declared queue.
    fn shares_messages(
        &self,
        exchange: &ExchangeRule,
        name: &str,
        key: &str,
        queue: &QueueRule,
    ) -> bool {
        let mut keys = queue.bindings.iter().filter(|(source, _)| source == name).map(|it| &it.1);
        match exchange.kind {
            Kind::Direct => keys.any(|it| it == key),
            Kind::Topic => keys.any(|it| topic::intersect(it, key)),
            Kind::Fanout
            | Kind::Headers
            | Kind::ConsistentHash
            | Kind::ModulusHash
            | Kind::Random
            | Kind::LocalRandom => keys.next().is_some(),
        }
    }
}

#[cfg(test)]
mod tests;
