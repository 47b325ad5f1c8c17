//! The properties of a message: the bytes a client sent, read in place, and an editable form.
//!
//! Layout: `u16` flags, then the present properties in the order of their flag bits, the highest
//! first. SPEC: section 2.3.5.2 and class `basic`.

use crate::amqp::limit;
use crate::amqp::table;
use crate::amqp::table::Table;
use crate::amqp::table::TableError;
use crate::amqp::table::Value;

/// A message's properties as they lie on the wire, checked by [`Properties::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties<'a>(&'a [u8]);

/// The fourteen properties of class `basic`, in wire order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Property {
    ContentType,
    ContentEncoding,
    Headers,
    DeliveryMode,
    Priority,
    CorrelationId,
    ReplyTo,
    Expiration,
    MessageId,
    Timestamp,
    Type,
    UserId,
    AppId,
    ClusterId,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PropertyError {
    #[error("the properties end in the middle of a value")]
    Truncated,
    #[error("the property flags continue in a second word, which no known property needs")]
    Continued,
    #[error("bytes follow the last property")]
    TrailingBytes,
    #[error("a property is not UTF-8")]
    NotUtf8,
    #[error(transparent)]
    Table(#[from] TableError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    ShortString,
    Table,
    Octet,
    LongLong,
}

const ALL: [Property; 14] = [
    Property::ContentType,
    Property::ContentEncoding,
    Property::Headers,
    Property::DeliveryMode,
    Property::Priority,
    Property::CorrelationId,
    Property::ReplyTo,
    Property::Expiration,
    Property::MessageId,
    Property::Timestamp,
    Property::Type,
    Property::UserId,
    Property::AppId,
    Property::ClusterId,
];

/// Flag bit 0 says that another word of flags follows.
const CONTINUED: u16 = 1;
/// No properties at all: a flags word of zero.
const NONE: &[u8] = &[0, 0];

impl Property {
    fn flag(self) -> u16 {
        0x8000 >> (self as u16)
    }

    fn shape(self) -> Shape {
        match self {
            Property::Headers => Shape::Table,
            Property::DeliveryMode | Property::Priority => Shape::Octet,
            Property::Timestamp => Shape::LongLong,
            Property::ContentType
            | Property::ContentEncoding
            | Property::CorrelationId
            | Property::ReplyTo
            | Property::Expiration
            | Property::MessageId
            | Property::Type
            | Property::UserId
            | Property::AppId
            | Property::ClusterId => Shape::ShortString,
        }
    }
}

impl<'a> Properties<'a> {
    pub const NONE: Properties<'static> = Properties(NONE);

    /// Accepts `bytes` if every property in them can be read.
    ///
    /// COMPAT: the unused flag bit 1 is let through, as RabbitMQ does.
    pub fn check(bytes: &'a [u8]) -> Result<Properties<'a>, PropertyError> {
        let flags = read_flags(bytes).ok_or(PropertyError::Truncated)?;
        if flags & CONTINUED != 0 {
            return Err(PropertyError::Continued);
        }
        let mut at = 2;
        for property in ALL {
            if flags & property.flag() == 0 {
                continue;
            }
            let rest = &bytes[at..];
            at += match property.shape() {
                Shape::Table => table::check(rest)?,
                Shape::ShortString => {
                    let len = usize::from(*rest.first().ok_or(PropertyError::Truncated)?);
                    let text = rest[1..].get(..len).ok_or(PropertyError::Truncated)?;
                    std::str::from_utf8(text).map_err(|_| PropertyError::NotUtf8)?;
                    1 + len
                }
                Shape::Octet => 1,
                Shape::LongLong => 8,
            };
            if at > bytes.len() {
                return Err(PropertyError::Truncated);
            }
        }
        if at == bytes.len() { Ok(Properties(bytes)) } else { Err(PropertyError::TrailingBytes) }
    }

    /// Wraps bytes that [`Properties::check`] accepted when they came in.
    pub fn from_checked(bytes: &'a [u8]) -> Properties<'a> {
        Properties(bytes)
    }

    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The bytes of one property, its length prefix included; `None` when it is absent.
    fn find(self, wanted: Property) -> Option<&'a [u8]> {
        let (at, len) = self.place(wanted)?;
        self.0.get(at..at + len).filter(|it| !it.is_empty())
    }

    /// Where the bytes of one property begin, and how many there are: none when it is absent.
    fn place(self, wanted: Property) -> Option<(usize, usize)> {
        let flags = read_flags(self.0)?;
        let mut at = 2;
        for property in ALL {
            if flags & property.flag() == 0 {
                if property == wanted {
                    return Some((at, 0));
                }
                continue;
            }
            let rest = self.0.get(at..)?;
            let len = match property.shape() {
                Shape::Table => {
                    let size = rest.get(..4)?;
                    4 + u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize
                }
                Shape::ShortString => 1 + usize::from(*rest.first()?),
                Shape::Octet => 1,
                Shape::LongLong => 8,
            };
            if property == wanted {
                return Some((at, len));
            }
            at += len;
        }
        None
    }

    /// The text of a property that is a short string.
    pub fn text(self, property: Property) -> Option<&'a str> {
        let bytes = self.find(property)?;
        match property.shape() {
            Shape::ShortString => std::str::from_utf8(bytes.get(1..)?).ok(),
            Shape::Table | Shape::Octet | Shape::LongLong => None,
        }
    }

    pub fn delivery_mode(self) -> Option<u8> {
        self.find(Property::DeliveryMode)?.first().copied()
    }

    /// COMPAT: only 2 is persistent; any other value is taken as transient.
    pub fn is_persistent(self) -> bool {
        self.delivery_mode() == Some(2)
    }

    pub fn priority(self) -> Option<u8> {
        self.find(Property::Priority)?.first().copied()
    }

    /// Seconds since the Unix epoch.
    pub fn timestamp(self) -> Option<u64> {
        let bytes = self.find(Property::Timestamp)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }

    pub fn expiration(self) -> Option<&'a str> {
        self.text(Property::Expiration)
    }

    pub fn message_id(self) -> Option<&'a str> {
        self.text(Property::MessageId)
    }

    pub fn has_headers(self) -> bool {
        read_flags(self.0).is_some_and(|flags| flags & Property::Headers.flag() != 0)
    }

    /// Whether `name` occurs anywhere in the header table's bytes: a cheap test that may say yes
    /// wrongly, but never no.
    pub fn may_have_header(self, name: &[u8]) -> bool {
        self.find(Property::Headers)
            .is_some_and(|bytes| bytes.windows(name.len()).any(|window| window == name))
    }

    /// The header table, decoded.
    pub fn headers(self) -> Option<Table> {
        Table::decode(self.find(Property::Headers)?).ok().map(|(table, _)| table)
    }

    /// The same with one more header, in place of one of that name, and with this delivery mode if
    /// it has none.
    pub fn with_header(self, name: &str, value: &Value, delivery_mode: u8) -> Vec<u8> {
        let place =
            self.place(Property::Headers).filter(|_| !self.may_have_header(name.as_bytes()));
        let (Some((at, len)), Some(flags)) = (place, read_flags(self.0)) else {
            let mut list = self.edit();
            list.headers_mut().set(name, value.clone());
            if self.delivery_mode().is_none() {
                list.set_delivery_mode(delivery_mode);
            }
            return list.to_bytes();
        };
        let mut out = Vec::with_capacity(self.0.len() + name.len() + 32);
        let more = Property::Headers.flag() | Property::DeliveryMode.flag();
        out.extend_from_slice(&(flags | more).to_be_bytes());
        out.extend_from_slice(&self.0[2..at]);
        table::append(self.0.get(at + 4..at + len).unwrap_or_default(), name, value, &mut out);
        if flags & Property::DeliveryMode.flag() == 0 {
            out.push(delivery_mode);
        }
        out.extend_from_slice(&self.0[at + len..]);
        out
    }

    /// A form that can be changed and written back.
    pub fn edit(self) -> PropertyList {
        let mut list = PropertyList::default();
        for property in ALL {
            let Some(bytes) = self.find(property) else {
                continue;
            };
            if property == Property::Headers {
                list.headers = Table::decode(bytes).ok().map(|(table, _)| table);
            } else {
                list.other.push((property, bytes.to_vec()));
            }
        }
        list
    }
}

