//! The header frame of a message's content.
//!
//! Layout: class `u16`, weight `u16` (zero), body size `u64`, then the properties.
//! SPEC: section 2.3.5.2.

use crate::amqp::property::Properties;
use crate::amqp::property::PropertyError;

/// A content header, borrowed from its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentHeader<'a> {
    pub class: u16,
    pub body_bytes: u64,
    pub properties: Properties<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContentError {
    Truncated,
    /// SPEC: the weight is unused and must be zero.
    Weight(u16),
    /// The properties of another class cannot be read; nothing but `basic` carries content.
    OtherClass(u16),
    Properties(PropertyError),
}

/// Reads the payload of a header frame.
pub fn parse(payload: &[u8]) -> Result<ContentHeader<'_>, ContentError> {
    let Some((&[class_0, class_1, weight_0, weight_1], rest)) = payload.split_first_chunk() else {
        return Err(ContentError::Truncated);
    };
    let class = u16::from_be_bytes([class_0, class_1]);
    let weight = u16::from_be_bytes([weight_0, weight_1]);
    let Some((body_bytes, properties)) = rest.split_first_chunk() else {
        return Err(ContentError::Truncated);
    };
    if class != 60 {
        return Err(ContentError::OtherClass(class));
    }
    if weight != 0 {
        return Err(ContentError::Weight(weight));
    }
    let properties = Properties::check(properties).map_err(ContentError::Properties)?;
    Ok(ContentHeader { class, body_bytes: u64::from_be_bytes(*body_bytes), properties })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_or_named() {
        let bytes = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x10, 0, 2];
        let header = parse(&bytes).unwrap();
        assert_eq!(header.body_bytes, 256);
        assert!(header.properties.is_persistent());
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err());
        }
        let mut other = bytes;
        other[1] = 50;
        assert_eq!(parse(&other), Err(ContentError::OtherClass(50)));
        let mut weighted = bytes;
        weighted[3] = 1;
        assert_eq!(parse(&weighted), Err(ContentError::Weight(1)));
    }
}
