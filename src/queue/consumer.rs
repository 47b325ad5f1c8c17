//! The consumers of a queue, and which of them gets the next message.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::RandomState;
use slab::Slab;

use crate::amqp::argument::QueueType;
use crate::amqp::id::ConsumerId;
use crate::amqp::name::ConsumerTag;
use crate::amqp::name::ServiceName;
use crate::amqp::offset::Offset;

/// What a client asks for when it consumes.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    pub id: ConsumerId,
    pub tag: ConsumerTag,
    /// The client's name, for histories and people.
    pub connection_name: Arc<str>,
    pub no_ack: bool,
    pub exclusive: bool,
    /// 0 unless given.
    pub priority: Option<i32>,
    /// Deliveries it may hold unsettled; 0 is without limit.
    pub prefetch: u16,
    pub service: Option<ServiceName>,
    /// Where to begin on a stream; only streams can be asked.
    pub offset: Option<Offset>,
    /// Its channel has one limit for the deliveries of all its consumers.
    pub has_window: bool,
}

/// A consumer and what it holds.
#[derive(Clone, Debug)]
pub struct Consumer {
    pub spec: ConsumerSpec,
    pub n_unacked: u32,
    /// Its connection refused the last delivery and will call again.
    pub blocked: bool,
    /// Gets nothing more until it holds nothing, and then a suspect message alone.
    draining: bool,
    /// Holds a suspect message, and must hold nothing else.
    alone: bool,
    queued: bool,
}

/// Why a consumer is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsumeError {
    /// An exclusive consumer has the queue, or this one wants to be exclusive and is not alone.
    ExclusiveUse,
    /// An argument that belongs to other types of queues.
    OtherQueueType { key: &'static str, queue_type: QueueType },
    /// A stream is read with acks.
    NoAck,
    /// A stream is read with a prefetch.
    NoPrefetch,
    /// A stream is not read on a channel with one limit for all its consumers.
    Window,
}

pub(in crate::queue) type ConsumerIndex = usize;

#[derive(Debug, Default)]
pub(in crate::queue) struct Consumers {
    all: Slab<Consumer>,
    index: HashMap<ConsumerId, ConsumerIndex, RandomState>,
    /// Those that may be ready, in turn, per priority, the highest first.
    turns: Vec<(i32, VecDeque<ConsumerIndex>)>,
    /// The only one served, on a queue with a single active consumer.
    active: Option<ConsumerIndex>,
    single_active: bool,
}

impl Consumer {
    pub(in crate::queue) fn new(spec: ConsumerSpec) -> Consumer {
        Consumer {
            spec,
            n_unacked: 0,
            blocked: false,
            draining: false,
            alone: false,
            queued: false,
        }
    }

    /// Whether it can take a message now.
    pub fn is_ready(&self) -> bool {
        let has_credit = self.spec.prefetch == 0 || self.n_unacked < u32::from(self.spec.prefetch);
        !self.blocked && !self.draining && !self.alone && (self.spec.no_ack || has_credit)
    }
}

impl Consumers {
    pub(in crate::queue) fn set_single_active(&mut self, single_active: bool) {
        self.single_active = single_active;
    }

    pub(in crate::queue) fn len(&self) -> usize {
        self.all.len()
    }

    pub(in crate::queue) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(in crate::queue) fn get(&self, at: ConsumerIndex) -> Option<&Consumer> {
        self.all.get(at)
    }

    pub(in crate::queue) fn iter(&self) -> impl Iterator<Item = (&Consumer, bool)> {
        let active = |at| !self.single_active || self.active == Some(at);
        self.all.iter().map(move |(at, it)| (it, active(at)))
    }

    pub(in crate::queue) fn add(&mut self, spec: ConsumerSpec) -> Result<(), ConsumeError> {
        let held = self.all.iter().any(|(_, it)| it.spec.exclusive);
        let exclusive = spec.exclusive && (!self.all.is_empty() || self.single_active);
        if held || exclusive {
            return Err(ConsumeError::ExclusiveUse);
        }
        let id = spec.id;
        let at = self.all.insert(Consumer::new(spec));
        self.index.insert(id, at);
        if self.single_active && self.active.is_none() {
            self.active = Some(at);
        }
        self.queue_turn(at);
        Ok(())
    }

