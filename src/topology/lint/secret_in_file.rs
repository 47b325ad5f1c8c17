//! SEC-007: a secret in a file that many read.

use std::ops::Range;

use fancy_regex::Captures;
use fancy_regex::Regex;

use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::found_in_all;
use crate::topology::lint::subject::Subject;
use crate::topology::source::Origin;

const CODE: Code = Code { id: "SEC-007", name: "secret-in-file" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A topology file has what looks like a secret, in a value or in a comment: a URL with \
           a password, a value for a key like `password`, `token` or `secret`, a private key, or \
           a token of a well-known service. Files are reviewed, copied and kept in history, so a \
           secret in one is known; change it. Placeholders (`${…}`, `<…>`, `***`) are none, and \
           neither is `guest`. The finding and its picture do not show it.",
    wrong: "# See amqp://billing:kiU3-vi9-Wd7@broker.example.org/\n\
            [services.billing]\n",
    right: "# See amqp://billing:${BILLING_PASSWORD}@broker.example.org/\n\
            [services.billing]\n",
    find: found_in_all,
};

/// What a secret is found by; it is the group `secret`, or everything.
const PATTERNS: [(&str, &str); 5] = [
    (
        "-----BEGIN [A-Z ]*PRIVATE KEY-----[\\s\\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\\z)",
        "a private key",
    ),
    ("[a-zA-Z][a-zA-Z0-9+.-]*://[^\\s/:@\"'`]*:(?P<secret>[^\\s/@\"'`]+)@", "a password in a URL"),
    (
        "\\b(?:gh[opsur]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}\
         |xox[abprs]-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}\\b|sk_live_[A-Za-z0-9]{10,}\
         |AIza[A-Za-z0-9_-]{30,}|npm_[A-Za-z0-9]{30,}\
         |eyJ[A-Za-z0-9_-]{10,}\\.[A-Za-z0-9_-]{10,}\\.[A-Za-z0-9_-]*)",
        "a token of a well-known service",
    ),
    (
        "(?i)(?:password|passwd|passphrase|secret|token|api[_-]?key|credentials?)\\\\?[\"']?\
         [ \\t]*[=:][ \\t]*\\\\?[\"'](?P<secret>[^\"'\\\\\\r\\n]+)",
        "a value for a secret's key",
    ),
    (
        "(?i)(?:password|passwd|passphrase|secret|token|api[_-]?key)=\
         (?P<secret>[^\\s\"'&,;\\\\]+)",
        "a value for a secret's key",
    ),
];

/// Words that values of such keys have without being secrets: what consumers do, in tests.
const NO_SECRETS: [&str; 12] = [
    "true",
    "false",
    "guest",
    "ack",
    "reject",
    "reject-requeue",
    "nack",
    "nack-requeue",
    "timeout",
    "lost",
    "absent",
    "secret",
];

pub(in crate::topology::lint) fn find(subject: &Subject<'_>, report: &mut Report) {
    for (origin, what) in all(subject) {
        let title = format!("the file has what looks like {what}");
        let new = Diagnostic::new(CODE, Severity::Warning, title, (origin, "not shown here"))
            .help("take it out, and change it: who has read the file knows it");
        report.add(match object_above(subject, origin) {
            Some(object) => new.about(object),
            None => new,
        });
    }
}

/// The object whose name stands above a place in the same file.
fn object_above(subject: &Subject<'_>, place: Origin) -> Option<Origin> {
    let of = |vhost: &Vhost| -> Vec<Origin> {
        let services = vhost.services.values().map(|it| it.origin);
        let exchanges = vhost.exchanges.values().map(|it| it.origin);
        let queues = vhost.queues.values().map(|it| it.origin);
        services.chain(exchanges).chain(queues).collect()
    };
    let all = subject.topology.vhosts.values().flat_map(of);
    all.filter(|it| it.file == place.file && it.start < place.start).max()
}

