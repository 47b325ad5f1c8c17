//! Carrying out what a rollout says in one vhost: create, bind, then unbind, delete. Doing it again
//! changes nothing.

use crate::broker::alter;
use crate::broker::delete;
use crate::broker::host::Host;
use crate::routing::Destination;
use crate::routing::table::Binding as TableBinding;
use crate::topology::apply::Applied;
use crate::topology::apply::Identity;
use crate::topology::apply::apply_as;
use crate::topology::declared::Vhost;
use crate::topology::observed;
use crate::topology::observed::Binding;
use crate::topology::rollout::Options;
use crate::topology::rollout::removal::Removals;
use crate::topology::source::Sources;

/// Makes the vhost of `host` what `declared` says, and takes away what goes.
///
/// # Errors
/// What could not be done, for people; the rest of it is done.
pub fn carry_out<H: Host>(
    host: &mut H,
    declared: &Vhost,
    sources: &Sources,
    gone: &Removals,
    options: &Options,
) -> Result<Applied, Vec<String>> {
    let mut failed = Vec::new();
    let mut applied = match apply_as(host, declared, sources, Identity::Replace) {
        Ok(applied) => applied,
        Err(texts) => {
            failed.extend(texts);
            return Err(failed);
        }
    };
    for binding in &gone.bindings {
        applied.removed += usize::from(unbind(host, binding));
    }
    for name in &gone.queues {
        applied.removed += usize::from(remove_queue(host, name, options, &mut failed));
    }
    for name in &gone.exchanges {
        applied.removed += usize::from(alter::remove_exchange(host, name));
    }
    if failed.is_empty() { Ok(applied) } else { Err(failed) }
}

fn unbind<H: Host>(host: &mut H, it: &Binding) -> bool {
    let to = match it.to_exchange {
        true => Some(Destination::Exchange(crate::amqp::name::ExchangeName::new(&it.destination))),
        false => host.vhost().table.queue(&it.destination).map(Destination::Queue),
    };
    let (Some(to), Some(arguments)) = (to, it.arguments.table()) else { return false };
    alter::remove_binding(host, &it.source, &TableBinding::new(to, &it.key, &arguments))
}

/// Removes a queue, unless something came into it that nobody has given up.
fn remove_queue<H: Host>(
    host: &mut H,
    name: &str,
    options: &Options,
    failed: &mut Vec<String>,
) -> bool {
    let Some(id) = host.vhost().queue(name).map(|it| it.id) else { return false };
    let (n_messages, n_consumers) = observed::stake(host, id);
    if (n_messages > 0 || n_consumers > 0) && !options.delete.contains(name) {
        failed.push(format!(
            "the queue '{name}' stays: {n_messages} messages and {n_consumers} consumers came \
             meanwhile"
        ));
        return false;
    }
    delete::remove_queue(host, id, "no topology file declares it any more");
    true
}
