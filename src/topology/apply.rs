//! Making a vhost what its files declare: the same for a broker that starts and for tests in
//! memory. What is not declared stays as it is.

use std::sync::Arc;

use crate::amqp::id::QueueId;
use crate::amqp::name::QueueName;
use crate::amqp::table::Table as Arguments;
use crate::broker::alter;
use crate::broker::declare;
use crate::broker::declare::NewQueue;
use crate::broker::effective;
use crate::broker::host::Host;
use crate::broker::replace;
use crate::broker::vhost::QueueKind;
use crate::queue::settings::Settings;
use crate::routing::Kind;
use crate::routing::delay::ROUTES_AS;
use crate::routing::table::Binding as TableBinding;
use crate::routing::table::Destination;
use crate::topology::compile;
use crate::topology::compile::LotOwner;
use crate::topology::declared::Binding;
use crate::topology::declared::Exchange;
use crate::topology::declared::Queue;
use crate::topology::declared::Vhost;
use crate::topology::source::Sources;

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// Objects that were not there: exchanges, queues, parking lots and bindings.
    pub created: usize,
    /// Objects that were there and are another way now.
    pub changed: usize,
    /// Objects that no file declares any more, and bindings that went with them.
    pub removed: usize,
    /// What is there on a declared queue and in no file, for people.
    pub undeclared: Vec<String>,
}

/// Makes the vhost of `host` what `declared` says.
///
/// # Errors
/// Each object that is there and cannot become what is declared, named with both sides and the
/// remedy; nothing is changed then.
pub fn apply<H: Host>(
    host: &mut H,
    declared: &Vhost,
    sources: &Sources,
) -> Result<Applied, Vec<String>> {
    apply_as(host, declared, sources, Identity::Keep)
}

/// What becomes of exchanges and queues that are there and are declared as other ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Identity {
    /// They are a conflict.
    Keep,
    /// Another one takes their place; a queue keeps its messages.
    Replace,
}

/// As [`apply`], which keeps what is there.
///
/// # Errors
/// As [`apply`].
pub fn apply_as<H: Host>(
    host: &mut H,
    declared: &Vhost,
    sources: &Sources,
    identity: Identity,
) -> Result<Applied, Vec<String>> {
    let conflicts = conflicts(host, declared, sources, identity);
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let mut applied = Applied::default();
    let mut failed = Vec::new();
    for exchange in declared.exchanges.values() {
        apply_exchange(host, exchange, &mut applied, &mut failed);
    }
    for queue in declared.queues.values() {
        let wanted = Wanted {
            name: &queue.name,
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            arguments: compile::queue_arguments(queue),
            settings: compile::settings(queue),
            kind: QueueKind::Declared,
            parks_for: None,
        };
        apply_queue(host, wanted, &mut applied, &mut failed);
    }
    apply_parking(host, declared, &mut applied, &mut failed);
    // Once every queue is there that their messages are to go to.
    for exchange in declared.exchanges.values() {
        if is_another(host, exchange) {
            replace_exchange(host, declared, exchange, &mut applied, &mut failed);
        }
    }
    for exchange in declared.exchanges.values() {
        let to = Destination::Exchange(exchange.name.clone());
        apply_bindings(host, &exchange.bindings, &to, &mut applied, &mut failed);
    }
    for queue in declared.queues.values() {
        let Some(id) = host.vhost().table.queue(&queue.name) else { continue };
        apply_bindings(host, &queue.bindings, &Destination::Queue(id), &mut applied, &mut failed);
        applied.undeclared.extend(undeclared_bindings(host, queue, id));
    }
    let rules = compile::rules(declared, sources);
    host.change(|vhost| vhost.rules = rules);
    // What a file states is not a policy's to change, and what no file states any more is.
    effective::refresh(host);
    if failed.is_empty() { Ok(applied) } else { Err(failed) }
}

