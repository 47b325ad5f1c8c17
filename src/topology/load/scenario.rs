//! `[[tests]]`: reading what is published and expected, and whether it can be meant.

use std::collections::BTreeMap;

use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::name::ServiceName;
use crate::amqp::time::Millis;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::undeclared_reference;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Item;
use crate::topology::load::fields::Shape;
use crate::topology::load::mistake;
use crate::topology::load::name;
use crate::topology::load::publish;
use crate::topology::scenario::Counted;
use crate::topology::scenario::Expectations;
use crate::topology::scenario::Outcome;
use crate::topology::scenario::Scenario;
use crate::topology::source::Located;

const TEST: Shape = Shape {
    keys: &[
        "name",
        "publish",
        "when",
        "instances",
        "until",
        "reaches",
        "services",
        "deliveries_at",
        "order",
        "parked",
        "dead_lettered",
        "expired",
        "dropped",
        "left",
        "unroutable",
    ],
    instead: &[
        ("expect", "write what is expected beside `publish`: `reaches`, `parked` and so on"),
        ("queues", "write `reaches`"),
        ("returned", "write `unroutable = true`"),
        ("after", "write `until`, when virtual time ends"),
    ],
};

/// Reads the tests of one file.
pub(in crate::topology) fn load(
    file: &Fields<'_>,
    vhost: &Vhost,
    report: &mut Report,
) -> Vec<Scenario> {
    let Some(item) = file.get("tests") else { return Vec::new() };
    let mut all = Vec::new();
    for element in item.list(report) {
        all.extend(one(&element, vhost, report));
    }
    all
}

fn one(item: &Item<'_, '_>, vhost: &Vhost, report: &mut Report) -> Option<Scenario> {
    let named = match item.value {
        toml::de::DeValue::Table(table) => table.get("name").and_then(|it| it.get_ref().as_str()),
        toml::de::DeValue::String(_)
        | toml::de::DeValue::Integer(_)
        | toml::de::DeValue::Float(_)
        | toml::de::DeValue::Boolean(_)
        | toml::de::DeValue::Datetime(_)
        | toml::de::DeValue::Array(_) => None,
    };
    let subject = match named {
        Some(name) => format!("test `{name}`"),
        None => "a test".to_owned(),
    };
    let fields = item.fields(subject, &TEST, report)?;
    let name = match fields.get("name") {
        Some(item) => item.text(report),
        None => {
            fields.missing("name", "say what must hold: `name = \"…\"`", report);
            None
        }
    };
    let name = name.map_or(Located::new("", fields.origin), |it| it).map(str::to_owned);
    let publish = publish::load(&fields, vhost, report);
    let reaches = fields.get("reaches").map(|item| {
        let reached = counted(&fields, "reaches", report, |it, r| queue(it, vhost, r));
        Located::new(reached, item.key_origin)
    });
    let mut of_queues =
        |key: &str| counted(&fields, key, report, |it, report| queue(it, vhost, report));
    let (parked, dead_lettered) = (of_queues("parked"), of_queues("dead_lettered"));
    let (expired, dropped, left) = (of_queues("expired"), of_queues("dropped"), of_queues("left"));
    let expect = Expectations {
        reaches,
        services: counted(&fields, "services", report, |it, report| service(it, vhost, report)),
        deliveries_at: deliveries(&fields, vhost, report),
        order: order(&fields, vhost, report),
        parked,
        dead_lettered,
        expired,
        dropped,
        left,
        unroutable: fields.flag("unroutable", report),
    };
    let scenario = Scenario {
        name,
        origin: fields.origin,
        publish,
        when: when(&fields, vhost, report),
        instances: instances(&fields, vhost, report),
        until: fields.millis("until", report),
        expect,
    };
    check(&scenario, vhost, &fields, report);
    Some(scenario)
}

/// The table under `key`, its names looked up by `look_up`.
fn counted<N: Ord>(
    fields: &Fields<'_>,
    key: &str,
    report: &mut Report,
    look_up: impl Fn(&Item<'_, '_>, &mut Report) -> Option<N>,
) -> Counted<N> {
    let mut all = BTreeMap::new();
    for_each(fields, key, report, |item, report| {
        if let (Some(name), Some(n)) =
            (look_up(item, report), item.number(0, i64::MAX as u64, report))
        {
            all.insert(name, n);
        }
    });
    all
}

/// Calls `visit` for each entry of the table under `key`.
fn for_each<'d>(
    fields: &Fields<'d>,
    key: &str,
    report: &mut Report,
    mut visit: impl FnMut(&Item<'_, 'd>, &mut Report),
) {
    let Some(item) = fields.get(key) else { return };
    let toml::de::DeValue::Table(table) = item.value else {
        return item.wrong_type("a table", "{ NAME = … }", report);
    };
    let inner = Fields { table, origin: item.origin, subject: item.what() };
    for entry in inner.items() {
        visit(&entry, report);
    }
}

/// The queue that the key of an entry names.
fn queue(item: &Item<'_, '_>, vhost: &Vhost, report: &mut Report) -> Option<QueueName> {
    if let Some(queue) = vhost.queues.get(item.key) {
        return Some(queue.name.clone());
    }
    let at = Located::new(item.key, item.key_origin);
    report.add(undeclared_reference::queue(item.subject, at, vhost));
    None
}

fn service(item: &Item<'_, '_>, vhost: &Vhost, report: &mut Report) -> Option<ServiceName> {
    if let Some(service) = vhost.services.get(item.key) {
        return Some(service.name.clone());
    }
    let title =
        format!("{} names the service `{}`, which no file declares", item.subject, item.key);
    let known = vhost.services.keys().map(|it| it.as_str());
    let new = name::unknown(title, item.key, item.key_origin, known);
    let help = new.help.clone().unwrap_or("declare it, or delete the entry".to_owned());
    report.add(new.help(help));
    None
}