/// Properties that can be changed: the headers decoded, the rest as they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PropertyList {
    pub headers: Option<Table>,
    other: Vec<(Property, Vec<u8>)>,
}

impl PropertyList {
    pub fn headers_mut(&mut self) -> &mut Table {
        self.headers.get_or_insert_default()
    }

    pub fn remove(&mut self, property: Property) {
        if property == Property::Headers {
            self.headers = None;
        } else {
            self.other.retain(|(it, _)| *it != property);
        }
    }

    /// Sets a property that is a short string; text over 255 bytes is cut.
    pub fn set_text(&mut self, property: Property, text: &str) {
        let text = table::truncate_utf8(text, limit::SHORT_STRING_BYTES);
        let mut bytes = Vec::with_capacity(1 + text.len());
        bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(text.as_bytes());
        self.set_bytes(property, bytes);
    }

    pub fn set_delivery_mode(&mut self, mode: u8) {
        self.set_bytes(Property::DeliveryMode, vec![mode]);
    }

    pub fn set_priority(&mut self, priority: u8) {
        self.set_bytes(Property::Priority, vec![priority]);
    }

    pub fn set_timestamp(&mut self, secs: u64) {
        self.set_bytes(Property::Timestamp, secs.to_be_bytes().to_vec());
    }

    fn set_bytes(&mut self, property: Property, bytes: Vec<u8>) {
        match self.other.iter_mut().find(|(it, _)| *it == property) {
            Some((_, old)) => *old = bytes,
            None => self.other.push((property, bytes)),
        }
    }

