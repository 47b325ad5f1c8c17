//! Field tables: AMQP's typed maps, with their order and duplicates kept, and their bytes.
//!
//! Layout of a table: its size in bytes as `u32`, then entries of a short string (the key), one
//! octet naming the type, and the value. SPEC: section 4.2.5.5; the type letters are RabbitMQ's,
//! which differ from the specification's (`s` is a signed 16-bit integer).

use std::fmt;

use crate::amqp::limit;

/// An ordered field table. Keys may repeat; [`Table::get`] finds the first.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Table(pub Vec<(String, Value)>);

/// One field of a [`Table`].
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal {
        scale: u8,
        value: u32,
    },
    LongString(Vec<u8>),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    /// Seconds since the Unix epoch.
    Time(u64),
    Table(Table),
    Void,
}

/// What is wrong with the bytes of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TableError {
    #[error("a field table ends in the middle of a value")]
    Truncated,
    #[error("a field table has a value of the unknown type `{}`", char::from(*.0).escape_default())]
    UnknownType(u8),
    #[error("a field table nests deeper than {} levels", limit::TABLE_DEPTH)]
    TooDeep,
    #[error("a field name is not UTF-8")]
    NameNotUtf8,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets `key` where it stands, or appends it.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(at).1)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Reads a table from the front of `bytes`, its size field included; returns what follows.
    pub fn decode(bytes: &[u8]) -> Result<(Table, &[u8]), TableError> {
        let size = check(bytes)?;
        let (body, rest) = (&bytes[4..size], &bytes[size..]);
        Ok((decode_entries(body), rest))
    }

    /// Appends the table's bytes, size field included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        sized(out, |out| self.0.iter().for_each(|(key, value)| encode_entry(key, value, out)));
    }
}

fn encode_entry(key: &str, value: &Value, out: &mut Vec<u8>) {
    let key = truncate_utf8(key, limit::SHORT_STRING_BYTES);
    out.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(key.as_bytes());
    value.encode(out);
}

/// Appends the bytes of a table that has one entry more than `entries`, the bytes of others.
pub(in crate::amqp) fn append(entries: &[u8], key: &str, value: &Value, out: &mut Vec<u8>) {
    sized(out, |out| {
        out.extend_from_slice(entries);
        encode_entry(key, value, out);
    });
}

impl Value {
    pub fn text(text: &str) -> Value {
        Value::LongString(text.as_bytes().to_vec())
    }

