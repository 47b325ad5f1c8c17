//! What topology files make and change, as opposed to clients: no rule is asked, since the files
//! are where the rules come from.

use crate::amqp::id::BatchId;
use crate::amqp::name::ExchangeName;
use crate::broker::declare::DeclareError;
use crate::broker::declare::exchange_definition;
use crate::broker::declare::forget_exchanges;
use crate::broker::definition::Definition;
use crate::broker::definition::Hex;
use crate::broker::host::Host;
use crate::broker::schedule;
use crate::broker::vhost::Vhost;
use crate::routing::Binding;
use crate::routing::Destination;
use crate::routing::hash::HashSource;
use crate::routing::table::ExchangeSpec;

/// Changes an exchange that is there, see [`Table::alter`].
///
/// [`Table::alter`]: crate::routing::table::Table::alter
pub fn alter_exchange<H: Host>(host: &mut H, spec: ExchangeSpec) -> Result<BatchId, DeclareError> {
    let definition = exchange_definition(&host.vhost().name, &spec);
    let durable = spec.durable;
    host.change(|vhost| vhost.table.alter(spec));
    Ok(if durable { host.define(&definition) } else { BatchId(0) })
}

/// Binds a destination that is there.
///
/// # Errors
/// When there is no such exchange, or its type refuses the binding.
pub fn add_binding<H: Host>(
    host: &mut H,
    source: &str,
    binding: Binding,
) -> Result<BatchId, DeclareError> {
    let (definition, durable) = definition_of(host.vhost(), source, &binding);
    host.change(|vhost| vhost.table.bind(source, binding)).map_err(DeclareError::Bind)?;
    Ok(if durable { host.define(&definition) } else { BatchId(0) })
}

/// Takes a binding away; `false` when there is none.
pub fn remove_binding<H: Host>(host: &mut H, source: &str, binding: &Binding) -> bool {
    let (definition, durable) = definition_of(host.vhost(), source, binding);
    let removed = host.change(|vhost| vhost.table.unbind(source, binding));
    let Some(vanished) = removed else { return false };
    if durable {
        host.undefine(&definition);
    }
    forget_exchanges(host, &vanished);
    true
}

/// Deletes an exchange with its bindings; `false` when there is none.
pub fn remove_exchange<H: Host>(host: &mut H, name: &str) -> bool {
    let ends = bindings_at(host.vhost(), name);
    let definitions = ends.iter().map(|(source, it)| definition_of(host.vhost(), source, it).0);
    let definitions: Vec<Definition> = definitions.collect();
    let vanished = host.change(|vhost| vhost.table.delete(name));
    definitions.iter().for_each(|it| {
        host.undefine(it);
    });
    forget_exchanges(host, &vanished);
    !vanished.is_empty()
}

/// Puts another exchange in the place of one, with all its bindings that the new type takes and
/// `more` of its own. Nobody publishes in between, so that no message finds it missing.
///
/// # Errors
/// When the new exchange's arguments are refused; nothing is changed then.
pub fn replace_exchange<H: Host>(
    host: &mut H,
    spec: ExchangeSpec,
    more: Vec<Binding>,
) -> Result<BatchId, DeclareError> {
    HashSource::parse(&spec.arguments).map_err(DeclareError::HashSource)?;
    let name = spec.name.clone();
    let definition = exchange_definition(&host.vhost().name, &spec);
    let (durable, delays) = (spec.durable, spec.delays);
    let before = bindings_at(host.vhost(), &name);
    let gone = before.iter().map(|(source, it)| definition_of(host.vhost(), source, it).0);
    let gone: Vec<Definition> = gone.collect();
    let mut vanished = host.change(|vhost| {
        let vanished = vhost.table.delete(&name);
        vhost.table.declare(spec).expect("its arguments were looked at");
        for (source, binding) in before {
            // A weight that is none, or a source that went with its last binding, stays behind.
            let _ = vhost.table.bind(&source, binding);
        }
        for binding in more {
            let _ = vhost.table.bind(&name, binding);
        }
        vanished
    });
    vanished.retain(|it| *it != name);
    gone.iter().for_each(|it| {
        host.undefine(it);
    });
    forget_exchanges(host, &vanished);
    let mut batch = match durable {
        true => host.define(&definition),
        false => host.undefine(&definition),
    };
    for (source, binding) in bindings_at(host.vhost(), &name) {
        let (definition, durable) = definition_of(host.vhost(), &source, &binding);
        if durable {
            batch = batch.max(host.define(&definition));
        }
    }
    let waits = if delays { schedule::add(host, &name, durable)? } else { BatchId(0) };
    Ok(batch.max(waits))
}

/// The bindings of an exchange and those that lead to it, each with its source.
fn bindings_at(vhost: &Vhost, name: &str) -> Vec<(ExchangeName, Binding)> {
    let own = vhost.table.exchange(name).into_iter();
    let own = own.flat_map(|it| it.bindings().map(|binding| (it.name.clone(), binding.clone())));
    let to = Destination::Exchange(ExchangeName::new(name));
    let others = vhost.table.bindings_to(&to);
    let others = others.into_iter().map(|(source, it)| (source.clone(), it.clone()));
    own.chain(others).collect()
}

/// How the log keeps a binding, and whether it does: when both ends last.
pub(in crate::broker) fn definition_of(
    vhost: &Vhost,
    source: &str,
    binding: &Binding,
) -> (Definition, bool) {
    let from_durable = vhost.table.exchange(source).is_some_and(|it| it.durable);
    let (to_exchange, destination, to_durable) = match &binding.destination {
        Destination::Queue(id) => {
            let record = vhost.record(*id);
            let name = record.map(|it| it.name.to_string()).unwrap_or_default();
            (false, name, record.is_some_and(|it| it.durable))
        }
        Destination::Exchange(name) => {
            let durable = vhost.table.exchange(name).is_some_and(|it| it.durable);
            (true, name.to_string(), durable)
        }
    };
    let definition = Definition::Binding {
        vhost: vhost.name.to_string(),
        source: source.to_owned(),
        to_exchange,
        destination,
        key: binding.key.to_string(),
        arguments: Hex::new(&binding.arguments()),
    };
    (definition, from_durable && to_durable)
}
