//! QUE-015: a name that holds only in one environment.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Facts;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "QUE-015", name: "environment-in-name" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "The name of a queue or an exchange ends in that of an environment. The same files \
           cannot be applied anywhere else, and what is tested is not what runs. A vhost or a \
           broker of its own keeps environments apart.",
    wrong: "[services.worker]\n\
            [queues.jobs-prod]\n\
            service = \"worker\"\n",
    right: "[services.worker]\n\
            [queues.jobs]\n\
            service = \"worker\"\n",
    find,
};

pub(in crate::topology::lint) const ENVIRONMENTS: [&str; 8] =
    ["dev", "development", "test", "qa", "stage", "staging", "prod", "production"];

fn find(facts: &Facts<'_>, report: &mut Report) {
    for queue in facts.vhost.queues.values() {
        judge("queue", &queue.name, queue.origin, report);
    }
    for exchange in facts.vhost.exchanges.values() {
        judge("exchange", &exchange.name, exchange.origin, report);
    }
}

fn judge(kind: &str, name: &str, origin: Origin, report: &mut Report) {
    let last = name.rsplit(['.', '-', '_', '/', ':']).next().filter(|it| *it != name);
    let Some(last) = last.filter(|it| ENVIRONMENTS.contains(it)) else { return };
    let title = format!("the {kind} `{name}` is named after the environment `{last}`");
    report.add(
        Diagnostic::new(CODE, Severity::Info, title, (origin, "holds in one place only"))
            .help("leave it out of the name, and give the environment its own vhost or broker")
            .about(origin),
    );
}
