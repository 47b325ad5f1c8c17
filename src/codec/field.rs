//! Field tables as the wire's library has them, and as ours.

use amq_protocol::types::AMQPValue;
use amq_protocol::types::DecimalValue;
use amq_protocol::types::FieldArray;
use amq_protocol::types::FieldTable;
use amq_protocol::types::ShortString;

use crate::amqp::limit;
use crate::amqp::table;
use crate::amqp::table::Table;
use crate::amqp::table::Value;

/// The table of a method or of a client's properties. Its depth is bounded by whoever has read it.
pub fn to_table(fields: &FieldTable) -> Table {
    Table(fields.into_iter().map(|(key, it)| (key.as_str().to_owned(), to_value(it))).collect())
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
        AMQPValue::FieldArray(it) => Value::Array(it.as_slice().iter().map(to_value).collect()),
        AMQPValue::Timestamp(it) => Value::Time(*it),
        AMQPValue::FieldTable(it) => Value::Table(to_table(it)),
        AMQPValue::ByteArray(it) => Value::Bytes(it.as_slice().to_vec()),
        AMQPValue::Void => Value::Void,
    }
}

/// The table for a method or for a client's properties.
pub fn to_fields(table: &Table) -> FieldTable {
    let mut fields = FieldTable::default();
    for (key, value) in table.iter() {
        fields.insert(short(key), to_amqp(value));
    }
    fields
}

fn to_amqp(value: &Value) -> AMQPValue {
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
        Value::LongString(it) => AMQPValue::LongString(it.as_slice().into()),
        Value::Bytes(it) => AMQPValue::ByteArray(it.as_slice().into()),
        Value::Array(it) => {
            AMQPValue::FieldArray(FieldArray::from(it.iter().map(to_amqp).collect::<Vec<_>>()))
        }
        Value::Time(it) => AMQPValue::Timestamp(*it),
        Value::Table(it) => AMQPValue::FieldTable(to_fields(it)),
        Value::Void => AMQPValue::Void,
    }
}

/// A text as long as short strings may be.
pub(in crate::codec) fn short(text: &str) -> ShortString {
    table::truncate_utf8(text, limit::SHORT_STRING_BYTES).into()
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
}