/// What cannot be changed while it lives.
fn conflicts<H: Host>(
    host: &mut H,
    declared: &Vhost,
    sources: &Sources,
    identity: Identity,
) -> Vec<String> {
    let vhost = host.vhost();
    let mut found = Vec::new();
    let kept = match identity {
        Identity::Keep => Some(declared.exchanges.values()),
        Identity::Replace => None,
    };
    for exchange in kept.into_iter().flatten() {
        let Some(there) = vhost.table.exchange(&exchange.name) else { continue };
        let differs = [
            ("type", there.type_name().to_owned(), exchange.type_name().to_owned()),
            (ROUTES_AS, there.kind.as_str().to_owned(), exchange.kind.value.as_str().to_owned()),
            ("durable", there.durable.to_string(), exchange.durable.to_string()),
        ];
        // Of exchanges that hold nothing back, the type has said it.
        let differs = differs.into_iter().filter(|it| exchange.delays || it.0 != ROUTES_AS);
        let hashes = matches!(there.kind, Kind::ConsistentHash | Kind::ModulusHash);
        let hashed = ("arguments", there.arguments.to_string(), exchange.arguments.to_string());
        let name = format!("exchange '{}'", exchange.name);
        let place = sources.cite(exchange.origin);
        let differs = differs.chain(hashes.then_some(hashed));
        found.extend(differs.filter_map(|it| conflict(&name, &place, it)));
    }
    for queue in declared.queues.values() {
        let Some(there) = vhost.queue(&queue.name) else { continue };
        let name = format!("queue '{}'", queue.name);
        let place = sources.cite(queue.origin);
        if there.exclusive.is_some() {
            found.push(format!(
                "{name} is declared at {place} and belongs to one connection now; close that, or \
                 give one of them another name"
            ));
        } else if identity == Identity::Keep {
            let durable = ("durable", there.durable.to_string(), queue.durable.to_string());
            found.extend(conflict(&name, &place, durable));
        }
        if there.kind == QueueKind::ParkingLot {
            found.push(format!(
                "{name} is declared at {place} and is the parking lot of another queue; give it \
                 another name"
            ));
        }
    }
    found
}

fn conflict(
    name: &str,
    place: &str,
    (property, there, declared): (&str, String, String),
) -> Option<String> {
    (there != declared).then(|| {
        format!(
            "{name} is there with {property} '{there}' and declared with '{declared}' at {place}; \
             delete it with a client while no topology declares it, or keep {property} as it is"
        )
    })
}

/// Whether an exchange of this name is there that cannot become what is declared.
fn is_another<H: Host>(host: &mut H, exchange: &Exchange) -> bool {
    host.vhost().table.exchange(&exchange.name).is_some_and(|there| {
        let hashes = matches!(there.kind, Kind::ConsistentHash | Kind::ModulusHash);
        there.type_name() != exchange.type_name()
            || there.kind != exchange.kind.value
            || there.durable != exchange.durable
            || (hashes && there.arguments != exchange.arguments)
    })
}

fn replace_exchange<H: Host>(
    host: &mut H,
    declared: &Vhost,
    exchange: &Exchange,
    applied: &mut Applied,
    failed: &mut Vec<String>,
) {
    let new = |to: &Destination, it: &Binding| {
        TableBinding::new(to.clone(), &it.key.value, &it.arguments)
    };
    let mut more = Vec::new();
    for queue in declared.queues.values() {
        let Some(id) = host.vhost().table.queue(&queue.name) else { continue };
        let own = queue.bindings.iter().filter(|it| it.exchange.value == exchange.name);
        more.extend(own.map(|it| new(&Destination::Queue(id), it)));
    }
    for other in declared.exchanges.values() {
        let own = other.bindings.iter().filter(|it| it.exchange.value == exchange.name);
        more.extend(own.map(|it| new(&Destination::Exchange(other.name.clone()), it)));
    }
    applied.changed += 1;
    if let Err(error) = alter::replace_exchange(host, compile::exchange(exchange), more) {
        failed.push(format!("exchange '{}' cannot be replaced: {error:?}", exchange.name));
    }
}

fn apply_exchange<H: Host>(
    host: &mut H,
    exchange: &Exchange,
    applied: &mut Applied,
    failed: &mut Vec<String>,
) {
    if is_another(host, exchange) {
        return;
    }
    let spec = compile::exchange(exchange);
    let there = host.vhost().table.exchange(&exchange.name);
    let same = there.map(|it| {
        it.auto_delete == spec.auto_delete
            && it.internal == spec.internal
            && it.alternate == spec.alternate
            && it.arguments == spec.arguments
    });
    match same {
        Some(true) => return,
        Some(false) => applied.changed += 1,
        None => applied.created += 1,
    }
    let done = match same {
        Some(_) => alter::alter_exchange(host, spec).map(|_| ()),
        None => declare::add_exchange(host, spec).map(|_| ()),
    };
    if let Err(error) = done {
        failed.push(format!("exchange '{}' cannot be declared: {error:?}", exchange.name));
    }
}

/// A queue as it must be.
struct Wanted<'a> {
    name: &'a QueueName,
    durable: bool,
    auto_delete: bool,
    arguments: Arguments,
    settings: Settings,
    kind: QueueKind,
    parks_for: Option<QueueName>,
}

