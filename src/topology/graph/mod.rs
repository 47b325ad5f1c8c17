//! A topology as a picture: who publishes, exchanges, queues, who consumes. Retries and parking
//! lots are folded into their queue.

mod layout;
mod svg;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

use crate::broker::rules::Delivers;
use crate::topology::declared::Binding;
use crate::topology::declared::Exchange;
use crate::topology::declared::Publication;
use crate::topology::declared::Queue;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::fate;
use crate::topology::ladder;
use crate::topology::lint::facts::Facts;
use crate::topology::plan;
use crate::topology::plan::Action;
use crate::topology::plan::Plan;

pub(in crate::topology) use crate::topology::graph::svg::escaped;
pub use crate::topology::graph::svg::svg;
pub use crate::topology::graph::words::dot;
pub use crate::topology::graph::words::mermaid;

/// Nodes and edges, each once; their order does not depend on the order of files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Graph {
    pub nodes: BTreeMap<Id, Node>,
    pub edges: BTreeMap<Ends, Edge>,
}

/// What a node is, and where it stands: columns from left to right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    Publisher,
    Exchange,
    Queue,
    /// Queues that instances make for themselves.
    Instances,
    Consumer,
}

/// Vhost, role and name.
pub type Id = (String, Role, String);

/// From, to, and what the edge is.
pub type Ends = (Id, Id, Meaning);

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Lines below the name.
    pub lines: Vec<String>,
    /// How failed messages are retried; shown in its own colour.
    pub retry: Option<String>,
    pub delivers: Option<Delivers>,
    pub state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Meaning {
    Publishes,
    Binds,
    Consumes,
    DeadLetters,
    /// The alternate exchange.
    Alternates,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edge {
    /// Keys of messages or bindings, in order.
    pub labels: Vec<String>,
    /// Each message goes to one of the queues, not to all.
    pub work: bool,
    pub state: State,
}

/// What a change does to a node or an edge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum State {
    #[default]
    Same,
    Changed,
    Added,
    Removed,
}

impl State {
    /// Before the name; nothing for what stays.
    pub fn sign(self) -> &'static str {
        match self {
            State::Same => "",
            State::Changed => "~ ",
            State::Added => "+ ",
            State::Removed => "− ",
        }
    }
}

impl Graph {
    pub fn of(topology: &Topology) -> Graph {
        let mut graph = Graph::default();
        for vhost in topology.vhosts.values() {
            Drawing { graph: &mut graph, vhost, facts: &Facts::new(topology, vhost) }.draw();
        }
        graph
    }

    /// The new topology, with what it adds, changes and removes.
    pub fn between(old: &Topology, new: &Topology) -> Graph {
        let (before, mut graph) = (Graph::of(old), Graph::of(new));
        for (id, node) in &mut graph.nodes {
            match before.nodes.get(id) {
                None => node.state = State::Added,
                Some(was) if was != node => node.state = State::Changed,
                Some(_) => {}
            }
        }
        for (ends, edge) in &mut graph.edges {
            match before.edges.get(ends) {
                None => edge.state = State::Added,
                Some(was) if was != edge => edge.state = State::Changed,
                Some(_) => {}
            }
        }
        for (id, node) in before.nodes {
            let gone = Node { state: State::Removed, ..node };
            graph.nodes.entry(id).or_insert(gone);
        }
        for (ends, edge) in before.edges {
            let gone = Edge { state: State::Removed, ..edge };
            graph.edges.entry(ends).or_insert(gone);
        }
        graph.mark_changes(&Plan::between(old, new));
        graph
    }

    /// Objects may differ in what no node shows.
    fn mark_changes(&mut self, plan: &Plan) {
        for change in &plan.changes {
            let role = match change.kind {
                plan::Kind::Exchange => Role::Exchange,
                plan::Kind::Queue => Role::Queue,
                plan::Kind::Vhost
                | plan::Kind::Service
                | plan::Kind::Instances
                | plan::Kind::Binding
                | plan::Kind::Message => continue,
            };
            let id = (change.vhost.clone(), role, change.name.clone());
            if let Some(node) = self.nodes.get_mut(&id)
                && matches!(change.action, Action::Change | Action::Replace)
            {
                node.state = State::Changed;
            }
        }
    }
}

struct Drawing<'t, 'g> {
    graph: &'g mut Graph,
    vhost: &'t Vhost,
    facts: &'g Facts<'t>,
}

