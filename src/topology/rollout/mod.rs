//! From a running broker to what files declare, as a value: what changes, in which order, what is
//! at stake, and what speaks against it.
//!
//! Made of nothing but what was observed and what files say, so that the same plan is made where
//! it is reviewed and where it is carried out.

pub mod carry;
pub mod present;
pub mod removal;
mod render;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

use crate::amqp::name::VhostName;
use crate::topology::declared;
use crate::topology::declared::Topology;
use crate::topology::engine::Engine;
use crate::topology::observed;
use crate::topology::observed::Observed;
use crate::topology::plan::Action;
use crate::topology::plan::Change;
use crate::topology::plan::Kind;
use crate::topology::plan::Plan;
use crate::topology::rollout::removal::Removals;
use crate::topology::rollout::removal::Undeclared;
use crate::topology::source::Source;

/// What people allow a plan to do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// What no file declares goes, too.
    pub prune: bool,
    /// Queues that may be deleted with what is in them.
    pub delete: BTreeSet<String>,
}

/// The way from a broker to what files declare.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rollout {
    pub schema: String,
    /// Of the broker as the plan found it, see [`Observed::fingerprint`].
    pub fingerprint: String,
    pub options: Options,
    pub plan: Plan,
    /// In the order in which they are done: what is new is there and bound before anything goes.
    pub steps: Vec<Step>,
    pub stakes: Vec<Stake>,
    /// Queues that are replaced with all their messages.
    #[serde(default)]
    pub handovers: Vec<Handover>,
    /// What is there and in no file, and stays.
    pub undeclared: Vec<Undeclared>,
    /// Why the plan is not carried out; empty when nothing speaks against it.
    pub refusals: Vec<String>,
    /// What the broker keeps in another way than the files say, or not at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<String>,
    /// The broker that the plan was made for.
    #[serde(default)]
    pub broker: String,
    /// The files.
    pub sources: Vec<Source>,
}

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    pub vhost: String,
    pub action: StepAction,
    pub kind: Kind,
    pub name: String,
}

/// In the order in which they are done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepAction {
    ReplaceQueue,
    Create,
    Change,
    ReplaceExchange,
    Bind,
    /// Clients are held to it from here on.
    Hold,
    Unbind,
    Delete,
}

/// A queue that goes, and what is in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stake {
    pub vhost: String,
    pub queue: String,
    pub n_messages: u64,
    pub n_consumers: u64,
}

/// A queue that becomes another one, and what is in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Handover {
    pub vhost: String,
    pub queue: String,
    /// They are in the new one afterwards, in their order.
    pub n_messages: u64,
    pub n_consumers: u64,
    /// The consumers are cancelled; else they stay.
    pub cancels: bool,
}

/// The schema of a saved plan.
pub const SCHEMA: &str = "railpost.rollout/1";

impl Rollout {
    /// What has to be done so that a broker is what `new` declares. `applied` is what the broker's
    /// own files say.
    pub fn new(
        observed: &Observed,
        applied: &Topology,
        new: &Topology,
        sources: &[Source],
        options: &Options,
    ) -> Rollout {
        let (removals, undeclared) = removal::all(observed, applied, new, options);
        let mut present = present::topology(observed, applied);
        present.vhosts.retain(|name, _| removals.contains_key(name.as_str()));
        let plan = Plan::on(observed.engine, &present, &goal(&present, new, &removals));
        let stakes = stakes(observed, &removals);
        let handovers = handovers(observed, &removals, &plan);
        let mut refusals = refusals(&stakes, options);
        refusals.extend(protected(applied, &plan));
        refusals.extend(held_back(observed, &plan));
        Rollout {
            schema: SCHEMA.to_owned(),
            fingerprint: observed.fingerprint(),
            options: options.clone(),
            steps: steps(&plan),
            plan,
            stakes,
            handovers,
            undeclared,
            refusals,
            losses: Vec::new(),
            broker: observed.broker.clone(),
            sources: sources.to_vec(),
        }
    }

    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty()
    }
}

/// Why a plan that was made for one broker is not carried out on another. Plans of old say no broker.
pub fn not_for(planned: &str, broker: &str) -> Option<String> {
    let is_other = !planned.is_empty() && planned != broker;
    is_other.then(|| format!("the plan was made for `{planned}`, and this is `{broker}`"))
}

/// What is there afterwards: the files, and what stays beside them.
fn goal(present: &Topology, new: &Topology, removals: &BTreeMap<String, Removals>) -> Topology {
    let mut goal = new.clone();
    for (name, before) in &present.vhosts {
        let Some(gone) = removals.get(name.as_str()) else { continue };
        let name: &VhostName = name;
        let vhost = goal.vhosts.entry(name.clone()).or_insert_with(|| declared::Vhost::empty(name));
        for exchange in before.exchanges.values() {
            if gone.exchanges.iter().any(|it| **it == *exchange.name) {
                continue;
            }
            let kept = vhost.exchanges.entry(exchange.name.clone());
            let kept = kept.or_insert_with(|| exchange.clone());
            keep(&mut kept.bindings, &exchange.bindings, true, &exchange.name, gone);
        }
        for queue in before.queues.values() {
            if gone.queues.iter().any(|it| **it == *queue.name) {
                continue;
            }
            let kept = vhost.queues.entry(queue.name.clone()).or_insert_with(|| queue.clone());
            keep(&mut kept.bindings, &queue.bindings, false, &queue.name, gone);
        }
    }
    goal
}

