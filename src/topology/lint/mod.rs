//! Rules about what a topology means: one rule, one file. Each carries its explanation and a wrong
//! and a right example, which its test runs.

pub(in crate::topology) mod facts;

mod backlog_auto_deleted;
mod bound_by_default_drop;
mod bound_twice;
mod copies_lost;
mod copy_per_instance;
mod costly_key;
mod dead_letter_cycle;
mod dead_letter_lost;
mod dead_letter_to_nowhere;
mod dead_letter_to_special;
mod dead_object;
mod dead_subscription;
mod deaths_not_counted;
mod delayed_duplicates;
mod empty_key_on_topic;
mod environment_in_name;
mod evidence_thrown_away;
mod exchange_cycle;
mod expires_on_the_way;
mod first_takes_all;
mod half_durable_binding;
mod hand_built_ladder;
mod hash_weight;
mod headers_key_ignored;
mod idle_instances;
mod key_on_fanout;
mod keys_move;
mod last_resort_loops;
mod limit_of_other_type;
mod lone_subscriber;
mod mandatory_on_delay;
mod nack_not_counted;
mod no_failure_handling;
pub(in crate::topology) mod one_name_two_services;
mod one_queue_for_all;
mod order_not_kept;
mod other_separator;
mod parking_without_owner;
mod poison_blocks_order;
mod priorities_and_order;
mod priority_expires_late;
mod priority_reorders;
mod redriven_to_all;
mod retries_multiply;
mod retry_outlives_message;
mod retry_overtaken;
mod retry_shrinks;
mod shared_queue;
mod short_memory;
mod silent_drop;
mod spelled_out;
mod subscribed_twice;
mod too_few_words;
mod transient_queue;
mod unbounded_queue;
pub(in crate::topology) mod undeclared_reference;
mod unreachable_message;
mod unsuited_type;
mod waiting_queue_expires;
mod waits_in_line;
mod wildcard_on_direct;
mod work_copied;
mod work_queue_expires;

use std::collections::BTreeSet;

use crate::topology::day::Day;
use crate::topology::declared::Allow;
use crate::topology::declared::AllowScope;
use crate::topology::declared::Topology;
use crate::topology::diagnostic;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::fix::FixChange;
use crate::topology::lint::facts::Facts;
use crate::topology::load::Loaded;
use crate::topology::load::load;
use crate::topology::load::mistake;
use crate::topology::source::Origin;
use crate::topology::source::Source;

/// A rule, and how to explain it.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub code: Code,
    /// Whether `allow` may suppress it; not where nothing could be declared that way.
    pub allowable: bool,
    /// What it finds, and why that matters.
    pub page: &'static str,
    /// A file it finds something in, and one in which it does not.
    pub wrong: &'static str,
    pub right: &'static str,
    pub(in crate::topology) find: fn(&Facts<'_>, &mut Report),
}

/// All rules, by id.
pub const RULES: [Rule; 63] = [
    first_takes_all::RULE,
    idle_instances::RULE,
    dead_letter_to_nowhere::RULE,
    dead_letter_lost::RULE,
    no_failure_handling::RULE,
    dead_letter_cycle::RULE,
    poison_blocks_order::RULE,
    limit_of_other_type::RULE,
    nack_not_counted::RULE,
    deaths_not_counted::RULE,
    waits_in_line::RULE,
    waiting_queue_expires::RULE,
    hand_built_ladder::RULE,
    dead_letter_to_special::RULE,
    evidence_thrown_away::RULE,
    parking_without_owner::RULE,
    last_resort_loops::RULE,
    retries_multiply::RULE,
    retry_outlives_message::RULE,
    retry_shrinks::RULE,
    redriven_to_all::RULE,
    copies_lost::RULE,
    copy_per_instance::RULE,
    shared_queue::RULE,
    lone_subscriber::RULE,
    work_copied::RULE,
    subscribed_twice::RULE,
    bound_twice::RULE,
    key_on_fanout::RULE,
    one_name_two_services::RULE,
    order_not_kept::RULE,
    retry_overtaken::RULE,
    keys_move::RULE,
    priority_reorders::RULE,
    expires_on_the_way::RULE,
    unbounded_queue::RULE,
    bound_by_default_drop::RULE,
    spelled_out::RULE,
    backlog_auto_deleted::RULE,
    transient_queue::RULE,
    half_durable_binding::RULE,
    work_queue_expires::RULE,
    priorities_and_order::RULE,
    priority_expires_late::RULE,
    one_queue_for_all::RULE,
    unsuited_type::RULE,
    environment_in_name::RULE,
    short_memory::RULE,
    delayed_duplicates::RULE,
    unreachable_message::RULE,
    silent_drop::RULE,
    dead_subscription::RULE,
    undeclared_reference::RULE,
    wildcard_on_direct::RULE,
    costly_key::RULE,
    other_separator::RULE,
    too_few_words::RULE,
    empty_key_on_topic::RULE,
    exchange_cycle::RULE,
    dead_object::RULE,
    headers_key_ignored::RULE,
    hash_weight::RULE,
    mandatory_on_delay::RULE,
];

/// Reads files and holds them against all rules; what they allow themselves is taken out, until
/// the day it ends.
pub fn check(sources: &[Source], today: Day) -> Loaded {
    let Loaded { topology, diagnostics } = load(sources);
    let mut report = Report { diagnostics, ..Report::default() };
    for vhost in topology.vhosts.values() {
        let facts = Facts::new(&topology, vhost);
        for rule in &RULES {
            (rule.find)(&facts, &mut report);
        }
    }
    let mut diagnostics = suppress(&topology, report.diagnostics, today);
    diagnostic::sort(&mut diagnostics);
    Loaded { topology, diagnostics }
}

/// Takes out what is allowed, and names the permissions that permit nothing.
fn suppress(topology: &Topology, found: Vec<Diagnostic>, today: Day) -> Vec<Diagnostic> {
    let mut used = BTreeSet::new();
    let mut left: Vec<Diagnostic> = found
        .into_iter()
        .filter(|it| {
            let by = topology.allows.iter().position(|allow| covers(allow, it, today));
            used.extend(by);
            by.is_none()
        })
        .collect();
    for (at, allow) in topology.allows.iter().enumerate() {
        if used.contains(&at) {
            continue;
        }
        let over = allow.until.filter(|it| it.value < today);
        let (title, origin, help) = match over {
            Some(until) => (
                format!("the permission for {} ended on {}", allow.rule.value, until.value),
                until.origin,
                "correct what it is about, or set a later day and say why",
            ),
            None if !topology.whole => continue,
            None => (
                format!("{} is allowed here, and not found", allow.rule.value),
                allow.origin,
                "delete the `allow`, so that it does not hide the next finding",
            ),
        };
        let at = (origin, "permits nothing");
        let new = Diagnostic::new(mistake::UNUSED_ALLOW, Severity::Warning, title, at);
        left.push(new.help(help).fix(allow.origin, FixChange::DropElement));
    }
    left
}

fn covers(allow: &Allow, diagnostic: &Diagnostic, today: Day) -> bool {
    let names = |origin: &Origin| match allow.scope {
        AllowScope::File(file) => origin.file == file,
        AllowScope::Object(object) => *origin == object,
    };
    allow.rule.value == diagnostic.rule.id
        && allow.until.is_none_or(|it| it.value >= today)
        && (names(&diagnostic.primary.origin) || diagnostic.about.iter().any(names))
}

/// A rule whose finding is made while the files are read.
fn found_while_reading(_: &Facts<'_>, _: &mut Report) {}

#[cfg(test)]
mod tests;
