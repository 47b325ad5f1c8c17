//! Hash exchanges: each message goes to exactly one of the bound destinations.
//!
//! The placement is part of the product's promise: it must not change between releases, and golden
//! tests hold it.

use crate::amqp::property::Properties;
use crate::amqp::property::Property;
use crate::amqp::table::Table as Arguments;
use crate::routing::route::Routes;
use crate::routing::table::Destination;

/// Buckets one binding may ask for.
pub(in crate::routing) const WEIGHT_MAX: i64 = 1000;

/// What a consistent-hash exchange hashes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum HashSource {
    #[default]
    RoutingKey,
    Header(String),
    CorrelationId,
    MessageId,
    Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HashSourceError {
    /// `hash-header` and `hash-property` are both given.
    Both,
    UnsupportedProperty(String),
}

/// COMPAT: the `x-consistent-hash` plugin: the binding key is the number of buckets.
#[derive(Clone, Debug)]
pub(in crate::routing) struct ConsistentHashMatcher {
    source: HashSource,
    /// A destination stands here once per bucket, in the order they were bound.
    buckets: Vec<Destination>,
}

/// COMPAT: `x-modulus-hash`: binding keys mean nothing, destinations are sorted.
#[derive(Clone, Debug, Default)]
pub(in crate::routing) struct ModulusHashMatcher {
    destinations: Vec<Destination>,
}

impl HashSource {
    /// Reads `hash-header` and `hash-property` from an exchange's arguments.
    pub fn parse(arguments: &Arguments) -> Result<HashSource, HashSourceError> {
        let text = |key| arguments.get(key).and_then(|value| value.as_text());
        match (text("hash-header"), text("hash-property")) {
            (None, None) => Ok(HashSource::RoutingKey),
            (Some(_), Some(_)) => Err(HashSourceError::Both),
            (Some(header), None) => Ok(HashSource::Header(header.to_owned())),
            (None, Some("correlation_id")) => Ok(HashSource::CorrelationId),
            (None, Some("message_id")) => Ok(HashSource::MessageId),
            (None, Some("timestamp")) => Ok(HashSource::Timestamp),
            (None, Some(other)) => Err(HashSourceError::UnsupportedProperty(other.to_owned())),
        }
    }
}

impl ConsistentHashMatcher {
    pub(in crate::routing) fn new(source: HashSource) -> ConsistentHashMatcher {
        ConsistentHashMatcher { source, buckets: Vec::new() }
    }

    /// COMPAT: only a destination's first binding counts; a second one is stored without effect.
    pub(in crate::routing) fn add(&mut self, weight: &str, to: &Destination) {
        let weight = weight.parse().unwrap_or(1);
        self.buckets.extend(std::iter::repeat_n(to.clone(), weight));
    }

    pub(in crate::routing) fn remove(&mut self, to: &Destination) {
        self.buckets.retain(|it| it != to);
    }

    pub(in crate::routing) fn collect(
        &self,
        keys: &[&str],
        properties: Properties<'_>,
        routes: &mut Routes,
    ) -> bool {
        if self.buckets.is_empty() {
            return false;
        }
        let hash = match &self.source {
            HashSource::RoutingKey => hash_bytes(keys.first().unwrap_or(&"").as_bytes()),
            HashSource::Header(name) => {
                let headers = properties.headers().unwrap_or_default();
                hash_bytes(
                    headers.get(name).map(ToString::to_string).unwrap_or_default().as_bytes(),
                )
            }
            HashSource::CorrelationId => hash_text(properties.text(Property::CorrelationId)),
            HashSource::MessageId => hash_text(properties.message_id()),
            HashSource::Timestamp => {
                hash_bytes(&properties.timestamp().unwrap_or_default().to_be_bytes())
            }
        };
        routes.add_one(&self.buckets[jump(hash, self.buckets.len())]);
        true
    }
}

impl ModulusHashMatcher {
    pub(in crate::routing) fn add(&mut self, to: &Destination) {
        if let Err(at) = self.destinations.binary_search(to) {
            self.destinations.insert(at, to.clone());
        }
    }

    pub(in crate::routing) fn remove(&mut self, to: &Destination) {
        self.destinations.retain(|it| it != to);
    }

    pub(in crate::routing) fn collect(&self, keys: &[&str], routes: &mut Routes) -> bool {
        if self.destinations.is_empty() {
            return false;
        }
        let hash = hash_bytes(keys.first().unwrap_or(&"").as_bytes());
        #[allow(clippy::cast_possible_truncation, reason = "smaller than the number of queues")]
        let at = (hash % self.destinations.len() as u64) as usize;
        routes.add_one(&self.destinations[at]);
        true
    }
}

fn hash_text(text: Option<&str>) -> u64 {
    hash_bytes(text.unwrap_or_default().as_bytes())
}

/// FNV-1a over the bytes, then a finalizer so that short keys spread over all bits.
pub(in crate::routing) fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Jump consistent hash: when the number of buckets grows from n to n+1, 1/(n+1) of the keys move.
///
/// Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the published algorithm mixes integers and doubles"
)]
fn jump(mut key: u64, buckets: usize) -> usize {
    let (mut bucket, mut next) = (0_i64, 0_i64);
    while next < buckets as i64 {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let fraction = (1_i64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * fraction) as i64;
    }
    bucket as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_never_changes_between_releases() {
        let at = |key: &str| jump(hash_bytes(key.as_bytes()), 10);
        let placed: Vec<usize> = ["", "a", "user-1", "user-2", "order.created"].map(at).to_vec();
        assert_eq!(placed, [1, 5, 3, 0, 0]);
    }

    #[test]
    fn a_new_bucket_takes_keys_only_for_itself() {
        let moved = (0..10_000u64).filter(|key| {
            let (before, after) = (jump(hash_bytes(&key.to_be_bytes()), 9), {
                jump(hash_bytes(&key.to_be_bytes()), 10)
            });
            assert!(before == after || after == 9);
            before != after
        });
        let moved = moved.count();
        assert!((800..1200).contains(&moved), "{moved} of 10000 moved");
    }
}
