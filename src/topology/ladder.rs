//! Retries built by hand: queues in which messages wait for their TTL and are dead-lettered back to
//! the queue they failed in.

use crate::amqp::name::QueueName;
use crate::amqp::table::Table as Headers;
use crate::topology::declared::DeadLetter;
use crate::topology::declared::Queue;
use crate::topology::lint::facts::End;
use crate::topology::lint::facts::Facts;

/// A queue with the queues in which its failed messages wait.
#[derive(Clone, Debug)]
pub(in crate::topology) struct Ladder<'t> {
    pub(in crate::topology) work: &'t Queue,
    /// The shortest wait first.
    pub(in crate::topology) waits: Vec<&'t Queue>,
    /// Where what cannot be handled ends, if there is such a queue.
    pub(in crate::topology) end: Option<&'t Queue>,
}

/// All ladders of a vhost, by the names of their queues.
pub(in crate::topology) fn all<'t>(facts: &Facts<'t>) -> Vec<Ladder<'t>> {
    let mut ladders: Vec<Ladder<'t>> = Vec::new();
    for wait in facts.vhost.queues.values() {
        let Some(work) = retries(facts, wait) else { continue };
        match ladders.iter_mut().find(|it| it.work.name == work.name) {
            Some(ladder) => ladder.waits.push(wait),
            None => ladders.push(Ladder { work, waits: vec![wait], end: None }),
        }
    }
    ladders.sort_by(|a, b| a.work.name.cmp(&b.work.name));
    for ladder in &mut ladders {
        ladder.waits.sort_by_key(|it| (it.message_ttl().map(|it| it.value), it.name.clone()));
        ladder.end = letters(facts, ladder.work)
            .into_iter()
            .find(|it| it.dead_letter.is_none() && it.message_ttl().is_none());
    }
    ladders
}

/// The queue whose failed messages wait in `wait`, if that is what it is for.
fn retries<'t>(facts: &Facts<'t>, wait: &'t Queue) -> Option<&'t Queue> {
    if wait.message_ttl().is_none() || !wait.services.is_empty() || wait.retry.is_some() {
        return None;
    }
    let [work] = letters(facts, wait)[..] else { return None };
    if work.name == wait.name || work.message_ttl().is_some_and(|_| work.services.is_empty()) {
        return None;
    }
    // Its consumers may publish to it themselves; then only its name tells.
    let fed = letters(facts, work).iter().any(|it| it.name == wait.name);
    let named = wait.bindings.is_empty() && wait.name.starts_with(&*work.name);
    (fed || named).then_some(work)
}

/// Queues that dead letters of this one can reach.
pub(in crate::topology) fn letters<'t>(facts: &Facts<'t>, queue: &'t Queue) -> Vec<&'t Queue> {
    let Some(DeadLetter { exchange, key, .. }) = &queue.dead_letter else { return Vec::new() };
    let keys: Vec<&str> = match key {
        Some(key) => vec![key.value.as_str()],
        None if exchange.value.is_empty() => vec![&queue.name],
        None => queue.bindings.iter().map(|it| it.key.value.as_str()).chain([""]).collect(),
    };
    let mut reached: Vec<&'t Queue> = Vec::new();
    for key in keys {
        for end in facts.reach_of(&exchange.value, key, &Headers::default()) {
            if let End::Queue(queue) = end
                && !reached.iter().any(|it| it.name == queue.name)
            {
                reached.push(queue);
            }
        }
    }
    reached
}

impl Ladder<'_> {
    /// Whether a queue is one of those in which messages wait.
    pub(in crate::topology) fn is_wait(&self, name: &QueueName) -> bool {
        self.waits.iter().any(|it| it.name == *name)
    }

    /// The waits: `1s 5s 30s`.
    pub(in crate::topology) fn waits_text(&self) -> String {
        let waits = self.waits.iter().filter_map(|it| it.message_ttl());
        waits.map(|it| it.value.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// The policy that does the same, as a file writes it.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "waits are below ten years, and one digit behind the point is enough"
    )]
    pub(in crate::topology) fn policy(&self) -> String {
        let waits: Vec<u64> =
            self.waits.iter().filter_map(|it| it.message_ttl()).map(|it| it.value.0).collect();
        let first = waits.first().copied().unwrap_or(1000).max(1);
        let last = waits.last().copied().unwrap_or(first);
        let steps = i32::try_from(waits.len().saturating_sub(1)).unwrap_or(i32::MAX).max(1);
        let growth = (last as f64 / first as f64).powf(1.0 / f64::from(steps));
        let multiplier = (growth * 10.0).round() / 10.0;
        let millis = crate::amqp::time::Millis;
        format!(
            "{{ attempts = {}, first = \"{}\", multiplier = {multiplier:?}, max = \"{}\" }}",
            waits.len() + 1,
            millis(first),
            millis(last)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Source;
    use crate::topology::load;

    const FILE: &str = "[exchanges.dlx]\ntype = \"direct\"\n\
        [queues.q]\ndead_letter = { exchange = \"dlx\", key = \"q\" }\n\
        [queues.\"q.retry.1s\"]\nttl = \"1s\"\ndead_letter = { exchange = \"\", key = \"q\" }\n\
        [queues.\"q.retry.4s\"]\nttl = \"4s\"\ndead_letter = { exchange = \"\", key = \"q\" }\n\
        [queues.\"q.dead\"]\nbindings = [{ exchange = \"dlx\", key = \"q\" }]\n\
        [queues.later]\nttl = \"1h\"\ndead_letter = { exchange = \"\", key = \"q\" }\n";

    #[test]
    fn waits_that_lead_back_are_a_ladder() {
        let loaded = load(&[Source { path: "t.toml".into(), text: FILE.into() }]);
        let vhost = loaded.topology.vhost("/").expect("it is there");
        let facts = Facts::new(&loaded.topology, vhost);
        let ladders = all(&facts);
        let [ladder] = &ladders[..] else { panic!("{ladders:?}") };
        assert_eq!((ladder.work.name.as_str(), ladder.waits_text().as_str()), ("q", "1s 4s"));
        assert_eq!(ladder.end.map(|it| it.name.as_str()), Some("q.dead"));
        let policy = "{ attempts = 3, first = \"1s\", multiplier = 4.0, max = \"4s\" }";
        assert_eq!(ladder.policy(), policy);
    }
}