    /// The integer, whatever its width.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::I8(it) => Some(i64::from(*it)),
            Value::U8(it) => Some(i64::from(*it)),
            Value::I16(it) => Some(i64::from(*it)),
            Value::U16(it) => Some(i64::from(*it)),
            Value::I32(it) => Some(i64::from(*it)),
            Value::U32(it) => Some(i64::from(*it)),
            Value::I64(it) => Some(*it),
            Value::Bool(_)
            | Value::F32(_)
            | Value::F64(_)
            | Value::Decimal { .. }
            | Value::LongString(_)
            | Value::Bytes(_)
            | Value::Array(_)
            | Value::Time(_)
            | Value::Table(_)
            | Value::Void => None,
        }
    }

    /// The text of a long string, when it is UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        let Value::LongString(bytes) = self else {
            return None;
        };
        std::str::from_utf8(bytes).ok()
    }

    pub fn as_bool(&self) -> Option<bool> {
        let Value::Bool(it) = self else { return None };
        Some(*it)
    }

    pub fn as_table(&self) -> Option<&Table> {
        let Value::Table(it) = self else { return None };
        Some(it)
    }

    pub fn as_array(&self) -> Option<&[Value]> {
        let Value::Array(it) = self else { return None };
        Some(it)
    }

    /// Equal value and kind; the width of integers does not matter.
    ///
    /// COMPAT: RabbitMQ's comparison for header bindings and for redeclared arguments.
    pub fn equivalent(&self, other: &Value) -> bool {
        match (self.as_integer(), other.as_integer()) {
            (Some(a), Some(b)) => a == b,
            _ => match (self, other) {
                (Value::F32(a), Value::F64(b)) | (Value::F64(b), Value::F32(a)) => {
                    f64::from(*a) == *b
                }
                (Value::Array(a), Value::Array(b)) => {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equivalent(b))
                }
                (Value::Table(a), Value::Table(b)) => {
                    a.len() == b.len()
                        && a.iter().all(|(key, value)| {
                            b.get(key).is_some_and(|other| value.equivalent(other))
                        })
                }
                _ => self == other,
            },
        }
    }

    /// COMPAT: the type's name in RabbitMQ's error texts.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::I8(_) => "byte",
            Value::U8(_) => "unsignedbyte",
            Value::I16(_) => "short",
            Value::U16(_) => "unsignedshort",
            Value::I32(_) => "signedint",
            Value::U32(_) => "unsignedint",
            Value::I64(_) => "long",
            Value::F32(_) => "float",
            Value::F64(_) => "double",
            Value::Decimal { .. } => "decimal",
            Value::LongString(_) => "longstr",
            Value::Bytes(_) => "binary",
            Value::Array(_) => "array",
            Value::Time(_) => "timestamp",
            Value::Table(_) => "table",
            Value::Void => "void",
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Bool(it) => out.extend_from_slice(&[b't', u8::from(*it)]),
            Value::I8(it) => out.extend_from_slice(&[b'b', it.to_be_bytes()[0]]),
            Value::U8(it) => out.extend_from_slice(&[b'B', *it]),
            Value::I16(it) => tagged(out, b's', &it.to_be_bytes()),
            Value::U16(it) => tagged(out, b'u', &it.to_be_bytes()),
            Value::I32(it) => tagged(out, b'I', &it.to_be_bytes()),
            Value::U32(it) => tagged(out, b'i', &it.to_be_bytes()),
            Value::I64(it) => tagged(out, b'l', &it.to_be_bytes()),
            Value::F32(it) => tagged(out, b'f', &it.to_be_bytes()),
            Value::F64(it) => tagged(out, b'd', &it.to_be_bytes()),
            Value::Decimal { scale, value } => {
                out.extend_from_slice(&[b'D', *scale]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Value::LongString(bytes) => long(out, b'S', bytes),
            Value::Bytes(bytes) => long(out, b'x', bytes),
            Value::Array(items) => {
                out.push(b'A');
                sized(out, |out| items.iter().for_each(|item| item.encode(out)));
            }
            Value::Time(secs) => tagged(out, b'T', &secs.to_be_bytes()),
            Value::Table(table) => {
                out.push(b'F');
                table.encode(out);
            }
            Value::Void => out.push(b'V'),
        }
    }
}

/// Text as a person would write it in a diagnostic: strings bare, tables as `{a=1, b=x}`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(it) => write!(f, "{it}"),
            Value::F32(it) => write!(f, "{it}"),
            Value::F64(it) => write!(f, "{it}"),
            Value::Decimal { scale, value } => write!(f, "{value}e-{scale}"),
            Value::LongString(bytes) | Value::Bytes(bytes) => {
                f.write_str(&String::from_utf8_lossy(bytes))
            }
            Value::Array(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
            Value::Time(secs) => write!(f, "{secs}"),
            Value::Table(table) => write!(f, "{table}"),
            Value::Void => f.write_str("void"),
            Value::I8(_)
            | Value::U8(_)
            | Value::I16(_)
            | Value::U16(_)
            | Value::I32(_)
            | Value::U32(_)
            | Value::I64(_) => write!(f, "{}", self.as_integer().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (key, value)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{key}={value}")?;
        }
        f.write_str("}")
    }
}

