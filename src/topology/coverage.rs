//! What the `[[tests]]` of a topology touch: bindings that a test's message takes, and declared
//! messages that a test publishes.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::amqp::table::Table as Headers;
use crate::routing::topic;
use crate::topology::declared::Publication;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::lint::facts::is_pattern;
use crate::topology::plan::message_name;
use crate::topology::scenario::Outcome;
use crate::topology::scenario::Scenario;
use crate::topology::source::Origin;
use crate::topology::source::Sources;
use crate::topology::way;

/// How much is touched, and what is not.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Coverage {
    pub bindings: Share,
    pub messages: Share,
}

/// Some of all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Share {
    pub n_all: usize,
    pub n_touched: usize,
    pub untouched: Vec<Untouched>,
}

/// Something that no test touches.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Untouched {
    pub name: String,
    /// `path:line`.
    pub place: String,
}

/// Follows the messages of all tests, and what becomes of them when they fail or expire.
pub fn of(topology: &Topology) -> Coverage {
    let mut coverage = Coverage::default();
    for vhost in topology.vhosts.values() {
        let mut trail = Trail { topology, vhost, touched: BTreeSet::new(), seen: BTreeSet::new() };
        for scenario in &vhost.scenarios {
            trail.scenario(scenario);
        }
        let touched = trail.touched;
        coverage.bindings(vhost, &topology.sources, &touched);
        coverage.messages(vhost, &topology.sources);
    }
    coverage
}

struct Trail<'t> {
    topology: &'t Topology,
    vhost: &'t Vhost,
    /// Where the bindings stand.
    touched: BTreeSet<Origin>,
    /// Queues whose dead letters were followed, with the key they came with.
    seen: BTreeSet<(String, String)>,
}

impl Trail<'_> {
    fn scenario(&mut self, scenario: &Scenario) {
        for publish in &scenario.publish {
            let headers = publish.properties.headers.clone().unwrap_or_default();
            self.follow(scenario, &publish.exchange.value, &publish.key.value, &headers);
        }
        self.seen.clear();
    }

    fn follow(&mut self, scenario: &Scenario, exchange: &str, key: &str, headers: &Headers) {
        let Ok(way) = way::of(self.topology, self.vhost, exchange, key, headers) else { return };
        for branch in way.hops.iter().flat_map(|it| &it.matched) {
            self.touched.extend(branch.origin);
        }
        for arrival in &way.queues {
            let Some(queue) = self.vhost.queues.get(&*arrival.queue) else { continue };
            let Some(letter) = &queue.dead_letter else { continue };
            let outcomes = scenario.when.get(&queue.name).map_or(&[][..], |it| &it.value);
            let fails = outcomes.iter().any(|it| *it != Outcome::Ack && *it != Outcome::Absent);
            let expires = queue.message_ttl().is_some()
                && (queue.services.is_empty() || outcomes.contains(&Outcome::Absent));
            let new_key = letter.key.as_ref().map_or(key, |it| &it.value).to_owned();
            if (fails || expires) && self.seen.insert((arrival.queue.clone(), new_key.clone())) {
                self.follow(scenario, &letter.exchange.value, &new_key, headers);
            }
        }
    }
}

impl Coverage {
    fn bindings(&mut self, vhost: &Vhost, sources: &Sources, touched: &BTreeSet<Origin>) {
        let queues = vhost.queues.values().map(|it| (it.name.as_str(), &it.bindings));
        let exchanges = vhost.exchanges.values().map(|it| (it.name.as_str(), &it.bindings));
        for (to, bindings) in queues.chain(exchanges) {
            for it in bindings {
                let name = message_name(&it.exchange.value, &it.key.value, &it.arguments);
                let is_touched = touched.contains(&it.origin);
                self.bindings.count(is_touched, format!("{name} → {to}"), it.origin, sources);
            }
        }
    }

    fn messages(&mut self, vhost: &Vhost, sources: &Sources) {
        for exchange in vhost.exchanges.values() {
            for message in &exchange.messages {
                self.message(vhost, &exchange.name, message, sources);
            }
        }
        for queue in vhost.queues.values() {
            queue.messages.iter().for_each(|it| self.message(vhost, "", it, sources));
        }
    }

    fn message(&mut self, vhost: &Vhost, exchange: &str, it: &Publication, sources: &Sources) {
        let published = vhost.scenarios.iter().flat_map(|it| &it.publish).any(|publish| {
            let headers = publish.properties.headers.as_ref();
            let has = |(key, value): (&str, _)| headers.and_then(|it| it.get(key)) == Some(value);
            let key = match is_pattern(&it.key.value) {
                true => topic::matches(&it.key.value, &publish.key.value),
                false => it.key.value == publish.key.value,
            };
            *publish.exchange.value == *exchange && key && it.headers.iter().all(has)
        });
        let name = message_name(exchange, &it.key.value, &it.headers);
        self.messages.count(published, name, it.origin, sources);
    }

    /// A line each for bindings and messages, and one for everything no test touches.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (share, what) in [(&self.bindings, "bindings"), (&self.messages, "messages")] {
            let (n, all) = (share.n_touched, share.n_all);
            text.push_str(&format!("{n} of {all} {what} touched by a test\n"));
            for it in &share.untouched {
                text.push_str(&format!("  not touched: {} ({})\n", it.name, it.place));
            }
        }
        text
    }
}

impl Share {
    fn count(&mut self, touched: bool, name: String, origin: Origin, sources: &Sources) {
        self.n_all += 1;
        if touched {
            self.n_touched += 1;
        } else {
            let place = sources.cite(origin).to_string();
            self.untouched.push(Untouched { name, place });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Source;
    use crate::topology::load;

    #[test]
    fn what_no_test_touches_is_named() {
        let text = "[services.a]\n[exchanges.e]\ntype = \"topic\"\n\
            messages = [{ key = \"x.*\", from = \"a\" }, { key = \"y\", from = \"a\" }]\n\
            [exchanges.dlx]\ntype = \"fanout\"\n\
            [queues.q]\nservice = \"a\"\ndead_letter = { exchange = \"dlx\" }\n\
            bindings = [{ exchange = \"e\", key = \"x.#\" }, { exchange = \"e\", key = \"y\" }]\n\
            [queues.dead]\nbindings = [{ exchange = \"dlx\" }]\n\
            [[tests]]\nname = \"t\"\npublish = { exchange = \"e\", key = \"x.1\" }\n\
            reaches = { q = 1 }\n";
        let of =
            |text: &str| of(&load(&[Source { path: "t.toml".into(), text: text.into() }]).topology);
        let coverage = of(text);
        assert_eq!((coverage.bindings.n_touched, coverage.bindings.n_all), (1, 3));
        let names: Vec<&str> = coverage.bindings.untouched.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["dlx/\"\" → dead", "e/y → q"]);
        assert_eq!(coverage.messages.untouched[0].name, "e/y");
        let rejected = of(&format!("{text}when = {{ q = \"reject\" }}\n"));
        assert_eq!(rejected.bindings.n_touched, 2, "{}", rejected.text());
    }
}
