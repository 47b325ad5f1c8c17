//! RTE-003: a binding for messages that nobody publishes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::amqp::name::ExchangeName;
use crate::routing::Kind;
use crate::topology::declared::Publication;
use crate::topology::diagnostic::Code;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::Rule;
use crate::topology::lint::facts::Bound;
use crate::topology::lint::facts::Facts;
use crate::topology::lint::facts::could_match;
use crate::topology::lint::facts::is_pattern;
use crate::topology::load::value;

const CODE: Code = Code { id: "RTE-003", name: "dead-subscription" };

pub(in crate::topology) const RULE: Rule = Rule {
    code: CODE,
    allowable: true,
    page: "A queue is bound with a key that none of the exchange's declared messages has; mostly a \
           slip of the pen on one side. Exchanges that declare no messages are not looked at.",
    wrong: "[services.shop]\n\
            [services.crm]\n\
            [exchanges.users]\n\
            type = \"topic\"\n\
            messages = [{ key = \"user.signed_up\", from = \"shop\" }]\n\
            [queues.crm]\n\
            service = \"crm\"\n\
            bindings = [\n\
            { exchange = \"users\", key = \"user.signed_up\" },\n\
            { exchange = \"users\", key = \"user.signedup\" },\n\
            ]\n",
    right: "[services.shop]\n\
            [services.crm]\n\
            [exchanges.users]\n\
            type = \"topic\"\n\
            messages = [{ key = \"user.signed_up\", from = \"shop\" }]\n\
            [queues.crm]\n\
            service = \"crm\"\n\
            bindings = [{ exchange = \"users\", key = \"user.*\" }]\n",
    find,
};

/// The messages that can come to an exchange.
#[derive(Default)]
struct Arrivals<'t> {
    keys: BTreeSet<&'t str>,
    patterns: Vec<&'t str>,
}

fn find(facts: &Facts<'_>, report: &mut Report) {
    if !facts.whole {
        return;
    }
    // What comes by way of other exchanges, or as a dead letter, is not followed.
    let fed: BTreeSet<&ExchangeName> = fed_otherwise(facts);
    let mut arrivals: BTreeMap<&str, Arrivals<'_>> = BTreeMap::new();
    for (exchange, Publication { key, .. }) in facts.publications() {
        let of = arrivals.entry(&exchange.name).or_default();
        if is_pattern(&key.value) {
            of.patterns.push(&key.value);
        } else {
            of.keys.insert(&key.value);
        }
    }
    for (binding, bound) in facts.bindings() {
        let name = &binding.exchange.value;
        let kind = facts.kind(name);
        let (Some(known), Some(kind @ (Kind::Direct | Kind::Topic)), false) =
            (arrivals.get(&**name), kind, fed.contains(name))
        else {
            continue;
        };
        let key = &*binding.key.value;
        let matches = |it: &&&str| could_match(kind, key, it, || true);
        if known.keys.contains(key)
            || known.patterns.iter().any(|it| matches(&it))
            || (is_pattern(key) && known.keys.iter().any(|it| matches(&it)))
        {
            continue;
        }
        let title = format!("nobody publishes to `{name}` what `{key}` matches");
        let all = known.keys.iter().chain(&known.patterns).copied();
        let help = match value::nearest(key, all) {
            Some(meant) => {
                format!("did you mean `{meant}`? else add it to the exchange's `messages`")
            }
            None => "correct it, or add the message to the exchange's `messages`".to_owned(),
        };
        let new = Diagnostic::new(
            CODE,
            Severity::Warning,
            title,
            (binding.key.origin, "matches nothing"),
        );
        let about = match bound {
            Bound::Queue(it) => it.origin,
            Bound::Instances(it) => it.origin,
            Bound::Exchange(it) => it.origin,
        };
        report.add(new.help(help).about(about));
    }
}

/// Exchanges that get messages in other ways than by publishing.
fn fed_otherwise<'t>(facts: &Facts<'t>) -> BTreeSet<&'t ExchangeName> {
    let vhost = facts.vhost;
    let bound = vhost.exchanges.values().filter(|it| !it.bindings.is_empty()).map(|it| &it.name);
    let alternates = vhost.exchanges.values().filter_map(|it| Some(&it.alternate.as_ref()?.value));
    let letters =
        vhost.queues.values().filter_map(|it| Some(&it.dead_letter.as_ref()?.exchange.value));
    bound.chain(alternates).chain(letters).collect()
}
