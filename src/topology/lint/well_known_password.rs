//! SEC-001: a password that everybody tries first.

use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;
use crate::topology::login::Login;

const CODE: Code = Code { id: "SEC-001", name: "well-known-password" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A user of definitions or of the daemon's configuration has its name as password, or \
           one that installations come with and everybody tries first: `guest`, `admin`, \
           `changeme`. Hashes are tried with their salt. RabbitMQ keeps `guest` to its own \
           machine only while `loopback_users` says so, which definitions do not; users of the \
           configuration that are kept there are only mentioned.",
    wrong: "#--- definitions of RabbitMQ\n\
            {\"users\": [{\"name\": \"guest\", \"tags\": [\"administrator\"],\n   \
            \"password_hash\": \"AQIDBEMMOXwY6PKx/JKP9PAqfsb4ozuD0Ta3pxxa9gEYBMmD\"}]}\n\
            #--- configuration of the daemon\n\
            [[users]]\n\
            name = \"ops\"\n\
            password = \"changeme\"\n",
    right: "#--- definitions of RabbitMQ\n\
            {\"users\": [{\"name\": \"ops\", \"tags\": [\"administrator\"],\n   \
            \"password_hash\": \"BQYHCJGF0HFAnOTfNqRRV2z9+7aQ5pY7jMgBIaWID2BMTThd\"}]}\n\
            #--- configuration of the daemon\n\
            [[users]]\n\
            name = \"ops\"\n\
            password_hash = \"BQYHCJGF0HFAnOTfNqRRV2z9+7aQ5pY7jMgBIaWID2BMTThd\"\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for login in subject.definitions.iter().flat_map(|it| &it.users) {
        judge(login, report);
    }
    for user in subject.configuration.iter().flat_map(|it| &it.users) {
        judge(&user.login, report);
    }
}

fn judge(login: &Login, report: &mut Report) {
    if !login.has_well_known_password() {
        return;
    }
    let (severity, from) = match login.loopback_only {
        true => (Severity::Info, ", from this machine"),
        false => (Severity::Error, ""),
    };
    let title = format!("everybody can log in as `{}`{from}", login.name);
    report.add(
        Diagnostic::new(CODE, severity, title, (login.origin, "a password that is tried first"))
            .help("give the user a password of its own, or delete the user"),
    );
}
