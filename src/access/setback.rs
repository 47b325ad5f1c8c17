//! Logins that failed in a row: how long the next refusal is held back.
//!
//! Nobody is kept out: who knows the password is let in at once, however often others failed. Rows
//! are of an address, or of a user at an address, never of a user alone.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::amqp::name::UserName;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;

/// How late the first refusal is told, which doubles with each, and the longest.
pub const FIRST: Millis = Millis(500);
pub const LONGEST: Millis = Millis(30_000);
/// So long after the last failure it is as if there had been none.
const FORGOTTEN: Millis = Millis(5 * 60_000);
/// Failures at an address that count for nothing: there may be many behind one.
const ADDRESS_GRACE: u32 = 10;
/// Rows of each kind; the one that failed longest ago goes first.
const ROWS_MAX: usize = 10_000;
/// A longer name is remembered by its beginning.
const NAME_CHARS: usize = 64;

/// Where a login comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address(u128);

/// What failed lately.
#[derive(Debug, Default)]
pub struct Setbacks {
    addresses: Rows<Address>,
    users: Rows<(Address, UserName)>,
}

/// What follows from a login that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setback {
    /// How late the refusal is told.
    pub delay: Millis,
    /// Whether that is later than the last time: worth a line in the log.
    pub grew: bool,
}

#[derive(Debug)]
struct Rows<K> {
    of: BTreeMap<K, Row>,
    by_age: BTreeSet<(Timestamp, K)>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    times: u32,
    last: Timestamp,
}

impl Address {
    pub fn v4(bits: u32) -> Address {
        // As IPv6 writes it.
        Address(0xffff << 32 | u128::from(bits))
    }

    /// Of an IPv6 address its network counts: who has one has 2^64 addresses.
    pub fn v6(bits: u128) -> Address {
        Address(bits >> 64 << 64)
    }
}

impl Setbacks {
    /// Notes a login that failed.
    pub fn refused(&mut self, address: Address, user: &str, now: Timestamp) -> Setback {
        let user: String = user.chars().take(NAME_CHARS).collect();
        let of_user = self.users.count((address, UserName::new(&user)), now);
        let of_address = self.addresses.count(address, now);
        let delay = |of_user: u32, of_address: u32| {
            delay(of_user).max(delay(of_address.saturating_sub(ADDRESS_GRACE)))
        };
        let before = delay(of_user - 1, of_address - 1);
        let delay = delay(of_user, of_address);
        Setback { delay, grew: delay > before }
    }

    /// Notes one that did not: the user's failures at this address are forgotten, those of others
    /// there are not.
    pub fn accepted(&mut self, address: Address, user: &str) {
        if !self.users.of.is_empty() {
            let user: String = user.chars().take(NAME_CHARS).collect();
            self.users.forget(&(address, UserName::new(&user)));
        }
    }
}

fn delay(times: u32) -> Millis {
    match times.checked_sub(1) {
        None => Millis(0),
        Some(doublings) => Millis((FIRST.0 << doublings.min(16)).min(LONGEST.0)),
    }
}

impl<K: Ord + Clone> Rows<K> {
    /// How many in a row that makes.
    fn count(&mut self, key: K, now: Timestamp) -> u32 {
        while let Some((last, oldest)) = self.by_age.first().cloned()
            && (last + FORGOTTEN <= now || self.is_full_for(&key))
        {
            self.by_age.remove(&(last, oldest.clone()));
            self.of.remove(&oldest);
        }
        let row = self.of.entry(key.clone()).or_insert(Row { times: 0, last: now });
        self.by_age.remove(&(row.last, key.clone()));
        *row = Row { times: row.times.saturating_add(1), last: now };
        self.by_age.insert((now, key));
        row.times
    }

    fn is_full_for(&self, key: &K) -> bool {
        self.of.len() >= ROWS_MAX && !self.of.contains_key(key)
    }

    fn forget(&mut self, key: &K) {
        if let Some(row) = self.of.remove(key) {
            self.by_age.remove(&(row.last, key.clone()));
        }
    }
}

