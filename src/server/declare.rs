//! Bringing a topology's declarations into a broker that starts.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::queue::settings::Settings;
use crate::server::node::Node;
use crate::server::turn::Turn;
use crate::topology::Topology;
use crate::topology::apply::Applied;
use crate::topology::apply::Identity;
use crate::topology::apply::apply_as;
use crate::topology::compile;
use crate::topology::declared::Vhost;

/// The settings of declared queues and their parking lots: a queue that comes back from the log
/// begins with them, since it may keep its messages in another order under other ones.
#[derive(Debug, Default)]
pub(in crate::server) struct DeclaredSettings {
    of: HashMap<(String, String), Arc<Settings>, RandomState>,
}

impl DeclaredSettings {
    pub(in crate::server) fn new(topology: &Topology) -> DeclaredSettings {
        let mut all = DeclaredSettings::default();
        for vhost in topology.vhosts.values() {
            let queues = vhost.queues.values().map(|it| (&it.name, compile::settings(it)));
            let lots = compile::parking_lots(vhost);
            let lots = lots.iter().map(|it| (&it.name, it.settings.clone()));
            for (name, settings) in queues.chain(lots) {
                let key = (vhost.name.to_string(), name.to_string());
                all.of.insert(key, Arc::new(settings));
            }
        }
        all
    }

    pub(in crate::server) fn of(&self, vhost: &str, queue: &str) -> Option<&Arc<Settings>> {
        self.of.get(&(vhost.to_owned(), queue.to_owned()))
    }
}

/// Makes every vhost what the topology says; those it does not name have no rules.
///
/// # Errors
/// What is there and contradicts it, for people.
pub(in crate::server) fn apply_all(
    node: &Node,
    topology: &Topology,
    identity: Identity,
) -> Result<Applied, Vec<String>> {
    let mut all = Applied::default();
    let mut conflicts = Vec::new();
    for name in topology.vhosts.keys() {
        node.vhost_or_new(name);
    }
    for live in node.vhosts() {
        let empty;
        let declared = match topology.vhost(&live.name) {
            Some(declared) => declared,
            None => {
                empty = Vhost::empty(&live.name);
                &empty
            }
        };
        let mut turn = Turn::new(node, &live, None);
        let applied = apply_as(&mut turn, declared, &topology.sources, identity);
        turn.finish();
        match applied {
            Ok(applied) => {
                all.created += applied.created;
                all.changed += applied.changed;
                let named = |it| format!("vhost '{}': {it}", live.name);
                all.undeclared.extend(applied.undeclared.into_iter().map(named));
            }
            Err(texts) => {
                let named = |it| format!("vhost '{}': {it}", live.name);
                conflicts.extend(texts.into_iter().map(named));
            }
        }
    }
    if conflicts.is_empty() { Ok(all) } else { Err(conflicts) }
}