fn deliveries(
    fields: &Fields<'_>,
    vhost: &Vhost,
    report: &mut Report,
) -> BTreeMap<QueueName, Located<Vec<Millis>>> {
    let mut all = BTreeMap::new();
    for_each(fields, "deliveries_at", report, |item, report| {
        let Some(name) = queue(item, vhost, report) else { return };
        let elements = item.list(report);
        let times: Vec<Located<Millis>> =
            elements.iter().filter_map(|it| it.millis(report)).collect();
        let back = times.windows(2).find(|it| it[1].value < it[0].value);
        if let Some([before, after]) = back {
            let title = format!("{} goes back in time", item.what());
            let new = Diagnostic::new(
                mistake::BAD_VALUE,
                Severity::Error,
                title,
                (after.origin, format!("after \"{}\"", before.value)),
            );
            report.add(new.help("write the times from the first to the last, all from the start"));
        }
        let times = times.into_iter().map(|it| it.value).collect();
        all.insert(name, Located::new(times, item.origin));
    });
    all
}

fn order(
    fields: &Fields<'_>,
    vhost: &Vhost,
    report: &mut Report,
) -> BTreeMap<QueueName, Located<Vec<String>>> {
    let mut all = BTreeMap::new();
    for_each(fields, "order", report, |item, report| {
        let Some(name) = queue(item, vhost, report) else { return };
        let elements = item.list(report);
        let bodies = elements.iter().filter_map(|it| it.text(report));
        let bodies = bodies.map(|it| it.value.to_owned()).collect();
        all.insert(name, Located::new(bodies, item.origin));
    });
    all
}

fn when(
    fields: &Fields<'_>,
    vhost: &Vhost,
    report: &mut Report,
) -> BTreeMap<QueueName, Located<Vec<Outcome>>> {
    let mut all = BTreeMap::new();
    for_each(fields, "when", report, |item, report| {
        let Some(name) = queue(item, vhost, report) else { return };
        let elements = item.one_or_more();
        if elements.is_empty() {
            let help = "write what the consumer does with each delivery, or delete it";
            item.bad::<()>(format!("{} is empty", item.what()), "empty", help, report);
        }
        let outcomes = elements.iter().filter_map(|it| it.word(&Outcome::WORDS, report));
        let outcomes: Vec<Outcome> = outcomes.map(|it| it.value).collect();
        let times_out = outcomes.contains(&Outcome::Timeout);
        if times_out && vhost.queues.get(&*name).is_some_and(|it| it.ack_timeout.is_none()) {
            let title = format!("{} waits for a timeout, but the queue has none", item.what());
            let help = "add `ack_timeout` to the queue, or choose another outcome";
            let new = name::contradiction(title, (item.origin, "never times out"), help);
            let queue = vhost.queues.get(&*name).map(|it| it.origin).unwrap_or_default();
            report.add(new.also(queue, "has no `ack_timeout`"));
        }
        all.insert(name, Located::new(outcomes, item.origin));
    });
    all
}

fn instances(
    fields: &Fields<'_>,
    vhost: &Vhost,
    report: &mut Report,
) -> BTreeMap<ServiceName, Located<u32>> {
    let mut all = BTreeMap::new();
    for_each(fields, "instances", report, |item, report| {
        let name = service(item, vhost, report);
        if let (Some(name), Some(n)) = (name, item.number(0, 1000, report)) {
            all.insert(name, n.map(|it| u32::try_from(it).unwrap_or(u32::MAX)));
        }
    });
    all
}

/// What can be known to fail, or to prove nothing, before the test runs.
fn check(scenario: &Scenario, vhost: &Vhost, fields: &Fields<'_>, report: &mut Report) {
    let expect = &scenario.expect;
    let expectations: Vec<&str> = TEST.keys[5..].to_vec();
    if expectations.iter().all(|key| fields.get(key).is_none()) {
        let title = format!("{} expects nothing, so that it cannot fail", fields.subject);
        let at = (fields.origin, "no expectation");
        let new = Diagnostic::new(mistake::MISSING_KEY, Severity::Error, title, at);
        report.add(new.help("add what must come of it, for example `reaches = { … }`"));
    }
    if let (Some(unroutable), Some(reaches)) = (expect.unroutable, &expect.reaches)
        && unroutable.value
        && reaches.value.values().any(|it| it.value > 0)
    {
        let title = format!("{} expects a message to reach queues, and none", fields.subject);
        let at = (unroutable.origin, "reaches no queue");
        let new = name::contradiction(title, at, "keep one of them");
        report.add(new.also(reaches.origin, "reaches these"));
    }
    for (queue, n) in &expect.parked {
        let queue = vhost.queues.get(queue).filter(|it| it.parking.is_none() && n.value > 0);
        if let Some(queue) = queue {
            let title = format!(
                "{} expects parked messages of `{}`, which has no parking lot",
                fields.subject, queue.name
            );
            let help = "add a `retry` or `parking = true` to the queue, or delete it";
            let new = name::contradiction(title, (n.origin, "nothing is parked"), help);
            report.add(new.also(queue.origin, "no parking lot"));
        }
    }
}

/// The exchange a message of a test is published to.
pub(in crate::topology) fn exchange(
    item: &Item<'_, '_>,
    vhost: &Vhost,
    report: &mut Report,
) -> Option<Located<ExchangeName>> {
    let text = item.text(report)?;
    if !undeclared_reference::is_exchange(text.value, vhost) {
        report.add(undeclared_reference::exchange(item.subject, text, vhost));
        return None;
    }
    Some(text.map(ExchangeName::new))
}