/// Checks the table at the front of `bytes` without allocating or recursing; returns its size in
/// bytes, the size field included.
///
/// Everything that later reads the table may recurse, because this bounded its depth.
pub fn check(bytes: &[u8]) -> Result<usize, TableError> {
    let end = container_end(bytes, 0)?;
    // The end of each open container and whether its entries have names.
    let mut open = [(0usize, false); limit::TABLE_DEPTH];
    open[0] = (end, true);
    let mut depth = 1;
    let mut at = 4;
    while depth > 0 {
        let (end, named) = open[depth - 1];
        if at == end {
            depth -= 1;
            continue;
        }
        if named {
            let len = usize::from(*bytes[at..end].first().ok_or(TableError::Truncated)?);
            let name = bytes[at + 1..end].get(..len).ok_or(TableError::Truncated)?;
            std::str::from_utf8(name).map_err(|_| TableError::NameNotUtf8)?;
            at += 1 + len;
        }
        let kind = *bytes[at..end].first().ok_or(TableError::Truncated)?;
        at += 1;
        let width = match kind {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'l' | b'L' | b'd' | b'T' => 8,
            b'S' | b'x' => container_end(&bytes[..end], at)? - at,
            b'A' | b'F' => {
                let inner_end = container_end(&bytes[..end], at)?;
                if depth == limit::TABLE_DEPTH {
                    return Err(TableError::TooDeep);
                }
                open[depth] = (inner_end, kind == b'F');
                depth += 1;
                4
            }
            other => return Err(TableError::UnknownType(other)),
        };
        if end - at < width {
            return Err(TableError::Truncated);
        }
        at += width;
    }
    Ok(end)
}

/// Where the thing whose `u32` size stands at `at` ends; its end lies within `bytes`.
fn container_end(bytes: &[u8], at: usize) -> Result<usize, TableError> {
    let size = bytes.get(at..at + 4).ok_or(TableError::Truncated)?;
    let size = u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize;
    let end = at + 4 + size;
    if end > bytes.len() { Err(TableError::Truncated) } else { Ok(end) }
}

/// Decodes entries that [`check`] has passed.
fn decode_entries(mut bytes: &[u8]) -> Table {
    let mut table = Table::default();
    while let Some((&len, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at(usize::from(len));
        let (value, rest) = decode_value(rest);
        table.0.push((String::from_utf8_lossy(name).into_owned(), value));
        bytes = rest;
    }
    table
}

/// Decodes one value of checked bytes. Recursion is bounded by `limit::TABLE_DEPTH`.
fn decode_value(bytes: &[u8]) -> (Value, &[u8]) {
    let (kind, rest) = (bytes[0], &bytes[1..]);
    match kind {
        b't' => (Value::Bool(rest[0] != 0), &rest[1..]),
        b'b' => (Value::I8(i8::from_be_bytes([rest[0]])), &rest[1..]),
        b'B' => (Value::U8(rest[0]), &rest[1..]),
        b's' => (Value::I16(i16::from_be_bytes(array(rest))), &rest[2..]),
        b'u' => (Value::U16(u16::from_be_bytes(array(rest))), &rest[2..]),
        b'I' => (Value::I32(i32::from_be_bytes(array(rest))), &rest[4..]),
        b'i' => (Value::U32(u32::from_be_bytes(array(rest))), &rest[4..]),
        b'l' | b'L' => (Value::I64(i64::from_be_bytes(array(rest))), &rest[8..]),
        b'f' => (Value::F32(f32::from_be_bytes(array(rest))), &rest[4..]),
        b'd' => (Value::F64(f64::from_be_bytes(array(rest))), &rest[8..]),
        b'D' => {
            let value = u32::from_be_bytes(array(&rest[1..]));
            (Value::Decimal { scale: rest[0], value }, &rest[5..])
        }
        b'T' => (Value::Time(u64::from_be_bytes(array(rest))), &rest[8..]),
        b'S' | b'x' | b'A' | b'F' => {
            let size = u32::from_be_bytes(array(rest)) as usize;
            let (inner, rest) = rest[4..].split_at(size);
            let value = match kind {
                b'S' => Value::LongString(inner.to_vec()),
                b'x' => Value::Bytes(inner.to_vec()),
                b'A' => Value::Array(decode_items(inner)),
                _ => Value::Table(decode_entries(inner)),
            };
            (value, rest)
        }
        _ => (Value::Void, rest),
    }
}

fn decode_items(mut bytes: &[u8]) -> Vec<Value> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (item, rest) = decode_value(bytes);
        items.push(item);
        bytes = rest;
    }
    items
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}

fn tagged(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    out.extend_from_slice(bytes);
}

fn long(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    sized(out, |out| out.extend_from_slice(bytes));
}

/// Writes what `write` writes behind its `u32` size.
fn sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let size = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}

/// The longest prefix of at most `bytes` bytes that ends between two characters.
pub fn truncate_utf8(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