impl<'t> Drawing<'t, '_> {
    fn draw(mut self) {
        let ladders = ladder::all(self.facts);
        for exchange in self.vhost.exchanges.values() {
            self.exchange(exchange);
        }
        for queue in self.vhost.queues.values() {
            if ladders.iter().any(|it| it.is_wait(&queue.name)) {
                continue;
            }
            let by_hand = ladders.iter().find(|it| it.work.name == queue.name);
            let by_hand = by_hand.map(|it| format!("retry {} by hand", it.waits_text()));
            self.queue(queue, by_hand);
        }
        for pattern in self.vhost.per_instance.values() {
            let id = self.id(Role::Instances, &pattern.name);
            self.node(&id, vec!["a queue per instance".to_owned()], None);
            self.bindings(&id, &pattern.bindings);
            for service in &pattern.services {
                let to = self.id(Role::Consumer, &service.value);
                self.node(&to, Vec::new(), None);
                self.edge(&id, &to, Meaning::Consumes, "", false);
            }
        }
    }

    fn id(&self, role: Role, name: &str) -> Id {
        (self.vhost.name.to_string(), role, name.to_owned())
    }

    fn node(&mut self, id: &Id, lines: Vec<String>, retry: Option<String>) {
        let node = Node { lines, retry, delivers: None, state: State::Same };
        self.graph.nodes.entry(id.clone()).or_insert(node);
    }

    fn edge(&mut self, from: &Id, to: &Id, meaning: Meaning, label: &str, work: bool) {
        let new = Edge { labels: Vec::new(), work, state: State::Same };
        let ends = (from.clone(), to.clone(), meaning);
        let edge = self.graph.edges.entry(ends).or_insert(new);
        if !label.is_empty() && !edge.labels.iter().any(|it| it == label) {
            edge.labels.push(label.to_owned());
            edge.labels.sort();
        }
    }

    fn exchange(&mut self, exchange: &'t Exchange) {
        let id = self.id(Role::Exchange, &exchange.name);
        let delivers = exchange.delivers();
        let word = match delivers {
            Delivers::Broadcast => "broadcast",
            Delivers::Work => "work",
        };
        let mut lines = vec![format!("{} · {word}", exchange.kind.value.as_str())];
        lines.extend(exchange.delays.then(|| "holds messages back".to_owned()));
        lines.extend(exchange.parking_name().map(|it| format!("unroutable → {it}")));
        let node = Node { lines, retry: None, delivers: Some(delivers), state: State::Same };
        self.graph.nodes.insert(id.clone(), node);
        for message in &exchange.messages {
            self.published(&id, message);
        }
        self.bindings(&id, &exchange.bindings);
        if let Some(alternate) = &exchange.alternate {
            let to = self.known_exchange(&alternate.value);
            self.edge(&id, &to, Meaning::Alternates, "alternate", false);
        }
    }

    /// The exchange's node; one of those that every vhost has is made when it is used.
    fn known_exchange(&mut self, name: &str) -> Id {
        let id = self.id(Role::Exchange, name);
        if !self.vhost.exchanges.contains_key(name) {
            let kind = self.facts.kind(name).map_or("direct", |it| it.as_str());
            self.node(&id, vec![kind.to_owned()], None);
        }
        id
    }

    fn published(&mut self, to: &Id, message: &Publication) {
        for service in &message.from {
            let from = self.id(Role::Publisher, &service.value);
            self.node(&from, Vec::new(), None);
            let label = if to.1 == Role::Queue { "" } else { &message.key.value };
            self.edge(&from, to, Meaning::Publishes, label, false);
        }
    }

    fn bindings(&mut self, to: &Id, bindings: &[Binding]) {
        for binding in bindings {
            let from = self.known_exchange(&binding.exchange.value);
            let declared = self.vhost.exchanges.get(&*binding.exchange.value);
            let work = declared.is_some_and(|it| it.delivers() == Delivers::Work);
            let arguments = match binding.arguments.is_empty() {
                true => String::new(),
                false => binding.arguments.to_string(),
            };
            let label = format!("{} {arguments}", binding.key.value);
            self.edge(&from, to, Meaning::Binds, label.trim(), work);
        }
    }

    fn queue(&mut self, queue: &'t Queue, by_hand: Option<String>) {
        let id = self.id(Role::Queue, &queue.name);
        let mut lines = Vec::new();
        let mode = plan::mode(&queue.mode);
        if mode != "compete" {
            lines.push(mode);
        }
        if queue.limits.has_length() {
            let messages = queue.limits.messages.map(|it| format!("{} messages", it.value));
            let bytes = queue.limits.bytes.map(|it| format!("{} bytes", it.value));
            let most: Vec<String> = messages.into_iter().chain(bytes).collect();
            lines.push(format!("at most {}", most.join(", ")));
        }
        let parks = queue.retry.is_some() || queue.parking.is_some();
        let retry = by_hand.or_else(|| parks.then(|| fate::of_failed(queue)));
        self.node(&id, lines, retry);
        self.bindings(&id, &queue.bindings);
        for message in &queue.messages {
            self.published(&id, message);
        }
        for service in &queue.services {
            let to = self.id(Role::Consumer, &service.value);
            self.node(&to, Vec::new(), None);
            self.edge(&id, &to, Meaning::Consumes, "", false);
        }
        let Some(letter) = &queue.dead_letter else { return };
        let label = letter.key.as_ref().map_or("", |it| it.value.as_str());
        if !letter.exchange.value.is_empty() {
            let to = self.known_exchange(&letter.exchange.value);
            self.edge(&id, &to, Meaning::DeadLetters, label, false);
        } else if self.vhost.queues.contains_key(label) {
            let to = self.id(Role::Queue, label);
            self.edge(&id, &to, Meaning::DeadLetters, "", false);
        }
    }
}
