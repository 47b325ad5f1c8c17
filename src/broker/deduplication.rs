//! Queues and exchanges that take each message once: which keys they have seen.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::ops::Range;

use foldhash::fast::RandomState;

use crate::amqp::deduplication::Deduplication;
use crate::amqp::deduplication::Key;
use crate::amqp::id::QueueId;
use crate::amqp::message::Message;
use crate::amqp::name::ExchangeName;
use crate::amqp::time::Timestamp;
use crate::broker::confirm::Confirm;
use crate::broker::definition::Definition;
use crate::broker::host::Host;
use crate::broker::host::Note;
use crate::broker::host::Target;

/// What takes each message once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    Exchange(ExchangeName),
    Queue(QueueId),
}

/// The keys that the queues and exchanges of a vhost have seen.
#[derive(Debug, Default)]
pub struct Windows {
    all: BTreeMap<Scope, Window>,
}

/// The keys of one queue or exchange, oldest first.
#[derive(Debug, Default)]
struct Window {
    order: VecDeque<(Timestamp, Key)>,
    seen: HashMap<Key, Seen, RandomState>,
}

/// What became of the first message with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// It is on its way into the log.
    Coming,
    Taken(Confirm),
}

/// A change that the log makes in the same piece as it takes the message.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    Define(Definition),
    Undefine(Definition),
}

/// The keys of messages that are being published, to be settled when it is known what became of
/// them.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    keys: Vec<AdmittedKey>,
    pub changes: Vec<Change>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct AdmittedKey {
    scope: Scope,
    key: Key,
    is_logged: bool,
}

/// What becomes of a message while it is not known whether the first with its key is safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::broker) enum Doubt {
    /// Its publisher is to try again.
    Refuse,
    /// There is nobody who could try again: twice is better than never.
    Take,
}

impl Windows {
    /// Asks whether a key is new, and remembers it if so; keys that go for it are put into `gone`.
    /// For one that is not new, what its publisher waits for.
    fn admit(
        &mut self,
        scope: &Scope,
        key: Key,
        rule: &Deduplication,
        now: Timestamp,
        gone: &mut Vec<Key>,
    ) -> Option<Confirm> {
        let window = match self.all.get_mut(scope) {
            Some(window) => window,
            None => self.all.entry(scope.clone()).or_default(),
        };
        let is_over = |at: Timestamp| rule.ttl.is_some_and(|ttl| at + ttl <= now);
        while window.order.front().is_some_and(|(at, _)| is_over(*at)) {
            gone.extend(window.drop_oldest());
        }
        match window.seen.get(&key) {
            // Not known to be safe yet: its publisher is to try again.
            Some(Seen::Coming) => return Some(Confirm::Refused),
            Some(Seen::Taken(confirm)) => return Some(*confirm),
            None => {}
        }
        while window.order.len() >= rule.size {
            gone.extend(window.drop_oldest());
        }
        window.order.push_back((now, key));
        window.seen.insert(key, Seen::Coming);
        None
    }

    fn take(&mut self, scope: &Scope, key: Key, confirm: Confirm) {
        let window = self.all.get_mut(scope);
        if let Some(seen) = window.and_then(|it| it.seen.get_mut(&key)) {
            *seen = Seen::Taken(confirm);
        }
    }

    fn forget(&mut self, scope: &Scope, key: Key) {
        let Some(window) = self.all.get_mut(scope) else { return };
        window.seen.remove(&key);
        if let Some(at) = window.order.iter().rposition(|(_, it)| *it == key) {
            window.order.remove(at);
        }
    }

    /// A key that the log has kept; they come oldest first.
    pub fn restore(&mut self, scope: Scope, key: Key, at: Timestamp) {
        let window = self.all.entry(scope).or_default();
        if window.seen.insert(key, Seen::Taken(Confirm::Now)).is_none() {
            window.order.push_back((at, key));
        }
    }

    /// Forgets a queue or exchange that is gone; returns its keys.
    fn remove(&mut self, scope: &Scope) -> Vec<Key> {
        let window = self.all.remove(scope).unwrap_or_default();
        window.order.into_iter().map(|(_, key)| key).collect()
    }
}

impl Window {
    fn drop_oldest(&mut self) -> Option<Key> {
        let (_, key) = self.order.pop_front()?;
        self.seen.remove(&key);
        Some(key)
    }
}

