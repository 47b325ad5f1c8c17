//! SEC-002: a service that may make and delete whatever it likes.

use crate::broker::rules::Enforce;
use crate::broker::rules::Identity;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "SEC-002", name: "may-make-everything" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A user that is no administrator may configure `.*`: make and delete every exchange \
           and queue, also those that no file declares. Permissions in definitions are looked at, \
           since RabbitMQ has nothing else to keep a vhost closed. Users of the daemon's \
           configuration always may do everything in their vhosts; the broker refuses them what \
           the files do not declare, and to delete what they do. They are reported as services \
           of a vhost with `undeclared = \"deny\"` whose `enforce` is not `\"deny\"`, where \
           nothing keeps them from deleting.",
    wrong: "[vhost]\n\
            name = \"shop\"\n\
            undeclared = \"deny\"\n\
            #--- definitions of RabbitMQ\n\
            {\"users\": [{\"name\": \"billing\", \"tags\": []}],\n \
            \"permissions\": [{\"user\": \"billing\", \"vhost\": \"shop\",\n   \
            \"configure\": \".*\", \"write\": \".*\", \"read\": \".*\"}]}\n",
    right: "[vhost]\n\
            name = \"shop\"\n\
            undeclared = \"deny\"\n\
            #--- definitions of RabbitMQ\n\
            {\"users\": [{\"name\": \"billing\", \"tags\": []}],\n \
            \"permissions\": [{\"user\": \"billing\", \"vhost\": \"shop\",\n   \
            \"configure\": \"^billing\\\\.\", \"write\": \"^(billing\\\\.|orders$)\", \
            \"read\": \"^billing\\\\.\"}]}\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for definitions in subject.definitions {
        for (name, vhost) in &definitions.vhosts {
            for it in vhost.permissions.iter().filter(|it| it.configure.is_all()) {
                let known = definitions.users.iter().find(|user| user.name == it.user);
                if !known.is_some_and(|user| user.is_administrator()) {
                    judge(subject, (name, &it.user, it.origin), report);
                }
            }
        }
    }
    for user in subject.configuration.iter().flat_map(|it| &it.users) {
        let name = &user.login.name;
        let unguarded = |it: &&Vhost| is_closed(it) && it.settings.enforce() != Enforce::Deny;
        for vhost in subject.topology.vhosts.values().filter(unguarded) {
            let may = user.vhosts.as_ref().is_none_or(|it| it.contains(vhost.name.as_str()));
            if may && !user.login.is_administrator() && is_service(vhost, name) {
                judge(subject, (&vhost.name, name, user.login.origin), report);
            }
        }
    }
}

fn judge(subject: &Subject<'_>, (vhost, user, origin): (&str, &str, Origin), report: &mut Report) {
    let closed = subject.topology.vhost(vhost).filter(|it| is_closed(it));
    let title = format!("user `{user}` may make and delete everything in vhost `{vhost}`");
    let new = Diagnostic::new(CODE, Severity::Warning, title, (origin, "whatever its name"))
        .help("let it configure only what is its own, for example `^NAME\\.`; or nothing, `^$`");
    let setting = closed.and_then(|it| it.settings.undeclared);
    report.add(match setting {
        Some(setting) => new.also(setting.origin, "only what files declare is meant to be here"),
        None => new,
    });
}

fn is_closed(vhost: &Vhost) -> bool {
    vhost.settings.undeclared() == Enforce::Deny
}

fn is_service(vhost: &Vhost, user: &str) -> bool {
    let mut identities = vhost.services.values().flat_map(|it| &it.identities);
    identities.any(|it| matches!(&it.value, Identity::User(name) if name == user))
}
