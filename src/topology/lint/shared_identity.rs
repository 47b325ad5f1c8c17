//! SEC-003: services that cannot be told apart.

use std::collections::BTreeMap;

use crate::broker::rules::Identity;
use crate::topology::declared::Service;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;
use crate::topology::login::Login;
use crate::topology::source::Located;

const CODE: Code = Code { id: "SEC-003", name: "shared-identity" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: false,
    page: "Two services log in as the same user, or with the same certificate or connection name. \
           Their connections cannot be told apart, so nobody can be kept to the own queues. \
           Within a vhost it is an error; between vhosts, where a service of the same name is \
           taken to be the same one, and between two users that have one password, a warning.",
    wrong: "[services.member]\n\
            identities = [\"user:app\"]\n\
            [services.promotion]\n\
            identities = [\"user:app\"]\n",
    right: "[services.member]\n\
            identities = [\"user:member\"]\n\
            [services.promotion]\n\
            identities = [\"user:promotion\"]\n",
    find: found_in_all,
};

const HELP: &str =
    "an identity belongs to one service: give each its own user, certificate or connection name";

/// The finding about one identity of two services of a vhost.
pub(in crate::topology) fn within_vhost(
    text: &str,
    (owner, first): (&Service, &Located<Identity>),
    (other, second): (&Service, &Located<Identity>),
) -> Diagnostic {
    let title = format!("services `{}` and `{}` both are `{text}`", owner.name, other.name);
    Diagnostic::new(CODE, Severity::Error, title, (second.origin, "the second time"))
        .also(first.origin, "the first time")
        .help(HELP)
}

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    let mut seen: BTreeMap<(bool, &str), (&Vhost, &Service, &Located<Identity>)> = BTreeMap::new();
    for vhost in subject.topology.vhosts.values() {
        for service in vhost.services.values() {
            for identity in &service.identities {
                let (key, kind) = match &identity.value {
                    Identity::User(name) => ((true, name.as_str()), "user"),
                    Identity::Certificate(name) => ((false, name.as_str()), "certificate"),
                    // Anybody can say that name, so it is no credential.
                    Identity::ConnectionName(_) => continue,
                };
                let (at, owner, first) = seen.entry(key).or_insert((vhost, service, identity));
                if at.name == vhost.name || owner.name == service.name {
                    continue;
                }
                let title = format!(
                    "service `{}` of vhost `{}` and `{}` of `{}` have one {kind}: `{}`",
                    owner.name, at.name, service.name, vhost.name, key.1
                );
                report.add(
                    Diagnostic::new(
                        CODE,
                        Severity::Warning,
                        title,
                        (identity.origin, "the second time"),
                    )
                    .also(first.origin, "the first time")
                    .help(HELP)
                    .about(service.origin),
                );
            }
        }
    }
    for definitions in subject.definitions {
        passwords(&definitions.users.iter().collect::<Vec<_>>(), report);
    }
    if let Some(configuration) = subject.configuration {
        passwords(&configuration.users.iter().map(|it| &it.login).collect::<Vec<_>>(), report);
    }
}

/// Hashes are salted: two that are the same were copied.
fn passwords(users: &[&Login], report: &mut Report) {
    let mut seen: BTreeMap<String, &Login> = BTreeMap::new();
    for user in users {
        let Some(password) = &user.password else { continue };
        let first = seen.entry(password.to_text()).or_insert(user);
        if first.name == user.name {
            continue;
        }
        let title = format!("users `{}` and `{}` have one password", first.name, user.name);
        report.add(
            Diagnostic::new(CODE, Severity::Warning, title, (user.origin, "the second user"))
                .also(first.origin, "the first one")
                .help("give each a password of its own"),
        );
    }
}
