//! POL-004: a pattern that is found inside of names too.

use crate::access::pattern::Pattern;
use crate::broker::policy::Policy;
use crate::broker::policy::Side;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::policy_tie::and_more;
use crate::topology::lint::subject::Subject;
use crate::topology::rabbitmq::defined::DefinedVhost;

const CODE: Code = Code { id: "POL-004", name: "policy-unanchored" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "The pattern of a policy is searched for anywhere in a name: `orders` is for `reorders` \
           as well. Begin it with `^`; a pattern that begins with `.*`, or ends with `$`, is \
           taken to be meant for what comes before.",
    wrong: "#--- definitions of RabbitMQ\n\
            {\"queues\": [{\"name\": \"orders\", \"vhost\": \"/\"}, \
            {\"name\": \"reorders\", \"vhost\": \"/\"}],\n \
            \"policies\": [{\"name\": \"ttl\", \"vhost\": \"/\", \"pattern\": \"orders\",\n   \
            \"definition\": {\"message-ttl\": 60000}, \"priority\": 0}]}\n",
    right: "#--- definitions of RabbitMQ\n\
            {\"queues\": [{\"name\": \"orders\", \"vhost\": \"/\"}, \
            {\"name\": \"reorders\", \"vhost\": \"/\"}],\n \
            \"policies\": [{\"name\": \"ttl\", \"vhost\": \"/\", \"pattern\": \"^orders$\",\n   \
            \"definition\": {\"message-ttl\": 60000}, \"priority\": 0}]}\n",
    find: found_in_all,
};

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for (_, vhost) in subject.defined() {
        for (side, policy) in vhost.all_policies() {
            judge(vhost, side, policy, report);
        }
    }
}

fn judge(vhost: &DefinedVhost, side: Side, policy: &Policy, report: &mut Report) {
    let text = policy.pattern.as_str();
    if is_anchored(text) {
        return;
    }
    let Ok(anchored) = Pattern::new(&format!("^(?:{text})")) else { return };
    let (kind, name) = (side.as_str(), &policy.name);
    let title = format!("the pattern of {kind} `{name}` is found inside of names too: `{text}`");
    let at = (vhost.place(side, policy).pattern, "not anchored");
    let new = Diagnostic::new(CODE, Severity::Warning, title, at)
        .help(format!("write `^{text}`, or `.*{text}` if that is meant"));
    let matching = vhost.objects.iter().filter(|it| {
        let holds = vhost.matching(side, it).iter().any(|it| it.name == policy.name);
        holds && !anchored.matches(&it.name)
    });
    let inside: Vec<String> = matching.map(|it| it.subject()).collect();
    report.add(match inside.is_empty() {
        true => new,
        false => new.note(format!("so it is for {}", and_more(&inside))),
    });
}

/// Whether every alternative begins where names do, or says that it need not.
fn is_anchored(pattern: &str) -> bool {
    pattern.is_empty()
        || pattern.ends_with('$')
        || alternatives(pattern).into_iter().all(|it| {
            let it = it.trim_start_matches("(?i)").trim_start_matches('(');
            let it = it.trim_start_matches("?:");
            ["^", "\\A", ".*", ".+"].iter().any(|start| it.starts_with(start))
        })
}

/// What stands between the `|` that are in no group.
fn alternatives(pattern: &str) -> Vec<&str> {
    let (mut depth, mut escaped, mut start) = (0usize, false, 0);
    let mut all = Vec::new();
    for (at, it) in pattern.char_indices() {
        match it {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => {
                all.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    all.push(&pattern[start..]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_anchored_or_not() {
        let anchored = ["", ".*", "^a", "^a$", "(^a|^b)", "^(a|b)", "^a|^b", ".*dlq", "\\.dlq$"];
        for pattern in anchored.into_iter().chain(["^(?!amq\\.).*", "^[|a]"]) {
            assert!(is_anchored(pattern), "{pattern}");
        }
        for pattern in ["a", "(a|b)", "^a|b", "amq\\.", "[a^]"] {
            assert!(!is_anchored(pattern), "{pattern}");
        }
    }
}
