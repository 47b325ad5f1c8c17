//! Headers of a client library as tables of our own, and back.

use lapin::BasicProperties;
use lapin::types::AMQPValue;
use lapin::types::DecimalValue;
use lapin::types::FieldTable;

use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::topology::rabbitmq::detour::USER_ID;

/// The headers of a message.
pub(super) fn headers(properties: &BasicProperties) -> Table {
    properties.headers().as_ref().map(to_table).unwrap_or_default()
}

fn to_table(fields: &FieldTable) -> Table {
    let entries = fields.inner().iter();
    Table(entries.map(|(key, value)| (key.as_str().to_owned(), to_value(value))).collect())
}

fn to_value(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(it) => Value::Bool(*it),
        AMQPValue::ShortShortInt(it) => Value::I8(*it),
        AMQPValue::ShortShortUInt(it) => Value::U8(*it),
        AMQPValue::ShortInt(it) => Value::I16(*it),
        AMQPValue::ShortUInt(it) => Value::U16(*it),
        AMQPValue::LongInt(it) => Value::I32(*it),
        AMQPValue::LongUInt(it) => Value::U32(*it),
        AMQPValue::LongLongInt(it) => Value::I64(*it),
        AMQPValue::Float(it) => Value::F32(*it),
        AMQPValue::Double(it) => Value::F64(*it),
        AMQPValue::DecimalValue(it) => Value::Decimal { scale: it.scale, value: it.value },
        AMQPValue::ShortString(it) => Value::text(it.as_str()),
        AMQPValue::LongString(it) => Value::LongString(it.as_bytes().to_vec()),
        AMQPValue::FieldArray(all) => Value::Array(all.as_slice().iter().map(to_value).collect()),
        AMQPValue::Timestamp(it) => Value::Time(*it),
        AMQPValue::FieldTable(it) => Value::Table(to_table(it)),
        AMQPValue::ByteArray(it) => Value::Bytes(it.as_slice().to_vec()),
        AMQPValue::Void => Value::Void,
    }
}

/// A table for the client library.
pub(super) fn to_fields(table: &Table) -> FieldTable {
    let mut fields = FieldTable::default();
    for (key, value) in table.iter() {
        fields.insert(key.into(), to_field(value));
    }
    fields
}

fn to_field(value: &Value) -> AMQPValue {
    match value {
        Value::Bool(it) => AMQPValue::Boolean(*it),
        Value::I8(it) => AMQPValue::ShortShortInt(*it),
        Value::U8(it) => AMQPValue::ShortShortUInt(*it),
        Value::I16(it) => AMQPValue::ShortInt(*it),
        Value::U16(it) => AMQPValue::ShortUInt(*it),
        Value::I32(it) => AMQPValue::LongInt(*it),
        Value::U32(it) => AMQPValue::LongUInt(*it),
        Value::I64(it) => AMQPValue::LongLongInt(*it),
        Value::F32(it) => AMQPValue::Float(*it),
        Value::F64(it) => AMQPValue::Double(*it),
        Value::Decimal { scale, value } => {
            AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: *value })
        }
        Value::LongString(it) => AMQPValue::LongString(it.clone().into()),
        Value::Bytes(it) => AMQPValue::ByteArray(it.clone().into()),
        Value::Array(all) => {
            AMQPValue::FieldArray(all.iter().map(to_field).collect::<Vec<AMQPValue>>().into())
        }
        Value::Time(it) => AMQPValue::Timestamp(*it),
        Value::Table(it) => AMQPValue::FieldTable(to_fields(it)),
        Value::Void => AMQPValue::Void,
    }
}

/// The properties with other headers; without the user when somebody else publishes them.
pub(super) fn with_headers(
    it: &BasicProperties,
    headers: &Table,
    keeps_user: bool,
) -> BasicProperties {
    if keeps_user || it.user_id().is_none() {
        return it.clone().with_headers(to_fields(headers));
    }
    let mut new = BasicProperties::default().with_headers(to_fields(headers));
    macro_rules! copy {
        ($($get:ident $with:ident),*) => {
            $(if let Some(value) = it.$get().clone() { new = new.$with(value); })*
        };
    }
    copy!(
        content_type with_content_type,
        content_encoding with_content_encoding,
        delivery_mode with_delivery_mode,
        priority with_priority,
        correlation_id with_correlation_id,
        reply_to with_reply_to,
        expiration with_expiration,
        message_id with_message_id,
        timestamp with_timestamp,
        kind with_type,
        app_id with_app_id,
        cluster_id with_cluster_id
    );
    new
}

/// The properties as somebody can publish them who is not the user they name: a header says who was.
pub(super) fn by_another(it: &BasicProperties) -> BasicProperties {
    let Some(user) = it.user_id() else { return it.clone() };
    let mut headers = headers(it);
    headers.set(USER_ID, Value::text(user.as_str()));
    with_headers(it, &headers, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_back_as_they_were() {
        let mut inner = Table::default();
        inner.set("n", Value::I64(-5));
        let mut table = Table::default();
        table.set("a", Value::Array(vec![Value::Table(inner), Value::Void, Value::F64(0.5)]));
        table.set("b", Value::Bool(true));
        table.set("t", Value::Time(7));
        table.set("x", Value::LongString(vec![0xff, 0]));
        assert_eq!(to_table(&to_fields(&table)), table);
    }

    #[test]
    fn a_user_who_cannot_publish_again_is_taken_out() {
        let properties = BasicProperties::default()
            .with_user_id("shop".into())
            .with_message_id("m".into())
            .with_type("t".into());
        let kept = with_headers(&properties, &Table::default(), true);
        assert_eq!(kept.user_id().as_ref().map(|it| it.as_str()), Some("shop"));
        let left = with_headers(&properties, &Table::default(), false);
        assert!(left.user_id().is_none());
        let id = left.message_id().as_ref().map(|it| it.as_str());
        let kind = left.kind().as_ref().map(|it| it.as_str());
        assert_eq!((id, kind), (Some("m"), Some("t")));
    }
}