    /// Appends the properties' wire form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = if self.headers.is_some() { Property::Headers.flag() } else { 0 };
        flags |= self.other.iter().fold(0, |flags, (property, _)| flags | property.flag());
        out.extend_from_slice(&flags.to_be_bytes());
        for property in ALL {
            if property == Property::Headers {
                if let Some(headers) = &self.headers {
                    headers.encode(out);
                }
            } else if let Some((_, bytes)) = self.other.iter().find(|(it, _)| *it == property) {
                out.extend_from_slice(bytes);
            }
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

fn read_flags(bytes: &[u8]) -> Option<u16> {
    bytes.get(..2).map(|it| u16::from_be_bytes([it[0], it[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> PropertyList {
        let mut list = PropertyList::default();
        list.set_text(Property::ContentType, "text/plain");
        list.set_delivery_mode(2);
        list.set_priority(7);
        list.set_text(Property::Expiration, "1000");
        list.set_text(Property::MessageId, "m-1");
        list.set_timestamp(1_700_000_000);
        list.headers_mut().set("tenant", Value::text("eu"));
        list
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = sample().to_bytes();
        let properties = Properties::check(&bytes).unwrap();
        assert!(properties.is_persistent());
        assert_eq!(properties.priority(), Some(7));
        assert_eq!(properties.expiration(), Some("1000"));
        assert_eq!(properties.message_id(), Some("m-1"));
        assert_eq!(properties.timestamp(), Some(1_700_000_000));
        assert_eq!(properties.text(Property::AppId), None);
        assert_eq!(properties.headers().unwrap().get("tenant"), Some(&Value::text("eu")));
        assert_eq!(properties.edit().to_bytes(), bytes);
    }

    #[test]
    fn a_header_is_added_as_if_it_were_edited() {
        let offset = Value::I64(7);
        let mut without = sample();
        without.remove(Property::Headers);
        let mut modeless = sample();
        modeless.remove(Property::DeliveryMode);
        let mut again = sample();
        again.headers_mut().set("x-offset", Value::Bool(true));
        for list in [sample(), without, modeless, again, PropertyList::default()] {
            let bytes = list.to_bytes();
            let mut expected = list.clone();
            expected.headers_mut().set("x-offset", offset.clone());
            if Properties(&bytes).delivery_mode().is_none() {
                expected.set_delivery_mode(1);
            }
            let added = Properties(&bytes).with_header("x-offset", &offset, 1);
            assert_eq!(added, expected.to_bytes());
            assert!(Properties::check(&added).is_ok());
        }
    }

    #[test]
    fn no_properties_are_a_word_of_zero_flags() {
        assert_eq!(PropertyList::default().to_bytes(), NONE);
        assert!(!Properties::NONE.is_persistent());
        assert_eq!(Properties::NONE.headers(), None);
    }

    #[test]
    fn broken_properties_are_named() {
        let check = |bytes: &[u8]| Properties::check(bytes).unwrap_err();
        assert_eq!(check(&[]), PropertyError::Truncated);
        assert_eq!(check(&[0x80]), PropertyError::Truncated);
        assert_eq!(check(&[0x80, 0]), PropertyError::Truncated);
        assert_eq!(check(&[0x80, 0, 3, b'a']), PropertyError::Truncated);
        assert_eq!(check(&[0x80, 0, 1, 0xff]), PropertyError::NotUtf8);
        assert_eq!(check(&[0x80, 1, 0, 0]), PropertyError::Continued);
        assert_eq!(check(&[0, 0, 9]), PropertyError::TrailingBytes);
        assert_eq!(check(&[0x20, 0, 0, 0, 0, 9]), PropertyError::Table(TableError::Truncated));
    }

    #[test]
    fn every_prefix_is_refused() {
        let bytes = sample().to_bytes();
        for end in 0..bytes.len() {
            assert!(Properties::check(&bytes[..end]).is_err(), "prefix of {end} bytes");
        }
    }
}
