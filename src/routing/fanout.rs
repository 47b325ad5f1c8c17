//! Fanout exchanges: every destination, whatever the key.

use crate::routing::matcher::Targets;
use crate::routing::route::Routes;
use crate::routing::table::Destination;

#[derive(Clone, Debug, Default)]
pub(in crate::routing) struct FanoutMatcher {
    targets: Targets,
}

impl FanoutMatcher {
    pub(in crate::routing) fn add(&mut self, to: &Destination) {
        self.targets.add(to);
    }

    pub(in crate::routing) fn remove(&mut self, to: &Destination) {
        self.targets.remove(to);
    }

    pub(in crate::routing) fn collect(&self, routes: &mut Routes) -> bool {
        !self.targets.is_empty() && routes.add(&self.targets)
    }
}