impl<K> Default for Rows<K> {
    fn default() -> Rows<K> {
        Rows { of: BTreeMap::new(), by_age: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    const HERE: Address = Address(1 << 64);
    const THERE: Address = Address(2 << 64);

    #[test]
    fn each_failure_in_a_row_is_told_later_than_the_one_before() {
        let mut setbacks = Setbacks::default();
        let told: Vec<(u64, bool)> = (0..9)
            .map(|n| setbacks.refused(HERE, "app", at(n * 31)))
            .map(|it| (it.delay.0, it.grew))
            .collect();
        let (grows, stays) = (true, false);
        let expected = [
            (500, grows),
            (1000, grows),
            (2000, grows),
            (4000, grows),
            (8000, grows),
            (16_000, grows),
            (30_000, grows),
            (30_000, stays),
            (30_000, stays),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn failures_are_forgotten_with_time_and_by_a_success() {
        let mut setbacks = Setbacks::default();
        let first = Setback { delay: FIRST, grew: true };
        let second = Setback { delay: Millis(1000), grew: true };
        assert_eq!(setbacks.refused(HERE, "app", at(0)), first);
        assert_eq!(setbacks.refused(HERE, "app", at(299)), second);
        assert_eq!(setbacks.refused(HERE, "app", at(599)), first, "five minutes later");
        assert!(setbacks.users.of.len() == 1 && setbacks.users.by_age.len() == 1);
        setbacks.accepted(HERE, "app");
        assert_eq!(setbacks.refused(HERE, "app", at(600)), first);
        setbacks.accepted(THERE, "app");
        assert_eq!(setbacks.refused(HERE, "app", at(601)), second, "it was let in elsewhere");
    }

    #[test]
    fn a_user_is_not_held_up_by_failures_elsewhere() {
        let mut setbacks = Setbacks::default();
        (0..100).for_each(|n| {
            setbacks.refused(HERE, "app", at(n));
        });
        assert_eq!(setbacks.refused(THERE, "app", at(100)).delay, FIRST);
    }

    #[test]
    fn who_tries_one_user_after_the_other_is_told_later_too() {
        let mut setbacks = Setbacks::default();
        let mut told = |n: u64| setbacks.refused(HERE, &format!("user{n}"), at(n)).delay.0;
        assert!((0..11).all(|n| told(n) == 500));
        assert_eq!([told(11), told(12), told(13)], [1000, 2000, 4000]);
        assert_eq!((14..100).map(told).max(), Some(30_000));
        // Another's password may still be mistyped at the price of this address alone.
        setbacks.accepted(HERE, "root");
        assert_eq!(setbacks.refused(HERE, "root", at(100)).delay, LONGEST);
        assert_eq!(setbacks.refused(THERE, "root", at(100)).delay, FIRST);
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_go_first() {
        let mut setbacks = Setbacks::default();
        let network = |n: u64| Address::v6(u128::from(n) << 64);
        let long = "x".repeat(100_000);
        for n in 0..20_000 {
            setbacks.refused(network(n), &format!("{n}{long}"), Timestamp::from_millis(n));
        }
        let sizes = |it: &Setbacks| {
            let (users, addresses) = (&it.users, &it.addresses);
            [users.of.len(), users.by_age.len(), addresses.of.len(), addresses.by_age.len()]
        };
        assert_eq!(sizes(&setbacks), [ROWS_MAX; 4]);
        let name_bytes = setbacks.users.of.keys().map(|(_, it)| it.len()).max();
        assert_eq!(name_bytes, Some(NAME_CHARS));
        assert!(setbacks.users.of.keys().all(|(it, _)| *it >= network(10_000)));
        // Whoever fails on stays.
        setbacks.refused(network(10_000), "a", at(21));
        setbacks.refused(network(5), "b", at(22));
        let known = |it: u64| setbacks.addresses.of.contains_key(&network(it));
        assert!(known(10_000) && known(5) && !known(10_001));
        assert_eq!(sizes(&setbacks), [ROWS_MAX; 4]);
    }

    #[test]
    fn the_addresses_of_one_network_are_one() {
        assert_eq!(Address::v6(7 << 64 | 1), Address::v6(7 << 64 | 2));
        assert_ne!(Address::v6(7 << 64), Address::v6(8 << 64));
        assert_ne!(Address::v4(1), Address::v4(2));
    }
}
