//! Names that must not be mixed up: one type each for exchanges, queues, vhosts, keys and tags.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// A shared, immutable name of the kind `K`.
///
/// Cloning copies a pointer. Two kinds never compare, so a queue's name cannot be passed where an
/// exchange's is meant.
pub struct Name<K> {
    text: Arc<str>,
    kind: PhantomData<fn() -> K>,
}

/// The kinds of [`Name`]; never constructed.
pub mod kind {
    #[derive(Debug)]
    pub enum Exchange {}
    #[derive(Debug)]
    pub enum Queue {}
    #[derive(Debug)]
    pub enum Vhost {}
    #[derive(Debug)]
    pub enum BindingKey {}
    #[derive(Debug)]
    pub enum ConsumerTag {}
    #[derive(Debug)]
    pub enum User {}
    #[derive(Debug)]
    pub enum Service {}
}

pub type ExchangeName = Name<kind::Exchange>;
pub type QueueName = Name<kind::Queue>;
pub type VhostName = Name<kind::Vhost>;
pub type BindingKey = Name<kind::BindingKey>;
pub type ConsumerTag = Name<kind::ConsumerTag>;
pub type UserName = Name<kind::User>;
/// The name of a service of the topology: a set of identical instances.
pub type ServiceName = Name<kind::Service>;

/// The key a message was published with, borrowed from where the message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoutingKey<'a>(pub &'a str);

impl<K> Name<K> {
    pub fn new(text: &str) -> Name<K> {
        Name { text: Arc::from(text), kind: PhantomData }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<K> Clone for Name<K> {
    fn clone(&self) -> Name<K> {
        Name { text: Arc::clone(&self.text), kind: PhantomData }
    }
}

impl<K> Deref for Name<K> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl<K> Borrow<str> for Name<K> {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl<K> From<&str> for Name<K> {
    fn from(text: &str) -> Name<K> {
        Name::new(text)
    }
}

impl<K> From<String> for Name<K> {
    fn from(text: String) -> Name<K> {
        Name { text: Arc::from(text), kind: PhantomData }
    }
}

impl<K> PartialEq for Name<K> {
    fn eq(&self, other: &Name<K>) -> bool {
        self.text == other.text
    }
}

impl<K> PartialEq<str> for Name<K> {
    fn eq(&self, other: &str) -> bool {
        &*self.text == other
    }
}

impl<K> PartialEq<&str> for Name<K> {
    fn eq(&self, other: &&str) -> bool {
        &*self.text == *other
    }
}

impl<K> Eq for Name<K> {}

impl<K> PartialOrd for Name<K> {
    fn partial_cmp(&self, other: &Name<K>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Name<K> {
    fn cmp(&self, other: &Name<K>) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl<K> Hash for Name<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Same as `str`, because the name is looked up by `&str`.
        self.text.hash(state);
    }
}

impl<K> fmt::Display for Name<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<K> fmt::Debug for Name<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}
