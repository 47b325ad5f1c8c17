//! The way of a failed message on RabbitMQ, which has no retry with growing waits: out of its queue
//! to an inbox, from there by a controller to a queue that keeps it for the wait or to the parking
//! lot, and back.
//!
//! Routing keys stay what they were: messages go by way of exchanges that ignore them, not through
//! the default exchange. What a controller does with a message depends on nothing but the message,
//! so that any number of them can work side by side.

use crate::amqp::limit::ATTEMPTS_KEPT;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::name::VhostName;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::amqp::time::Millis;
use crate::broker::parking::ATTEMPTS;
use crate::broker::parking::PARKED_AT;
use crate::broker::parking::PARKED_QUEUE;
use crate::broker::parking::PARKED_REASON;
use crate::broker::parking::parked_name;
use crate::queue::effect::Reason;
use crate::queue::retry::RetryPolicy;
use crate::queue::retry::Then;
use crate::queue::settings::Settings;
use crate::topology::compile;
use crate::topology::declared::Queue;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;

/// How many attempts of a message have failed. A count of our own: RabbitMQ's in `x-death` starts
/// anew from 4.0 on when a client publishes the message.
pub const ATTEMPT: &str = "x-railpost-attempt";
/// The same for consumers, under the name that railpost uses when it retries itself.
const RETRY_COUNT: &str = "x-retry-count";
/// What the exchange of the waits decides by. Not an `x-` header: these do not count in bindings.
pub const WAIT: &str = "railpost-wait";
/// The value of [`WAIT`] for the parking lot.
pub const PARKED: &str = "parked";
/// The user who published it: only that user, or one who may impersonate, can publish it again.
pub const USER_ID: &str = "x-railpost-user-id";

/// A policy with more waits than this has the nearest longer one of these.
const WAITS_MAX: usize = 24;
/// Waits are looked at up to this attempt; after that they hardly grow.
const ATTEMPTS_MAX: u32 = 1000;

/// The way of messages that fail in one queue.
#[derive(Clone, PartialEq, Debug)]
pub struct Detour {
    pub vhost: VhostName,
    pub queue: QueueName,
    pub settings: Settings,
    /// Ascending, each once; empty where nothing is retried.
    pub waits: Vec<Millis>,
}

/// What is to be done with a failed message.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// It waits as long as this queue keeps it, and is delivered again.
    Wait(Millis),
    Park(Reason),
    /// To the exchange that the topology declares, with another key if it says one.
    DeadLetter {
        exchange: ExchangeName,
        key: Option<String>,
    },
    Drop(Reason),
}

impl Detour {
    /// The way that failed messages of a queue take; none where RabbitMQ needs no help with them.
    pub fn of(vhost: &Vhost, queue: &Queue) -> Option<Detour> {
        let settings = compile::settings(queue);
        let is_needed = queue.retry.is_some() || queue.parking.is_some();
        let waits = settings.retry.as_ref().map(waits).unwrap_or_default();
        let (vhost, queue) = (vhost.name.clone(), queue.name.clone());
        is_needed.then_some(Detour { vhost, queue, settings, waits })
    }

    /// Takes what RabbitMQ throws out of the queue.
    pub fn failed(&self) -> ExchangeName {
        ExchangeName::from(format!("{}.failed", self.queue))
    }

    /// Where a controller finds what failed.
    pub fn inbox(&self) -> QueueName {
        QueueName::from(format!("{}.retry.in", self.queue))
    }

    /// Where a controller publishes it, with the header [`WAIT`].
    pub fn wait_exchange(&self) -> ExchangeName {
        ExchangeName::from(format!("{}.wait", self.queue))
    }

    /// Where it waits.
    pub fn wait_queue(&self, wait: Millis) -> QueueName {
        QueueName::from(format!("{}.wait.{}", self.queue, wait.0))
    }

    /// Brings it back when it has waited.
    pub fn again(&self) -> ExchangeName {
        ExchangeName::from(format!("{}.again", self.queue))
    }

    pub fn parked(&self) -> QueueName {
        parked_name(&self.queue)
    }

    /// Decides by what RabbitMQ and earlier decisions have noted on the message.
    pub fn judge(&self, headers: &Table) -> Verdict {
        let reason = self.reason(headers);
        if reason == Reason::Rejected
            && !self.settings.fail_fast
            && let Some(policy) = self.settings.retry
        {
            let n = attempts_made(headers).saturating_add(1);
            if !policy.is_last(n) {
                return Verdict::Wait(nearest(&self.waits, policy.wait(n)));
            }
        }
        match (self.settings.end_of(reason), &self.settings.dead_letter) {
            (Then::Park, _) => Verdict::Park(reason),
            (Then::DeadLetter, Some(to)) => {
                Verdict::DeadLetter { exchange: to.exchange.clone(), key: to.routing_key.clone() }
            }
            (Then::DeadLetter, None) | (Then::Drop, _) => Verdict::Drop(reason),
        }
    }

