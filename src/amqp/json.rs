//! Field tables as JSON, and back.

use serde_json::Map;
use serde_json::Number;
use serde_json::Value as Json;

use crate::amqp::limit;
use crate::amqp::table::Table;
use crate::amqp::table::Value;

/// JSON that is no field table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonError {
    #[error("`arguments` is {0}; it must be an object")]
    NoObject(String),
    #[error("tables nest deeper than {}", limit::TABLE_DEPTH)]
    TooDeep,
}

/// A table as the management API shows it.
pub fn from_table(table: &Table) -> Json {
    Json::Object(table.iter().map(|(key, value)| (key.to_owned(), from_value(value))).collect())
}

/// One value of a table as JSON.
pub fn from_value(value: &Value) -> Json {
    match value {
        Value::Bool(it) => Json::Bool(*it),
        Value::F32(it) => float(f64::from(*it)),
        Value::F64(it) => float(*it),
        Value::LongString(bytes) | Value::Bytes(bytes) => {
            Json::String(String::from_utf8_lossy(bytes).into_owned())
        }
        Value::Array(items) => Json::Array(items.iter().map(from_value).collect()),
        Value::Table(table) => from_table(table),
        Value::Time(secs) => Json::from(*secs),
        Value::Void => Json::Null,
        Value::Decimal { .. } => Json::String(value.to_string()),
        Value::I8(_)
        | Value::U8(_)
        | Value::I16(_)
        | Value::U16(_)
        | Value::I32(_)
        | Value::U32(_)
        | Value::I64(_) => value.as_integer().map_or(Json::Null, Json::from),
    }
}

/// What JSON has no number for is null.
fn float(number: f64) -> Json {
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}

/// The table of an `arguments` field; none when it is absent.
///
/// # Errors
/// When it is no object, or nested too deeply.
pub fn to_table(json: Option<&Json>) -> Result<Table, JsonError> {
    match json {
        None => Ok(Table::default()),
        Some(Json::Object(map)) => entries(map, limit::TABLE_DEPTH),
        // COMPAT: an empty list stands for an empty object in old exports.
        Some(Json::Array(items)) if items.is_empty() => Ok(Table::default()),
        Some(other) => Err(JsonError::NoObject(other.to_string())),
    }
}

fn entries(map: &Map<String, Json>, depth: usize) -> Result<Table, JsonError> {
    if depth == 0 {
        return Err(JsonError::TooDeep);
    }
    let entry = |(key, value): (&String, &Json)| Ok((key.clone(), to_value(value, depth)?));
    Ok(Table(map.iter().map(entry).collect::<Result<_, _>>()?))
}

/// COMPAT: integers become 64 bits wide, texts long strings.
fn to_value(json: &Json, depth: usize) -> Result<Value, JsonError> {
    Ok(match json {
        Json::Null => Value::Void,
        Json::Bool(it) => Value::Bool(*it),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(it), _) => Value::I64(it),
            (None, Some(it)) => Value::F64(it),
            (None, None) => Value::Void,
        },
        Json::String(text) => Value::text(text),
        Json::Array(items) => {
            if depth == 0 {
                return Err(JsonError::TooDeep);
            }
            let items = items.iter().map(|it| to_value(it, depth - 1));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Json::Object(map) => Value::Table(entries(map, depth - 1)?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_come_back_as_they_were() {
        let json = json!({
            "n": 5, "f": 1.5, "t": "é", "b": true, "a": [1, "x", {"k": null}], "o": {"p": {}}
        });
        assert_eq!(from_table(&to_table(Some(&json)).unwrap()), json);
        assert_eq!(to_table(Some(&json!([]))).unwrap(), Table::default());
        assert!(to_table(Some(&json!("x"))).is_err());
        let deep = (0..40).fold(json!({}), |inner, _| json!({ "k": inner }));
        assert!(to_table(Some(&deep)).is_err());
    }
}
