//! Everything that is checked together: topology files, definitions of RabbitMQ, and the daemon's
//! configuration. A rule finds nothing in what is not there.

use crate::topology::configuration;
use crate::topology::configuration::Configuration;
use crate::topology::declared::Topology;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::lint::RULES;
use crate::topology::lint::another_queue;
use crate::topology::lint::backlog_at_stake;
use crate::topology::lint::backlog_without_consumer;
use crate::topology::lint::dead_letter_to_nowhere;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::made_by_clients;
use crate::topology::lint::may_make_everything;
use crate::topology::lint::not_kept;
use crate::topology::lint::over_budget;
use crate::topology::lint::plaintext_listener;
use crate::topology::lint::policy_and_argument;
use crate::topology::lint::policy_for_nothing;
use crate::topology::lint::policy_hidden;
use crate::topology::lint::policy_tie;
use crate::topology::lint::policy_unanchored;
use crate::topology::lint::secret_in_file;
use crate::topology::lint::service_loses_copies;
use crate::topology::lint::shared_identity;
use crate::topology::lint::unused_queue;
use crate::topology::lint::well_known_password;
use crate::topology::observed::Observed;
use crate::topology::rabbitmq::ImportError;
use crate::topology::rabbitmq::defined;
use crate::topology::rabbitmq::defined::DefinedVhost;
use crate::topology::rabbitmq::defined::Definitions;
use crate::topology::rabbitmq::node::Node;
use crate::topology::rollout::Rollout;
use crate::topology::source::Origin;
use crate::topology::source::Source;
use crate::topology::source::Sources;

/// The texts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'s> {
    pub topology: &'s [Source],
    pub definitions: &'s [Source],
    /// The daemon reads it itself: this must be a file that it takes.
    pub configuration: Option<&'s Source>,
    /// A running broker, and the way from it to the topology files.
    pub live: Option<&'s Live>,
    /// The files are for a node of RabbitMQ.
    pub node: Option<&'s Node>,
}

/// What a running broker has, and what lies between that and topology files.
#[derive(Clone, Debug)]
pub struct Live {
    pub observed: Observed,
    pub rollout: Rollout,
}

/// A text that cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {cause}")]
pub struct InputError {
    path: String,
    cause: ImportError,
}

/// What they say.
#[derive(Clone, Copy, Debug)]
pub(in crate::topology) struct Subject<'t> {
    pub(in crate::topology) topology: &'t Topology,
    pub(in crate::topology) definitions: &'t [Definitions],
    pub(in crate::topology) configuration: Option<&'t Configuration>,
    pub(in crate::topology) live: Option<&'t Live>,
    pub(in crate::topology) node: Option<&'t Node>,
}

