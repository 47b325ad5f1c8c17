//! Everything that is checked together: topology files, definitions of RabbitMQ, and the daemon's
//! configuration. A rule finds nothing in what is not there.

use crate::topology::configuration;
use crate::topology::configuration::Configuration;
use crate::topology::declared::Topology;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::lint::RULES;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::may_make_everything;
use crate::topology::lint::over_budget;
use crate::topology::lint::plaintext_listener;
use crate::topology::lint::policy_and_argument;
use crate::topology::lint::policy_for_nothing;
use crate::topology::lint::policy_hidden;
use crate::topology::lint::policy_tie;
use crate::topology::lint::policy_unanchored;
use crate::topology::lint::secret_in_file;
use crate::topology::lint::shared_identity;
use crate::topology::lint::well_known_password;
use crate::topology::rabbitmq::ImportError;
use crate::topology::rabbitmq::defined;
use crate::topology::rabbitmq::defined::DefinedVhost;
use crate::topology::rabbitmq::defined::Definitions;
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
}

/// The rules that look at more than one vhost of topology files.
const FINDERS: [fn(&Subject<'_>, &mut Report); 11] = [
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
