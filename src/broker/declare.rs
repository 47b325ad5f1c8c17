//! Declaring and binding: what clients ask for, and what the topology file has already said.

use std::sync::Arc;

use crate::amqp::argument;
use crate::amqp::argument::ArgumentError;
use crate::amqp::argument::QueueArguments;
use crate::amqp::argument::QueueType;
use crate::amqp::deduplication::Deduplication;
use crate::amqp::id::BatchId;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::QueueId;
use crate::amqp::limit;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::name::ServiceName;
use crate::amqp::table::Table as Arguments;
use crate::amqp::table::Value;
use crate::broker::deduplication;
use crate::broker::deduplication::Scope;
use crate::broker::definition::Definition;
use crate::broker::definition::Hex;
use crate::broker::effect::with_queue;
use crate::broker::effective;
use crate::broker::host::Host;
use crate::broker::host::Note;
use crate::broker::rules::Breach;
use crate::broker::rules::Candidate;
use crate::broker::rules::Enforce;
use crate::broker::schedule;
use crate::broker::vhost::QueueKind;
use crate::broker::vhost::QueueRecord;
use crate::broker::vhost::Vhost;
use crate::queue::Queue;
use crate::queue::settings::Settings;
use crate::routing::Binding;
use crate::routing::Destination;
use crate::routing::Exchange;
use crate::routing::Kind;
use crate::routing::delay::ROUTES_AS;
use crate::routing::delay::TypeError;
use crate::routing::delay::exchange_type;
use crate::routing::hash::HashSourceError;
use crate::routing::table::BindError;
use crate::routing::table::ExchangeSpec;

