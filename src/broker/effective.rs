//! What holds for queues and exchanges once policies are taken into account, and keeping it so
//! while policies change.

use std::sync::Arc;

use crate::amqp::argument::QueueArguments;
use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::name::ExchangeName;
use crate::amqp::table::Table as Arguments;
use crate::broker::effect::settle_later;
use crate::broker::effect::with_queue;
use crate::broker::host::Host;
use crate::broker::policy::Governing;
use crate::broker::policy::Policy;
use crate::broker::policy::PolicyError;
use crate::broker::policy::Side;
use crate::broker::vhost::QueueKind;
use crate::broker::vhost::QueueRecord;
use crate::broker::vhost::Vhost;
use crate::queue::settings::Settings;

/// A queue as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub name: &'a str,
    pub kind: QueueKind,
    pub arguments: &'a Arguments,
    /// What its declaration alone says.
    pub base: &'a Arc<Settings>,
}

impl QueueRecord {
    pub fn subject(&self) -> Subject<'_> {
        let QueueRecord { name, kind, arguments, base, .. } = self;
        Subject { name, kind: *kind, arguments, base }
    }
}

impl Vhost {
    /// The policies that hold for a queue. None holds for a parking lot, which keeps what would be
    /// lost otherwise, nor for a delayed exchange's schedule, which nobody declared. Only the operator's does for one that a topology file declares.
    pub fn governing(&self, queue: Subject<'_>) -> Governing<'_> {
        let typed = || QueueArguments::parse(queue.arguments).unwrap_or_default();
        match queue.kind {
            QueueKind::Client => self.policies.of_queue(queue.name, typed().queue_type),
            QueueKind::Declared => {
                let both = self.policies.of_queue(queue.name, typed().queue_type);
                Governing { policy: None, ..both }
            }
            QueueKind::ParkingLot | QueueKind::Schedule => Governing::default(),
        }
    }

    /// What a queue does.
    pub fn settings_of(&self, queue: Subject<'_>) -> Arc<Settings> {
        let governing = self.governing(queue);
        if governing.is_none() {
            return Arc::clone(queue.base);
        }
        Arc::new(match queue.kind {
            QueueKind::Client => {
                // Arguments that came from an older version of the broker count as absent.
                let typed = QueueArguments::parse(queue.arguments).unwrap_or_default();
                let amended = governing.amend(&typed);
                Settings::from_arguments(&amended, queue.base.durable, queue.base.auto_delete)
            }
            QueueKind::Declared | QueueKind::ParkingLot | QueueKind::Schedule => {
                governing.tighten(queue.base)
            }
        })
    }

    /// The policies that hold for an exchange; none for one that a topology file declares.
    pub fn governing_exchange(&self, name: &str) -> Governing<'_> {
        if self.rules.exchanges.contains_key(name) {
            return Governing::default();
        }
        self.policies.of_exchange(name)
    }

    /// Gives an exchange the alternate exchange of its policy.
    pub fn refresh_exchange(&mut self, name: &str) {
        let alternate = self.governing_exchange(name).alternate_exchange().cloned();
        self.table.set_policy_alternate(name, alternate);
    }

    /// As [`Vhost::refresh_exchange`] for all of them.
    pub fn refresh_exchanges(&mut self) {
        let names: Vec<ExchangeName> =
            self.table.exchanges().into_iter().map(|it| it.name.clone()).collect();
        names.iter().for_each(|name| self.refresh_exchange(name));
    }

    /// Brings the settings of a queue up to date; returns them if they changed.
    pub fn refresh_queue(&mut self, id: QueueId) -> Option<Arc<Settings>> {
        let settings = self.settings_of(self.record(id)?.subject());
        let record = self.record_mut(id)?;
        if *record.settings == *settings {
            return None;
        }
        record.settings = Arc::clone(&settings);
        Some(settings)
    }
}

/// Adds a policy, or replaces the one of that name; it holds at once.
///
/// # Errors
/// When the vhost has too many.
pub fn set_policy<H: Host>(
    host: &mut H,
    side: Side,
    policy: Policy,
) -> Result<BatchId, PolicyError> {
    let definition = policy.to_definition(&host.vhost().name, side);
    host.change(|vhost| vhost.policies.put(side, policy))?;
    let batch = host.define(&definition);
    refresh(host);
    Ok(batch)
}

/// Removes a policy; `None` when there is none of that name.
pub fn clear_policy<H: Host>(host: &mut H, side: Side, name: &str) -> Option<BatchId> {
    let policy = host.change(|vhost| vhost.policies.remove(side, name))?;
    let definition = policy.to_definition(&host.vhost().name, side);
    let batch = host.undefine(&definition);
    refresh(host);
    Some(batch)
}

/// Makes every exchange and queue what it is under the policies as they are now.
pub fn refresh<H: Host>(host: &mut H) {
    let changed = host.change(|vhost| {
        vhost.refresh_exchanges();
        let ids: Vec<QueueId> = vhost.queues().map(|it| it.id).collect();
        let changed = ids.into_iter().filter_map(|id| Some((id, vhost.refresh_queue(id)?)));
        changed.collect::<Vec<_>>()
    });
    for (id, settings) in changed {
        set_settings(host, id, &settings);
    }
    settle_later(host);
}

/// Lets a queue behave as its record now says.
pub(in crate::broker) fn set_settings<H: Host>(host: &mut H, id: QueueId, settings: &Settings) {
    with_queue(host, id, |queue, ports, effects, now| {
        queue.set_settings(settings.clone(), effects);
        queue.dispatch(now, ports, effects);
    });
}