impl Admitted {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.changes.is_empty()
    }

    pub(in crate::broker) fn n_keys(&self) -> usize {
        self.keys.len()
    }

    /// Forgets the message, which went nowhere; nothing of it was logged.
    pub(in crate::broker) fn abandon<H: Host>(&self, host: &mut H) {
        for change in &self.changes {
            if let Change::Undefine(definition) = change {
                host.undefine(definition);
            }
        }
        self.forget(host, &self.keys);
    }

    /// Remembers what became of the message that has these of the keys.
    pub(in crate::broker) fn settle<H: Host>(
        &self,
        host: &mut H,
        keys: Range<usize>,
        confirm: Confirm,
    ) {
        let keys = &self.keys[keys];
        if confirm != Confirm::Refused {
            host.windows(|windows| {
                keys.iter().for_each(|it| windows.take(&it.scope, it.key, confirm));
            });
            return;
        }
        self.forget(host, keys);
        for it in keys.iter().filter(|it| it.is_logged) {
            if let Some(definition) = definition(host, &it.scope, it.key, Timestamp::default()) {
                host.undefine(&definition);
            }
        }
    }

    /// What was not taken may come again.
    fn forget<H: Host>(&self, host: &mut H, keys: &[AdmittedKey]) {
        host.windows(|windows| keys.iter().for_each(|it| windows.forget(&it.scope, it.key)));
    }
}

/// Asks the exchange whether it has seen the message. For one it has, what its publisher waits
/// for: it is taken for done, and counted.
pub(in crate::broker) fn admit_at_exchange<H: Host>(
    host: &mut H,
    message: &Message,
    admitted: &mut Admitted,
) -> Option<Confirm> {
    // The default exchange has no arguments, and most messages come by it.
    if message.address_bytes().0.is_empty() {
        return None;
    }
    let exchange = host.vhost().table.exchange(message.exchange())?;
    if exchange.arguments.is_empty() {
        return None;
    }
    let (scope, durable) = (Scope::Exchange(exchange.name.clone()), exchange.durable);
    // The arguments were checked when the exchange was declared.
    let rule = Deduplication::parse(&exchange.arguments).ok()??;
    let duplicate = admit(host, &scope, &rule, durable, message, admitted)?;
    let name = ExchangeName::new(message.exchange());
    host.note(Note::Duplicate { at: format!("exchange '{name}'") });
    Some(duplicate)
}

/// Takes those queues out of `targets` that have seen the message. If any had, what its publisher
/// waits for.
pub(in crate::broker) fn admit_at_queues<H: Host>(
    host: &mut H,
    message: &Message,
    targets: &mut Vec<Target>,
    doubt: Doubt,
    admitted: &mut Admitted,
) -> Option<Confirm> {
    let mut waits_for = None;
    targets.retain(|target| {
        if !target.deduplicates {
            return true;
        }
        let Some(record) = host.vhost().record(target.queue) else { return true };
        let (name, settings) = (record.name.clone(), record.settings.clone());
        let Some(rule) = &settings.deduplication else { return true };
        let scope = Scope::Queue(target.queue);
        match admit(host, &scope, rule, settings.durable, message, admitted) {
            None => true,
            Some(Confirm::Refused) if doubt == Doubt::Take => true,
            Some(confirm) => {
                host.note(Note::Duplicate { at: format!("queue '{name}'") });
                waits_for = later_of(waits_for, Some(confirm));
                false
            }
        }
    });
    waits_for
}

/// What a publisher waits for that waits for both.
pub(in crate::broker) fn later_of(a: Option<Confirm>, b: Option<Confirm>) -> Option<Confirm> {
    match (a, b) {
        (Some(Confirm::Refused), _) | (_, Some(Confirm::Refused)) => Some(Confirm::Refused),
        (Some(Confirm::After(a)), Some(Confirm::After(b))) => Some(Confirm::After(a.max(b))),
        (after @ Some(Confirm::After(_)), _) | (_, after @ Some(Confirm::After(_))) => after,
        (a, b) => a.or(b),
    }
}

