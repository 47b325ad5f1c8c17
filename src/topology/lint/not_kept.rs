//! RMQ-001: what RabbitMQ keeps in another way, or not at all.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;
use crate::topology::rabbitmq::translate;

const CODE: Code = Code { id: "RMQ-001", name: "not-kept-on-rabbitmq" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "With `--engine rabbitmq` the files are for RabbitMQ, which does not have everything \
           that they can say. Nothing of it is left out in silence: what is kept in another way, \
           and what is not kept, is listed here and in every plan. What the node could not have \
           at all is an error.",
    wrong: "[services.billing]\n\
            [queues.bills]\n\
            service = \"billing\"\n\
            consumers = \"keyed\"\n\
            key = \"header:customer\"\n\
            limits = { age = \"1d\" }\n\
            parking = true\n\
            #--- on RabbitMQ\n",
    right: "[queues.bills]\n\
            arguments = { x-queue-type = \"classic\" }\n\
            limits = { age = \"1d\" }\n\
            #--- on RabbitMQ\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    let Some(node) = subject.node else { return };
    for it in translate(subject.topology, node).losses {
        let severity = if it.is_fatal { Severity::Error } else { Severity::Info };
        let label = if it.is_fatal { "cannot be made" } else { "not so on RabbitMQ" };
        report.add(Diagnostic::new(CODE, severity, it.to_string(), (it.origin, label)));
    }
}