fn apply_queue<H: Host>(
    host: &mut H,
    wanted: Wanted<'_>,
    applied: &mut Applied,
    failed: &mut Vec<String>,
) -> Option<QueueId> {
    let there = host.vhost().queue(wanted.name);
    let is_another = there.is_some_and(|it| {
        it.durable != wanted.durable || it.is_stream() != wanted.settings.stream.is_some()
    });
    let Some(id) = there.map(|it| it.id).filter(|_| !is_another) else {
        let there = there.map(|it| it.id);
        let new = NewQueue {
            name: wanted.name.clone(),
            durable: wanted.durable,
            auto_delete: wanted.auto_delete,
            exclusive: None,
            arguments: wanted.arguments,
            settings: wanted.settings,
            kind: wanted.kind,
            parks_for: wanted.parks_for,
        };
        if let Some(id) = there {
            applied.changed += 1;
            return replace::replace_queue(host, id, &new).map(|_| id);
        }
        applied.created += 1;
        return match declare::add_queue(host, new) {
            Ok(added) => added.map(|it| it.id),
            Err(error) => {
                failed.push(format!("queue '{}' cannot be declared: {error:?}", wanted.name));
                None
            }
        };
    };
    let changed = host.change(|vhost| {
        let Some(record) = vhost.record_mut(id) else { return false };
        let same_kind = record.kind == wanted.kind;
        let same = record.arguments == wanted.arguments
            && record.auto_delete == wanted.auto_delete
            && *record.base == wanted.settings;
        record.arguments = wanted.arguments;
        record.auto_delete = wanted.auto_delete;
        record.base = Arc::new(wanted.settings);
        record.kind = wanted.kind;
        !(same && same_kind)
    });
    if changed {
        applied.changed += 1;
        declare::define_queue(host, id, wanted.parks_for.as_ref());
    }
    Some(id)
}

/// Makes the parking lots, and lets their queues know. Lots that nothing parks in any more become
/// ordinary queues, which people may empty and delete.
fn apply_parking<H: Host>(
    host: &mut H,
    declared: &Vhost,
    applied: &mut Applied,
    failed: &mut Vec<String>,
) {
    let lots = compile::parking_lots(declared);
    let mut links = Vec::new();
    for lot in &lots {
        let (owner, parks_for) = match &lot.owner {
            LotOwner::Queue(name) => (Some(name), name.clone()),
            LotOwner::Exchange(name) => (None, QueueName::new(name)),
        };
        let wanted = Wanted {
            name: &lot.name,
            durable: true,
            auto_delete: false,
            arguments: Arguments::default(),
            settings: lot.settings.clone(),
            kind: QueueKind::ParkingLot,
            parks_for: Some(parks_for),
        };
        let id = apply_queue(host, wanted, applied, failed);
        links.extend(owner.and_then(|it| host.vhost().table.queue(it)).zip(id));
    }
    host.change(|vhost| {
        let ids: Vec<QueueId> = vhost.queues().map(|it| it.id).collect();
        for id in ids {
            let Some(record) = vhost.record_mut(id) else { continue };
            record.parked = links.iter().find(|(owner, _)| *owner == id).map(|(_, lot)| *lot);
            let is_lot = lots.iter().any(|it| it.name == record.name);
            if record.kind == QueueKind::ParkingLot && !is_lot {
                record.kind = QueueKind::Client;
            }
        }
    });
}

fn apply_bindings<H: Host>(
    host: &mut H,
    bindings: &[Binding],
    to: &Destination,
    applied: &mut Applied,
    failed: &mut Vec<String>,
) {
    for binding in bindings {
        let source = &binding.exchange.value;
        let new = TableBinding::new(to.clone(), &binding.key.value, &binding.arguments);
        if host.vhost().table.has_binding(source, &new) {
            continue;
        }
        applied.created += 1;
        if let Err(error) = alter::add_binding(host, source, new) {
            failed.push(format!("the binding to '{source}' cannot be made: {error:?}"));
        }
    }
}

/// Bindings of a declared queue that no file has: left over from an earlier version of the files,
/// or made by a client.
fn undeclared_bindings<H: Host>(host: &mut H, queue: &Queue, id: QueueId) -> Vec<String> {
    let table = &host.vhost().table;
    let there = table.bindings_to(&Destination::Queue(id)).into_iter();
    let unknown = there.filter(|(source, binding)| {
        let same = |it: &Binding| {
            it.exchange.value == **source
                && it.key.value == binding.key
                && it.arguments == binding.arguments()
        };
        !queue.bindings.iter().any(same)
    });
    let text = |(source, binding): (_, &TableBinding)| {
        format!(
            "queue '{}' is bound to '{source}' with the key '{}', which no file declares; it \
             stays until a client unbinds it",
            queue.name, binding.key
        )
    };
    unknown.map(text).collect()
}