fn admit<H: Host>(
    host: &mut H,
    scope: &Scope,
    rule: &Deduplication,
    durable: bool,
    message: &Message,
    admitted: &mut Admitted,
) -> Option<Confirm> {
    let key = rule.key(message.properties())?;
    let now = host.now();
    let mut gone = Vec::new();
    let seen = host.windows(|windows| windows.admit(scope, key, rule, now, &mut gone));
    let is_logged = durable && message.is_persistent();
    if durable {
        let gone = gone.into_iter().map(|key| definition(host, scope, key, now));
        admitted.changes.extend(gone.flatten().map(Change::Undefine).collect::<Vec<_>>());
        if seen.is_none() && is_logged {
            let new = definition(host, scope, key, now).map(Change::Define);
            admitted.changes.extend(new);
        }
    }
    let found = AdmittedKey { scope: scope.clone(), key, is_logged };
    if seen.is_none() {
        admitted.keys.push(found);
    } else if admitted.keys.contains(&found) {
        // Both are in one transaction, which takes the first or neither.
        return Some(Confirm::Now);
    }
    seen
}

fn definition<H: Host>(host: &mut H, scope: &Scope, key: Key, at: Timestamp) -> Option<Definition> {
    let vhost = host.vhost();
    let (of_exchange, name) = match scope {
        Scope::Exchange(name) => (true, name.to_string()),
        Scope::Queue(id) => (false, vhost.table.queue_name(*id)?.to_string()),
    };
    Some(seen(&vhost.name, of_exchange, &name, key, at))
}

fn seen(vhost: &str, of_exchange: bool, name: &str, key: Key, at: Timestamp) -> Definition {
    Definition::Seen {
        vhost: vhost.to_owned(),
        of_exchange,
        name: name.to_owned(),
        key: key.iter().map(|it| format!("{it:02x}")).collect(),
        at_ms: at.as_millis(),
    }
}

/// The key in a definition; `None` for text that is none.
pub fn parse_key(text: &str) -> Option<Key> {
    let mut key = Key::default();
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(key)
}

/// Forgets what a queue or exchange has seen that is gone.
pub(in crate::broker) fn forget<H: Host>(host: &mut H, scope: &Scope, name: &str) {
    let keys = host.windows(|windows| windows.remove(scope));
    let (vhost, now) = (host.vhost().name.to_string(), host.now());
    let of_exchange = matches!(scope, Scope::Exchange(_));
    for key in keys {
        host.undefine(&seen(&vhost, of_exchange, name, key, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::id::BatchId;
    use crate::amqp::time::Millis;

    fn rule(size: usize, ttl: Option<u64>) -> Deduplication {
        Deduplication { header: "id".into(), size, ttl: ttl.map(Millis) }
    }

    fn key(n: u8) -> Key {
        [n; 16]
    }

    #[test]
    fn the_window_ends_by_size_and_by_time() {
        let mut windows = Windows::default();
        let scope = Scope::Queue(QueueId(1));
        let rule = rule(2, Some(100));
        let mut gone = Vec::new();
        let mut is_new = |n: u8, now: u64| {
            let new = windows.admit(&scope, key(n), &rule, Timestamp::from_millis(now), &mut gone);
            windows.take(&scope, key(n), Confirm::Now);
            new.is_none()
        };
        assert!(is_new(1, 0) && !is_new(1, 10));
        assert!(is_new(2, 20) && is_new(3, 30), "the oldest of three goes");
        assert!(is_new(1, 40), "it had gone");
        assert!(!is_new(3, 129) && is_new(3, 130), "its time is over");
        assert_eq!(gone.len(), 3);
    }

    #[test]
    fn a_duplicate_waits_for_the_first_and_a_refused_one_may_come_again() {
        let mut windows = Windows::default();
        let scope = Scope::Queue(QueueId(1));
        let rule = rule(10, None);
        let now = Timestamp::from_millis(5);
        let admit =
            |windows: &mut Windows| windows.admit(&scope, key(1), &rule, now, &mut Vec::new());
        assert_eq!(admit(&mut windows), None);
        assert_eq!(admit(&mut windows), Some(Confirm::Refused), "not yet in the log");
        windows.forget(&scope, key(1));
        assert_eq!(admit(&mut windows), None);
        windows.take(&scope, key(1), Confirm::After(BatchId(7)));
        assert_eq!(admit(&mut windows), Some(Confirm::After(BatchId(7))));
    }
}
