//! Direct exchanges: the binding key equals the routing key.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::amqp::name::BindingKey;
use crate::routing::matcher::Targets;
use crate::routing::route::Routes;
use crate::routing::table::Destination;

#[derive(Clone, Debug, Default)]
pub(in crate::routing) struct DirectMatcher {
    keys: HashMap<BindingKey, Targets, RandomState>,
}

impl DirectMatcher {
    pub(in crate::routing) fn add(&mut self, key: &BindingKey, to: &Destination) {
        self.keys.entry(key.clone()).or_default().add(to);
    }

    pub(in crate::routing) fn remove(&mut self, key: &BindingKey, to: &Destination) {
        if let Some(targets) = self.keys.get_mut(key) {
            targets.remove(to);
            if targets.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    pub(in crate::routing) fn collect(&self, key: &str, routes: &mut Routes) -> bool {
        self.keys.get(key).is_some_and(|targets| routes.add(targets))
    }
}