/// Where the secrets of topology files stand, in their order.
pub(in crate::topology::lint) fn all(subject: &Subject<'_>) -> Vec<(Origin, &'static str)> {
    let sources = &subject.topology.sources;
    let mut found: Vec<(Origin, &'static str)> = Vec::new();
    for (pattern, what) in PATTERNS {
        let regex = Regex::new(pattern).expect("the patterns are tested");
        for file in (0..).take(sources.n_files()).filter(|it| !sources.is_appended(*it)) {
            let text = sources.text(file);
            for captures in regex.captures_iter(text).map_while(Result::ok) {
                let bytes = secret(&captures);
                let origin = Origin::new(file, bytes.clone());
                let again = found.iter().any(|(it, _)| overlap(*it, origin));
                if !again && !is_placeholder(&text[bytes]) {
                    found.push((origin, what));
                }
            }
        }
    }
    found.sort_unstable();
    found
}

fn secret(captures: &Captures<'_, str>) -> Range<usize> {
    let group = captures.name("secret").or(captures.get(0));
    group.map(|it| it.range()).unwrap_or_default()
}

fn overlap(a: Origin, b: Origin) -> bool {
    a.file == b.file && a.start < b.end && b.start < a.end
}

/// Whether the text stands for a secret, or is too short to be one.
fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    text.chars().count() < 4
        || text.starts_with(['$', '<', '{', '%', '…', '['])
        || text.chars().all(|it| matches!(it, '*' | 'x' | 'X' | '.' | '…'))
        || NO_SECRETS.contains(&text)
        || text == text.to_uppercase() && text.contains("PASS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::check;
    use crate::topology::day::Day;
    use crate::topology::render;
    use crate::topology::source::Source;

    fn shown(text: &str) -> (usize, String) {
        let source = Source { path: "t.toml".to_owned(), text: text.to_owned() };
        let loaded = check(&[source], Day::parse("2026-06-01").expect("it is a day"));
        let own: Vec<_> = loaded.diagnostics.into_iter().filter(|it| it.rule == CODE).collect();
        let sources = &loaded.topology.sources;
        let text = render::text(&own, sources, render::Color::Plain);
        (own.len(), text + &render::json(&own, sources) + &render::sarif(&own, sources))
    }

    #[test]
    fn secrets_are_found_and_not_shown() {
        let secrets = [
            ("# amqps://shop:hunter22@mq/", "hunter22"),
            ("description = \"https://x:hunter22@y\"", "hunter22"),
            ("arguments = { api_key = \"hunter22\" }", "hunter22"),
            ("headers = { \"x-token\" = 'hunter22' }", "hunter22"),
            ("body = \"{\\\"password\\\": \\\"hunter22\\\"}\"", "hunter22"),
            ("description = \"see https://x/?token=hunter22&y\"", "hunter22"),
            ("# ghp_0123456789abcdefghij0123", "0123456789abcdef"),
            ("# -----BEGIN RSA PRIVATE KEY-----\n# MIIEow\n# -----END RSA PRIVATE KEY-----", "MII"),
        ];
        for (text, secret) in secrets {
            let (n, shown) = shown(text);
            assert_eq!(n, 1, "{text}");
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn a_secret_is_accepted_at_its_object() {
        let text = "[services.a]\n[queues.q]\ndescription = \"amqp://a:hunter22@b\"\n";
        let allow = "allow = [{ rule = \"SEC-007\", reason = \"of a test\" }]\n";
        assert_eq!((shown(text).0, shown(&format!("{text}{allow}")).0), (1, 0));
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for text in [
            "# amqp://guest:guest@localhost",
            "# amqp://user:${PASSWORD}@host and https://example.org/a:b@c",
            "arguments = { password = \"<from the vault>\" }",
            "when = { \"reset.password\" = \"reject\" }",
            "key = \"password.reset\"",
            "reaches = { token = 1 }",
            "arguments = { with-token=true }",
            "# PASSWORD=${FROM_THE_VAULT}",
        ] {
            assert_eq!(shown(text).0, 0, "{text}");
        }
    }
}
