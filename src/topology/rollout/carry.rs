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
use crate::topology::rollout::removal::Removal;
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
    for removal in gone.in_order() {
        match remove(host, removal, options) {
            Ok(is_done) => applied.removed += usize::from(is_done),
            Err(text) => failed.push(text),
        }
    }
    if failed.is_empty() { Ok(applied) } else { Err(failed) }
}

/// Takes one thing away; `false` when it is not there any more.
///
/// # Errors
/// Why it stays, for people.
pub fn remove<H: Host>(
    host: &mut H,
    removal: Removal<'_>,
    options: &Options,
) -> Result<bool, String> {
    match removal {
        Removal::Binding(it) => Ok(unbind(host, it)),
        Removal::Queue(name) => remove_queue(host, name, options),
        Removal::Exchange(name) => Ok(alter::remove_exchange(host, name)),
    }
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
fn remove_queue<H: Host>(host: &mut H, name: &str, options: &Options) -> Result<bool, String> {
    let Some(id) = host.vhost().queue(name).map(|it| it.id) else { return Ok(false) };
    let (n_messages, n_consumers) = observed::stake(host, id);
    if (n_messages > 0 || n_consumers > 0) && !options.delete.contains(name) {
        return Err(format!(
            "the queue '{name}' stays: {n_messages} messages and {n_consumers} consumers came \
             meanwhile"
        ));
    }
    delete::remove_queue(host, id, "no topology file declares it any more");
    Ok(true)
}