/// Adds the bindings that stay to those that files declare.
fn keep(
    bindings: &mut Vec<declared::Binding>,
    before: &[declared::Binding],
    to_exchange: bool,
    name: &str,
    gone: &Removals,
) {
    let as_seen = |it: &declared::Binding| observed::binding(it, to_exchange, name);
    bindings.retain(|it| !gone.bindings.contains(&as_seen(it)));
    let known: BTreeSet<observed::Binding> = bindings.iter().map(as_seen).collect();
    let stays = |it: &&declared::Binding| {
        let seen = as_seen(it);
        !known.contains(&seen) && !gone.bindings.contains(&seen)
    };
    let more: Vec<declared::Binding> = before.iter().filter(stays).cloned().collect();
    bindings.extend(more);
}

fn stakes(observed: &Observed, removals: &BTreeMap<String, Removals>) -> Vec<Stake> {
    let mut all = Vec::new();
    for (vhost, gone) in removals {
        let replaced = gone.replaced.iter().filter(|_| observed.engine != Engine::Railpost);
        for name in gone.queues.iter().chain(replaced) {
            let live = observed.vhosts.get(vhost).and_then(|it| it.queues.get(name));
            all.extend(live.map(|it| Stake {
                vhost: vhost.clone(),
                queue: name.clone(),
                n_messages: it.n_messages,
                n_consumers: it.n_consumers,
            }));
        }
    }
    all
}

fn handovers(
    observed: &Observed,
    removals: &BTreeMap<String, Removals>,
    plan: &Plan,
) -> Vec<Handover> {
    let mut all = Vec::new();
    for (vhost, gone) in removals.iter().filter(|_| observed.engine == Engine::Railpost) {
        for name in &gone.replaced {
            let is_it =
                |it: &&Change| it.kind == Kind::Queue && it.vhost == *vhost && it.name == *name;
            let change = plan.changes.iter().find(is_it);
            let properties = change.into_iter().flat_map(|it| &it.properties);
            let live = observed.vhosts.get(vhost).and_then(|it| it.queues.get(name));
            all.extend(live.map(|it| Handover {
                vhost: vhost.clone(),
                queue: name.clone(),
                n_messages: it.n_messages,
                n_consumers: it.n_consumers,
                cancels: properties.filter(|it| it.identity).any(|it| it.property != "durable"),
            }));
        }
    }
    all
}

pub(in crate::topology) fn refusals(stakes: &[Stake], options: &Options) -> Vec<String> {
    let at_stake = |it: &&Stake| {
        (it.n_messages > 0 || it.n_consumers > 0) && !options.delete.contains(&it.queue)
    };
    let text = |it: &Stake| {
        let Stake { queue, n_messages, n_consumers, .. } = it;
        format!(
            "the queue `{queue}` would go with {n_messages} messages and {n_consumers} consumers; \
             let it run empty, or say --delete {queue}"
        )
    };
    stakes.iter().filter(at_stake).map(text).collect()
}

/// What files say must never go.
pub(in crate::topology) fn protected(applied: &Topology, plan: &Plan) -> Vec<String> {
    let goes = |it: &&Change| matches!(it.action, Action::Delete | Action::Replace);
    let is_protected = |it: &&Change| {
        applied.vhost(&it.vhost).is_some_and(|vhost| match it.kind {
            Kind::Exchange => vhost.exchanges.get(it.name.as_str()).is_some_and(|it| it.protected),
            Kind::Queue => vhost.queues.get(it.name.as_str()).is_some_and(|it| it.protected),
            Kind::Vhost | Kind::Service | Kind::Instances | Kind::Binding | Kind::Message => false,
        })
    };
    let text = |it: &Change| {
        format!(
            "the {} `{}` is protected; apply files without `protected` first",
            it.kind.as_str(),
            it.name
        )
    };
    plan.changes.iter().filter(goes).filter(is_protected).map(text).collect()
}

/// Exchanges that hold messages back keep them in themselves.
pub(in crate::topology) fn held_back(observed: &Observed, plan: &Plan) -> Vec<String> {
    let goes = |it: &&Change| matches!(it.action, Action::Delete | Action::Replace);
    let holds = |it: &&Change| {
        let live = observed.vhosts.get(&it.vhost);
        it.kind == Kind::Exchange
            && live.and_then(|live| live.exchanges.get(&it.name)).is_some_and(|it| it.delays)
    };
    let text = |it: &Change| {
        format!(
            "the exchange `{}` holds messages back that would go with it; delete it with a client",
            it.name
        )
    };
    plan.changes.iter().filter(goes).filter(holds).map(text).collect()
}

fn steps(plan: &Plan) -> Vec<Step> {
    let step = |it: &Change| {
        let action = match (it.kind, it.action) {
            (Kind::Queue, Action::Replace) => StepAction::ReplaceQueue,
            (Kind::Exchange, Action::Replace) => StepAction::ReplaceExchange,
            (Kind::Binding, Action::Delete) => StepAction::Unbind,
            (Kind::Binding, _) => StepAction::Bind,
            (Kind::Queue | Kind::Exchange, Action::Delete) => StepAction::Delete,
            (Kind::Queue | Kind::Exchange, Action::Change) => StepAction::Change,
            (Kind::Queue | Kind::Exchange | Kind::Vhost, Action::Create) => StepAction::Create,
            (Kind::Vhost | Kind::Service | Kind::Instances, _) => StepAction::Hold,
            // What services publish is nothing that the broker has.
            (Kind::Message, _) => return None,
        };
        let (vhost, name) = (it.vhost.clone(), it.name.clone());
        Some(Step { vhost, action, kind: it.kind, name })
    };
    let mut steps: Vec<Step> = plan.changes.iter().filter_map(step).collect();
    // Queues go before the exchanges that may have been their last way in.
    steps.sort_by_key(|it| {
        (it.action, it.kind == Kind::Exchange && it.action == StepAction::Delete)
    });
    steps
}
