//! Rules about what a topology means: one rule, one file. Each carries its explanation and a wrong
//! and a right example, which its test runs.

pub(in crate::topology) mod facts;
pub mod subject;

mod another_queue;
mod backlog_at_stake;
mod backlog_auto_deleted;
mod backlog_without_consumer;
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
mod environments_mixed;
mod evidence_thrown_away;
mod exchange_cycle;
mod expires_on_the_way;
mod first_takes_all;
mod gap_after_last_binding;
mod half_durable_binding;
mod hand_built_ladder;
mod handed_on_once;
mod hash_weight;
mod headers_key_ignored;
mod idle_instances;
mod key_on_fanout;
mod keys_move;
mod last_resort_loops;
mod limit_of_other_type;
mod lone_subscriber;
mod made_by_clients;
mod mandatory_on_delay;
mod may_make_everything;
mod nack_not_counted;
mod no_backlog_target;
mod no_failure_handling;
mod not_kept;
pub(in crate::topology) mod one_name_two_services;
mod one_queue_for_all;
mod order_not_kept;
mod other_separator;
mod over_budget;
mod parking_without_owner;
mod plaintext_listener;
mod poison_blocks_order;
mod policy_and_argument;
mod policy_for_nothing;
mod policy_hidden;
mod policy_tie;
mod policy_unanchored;
mod priorities_and_order;
mod priority_expires_late;
mod priority_reorders;
mod published_by_name;
mod publisher_copies;
mod publisher_dead_letters;
mod redriven_to_all;
mod retries_multiply;
mod retry_outlives_message;
mod retry_overtaken;
mod retry_shrinks;
mod secret_in_file;
mod service_loses_copies;
pub(in crate::topology) mod shared_identity;
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
mod unused_queue;
mod waiting_queue_expires;
mod waits_in_line;
mod well_known_password;
mod wildcard_on_direct;
mod work_copied;
mod work_queue_expires;

use std::collections::BTreeSet;

use crate::topology::configuration::Configuration;
use crate::topology::day::Day;
use crate::topology::declared::Allow;
use crate::topology::declared::AllowScope;
use crate::topology::diagnostic;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::fix::FixChange;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::subject::InputError;
use crate::topology::lint::subject::Inputs;
use crate::topology::lint::subject::Subject;
use crate::topology::load::Loaded;
use crate::topology::load::load;
use crate::topology::load::mistake;
use crate::topology::rabbitmq::defined::Definitions;
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

impl Rule {
    /// Whether it looks at definitions or the configuration, where no `allow` can stand.
    pub fn is_beside(&self) -> bool {
        [subject::DEFINITIONS, subject::CONFIGURATION, subject::LIVE]
            .iter()
            .any(|it| self.wrong.contains(it))
    }
}

/// All rules, by id.
pub const RULES: [Rule; 88] = [
    first_takes_all::RULE,
    backlog_without_consumer::RULE,
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
    handed_on_once::RULE,
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
    another_queue::RULE,
    spelled_out::RULE,
    backlog_at_stake::RULE,
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
    made_by_clients::RULE,
    unused_queue::RULE,
    gap_after_last_binding::RULE,
    environments_mixed::RULE,
    over_budget::RULE,
    no_backlog_target::RULE,
    policy_tie::RULE,
    policy_hidden::RULE,
    policy_and_argument::RULE,
    policy_unanchored::RULE,
    policy_for_nothing::RULE,
    not_kept::RULE,
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
    published_by_name::RULE,
    mandatory_on_delay::RULE,
    service_loses_copies::RULE,
    well_known_password::RULE,
    may_make_everything::RULE,
    shared_identity::RULE,
    publisher_copies::RULE,
    publisher_dead_letters::RULE,
    plaintext_listener::RULE,
    secret_in_file::RULE,
];

/// Reads files and holds them against all rules; what they allow themselves is taken out, until
/// the day it ends.
pub fn check(sources: &[Source], today: Day) -> Loaded {
    judge(load(sources), &[], None, &Inputs::default(), today)
}

/// As [`check`], with what is no topology file.
///
/// # Errors
/// When definitions are none.
pub fn check_all(inputs: &Inputs<'_>, today: Day) -> Result<Loaded, InputError> {
    let mut loaded = load(inputs.topology);
    let (definitions, configuration) = subject::read(inputs, &mut loaded.topology.sources)?;
    Ok(judge(loaded, &definitions, configuration.as_ref(), inputs, today))
}

fn judge(
    loaded: Loaded,
    definitions: &[Definitions],
    configuration: Option<&Configuration>,
    beside: &Inputs<'_>,
    today: Day,
) -> Loaded {
    let Loaded { mut topology, diagnostics } = loaded;
    let mut report = Report { diagnostics, ..Report::default() };
    for vhost in topology.vhosts.values() {
        let facts = Facts::new(&topology, vhost);
        for rule in &RULES {
            (rule.find)(&facts, &mut report);
        }
    }
    let Inputs { live, node, .. } = *beside;
    let subject = Subject { topology: &topology, definitions, configuration, live, node };
    subject.find(&mut report);
    let hidden = subject.hidden();
    let mut diagnostics = suppress(&subject, report.diagnostics, today);
    hidden.into_iter().for_each(|it| topology.sources.hide(it));
    diagnostic::sort(&mut diagnostics);
    Loaded { topology, diagnostics }
}

/// Takes out what is allowed, and names the permissions that permit nothing.
fn suppress(subject: &Subject<'_>, found: Vec<Diagnostic>, today: Day) -> Vec<Diagnostic> {
    let topology = subject.topology;
    let mut used = BTreeSet::new();
    let mut left: Vec<Diagnostic> = found
        .into_iter()
        .filter(|it| {
            let by = topology.allows.iter().position(|allow| covers(subject, allow, it, today));
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
            None if !topology.whole || subject.lacks_input_of(allow.rule.value) => continue,
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

fn covers(subject: &Subject<'_>, allow: &Allow, diagnostic: &Diagnostic, today: Day) -> bool {
    let names = |origin: &Origin| match allow.scope {
        AllowScope::File(file) => origin.file == file || subject.is_beside(*origin),
        AllowScope::Object(object) => *origin == object,
    };
    allow.rule.value == diagnostic.rule.id
        && allow.until.is_none_or(|it| it.value >= today)
        && (names(&diagnostic.primary.origin) || diagnostic.about.iter().any(names))
}

/// A rule about more than one vhost, or what is in no topology file: [`Subject::find`] calls it.
fn found_in_all(_: &Facts<'_>, _: &mut Report) {}

/// A rule whose finding is made while the files are read.
fn found_while_reading(_: &Facts<'_>, _: &mut Report) {}

#[cfg(test)]
mod tests;