/// The rules that look at more than one vhost of topology files.
const FINDERS: [fn(&Subject<'_>, &mut Report); 19] = [
    another_queue::find,
    backlog_at_stake::find,
    backlog_without_consumer::find,
    dead_letter_to_nowhere::find_live,
    made_by_clients::find,
    service_loses_copies::find,
    unused_queue::find,
    not_kept::find,
    policy_tie::find,
    policy_hidden::find,
    policy_and_argument::find,
    policy_unanchored::find,
    policy_for_nothing::find,
    well_known_password::find,
    may_make_everything::find,
    shared_identity::find,
    plaintext_listener::find,
    secret_in_file::find,
    over_budget::find,
];

/// The rules that hold for definitions as for the files that are imported from them: those which
/// need to know neither services nor who publishes what.
const OF_DEFINITIONS: [&str; 20] = [
    "DLX-001", "DLX-002", "DLX-004", "DLX-011", "DLX-012", "DLX-014", "FAN-006", "FAN-007",
    "OPS-004", "QUE-002", "QUE-008", "QUE-011", "QUE-015", "RTE-004", "RTE-005", "RTE-006",
    "RTE-007", "RTE-010", "RTE-012", "RTE-013",
];

/// What an example's file begins with that is no topology file.
pub const DEFINITIONS: &str = "#--- definitions of RabbitMQ\n";
pub const CONFIGURATION: &str = "#--- configuration of the daemon\n";
/// What follows was applied to a broker; comments say what has come of its queues.
pub const LIVE: &str = "#--- what a broker has\n";
pub const RABBITMQ: &str = "#--- on RabbitMQ\n";

/// Reads what is no topology file, and adds the texts to the sources.
pub(in crate::topology::lint) fn read(
    inputs: &Inputs<'_>,
    sources: &mut Sources,
) -> Result<(Vec<Definitions>, Option<Configuration>), InputError> {
    let mut all = Vec::new();
    for source in inputs.definitions {
        let read = defined::read(sources.append(source), source);
        all.push(read.map_err(|cause| InputError { path: source.path.clone(), cause })?);
    }
    let configuration = inputs.configuration.map(|source| {
        let file = sources.append(source);
        configuration::read(file, &source.text)
    });
    Ok((all, configuration))
}

impl<'t> Subject<'t> {
    /// Where a queue is declared; else where its vhost is.
    pub(in crate::topology::lint) fn place_of_queue(&self, vhost: &str, queue: &str) -> Origin {
        let vhost = self.topology.vhost(vhost);
        let queue = vhost.and_then(|it| it.queues.get(queue)).map(|it| it.origin);
        queue.or(vhost.map(|it| it.origin)).unwrap_or_default()
    }

    /// All vhosts of all definitions.
    pub(in crate::topology) fn defined(&self) -> impl Iterator<Item = (&'t str, &'t DefinedVhost)> {
        let all = self.definitions.iter().flat_map(|it| &it.vhosts);
        all.map(|(name, it)| (name.as_str(), it))
    }

    pub(in crate::topology::lint) fn find(&self, report: &mut Report) {
        FINDERS.iter().for_each(|find| find(self, report));
        for (name, vhost) in self.defined() {
            judge_imported(name, vhost, report);
        }
    }

    /// What is not to be shown with a finding.
    pub(in crate::topology::lint) fn hidden(&self) -> Vec<Origin> {
        secret_in_file::all(self).into_iter().map(|(origin, _)| origin).collect()
    }

    /// Whether a place is in definitions or the configuration, where no `allow` can stand.
    pub(in crate::topology::lint) fn is_beside(&self, origin: Origin) -> bool {
        self.topology.sources.is_appended(origin.file)
    }

    /// Whether a rule can find nothing for want of what it looks at.
    pub(in crate::topology::lint) fn lacks_input_of(&self, rule: &str) -> bool {
        let Some(rule) = RULES.iter().find(|it| it.code.id == rule) else { return false };
        (rule.wrong.contains(DEFINITIONS) && self.definitions.is_empty())
            || (rule.wrong.contains(CONFIGURATION) && self.configuration.is_none())
            || (rule.wrong.contains(LIVE) && self.live.is_none())
            || (rule.wrong.contains(RABBITMQ) && self.node.is_none())
    }
}

/// Holds the files that would be imported against the rules, and cites the definitions.
fn judge_imported(name: &str, defined: &DefinedVhost, report: &mut Report) {
    let Some(vhost) = defined.topology.vhost(name) else { return };
    let facts = Facts::new(&defined.topology, vhost);
    let mut found = Report::default();
    for rule in RULES.iter().filter(|it| OF_DEFINITIONS.contains(&it.code.id)) {
        (rule.find)(&facts, &mut found);
    }
    for diagnostic in found.diagnostics {
        if let Some(it) = moved(diagnostic, defined) {
            report.add(it);
        }
    }
}

/// The finding with its places in the definitions.
fn moved(mut diagnostic: Diagnostic, defined: &DefinedVhost) -> Option<Diagnostic> {
    diagnostic.primary.origin = defined.origin(diagnostic.primary.origin)?;
    diagnostic.further.retain_mut(|it| match defined.origin(it.origin) {
        Some(origin) => {
            it.origin = origin;
            true
        }
        None => false,
    });
    diagnostic.about.clear();
    diagnostic.fix = None;
    Some(diagnostic.note("judged as the topology file that `railpost import` makes of it"))
}