    /// Why the message left the queue. One that says nothing was put into the inbox by hand.
    ///
    /// COMPAT: the latest entry of `x-death` stands first.
    fn reason(&self, headers: &Table) -> Reason {
        let Some(Value::Array(deaths)) = headers.get("x-death") else { return Reason::Rejected };
        let of_queue = deaths.iter().find_map(|it| {
            let Value::Table(death) = it else { return None };
            let is_ours = death.get("queue")?.as_text()? == self.queue.as_str();
            is_ours.then(|| death.get("reason")?.as_text().and_then(Reason::parse)).flatten()
        });
        of_queue.unwrap_or(Reason::Rejected)
    }

    /// Makes a parked message as new as it was before its first failure.
    pub fn renew(headers: &mut Table) {
        let own = [PARKED_QUEUE, PARKED_REASON, PARKED_AT, ATTEMPTS, ATTEMPT, RETRY_COUNT, WAIT];
        for name in own {
            headers.remove(name);
        }
    }

    /// Notes a verdict on the message that it is about.
    pub fn note(&self, headers: &mut Table, verdict: &Verdict, now_ms: u64) {
        let now = Value::I64(i64::try_from(now_ms).unwrap_or(i64::MAX));
        let n = attempts_made(headers).saturating_add(1);
        let reason = self.reason(headers);
        let mut attempt = Table::default();
        attempt.set("attempt", Value::I64(i64::from(n)));
        attempt.set("at-ms", now.clone());
        attempt.set("failure", Value::text(reason.as_str()));
        let mut attempts = match headers.remove(ATTEMPTS) {
            Some(Value::Array(attempts)) => attempts,
            Some(_) | None => Vec::new(),
        };
        // Headers have to fit into a frame, however often a message fails.
        while attempts.len() >= ATTEMPTS_KEPT {
            attempts.remove(1);
        }
        attempts.push(Value::Table(attempt));
        headers.set(ATTEMPTS, Value::Array(attempts));
        headers.remove(WAIT);
        match verdict {
            Verdict::Wait(wait) => {
                headers.set(ATTEMPT, Value::I64(i64::from(n)));
                headers.set(RETRY_COUNT, Value::I64(i64::from(n)));
                headers.set(WAIT, Value::text(&wait.0.to_string()));
            }
            Verdict::Park(reason) => {
                headers.set(PARKED_QUEUE, Value::text(&self.queue));
                headers.set(PARKED_REASON, Value::text(reason.as_str()));
                headers.set(PARKED_AT, now);
                headers.set(WAIT, Value::text(PARKED));
            }
            Verdict::DeadLetter { key, .. } => {
                headers.remove(ATTEMPTS);
                headers.remove(ATTEMPT);
                // COMPAT: a key of the queue's own replaces all that a sender chose.
                if key.is_some() {
                    headers.remove("CC");
                }
            }
            Verdict::Drop(_) => {}
        }
    }
}

/// How many attempts the headers count.
fn attempts_made(headers: &Table) -> u32 {
    let n = headers.get(ATTEMPT).and_then(Value::as_integer).unwrap_or_default();
    u32::try_from(n).unwrap_or_default()
}

/// All detours of a topology.
pub fn all(topology: &Topology) -> Vec<Detour> {
    let of = |vhost: &Vhost| {
        let queues = vhost.queues.values();
        queues.filter_map(|it| Detour::of(vhost, it)).collect::<Vec<Detour>>()
    };
    topology.vhosts.values().flat_map(of).collect()
}

/// The different waits of a policy, ascending; where there are too many, the longer one of each
/// two, as often as it takes.
fn waits(policy: &RetryPolicy) -> Vec<Millis> {
    let n = match policy.attempts {
        0 => ATTEMPTS_MAX,
        attempts => (attempts - 1).min(ATTEMPTS_MAX),
    };
    let mut all: Vec<Millis> = (1..=n).map(|it| policy.wait(it)).collect();
    all.sort();
    all.dedup();
    while all.len() > WAITS_MAX {
        let keeps = all.len() % 2;
        all = all
            .into_iter()
            .enumerate()
            .filter(|(at, _)| at % 2 != keeps)
            .map(|(_, it)| it)
            .collect();
    }
    all
}

