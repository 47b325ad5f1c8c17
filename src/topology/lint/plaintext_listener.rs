//! SEC-006: passwords that others can read on their way.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;

const CODE: Code = Code { id: "SEC-006", name: "plaintext-listener" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "The daemon listens for clients beyond its own machine, and speaks no TLS itself: \
           passwords and messages cross the network as they are. Listen on the loopback address \
           behind something that speaks TLS; or accept it, where the network does it. The \
           listener for metrics takes no passwords, and is not looked at.",
    wrong: "#--- configuration of the daemon\n\
            listen = \"0.0.0.0:5672\"\n",
    right: "#--- configuration of the daemon\n\
            listen = \"127.0.0.1:5672\"\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for listener in subject.configuration.iter().flat_map(|it| &it.listeners) {
        if listener.address.value.ip().is_loopback() {
            continue;
        }
        let what = match listener.key {
            "listen" => "AMQP clients",
            _ => "the management API",
        };
        let title = format!("{what} may come from other machines, without TLS");
        let at = (listener.address.origin, "beyond this machine");
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, at)
                .help("listen on 127.0.0.1, and let a proxy on this machine speak TLS"),
        );
    }
}
