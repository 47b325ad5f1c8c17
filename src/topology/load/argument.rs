//! Free `arguments` tables: TOML values as AMQP field tables.

use toml::de::DeValue;

use crate::amqp::argument::ArgumentError;
use crate::amqp::argument::ArgumentFault;
use crate::amqp::limit;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Item;
use crate::topology::load::mistake;
use crate::topology::source::Located;
use crate::topology::source::Origin;

/// The table under `key`, in the order of the file, each value with its place.
pub(in crate::topology) fn arguments(
    fields: &Fields<'_>,
    key: &str,
    report: &mut Report,
) -> Vec<(String, Located<Value>)> {
    let Some(item) = fields.get(key) else { return Vec::new() };
    let DeValue::Table(table) = item.value else {
        item.wrong_type("a table", "{ … }", report);
        return Vec::new();
    };
    let inner = Fields { table, origin: item.origin, subject: item.what() };
    let mut all = Vec::new();
    for argument in inner.items() {
        if argument.key.len() > limit::SHORT_STRING_BYTES {
            let title = format!("{} has a key of over 255 bytes", inner.subject);
            let help = "AMQP's field names have at most 255 bytes: shorten it";
            argument.bad::<()>(title, "too long", help, report);
        } else if let Some(value) = to_value(&argument, 1, report) {
            all.push((argument.key.to_owned(), Located::new(value, argument.origin)));
        }
    }
    all
}

/// The arguments without their places.
pub(in crate::topology) fn table(arguments: &[(String, Located<Value>)]) -> Table {
    Table(arguments.iter().map(|(key, value)| (key.clone(), value.value.clone())).collect())
}

fn to_value(item: &Item<'_, '_>, depth: usize, report: &mut Report) -> Option<Value> {
    if depth == limit::TABLE_DEPTH {
        let title = format!("{} nests too deep", item.what());
        let help = format!("AMQP tables nest at most {} levels here", limit::TABLE_DEPTH);
        return item.bad(title, "too deep", help, report);
    }
    match item.value {
        DeValue::String(text) => Some(Value::text(text)),
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(Value::I64(number)),
            Err(_) => {
                let title = format!("{} is out of range", item.what());
                item.bad(title, "out of range", "AMQP's integers have 64 bits", report)
            }
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Some(Value::F64(number)),
            Err(_) => item.bad(format!("{} is no number", item.what()), "not a number", "", report),
        },
        DeValue::Datetime(_) => {
            let title = format!("{} is a date", item.what());
            item.bad(title, "a date", "write seconds since 1970, or a string", report)
        }
        DeValue::Array(_) => {
            let items = item.list(report);
            let values = items.iter().filter_map(|it| to_value(it, depth + 1, report)).collect();
            Some(Value::Array(values))
        }
        DeValue::Table(table) => {
            let inner = Fields { table, origin: item.origin, subject: item.subject.to_owned() };
            let items = inner.items();
            let entries = items.iter().filter_map(|it| {
                to_value(it, depth + 1, report).map(|value| (it.key.to_owned(), value))
            });
            Some(Value::Table(Table(entries.collect())))
        }
    }
}

/// Reports an argument that no broker would take.
pub(in crate::topology) fn report_error(
    subject: &str,
    error: &ArgumentError,
    place: impl Fn(&str) -> Origin,
    report: &mut Report,
) {
    let (key, why, help) = match error {
        ArgumentError::Invalid { key, fault } => (*key, fault_text(fault), "change or delete it"),
        ArgumentError::OtherQueueType { key, queue_type } => {
            let why = format!("is not for queues of type `{}`", queue_type.as_str());
            (*key, why, "delete it, or change `x-queue-type`")
        }
        ArgumentError::ExchangeNotText { key, got } => {
            (*key, format!("must be a string, not of type {got}"), "name an exchange")
        }
    };
    let title = format!("argument `{key}` of {subject} {why}");
    let at = (place(key), "refused");
    let new = Diagnostic::new(mistake::BAD_VALUE, Severity::Error, title, at);
    report.add(new.help(help));
}

fn fault_text(fault: &ArgumentFault) -> String {
    match fault {
        ArgumentFault::NotInteger { .. } => "must be an integer".to_owned(),
        ArgumentFault::Negative(it) => format!("is negative: {it}"),
        ArgumentFault::Zero => "is zero".to_owned(),
        ArgumentFault::TooLarge(it) => format!("is over ten years: {it}"),
        ArgumentFault::AboveMaximum(it) => format!("is above the maximum: {it}"),
        ArgumentFault::UnacceptableType { got } => format!("has the wrong type {got}"),
        ArgumentFault::Unknown(_) => "has an unknown value".to_owned(),
        ArgumentFault::UnsupportedQueueType(it) => format!("cannot be `{it}`"),
        ArgumentFault::KeyWithoutExchange => "needs `x-dead-letter-exchange`".to_owned(),
        ArgumentFault::SegmentTooLarge => "is above three billion".to_owned(),
        ArgumentFault::FilterSize => "is not between 16 and 255".to_owned(),
    }
}