/// Whether a policy's waits are not all kept as they are.
pub(in crate::topology) fn is_rounded(policy: &RetryPolicy, waits: &[Millis]) -> bool {
    let n = if policy.attempts == 0 { ATTEMPTS_MAX } else { policy.attempts - 1 };
    (1..=n.min(ATTEMPTS_MAX)).any(|it| waits.binary_search(&policy.wait(it)).is_err())
}

/// The shortest of `waits` that is not shorter than `wait`, or the longest: never early.
fn nearest(waits: &[Millis], wait: Millis) -> Millis {
    let at = waits.partition_point(|it| *it < wait);
    waits.get(at).or(waits.last()).copied().unwrap_or(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Source;
    use crate::topology::load;

    fn detour(retry: &str) -> Detour {
        let text = format!(
            "[exchanges.dead]\ntype = \"fanout\"\n[queues.w]\n{retry}\n\
             [queues.d]\nbindings = [{{ exchange = \"dead\" }}]\n"
        );
        let loaded = load(&[Source { path: "t.toml".to_owned(), text }]);
        all(&loaded.topology).into_iter().next().expect("a detour")
    }

    fn died(reason: &str) -> Table {
        let death = |queue: &str, reason: &str| {
            let mut death = Table::default();
            death.set("queue", Value::text(queue));
            death.set("reason", Value::text(reason));
            Value::Table(death)
        };
        let mut headers = Table::default();
        let all = vec![death("w.wait.1000", "expired"), death("w", reason), death("w", "maxlen")];
        headers.set("x-death", Value::Array(all));
        headers
    }

    #[test]
    fn a_message_waits_longer_each_time_and_is_parked_in_the_end() {
        let detour =
            detour("retry = { attempts = 4, first = \"1s\", multiplier = 3.0, max = \"5s\" }");
        assert_eq!(detour.waits, [Millis(1000), Millis(3000), Millis(5000)]);
        let mut headers = died("rejected");
        for wait in [1000, 3000, 5000] {
            let verdict = detour.judge(&headers);
            assert_eq!(verdict, Verdict::Wait(Millis(wait)));
            detour.note(&mut headers, &verdict, 7);
            assert_eq!(headers.get(WAIT).and_then(Value::as_text), Some(&*wait.to_string()));
        }
        let verdict = detour.judge(&headers);
        assert_eq!(verdict, Verdict::Park(Reason::Rejected));
        detour.note(&mut headers, &verdict, 8);
        assert_eq!(headers.get(WAIT).and_then(Value::as_text), Some(PARKED));
        assert_eq!(headers.get(PARKED_QUEUE).and_then(Value::as_text), Some("w"));
        let Some(Value::Array(attempts)) = headers.get(ATTEMPTS) else { panic!("{headers}") };
        assert_eq!(attempts.len(), 4);
        Detour::renew(&mut headers);
        assert_eq!(headers, died("rejected"));
        assert_eq!(detour.judge(&headers), Verdict::Wait(Millis(1000)));
    }

    #[test]
    fn how_a_message_died_decides_where_it_goes() {
        let cases = [
            ("retry = {}", "delivery_limit", Verdict::Park(Reason::DeliveryLimit)),
            ("retry = {}", "expired", Verdict::Drop(Reason::Expired)),
            ("retry = {}\nfail_fast = true", "rejected", Verdict::Park(Reason::Rejected)),
            ("parking = true", "rejected", Verdict::Park(Reason::Rejected)),
            (
                "retry = { attempts = 1, then = \"drop\" }",
                "rejected",
                Verdict::Drop(Reason::Rejected),
            ),
            (
                "retry = { attempts = 1, then = \"dead-letter\" }\n\
                 dead_letter = { exchange = \"dead\", key = \"k\" }",
                "rejected",
                Verdict::DeadLetter {
                    exchange: ExchangeName::new("dead"),
                    key: Some("k".to_owned()),
                },
            ),
        ];
        for (retry, reason, expected) in cases {
            assert_eq!(detour(retry).judge(&died(reason)), expected, "{retry} {reason}");
        }
        // Put into the inbox by hand: as if it had failed.
        assert_eq!(detour("retry = {}").judge(&Table::default()), Verdict::Wait(Millis(1000)));
    }

    #[test]
    fn many_waits_become_fewer_and_never_shorter() {
        let detour =
            detour("retry = { attempts = 0, first = \"1s\", multiplier = 1.1, max = \"1h\" }");
        assert!((12..=24).contains(&detour.waits.len()), "{:?}", detour.waits);
        assert_eq!(detour.waits.last(), Some(&Millis(3_600_000)));
        let policy = detour.settings.retry.expect("a policy");
        assert!(is_rounded(&policy, &detour.waits));
        for n in 1..200 {
            let wait = policy.wait(n);
            assert!(nearest(&detour.waits, wait) >= wait);
        }
    }
}
