//! Random exchanges: each message goes to one of the bound destinations, whichever comes up.

use crate::routing::route::Routes;
use crate::routing::table::Destination;

/// COMPAT: `x-random` and `x-local-random`: binding keys mean nothing.
#[derive(Clone, Debug, Default)]
pub(in crate::routing) struct RandomMatcher {
    destinations: Vec<Destination>,
}

impl RandomMatcher {
    pub(in crate::routing) fn add(&mut self, to: &Destination) {
        self.destinations.push(to.clone());
    }

    pub(in crate::routing) fn remove(&mut self, to: &Destination) {
        self.destinations.retain(|it| it != to);
    }

    pub(in crate::routing) fn collect(&self, routes: &mut Routes) -> bool {
        if self.destinations.is_empty() {
            return false;
        }
        let at = routes.draw(self.destinations.len());
        routes.add_one(&self.destinations[at]);
        true
    }
}
