//! What a dead letter carries: `x-death` and its relatives, and the rule against cycles.

use crate::amqp::limit;
use crate::amqp::property::Properties;
use crate::amqp::property::Property;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::queue::effect::Reason;

/// One death to be recorded in a message's headers.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    pub queue: &'a str,
    pub reason: Reason,
    /// Where the message was published before it died.
    pub exchange: &'a str,
    pub routing_key: &'a str,
    /// Seconds since the Unix epoch of the first of these deaths.
    pub secs: u64,
    /// How often it happened; more than once for a message that was retried in place.
    pub times: i64,
    pub original_expiration: Option<&'a str>,
}

/// The properties of a dead letter.
///
/// COMPAT: RabbitMQ 4.x. `x-death` gets or updates the entry of this queue and reason and puts it
/// first; `x-first-death-*` is set once, `x-last-death-*` each time; the expiration goes, so that
/// the letter does not die again at once.
pub fn properties(original: Properties<'_>, death: &Death<'_>) -> Vec<u8> {
    let mut list = original.edit();
    let death = Death { original_expiration: original.expiration(), ..*death };
    list.remove(Property::Expiration);
    record(list.headers_mut(), &death);
    list.to_bytes()
}

/// Records a death in a header table.
pub fn record(headers: &mut Table, death: &Death<'_>) {
    let mut deaths = match headers.remove("x-death") {
        Some(Value::Array(deaths)) => deaths,
        Some(_) | None => Vec::new(),
    };
    let known = deaths.iter().position(|it| is_same(it, death.queue, death.reason));
    let entry = match known.map(|at| deaths.remove(at)) {
        Some(Value::Table(mut entry)) => {
            let count = entry.get("count").and_then(Value::as_integer).unwrap_or_default();
            entry.set("count", Value::I64(count.saturating_add(death.times)));
            entry
        }
        Some(_) | None => new_entry(headers, death),
    };
    deaths.insert(0, Value::Table(entry));
    deaths.truncate(limit::DEATHS);
    headers.set("x-death", Value::Array(deaths));
    let facts =
        [("queue", death.queue), ("reason", death.reason.as_str()), ("exchange", death.exchange)];
    for (name, value) in facts {
        let first = format!("x-first-death-{name}");
        if headers.get(&first).is_none() {
            headers.set(&first, Value::text(value));
        }
    }
    for (name, value) in facts {
        headers.set(&format!("x-last-death-{name}"), Value::text(value));
    }
}

fn new_entry(headers: &Table, death: &Death<'_>) -> Table {
    let copies = headers.get("CC").and_then(Value::as_array).unwrap_or_default();
    let keys = std::iter::once(Value::text(death.routing_key));
    let keys = keys.chain(copies.iter().filter(|it| it.as_text().is_some()).cloned());
    let mut entry = Table::default();
    if let Some(expiration) = death.original_expiration {
        entry.set("original-expiration", Value::text(expiration));
    }
    entry.set("count", Value::I64(death.times));
    entry.set("reason", Value::text(death.reason.as_str()));
    entry.set("queue", Value::text(death.queue));
    entry.set("time", Value::Time(death.secs));
    entry.set("exchange", Value::text(death.exchange));
    entry.set("routing-keys", Value::Array(keys.collect()));
    entry
}

fn is_same(entry: &Value, queue: &str, reason: Reason) -> bool {
    let text = |key| entry.as_table().and_then(|it| it.get(key)).and_then(Value::as_text);
    text("queue") == Some(queue) && text("reason") == Some(reason.as_str())
}

