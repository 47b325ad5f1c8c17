//! What topology files make and change, as opposed to clients: no rule is asked, since the files
//! are where the rules come from.

use crate::amqp::id::BatchId;
use crate::broker::declare::DeclareError;
use crate::broker::declare::exchange_definition;
use crate::broker::definition::Definition;
use crate::broker::definition::Hex;
use crate::broker::host::Host;
use crate::routing::Binding;
use crate::routing::Destination;
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
    let vhost = host.vhost();
    let exchange = vhost.table.exchange(source);
    let from_durable = exchange.is_some_and(|it| it.durable);
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
    host.change(|vhost| vhost.table.bind(source, binding)).map_err(DeclareError::Bind)?;
    let durable = from_durable && to_durable;
    Ok(if durable { host.define(&definition) } else { BatchId(0) })
}