/// Why a declare, bind, unbind or delete is refused.
#[derive(Clone, PartialEq, Debug)]
pub enum DeclareError {
    NoSuchExchange(String),
    NoSuchQueue(String),
    DefaultExchange,
    /// Names that begin with `amq.` are the broker's.
    ReservedName(Resource),
    Type(TypeError),
    Argument {
        resource: Resource,
        error: ArgumentError,
    },
    /// `alternate-exchange` is not a string.
    AlternateNotText {
        resource: Resource,
        got: &'static str,
    },
    HashSource(HashSourceError),
    Inequivalent(Box<Inequivalent>),
    /// Quorum queues and streams are durable, shared and permanent.
    InvalidProperty {
        resource: Resource,
        property: &'static str,
    },
    ServerNamed(QueueType),
    Locked(String),
    InUse(Resource),
    NotEmpty(Resource),
    SystemExchange(String),
    Bind(BindError),
    Rule(Breach),
    /// The broker owns it; clients cannot bind it away, limit or delete it.
    ParkingLot(String),
    /// What an exchange holds back: it can be counted and purged.
    Schedule(String),
    /// A stream keeps its messages until they are too many or too old.
    PurgeOfStream(String),
    /// Declared by the topology file, which is where it is changed.
    Declared {
        resource: Resource,
        origin: Arc<str>,
    },
    TooMany {
        resource: Resource,
        max: usize,
    },
    /// The vhost's own limit.
    QueueLimit {
        name: String,
        max: u64,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resource {
    Exchange(String),
    Queue(String),
}

impl Resource {
    pub fn name(&self) -> &str {
        match self {
            Resource::Exchange(name) | Resource::Queue(name) => name,
        }
    }
}

/// Two declarations of one thing that differ.
#[derive(Clone, PartialEq, Debug)]
pub struct Inequivalent {
    pub resource: Resource,
    pub argument: String,
    pub received: Option<Value>,
    pub current: Option<Value>,
    /// Where the current one is declared, when a topology file does.
    pub origin: Option<Arc<str>>,
}

/// `exchange.declare`, as a client sends it.
#[derive(Clone, PartialEq, Debug)]
pub struct DeclareExchange {
    pub name: String,
    pub kind: String,
    pub passive: bool,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Arguments,
}

/// `queue.declare`, as a client sends it.
#[derive(Clone, PartialEq, Debug)]
pub struct DeclareQueue {
    pub name: String,
    pub passive: bool,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub arguments: Arguments,
    pub connection: ConnectionId,
    /// A name the server made up.
    pub generated: bool,
}

/// The answer to a declare of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeclaredQueue {
    pub id: QueueId,
    pub n_ready: u64,
    pub n_consumers: u64,
    /// Answer when this batch is durable.
    pub after: BatchId,
}

/// Declares an exchange; answer when the returned batch is durable.
///
/// COMPAT: the order of checks is RabbitMQ's: type, default exchange, equivalence, reserved
/// name, arguments.
pub fn declare_exchange<H: Host>(
    host: &mut H,
    declare: &DeclareExchange,
) -> Result<BatchId, DeclareError> {
    let resource = Resource::Exchange(declare.name.clone());
    if declare.name.is_empty() {
        return Err(DeclareError::DefaultExchange);
    }
    if declare.passive {
        let known = host.vhost().table.exchange(&declare.name).is_some();
        let missing = || DeclareError::NoSuchExchange(declare.name.clone());
        return if known { Ok(BatchId(0)) } else { Err(missing()) };
    }
    let exchange_type = exchange_type(&declare.kind, &declare.arguments);
    let (kind, delays) = exchange_type.map_err(DeclareError::Type)?;
    let error = |error| DeclareError::Argument { resource: resource.clone(), error };
    Deduplication::parse(&declare.arguments).map_err(error)?;
    let vhost = host.vhost();
    if let Some(exchange) = vhost.table.exchange(&declare.name) {
        return check_same_exchange(vhost, exchange, declare, kind).map(|()| BatchId(0));
    }
    if declare.name.starts_with("amq.") {
        return Err(DeclareError::ReservedName(resource));
    }
    let alternate = match declare.arguments.get("alternate-exchange") {
        None => None,
        Some(value) => match value.as_text() {
            Some(name) => Some(ExchangeName::new(name)),
            None => {
                let got = value.type_name();
                return Err(DeclareError::AlternateNotText { resource, got });
            }
        },
    };
    check_undeclared(host, &resource)?;
    let spec = ExchangeSpec {
        name: ExchangeName::new(&declare.name),
        kind,
        delays,
        durable: declare.durable,
        auto_delete: declare.auto_delete,
        internal: declare.internal,
        alternate,
        arguments: declare.arguments.clone(),
    };
    add_exchange(host, spec)
}

/// Adds an exchange; one of that name that has come meanwhile stays as it is.
pub fn add_exchange<H: Host>(host: &mut H, spec: ExchangeSpec) -> Result<BatchId, DeclareError> {
    let resource = Resource::Exchange(spec.name.to_string());
    if host.vhost().table.n_exchanges() >= limit::EXCHANGES_PER_VHOST {
        return Err(DeclareError::TooMany { resource, max: limit::EXCHANGES_PER_VHOST });
    }
    let (name, durable, delays) = (spec.name.clone(), spec.durable, spec.delays);
    let definition = exchange_definition(&host.vhost().name, &spec);
    let is_new = host.change(|vhost| {
        let name = spec.name.clone();
        let is_new = vhost.table.exchange(&name).is_none();
        vhost.table.declare(spec)?;
        vhost.refresh_exchange(&name);
        Ok(is_new)
    });
    let is_new = is_new.map_err(DeclareError::HashSource)?;
    let batch = if durable && is_new { host.define(&definition) } else { BatchId(0) };
    let waits = if delays && is_new { schedule::add(host, &name, durable)? } else { BatchId(0) };
    Ok(batch.max(waits))
}

/// COMPAT: the first difference in the order type, durable, auto_delete, internal, alternate;
/// other arguments are not compared.
fn check_same_exchange(
    vhost: &Vhost,
    exchange: &Exchange,
    declare: &DeclareExchange,
    kind: Kind,
) -> Result<(), DeclareError> {
    // What it is asked to be may have any type; what it is, is a name.
    let asked = declare.arguments.get("alternate-exchange").cloned();
    let alternate = exchange.alternate.as_ref().map(|it| Value::text(it));
    let pairs = [
        ("type", Some(Value::text(&declare.kind)), Some(Value::text(exchange.type_name()))),
        (ROUTES_AS, Some(Value::text(kind.as_str())), Some(Value::text(exchange.kind.as_str()))),
        ("durable", flag(declare.durable), flag(exchange.durable)),
        ("auto_delete", flag(declare.auto_delete), flag(exchange.auto_delete)),
        ("internal", flag(declare.internal), flag(exchange.internal)),
        ("alternate-exchange", asked, alternate),
    ];
    let rule = vhost.rules.exchanges.get(&exchange.name);
    if rule.is_some_and(|it| it.tolerate) {
        return Ok(());
    }
    let differs = pairs.into_iter().find(|(argument, received, current)| {
        // What the file says beyond the client's arguments is no contradiction.
        let unsaid = rule.is_some() && received.is_none() && *argument == "alternate-exchange";
        received != current && !unsaid
    });
    match differs {
        None => Ok(()),
        Some((argument, received, current)) => {
            Err(DeclareError::Inequivalent(Box::new(Inequivalent {
                resource: Resource::Exchange(declare.name.clone()),
                argument: argument.to_owned(),
                received,
                current,
                origin: rule.map(|it| it.origin.clone()),
            })))
        }
    }
}

#[allow(clippy::unnecessary_wraps, reason = "stands beside values that may be absent")]
fn flag(value: bool) -> Option<Value> {
    Some(Value::Bool(value))
}

/// Declares a queue.
pub fn declare_queue<H: Host>(
    host: &mut H,
    declare: &DeclareQueue,
) -> Result<DeclaredQueue, DeclareError> {
    match with_default_type(host.vhost(), declare) {
        Some(typed) => declare_typed(host, &typed),
        None => declare_typed(host, declare),
    }
}

/// COMPAT: the vhost's default type counts for a declare that names none and has the properties
/// this type needs; what was declared before it did is met by its name only.
fn with_default_type(vhost: &Vhost, declare: &DeclareQueue) -> Option<DeclareQueue> {
    const KEY: &str = "x-queue-type";
    let default = vhost.profile.default_queue_type.filter(|it| *it != QueueType::Classic)?;
    let fits = declare.durable && !declare.exclusive && !declare.auto_delete && !declare.generated;
    let other = vhost.queue(&declare.name).is_some_and(|it| it.arguments.get(KEY).is_none());
    if !fits || other || declare.passive || declare.arguments.get(KEY).is_some() {
        return None;
    }
    let mut typed = declare.clone();
    typed.arguments.0.push((KEY.to_owned(), Value::text(default.as_str())));
    Some(typed)
}

fn declare_typed<H: Host>(
    host: &mut H,
    declare: &DeclareQueue,
) -> Result<DeclaredQueue, DeclareError> {
    let resource = Resource::Queue(declare.name.clone());
    if declare.passive {
        return existing(host, declare);
    }
    if declare.name.starts_with("amq.") && !declare.generated {
        return Err(DeclareError::ReservedName(resource));
    }
    if host.vhost().queue(&declare.name).is_some() {
        check_same_queue(host.vhost(), declare)?;
        return existing(host, declare);
    }
    let error = |error| DeclareError::Argument { resource: resource.clone(), error };
    let arguments = QueueArguments::parse(&declare.arguments).map_err(error)?;
    check_properties(declare, &arguments)?;
    check_undeclared(host, &resource)?;
    check_queue_limit(host.vhost(), &declare.name)?;
    // COMPAT: an exclusive queue is never durable, whatever was asked.
    let durable = declare.durable && !declare.exclusive;
    let settings = Settings::from_arguments(&arguments, durable, declare.auto_delete);
    let added = add_queue(
        host,
        NewQueue {
            name: QueueName::new(&declare.name),
            durable,
            auto_delete: declare.auto_delete,
            exclusive: declare.exclusive.then_some(declare.connection),
            arguments: declare.arguments.clone(),
            settings,
            kind: QueueKind::Client,
            parks_for: None,
        },
    )?;
    match added {
        Some(declared) => Ok(declared),
        None => {
            check_same_queue(host.vhost(), declare)?;
            existing(host, declare)
        }
    }
}

/// COMPAT: a limit below what is there only keeps more from coming.
fn check_queue_limit(vhost: &Vhost, name: &str) -> Result<(), DeclareError> {
    match vhost.profile.queues_max {
        Some(max) if vhost.table.n_queues() as u64 >= max => {
            Err(DeclareError::QueueLimit { name: name.to_owned(), max })
        }
        Some(_) | None => Ok(()),
    }
}

/// A queue to be made, with everything decided.
#[derive(Clone, Debug)]
pub struct NewQueue {
    pub name: QueueName,
    pub durable: bool,
    pub auto_delete: bool,
    pub exclusive: Option<ConnectionId>,
    pub arguments: Arguments,
    /// Before policies.
    pub settings: Settings,
    pub kind: QueueKind,
    /// The queue whose parking lot it is.
    pub parks_for: Option<QueueName>,
}

/// Adds a queue; `None` when one of that name has come meanwhile.
pub fn add_queue<H: Host>(
    host: &mut H,
    new: NewQueue,
) -> Result<Option<DeclaredQueue>, DeclareError> {
    if host.vhost().table.n_queues() >= limit::QUEUES_PER_VHOST {
        let resource = Resource::Queue(new.name.to_string());
        return Err(DeclareError::TooMany { resource, max: limit::QUEUES_PER_VHOST });
    }
    let id = host.new_queue_id();
    let now = host.now();
    let base = Arc::new(new.settings);
    let mut record = QueueRecord {
        id,
        name: new.name,
        durable: new.durable,
        auto_delete: new.auto_delete,
        exclusive: new.exclusive,
        arguments: new.arguments,
        settings: Arc::clone(&base),
        base,
        kind: new.kind,
        parked: None,
    };
    record.settings = host.vhost().settings_of(record.subject());
    host.add_queue(id, Queue::new(record.name.clone(), (*record.settings).clone(), now));
    let mut changed = None;
    let is_new = host.change(|vhost| {
        let is_new = vhost.queue(&record.name).is_none();
        if is_new {
            vhost.insert(record);
            // A policy may have come between.
            changed = vhost.refresh_queue(id);
        }
        is_new
    });
    if let Some(settings) = changed {
        effective::set_settings(host, id, &settings);
    }
    if !is_new {
        // Another connection was faster; ours has no name and nobody knows it.
        host.remove_queue(id);
        return Ok(None);
    }
    let after = define_queue(host, id, new.parks_for.as_ref());
    // The clock of x-expires starts now.
    with_queue(host, id, |queue, _, effects, now| queue.touch(now, effects));
    Ok(Some(DeclaredQueue { id, n_ready: 0, n_consumers: 0, after }))
}

/// Writes a queue's definition to the log again, as it is now.
pub fn define_queue<H: Host>(host: &mut H, id: QueueId, parks_for: Option<&QueueName>) -> BatchId {
    let vhost = host.vhost();
    let Some(record) = vhost.record(id).filter(|it| it.durable) else { return BatchId(0) };
    let definition = Definition::Queue {
        vhost: vhost.name.to_string(),
        name: record.name.to_string(),
        id: id.0,
        auto_delete: record.auto_delete,
        arguments: Hex::new(&record.arguments),
        parks_for: parks_for.map(ToString::to_string),
    };
    host.define(&definition)
}

/// The answer for a queue that is there; being asked for it postpones its expiry.
fn existing<H: Host>(host: &mut H, declare: &DeclareQueue) -> Result<DeclaredQueue, DeclareError> {
    let record = host.vhost().queue(&declare.name);
    let Some(record) = record else {
        return Err(DeclareError::NoSuchQueue(declare.name.clone()));
    };
    if record.is_locked_for(declare.connection) {
        return Err(DeclareError::Locked(declare.name.clone()));
    }
    let id = record.id;
    let depth = with_queue(host, id, |queue, _, effects, now| {
        queue.touch(now, effects);
        queue.depth()
    });
    let depth = depth.ok_or_else(|| DeclareError::NoSuchQueue(declare.name.clone()))?;
    Ok(DeclaredQueue { id, n_ready: depth.ready, n_consumers: depth.consumers, after: BatchId(0) })
}

/// COMPAT: the order of checks is exclusive, durable, auto_delete, then arguments.
fn check_same_queue(vhost: &Vhost, declare: &DeclareQueue) -> Result<(), DeclareError> {
    let Some(record) = vhost.queue(&declare.name) else { return Ok(()) };
    let rule = vhost.rules.queues.get(&record.name);
    if record.is_locked_for(declare.connection) || record.exclusive.is_some() != declare.exclusive {
        return Err(DeclareError::Locked(declare.name.clone()));
    }
    if rule.is_some_and(|it| it.tolerate) {
        return Ok(());
    }
    let inequivalent = |argument: &str, received: Option<Value>, current: Option<Value>| {
        DeclareError::Inequivalent(Box::new(Inequivalent {
            resource: Resource::Queue(declare.name.clone()),
            argument: argument.to_owned(),
            received,
            current,
            origin: rule.map(|it| it.origin.clone()),
        }))
    };
    // The durable flag of an exclusive queue was dropped, so either value is the same.
    if declare.durable != record.durable && record.exclusive.is_none() {
        return Err(inequivalent("durable", flag(declare.durable), flag(record.durable)));
    }
    if declare.auto_delete != record.auto_delete {
        let (received, current) = (flag(declare.auto_delete), flag(record.auto_delete));
        return Err(inequivalent("auto_delete", received, current));
    }
    let declared = record.kind != QueueKind::Client;
    for key in argument::COMPARED {
        let (received, current) = (declare.arguments.get(key), record.arguments.get(key));
        let same = match (received, current) {
            (None, None) => true,
            (Some(received), Some(current)) => received.equivalent(current),
            // A file may say more than a client does.
            (None, Some(_)) if declared => true,
            (None, Some(it)) | (Some(it), None) => {
                key == "x-queue-type" && it.as_text() == Some("classic")
            }
        };
        if !same {
            return Err(inequivalent(key, received.cloned(), current.cloned()));
        }
    }
    Ok(())
}

fn check_properties(
    declare: &DeclareQueue,
    arguments: &QueueArguments,
) -> Result<(), DeclareError> {
    if arguments.queue_type == QueueType::Classic {
        return Ok(());
    }
    if declare.generated {
        return Err(DeclareError::ServerNamed(arguments.queue_type));
    }
    let wrong = [
        (!declare.durable, "non-durable"),
        (declare.exclusive, "exclusive-owner"),
        (declare.auto_delete, "auto-delete"),
    ];
    match wrong.into_iter().find(|(is, _)| *is) {
        None => Ok(()),
        Some((_, property)) => Err(DeclareError::InvalidProperty {
            resource: Resource::Queue(declare.name.clone()),
            property,
        }),
    }
}

/// What the vhost says of things no file declares.
fn check_undeclared<H: Host>(host: &mut H, resource: &Resource) -> Result<(), DeclareError> {
    let (kind, name) = match resource {
        Resource::Exchange(name) => ("exchange", name),
        Resource::Queue(name) => ("queue", name),
    };
    let breach = || Breach {
        rule: "OPS-001",
        text: format!(
            "{kind} '{name}' is in no topology file and this vhost allows only what is declared; \
             add it to the file"
        ),
    };
    match host.vhost().rules.undeclared {
        Enforce::Off => Ok(()),
        Enforce::Warn => {
            host.note(Note::Warned(breach()));
            Ok(())
        }
        Enforce::Deny => Err(DeclareError::Rule(breach())),
    }
}

/// What a queue is bound with, or an exchange.
#[derive(Clone, PartialEq, Debug)]
pub struct Bind {
    pub source: String,
    pub destination: Resource,
    pub key: String,
    pub arguments: Arguments,
    pub connection: ConnectionId,
    pub service: Option<ServiceName>,
}

/// Binds a queue or an exchange to an exchange; answer when the returned batch is durable.
pub fn bind<H: Host>(host: &mut H, bind: &Bind) -> Result<BatchId, DeclareError> {
    let (binding, durable) = check_ends(host.vhost(), bind, true)?;
    if host.vhost().table.has_binding(&bind.source, &binding) {
        return Ok(BatchId(0));
    }
    check_rules(host, bind)?;
    if host.vhost().table.n_bindings() >= limit::BINDINGS_PER_VHOST {
        let resource = Resource::Exchange(bind.source.clone());
        return Err(DeclareError::TooMany { resource, max: limit::BINDINGS_PER_VHOST });
    }
    let definition = binding_definition(&host.vhost().name, bind);
    host.change(|vhost| vhost.table.bind(&bind.source, binding)).map_err(DeclareError::Bind)?;
    Ok(if durable { host.define(&definition) } else { BatchId(0) })
}

/// Unbinds. COMPAT: a binding, queue or exchange that is not there is fine.
pub fn unbind<H: Host>(host: &mut H, unbind: &Bind) -> Result<BatchId, DeclareError> {
    let (binding, durable) = match check_ends(host.vhost(), unbind, false) {
        Ok(found) => found,
        Err(DeclareError::NoSuchExchange(_) | DeclareError::NoSuchQueue(_)) => {
            return Ok(BatchId(0));
        }
        Err(error) => return Err(error),
    };
    let Resource::Queue(queue) = &unbind.destination else {
        return remove_binding(host, unbind, &binding, durable);
    };
    if let Some(rule) = host.vhost().rules.queues.get(queue.as_str()) {
        let declared = rule
            .bindings
            .iter()
            .any(|(exchange, key)| *exchange == *unbind.source && *key == *unbind.key);
        if declared && host.vhost().rules.enforce == Enforce::Deny {
            let origin = host.vhost().rules.queues[queue.as_str()].origin.clone();
            return Err(DeclareError::Declared { resource: unbind.destination.clone(), origin });
        }
    }
    remove_binding(host, unbind, &binding, durable)
}

fn remove_binding<H: Host>(
    host: &mut H,
    unbind: &Bind,
    binding: &Binding,
    durable: bool,
) -> Result<BatchId, DeclareError> {
    let removed = host.change(|vhost| vhost.table.unbind(&unbind.source, binding));
    let Some(vanished) = removed else { return Ok(BatchId(0)) };
    let definition = binding_definition(&host.vhost().name, unbind);
    let batch = if durable { host.undefine(&definition) } else { BatchId(0) };
    Ok(forget_exchanges(host, &vanished).max(batch))
}

/// Removes the definitions of exchanges that went by themselves.
pub(in crate::broker) fn forget_exchanges<H: Host>(
    host: &mut H,
    names: &[ExchangeName],
) -> BatchId {
    let vhost = host.vhost().name.to_string();
    let mut batch = BatchId(0);
    for name in names {
        batch = batch.max(schedule::remove(host, name));
        deduplication::forget(host, &Scope::Exchange(name.clone()), name);
        let definition = Definition::Exchange {
            vhost: vhost.clone(),
            name: name.to_string(),
            kind: String::new(),
            auto_delete: false,
            internal: false,
            alternate: None,
            arguments: Hex::default(),
        };
        batch = batch.max(host.undefine(&definition));
    }
    batch
}

/// Finds both ends. COMPAT: when both are missing, the source is named.
fn check_ends(
    vhost: &Vhost,
    bind: &Bind,
    must_exist: bool,
) -> Result<(Binding, bool), DeclareError> {
    let to_default = bind.destination == Resource::Exchange(String::new());
    if bind.source.is_empty() || to_default {
        return Err(DeclareError::DefaultExchange);
    }
    let source = vhost
        .table
        .exchange(&bind.source)
        .ok_or_else(|| DeclareError::NoSuchExchange(bind.source.clone()))?;
    let (destination, durable) = match &bind.destination {
        Resource::Queue(name) => {
            let record =
                vhost.queue(name).ok_or_else(|| DeclareError::NoSuchQueue(name.clone()))?;
            // COMPAT: there is nothing to be kept from where there is no binding.
            let destination = Destination::Queue(record.id);
            let binding = Binding::new(destination, &bind.key, &bind.arguments);
            // COMPAT: what is wrong with the binding itself is said first.
            if must_exist {
                vhost.table.check_binding(&bind.source, &binding).map_err(DeclareError::Bind)?;
            }
            let concerns = must_exist || vhost.table.has_binding(&bind.source, &binding);
            if concerns && record.is_locked_for(bind.connection) {
                return Err(DeclareError::Locked(name.clone()));
            }
            if record.kind == QueueKind::Schedule && must_exist {
                return Err(DeclareError::Schedule(name.clone()));
            }
            if record.kind == QueueKind::ParkingLot && must_exist {
                return Err(DeclareError::ParkingLot(name.clone()));
            }
            (Destination::Queue(record.id), record.durable)
        }
        Resource::Exchange(name) => {
            let exchange = vhost
                .table
                .exchange(name)
                .ok_or_else(|| DeclareError::NoSuchExchange(name.clone()))?;
            (Destination::Exchange(exchange.name.clone()), exchange.durable)
        }
    };
    Ok((Binding::new(destination, &bind.key, &bind.arguments), source.durable && durable))
}

fn check_rules<H: Host>(host: &mut H, bind: &Bind) -> Result<(), DeclareError> {
    let Resource::Queue(queue) = &bind.destination else { return Ok(()) };
    let vhost = host.vhost();
    let candidate = Candidate {
        queue,
        private: vhost.queue(queue).is_some_and(QueueRecord::is_private),
        service: bind.service.as_ref(),
    };
    match vhost.rules.may_bind(&bind.source, &bind.key, candidate) {
        Ok(()) => Ok(()),
        Err(breach) if vhost.rules.enforce == Enforce::Warn => {
            host.note(Note::Warned(breach));
            Ok(())
        }
        Err(breach) => Err(DeclareError::Rule(breach)),
    }
}

pub(in crate::broker) fn exchange_definition(vhost: &str, spec: &ExchangeSpec) -> Definition {
    Definition::Exchange {
        vhost: vhost.to_owned(),
        name: spec.name.to_string(),
        kind: spec.type_name().to_owned(),
        auto_delete: spec.auto_delete,
        internal: spec.internal,
        alternate: spec.alternate.as_ref().map(ToString::to_string),
        arguments: Hex::new(&spec.arguments),
    }
}

fn binding_definition(vhost: &str, bind: &Bind) -> Definition {
    let (to_exchange, destination) = match &bind.destination {
        Resource::Exchange(name) => (true, name),
        Resource::Queue(name) => (false, name),
    };
    Definition::Binding {
        vhost: vhost.to_owned(),
        source: bind.source.clone(),
        to_exchange,
        destination: destination.clone(),
        key: bind.key.clone(),
        arguments: Hex::new(&bind.arguments),
    }
}