/// Whether a message that just died of `reason` may not go to `queue` again, because it has been
/// there and went round without anybody rejecting it.
///
/// COMPAT: the check is per target queue; a rejection anywhere between ends the search.
pub fn is_cycle(headers: &Table, queue: &str, reason: Reason) -> bool {
    if reason == Reason::Rejected {
        return false;
    }
    let deaths = headers.get("x-death").and_then(Value::as_array).unwrap_or_default();
    let text = |entry: &Value, key: &str| {
        entry.as_table().and_then(|it| it.get(key)).and_then(Value::as_text).map(str::to_owned)
    };
    let Some(at) = deaths.iter().position(|it| text(it, "queue").as_deref() == Some(queue)) else {
        return false;
    };
    let rejected = Some(Reason::Rejected.as_str());
    deaths[..=at].iter().all(|it| text(it, "reason").as_deref() != rejected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::property::PropertyList;

    fn death(queue: &str, reason: Reason, secs: u64) -> Death<'_> {
        Death {
            queue,
            reason,
            exchange: "orders",
            routing_key: "k",
            secs,
            times: 1,
            original_expiration: None,
        }
    }

    fn after(deaths: &[Death<'_>]) -> Table {
        let mut headers = Table::default();
        deaths.iter().for_each(|it| record(&mut headers, it));
        headers
    }

    /// `queue/reason×count` of each entry.
    fn story(headers: &Table) -> Vec<String> {
        let deaths = headers.get("x-death").unwrap().as_array().unwrap();
        let of = |entry: &Value, key: &str| entry.as_table().unwrap().get(key).unwrap().to_string();
        deaths
            .iter()
            .map(|it| format!("{}/{}×{}", of(it, "queue"), of(it, "reason"), of(it, "count")))
            .collect()
    }

    #[test]
    fn a_repeated_death_moves_to_the_front_and_counts() {
        let headers = after(&[
            death("work", Reason::Rejected, 1),
            death("wait", Reason::Expired, 2),
            death("work", Reason::Rejected, 3),
            death("work", Reason::Expired, 4),
        ]);
        assert_eq!(story(&headers), ["work/expired×1", "work/rejected×2", "wait/expired×1"]);
        let deaths = headers.get("x-death").unwrap().as_array().unwrap();
        assert_eq!(deaths[1].as_table().unwrap().get("time"), Some(&Value::Time(1)));
        assert_eq!(headers.get("x-first-death-reason"), Some(&Value::text("rejected")));
        assert_eq!(headers.get("x-last-death-reason"), Some(&Value::text("expired")));
    }

    #[test]
    fn the_expiration_becomes_history_and_other_properties_stay() {
        let mut list = PropertyList::default();
        list.set_text(Property::Expiration, "500");
        list.set_text(Property::MessageId, "m-1");
        list.headers_mut().set("CC", Value::Array(vec![Value::text("k2"), Value::I32(3)]));
        let bytes = list.to_bytes();
        let bytes = properties(Properties::check(&bytes).unwrap(), &death("q", Reason::Expired, 9));
        let properties = Properties::check(&bytes).unwrap();
        assert_eq!(properties.expiration(), None);
        assert_eq!(properties.message_id(), Some("m-1"));
        let headers = properties.headers().unwrap();
        let entry = headers.get("x-death").unwrap().as_array().unwrap()[0].as_table().unwrap();
        assert_eq!(entry.get("original-expiration"), Some(&Value::text("500")));
        let keys = Value::Array(vec![Value::text("k"), Value::text("k2")]);
        assert_eq!(entry.get("routing-keys"), Some(&keys));
    }

    #[test]
    fn cycles_end_unless_somebody_rejected() {
        let expired = after(&[death("a", Reason::Expired, 1)]);
        assert!(is_cycle(&expired, "a", Reason::Expired));
        assert!(!is_cycle(&expired, "b", Reason::Expired));
        assert!(!is_cycle(&expired, "a", Reason::Rejected));
        let ladder =
            after(&[death("work", Reason::Rejected, 1), death("wait", Reason::Expired, 2)]);
        assert!(!is_cycle(&ladder, "work", Reason::Expired));
        assert!(is_cycle(&ladder, "wait", Reason::Expired));
    }

    #[test]
    fn entries_are_bounded() {
        let names: Vec<String> = (0..100).map(|n| format!("q{n}")).collect();
        let deaths: Vec<Death<'_>> =
            names.iter().map(|it| death(it, Reason::Rejected, 1)).collect();
        let headers = after(&deaths);
        assert_eq!(story(&headers).len(), limit::DEATHS);
        assert_eq!(story(&headers)[0], "q99/rejected×1");
    }
}
