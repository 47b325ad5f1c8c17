//! What goes when files are applied: what the files before declared and these do not, and with
//! `prune` what clients made on their own.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::amqp::table::Table;
use crate::broker::definition::Hex;
use crate::topology::compile;
use crate::topology::declared;
use crate::topology::declared::Topology;
use crate::topology::engine::Engine;
use crate::topology::observed;
use crate::topology::observed::Binding;
use crate::topology::observed::Observed;
use crate::topology::observed::declared_bindings;
use crate::topology::rabbitmq::policy;
use crate::topology::rollout::Options;

/// What goes in one vhost.
#[derive(Clone, PartialEq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Removals {
    pub bindings: Vec<Binding>,
    pub queues: Vec<String>,
    pub exchanges: Vec<String>,
    /// Queues that become other ones of the same name.
    pub replaced: Vec<String>,
}

impl Removals {
    /// What goes, one after the other: nothing is bound to what goes when it does, and queues go
    /// before the exchanges that may have been their last way in.
    pub fn in_order(&self) -> impl Iterator<Item = Removal<'_>> {
        let bindings = self.bindings.iter().map(Removal::Binding);
        let queues = self.queues.iter().map(|it| Removal::Queue(it));
        bindings.chain(queues).chain(self.exchanges.iter().map(|it| Removal::Exchange(it)))
    }
}

/// One thing that goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal<'r> {
    Binding(&'r Binding),
    Queue(&'r str),
    Exchange(&'r str),
}

/// Something that is on the broker and in no file.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Undeclared {
    pub vhost: String,
    /// `exchange`, `queue` or `binding`.
    pub kind: String,
    pub name: String,
}

/// By vhost: what goes, and what stays although no file declares it. Vhosts that neither topology
/// names are nobody's business.
pub fn all(
    observed: &Observed,
    applied: &Topology,
    new: &Topology,
    options: &Options,
) -> (BTreeMap<String, Removals>, Vec<Undeclared>) {
    let mut removals = BTreeMap::new();
    let mut undeclared = Vec::new();
    for (name, live) in &observed.vhosts {
        if applied.vhost(name).is_some() || new.vhost(name).is_some() {
            let sides = Sides { name, applied, new, options, engine: observed.engine };
            removals.insert(name.clone(), sides.of(live, &mut undeclared));
        }
    }
    (removals, undeclared)
}

struct Sides<'a> {
    name: &'a str,
    applied: &'a Topology,
    new: &'a Topology,
    options: &'a Options,
    engine: Engine,
}

impl Sides<'_> {
    fn of(&self, live: &observed::Vhost, undeclared: &mut Vec<Undeclared>) -> Removals {
        let mut gone = Removals::default();
        let (before, after) = (self.applied.vhost(self.name), self.new.vhost(self.name));
        let mut keep = |kind: &str, name: String| {
            undeclared.push(Undeclared { vhost: self.name.into(), kind: kind.into(), name });
        };
        for name in live.exchanges.keys() {
            let of = |it: Option<&declared::Vhost>| {
                it.is_some_and(|it| it.exchanges.contains_key(name.as_str()))
            };
            match (of(after), of(before) || self.options.prune) {
                (true, _) => {}
                (false, true) => gone.exchanges.push(name.clone()),
                (false, false) => keep("exchange", name.clone()),
            }
        }
        for (name, queue) in live.queues.iter().filter(|(_, it)| !it.is_lot) {
            let new = after.and_then(|it| it.queues.get(name.as_str()));
            let is_old = before.is_some_and(|it| it.queues.contains_key(name.as_str()));
            match (new, is_old || self.options.prune) {
                (Some(new), _) if is_another(new, queue, self.engine) => {
                    gone.replaced.push(name.clone());
                }
                (Some(_), _) => {}
                (None, true) => gone.queues.push(name.clone()),
                (None, false) => keep("queue", name.clone()),
            }
        }
        let managed: BTreeSet<Binding> =
            before.map(declared_bindings).into_iter().flatten().collect();
        let wanted: BTreeSet<Binding> =
            after.map(declared_bindings).into_iter().flatten().collect();
        for binding in live.bindings.iter().filter(|it| !wanted.contains(it)) {
            let ends = match binding.to_exchange {
                true => gone.exchanges.contains(&binding.destination),
                false => gone.queues.contains(&binding.destination),
            };
            // What leads to something that goes, goes before it; the order of steps says so.
            if ends || managed.contains(binding) || self.options.prune {
                gone.bindings.push(binding.clone());
            } else {
                let Binding { source, destination, key, .. } = binding;
                keep("binding", format!("{source} → {destination} ({key})"));
            }
        }
        gone
    }
}

/// Whether the queue cannot become what is declared while it lives.
fn is_another(new: &declared::Queue, live: &observed::Queue, engine: Engine) -> bool {
    match engine {
        Engine::Railpost => {
            let is_stream = |table: &Table| {
                table.get("x-queue-type").and_then(|it| it.as_text()) == Some("stream")
            };
            let there = live.arguments.table().unwrap_or_default();
            new.durable != live.durable
                || is_stream(&compile::queue_arguments(new)) != is_stream(&there)
        }
        Engine::Rabbitmq => is_another_on_rabbitmq(new, live),
    }
}

/// COMPAT: nothing that a queue was declared with can change; what policies say can, unless its
/// declaration says it, too.
fn is_another_on_rabbitmq(new: &declared::Queue, live: &observed::Queue) -> bool {
    let table = |it: &Hex| it.table().unwrap_or_default();
    let there = table(live.declared_with.as_ref().unwrap_or(&live.arguments));
    let wanted = compile::queue_arguments(new);
    let fixed = policy::fixed_arguments(new);
    let missing = fixed.iter().any(|(key, value)| there.get(key) != Some(value));
    let differs = there.iter().any(|(key, value)| {
        let wanted = if Engine::Rabbitmq.fixes(key, false) { &fixed } else { &wanted };
        !policy::is_plain(key, value) && wanted.get(key) != Some(value)
    });
    new.durable != live.durable || new.auto_delete != live.auto_delete || missing || differs
}