    /// Removes a consumer; another takes over when it was the active one.
    pub(in crate::queue) fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let at = self.index.remove(&id)?;
        let consumer = self.all.try_remove(at)?;
        self.turns.iter_mut().for_each(|(_, turn)| turn.retain(|it| *it != at));
        if self.active == Some(at) {
            let first = |it: &(ConsumerIndex, &Consumer)| {
                (std::cmp::Reverse(it.1.spec.priority.unwrap_or(0)), it.1.spec.id)
            };
            self.active = self.all.iter().min_by_key(first).map(|(at, _)| at);
            self.active.into_iter().for_each(|at| self.queue_turn(at));
        }
        Some(consumer)
    }

    pub(in crate::queue) fn position(&self, id: ConsumerId) -> Option<ConsumerIndex> {
        self.index.get(&id).copied()
    }

    /// The next consumer in turn that can take a message, of the highest priority that has one.
    ///
    /// COMPAT: a lower priority is served only while all higher ones have no credit left.
    pub(in crate::queue) fn next(&mut self) -> Option<ConsumerIndex> {
        for (_, turn) in &mut self.turns {
            while let Some(at) = turn.pop_front() {
                let Some(consumer) = self.all.get_mut(at) else {
                    continue;
                };
                let active = !self.single_active || self.active == Some(at);
                if active && consumer.is_ready() {
                    turn.push_back(at);
                    return Some(at);
                }
                // It comes back when it gets credit, is unblocked or becomes the active one.
                consumer.queued = false;
            }
        }
        None
    }

    /// A consumer that holds nothing, for a suspect message; one is told to drain when none does.
    pub(in crate::queue) fn next_empty(&mut self) -> Option<ConsumerIndex> {
        let active = self.active;
        let serves = |at: ConsumerIndex| !self.single_active || active == Some(at);
        let empty = self.all.iter().find(|(at, it)| {
            serves(*at) && !it.blocked && !it.alone && (it.spec.no_ack || it.n_unacked == 0)
        });
        if let Some((at, _)) = empty {
            return Some(at);
        }
        if !self.all.iter().any(|(_, it)| it.draining) {
            let fewest = self.all.iter_mut().filter(|(at, it)| {
                (!self.single_active || active == Some(*at)) && !it.alone && !it.blocked
            });
            if let Some((_, consumer)) = fewest.min_by_key(|(_, it)| it.n_unacked) {
                consumer.draining = true;
            }
        }
        None
    }

    pub(in crate::queue) fn delivered(&mut self, at: ConsumerIndex, suspect: bool) {
        if let Some(consumer) = self.all.get_mut(at)
            && !consumer.spec.no_ack
        {
            consumer.n_unacked += 1;
            consumer.alone = suspect;
            consumer.draining &= !suspect;
        }
    }

    /// One of its deliveries was settled.
    pub(in crate::queue) fn settled(&mut self, id: ConsumerId) {
        let Some(at) = self.position(id) else { return };
        if let Some(consumer) = self.all.get_mut(at) {
            consumer.n_unacked = consumer.n_unacked.saturating_sub(1);
            consumer.alone &= consumer.n_unacked > 0;
        }
        self.queue_turn(at);
    }

    pub(in crate::queue) fn block(&mut self, at: ConsumerIndex) {
        if let Some(consumer) = self.all.get_mut(at) {
            consumer.blocked = true;
        }
    }

    pub(in crate::queue) fn unblock(&mut self, id: ConsumerId) {
        let Some(at) = self.position(id) else { return };
        if let Some(consumer) = self.all.get_mut(at) {
            consumer.blocked = false;
        }
        self.queue_turn(at);
    }

    /// No suspect message waits any more.
    pub(in crate::queue) fn stop_draining(&mut self) {
        let drained: Vec<ConsumerIndex> = self
            .all
            .iter_mut()
            .filter(|(_, it)| it.draining)
            .map(|(at, it)| {
                it.draining = false;
                at
            })
            .collect();
        drained.into_iter().for_each(|at| self.queue_turn(at));
    }

    /// Every consumer may be ready again, as far as the queue knows.
    pub(in crate::queue) fn queue_all_turns(&mut self) {
        let all: Vec<ConsumerIndex> = self.all.iter().map(|(at, _)| at).collect();
        all.into_iter().for_each(|at| self.queue_turn(at));
    }

    fn queue_turn(&mut self, at: ConsumerIndex) {
        let Some(consumer) = self.all.get_mut(at) else {
            return;
        };
        if std::mem::replace(&mut consumer.queued, true) {
            return;
        }
        let priority = consumer.spec.priority.unwrap_or(0);
        let level = self.turns.partition_point(|(it, _)| *it > priority);
        match self.turns.get_mut(level) {
            Some((it, turn)) if *it == priority => turn.push_back(at),
            Some(_) | None => self.turns.insert(level, (priority, VecDeque::from([at]))),
        }
    }
}
