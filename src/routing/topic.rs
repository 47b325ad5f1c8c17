//! Topic exchanges: binding keys with `*` (exactly one word) and `#` (zero or more words).
//!
//! A trie over words, walked with a set of nodes instead of by backtracking: the cost of a match
//! is bounded by words × nodes reached, whatever the binding keys are.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::amqp::name::BindingKey;
use crate::routing::matcher::Targets;
use crate::routing::route::Routes;
use crate::routing::table::Destination;

#[derive(Clone, Debug)]
pub(in crate::routing) struct TopicMatcher {
    nodes: Vec<Node>,
    free: Vec<NodeIndex>,
    /// Numbers for the words that occur in binding keys, with how many edges use each.
    words: HashMap<Box<str>, (u32, usize), RandomState>,
    next_word: u32,
    edges: HashMap<(NodeIndex, u32), NodeIndex, RandomState>,
}

type NodeIndex = u32;
const ROOT: NodeIndex = 0;
/// No node has the root as a child, so its number can mean "none".
const NONE: NodeIndex = 0;

#[derive(Clone, Debug, Default)]
struct Node {
    star: NodeIndex,
    hash: NodeIndex,
    /// Whether this node is itself a `#`, which any further word leads back to.
    is_hash: bool,
    n_children: u32,
    targets: Targets,
}

impl Default for TopicMatcher {
    fn default() -> TopicMatcher {
        TopicMatcher {
            nodes: vec![Node::default()],
            free: Vec::new(),
            words: HashMap::default(),
            next_word: 0,
            edges: HashMap::default(),
        }
    }
}

/// The working set of a match, kept by the caller so that matching allocates nothing.
#[derive(Clone, Debug, Default)]
pub(in crate::routing) struct Walk {
    active: Vec<NodeIndex>,
    next: Vec<NodeIndex>,
    /// The step in which each node was last entered.
    seen: Vec<u64>,
    step: u64,
}

impl TopicMatcher {
    pub(in crate::routing) fn add(&mut self, key: &BindingKey, to: &Destination) {
        let mut at = ROOT;
        for word in words(key) {
            at = self.child(at, word).unwrap_or_else(|| self.add_child(at, word));
        }
        self.nodes[at as usize].targets.add(to);
    }

    pub(in crate::routing) fn remove(&mut self, key: &BindingKey, to: &Destination) {
        let mut path = vec![(ROOT, "")];
        for word in words(key) {
            let Some(child) = self.child(path[path.len() - 1].0, word) else {
                return;
            };
            path.push((child, word));
        }
        self.nodes[path[path.len() - 1].0 as usize].targets.remove(to);
        while let [.., (parent, _), (child, word)] = path[..] {
            let node = &self.nodes[child as usize];
            if node.n_children > 0 || !node.targets.is_empty() {
                break;
            }
            self.remove_child(parent, word, child);
            path.pop();
        }
    }

    pub(in crate::routing) fn collect(&self, key: &str, routes: &mut Routes) -> bool {
        let mut walk = std::mem::take(&mut routes.walk);
        walk.seen.resize(walk.seen.len().max(self.nodes.len()), 0);
        walk.next.clear();
        walk.step += 1;
        self.enter(ROOT, &mut walk);
        std::mem::swap(&mut walk.active, &mut walk.next);
        for word in words(key) {
            walk.step += 1;
            walk.next.clear();
            let number = self.words.get(word).map(|(number, _)| *number);
            for at in 0..walk.active.len() {
                let index = walk.active[at];
                let node = &self.nodes[index as usize];
                let child = number.and_then(|number| self.edges.get(&(index, number)).copied());
                child.into_iter().for_each(|child| self.enter(child, &mut walk));
                if node.star != NONE {
                    self.enter(node.star, &mut walk);
                }
                if node.is_hash {
                    self.enter(index, &mut walk);
                }
            }
            std::mem::swap(&mut walk.active, &mut walk.next);
        }
        let mut any = false;
        for index in &walk.active {
            let targets = &self.nodes[*index as usize].targets;
            any |= !targets.is_empty() && routes.add(targets);
        }
        routes.walk = walk;
        any
    }

    /// Adds a node to the next set, and the `#` below it, which may stand for no word at all.
    fn enter(&self, mut index: NodeIndex, walk: &mut Walk) {
        loop {
            if walk.seen[index as usize] == walk.step {
                return;
            }
            walk.seen[index as usize] = walk.step;
            walk.next.push(index);
            index = self.nodes[index as usize].hash;
            if index == NONE {
                return;
            }
        }
    }

    fn child(&self, parent: NodeIndex, word: &str) -> Option<NodeIndex> {
        let node = &self.nodes[parent as usize];
        match word {
            "*" => (node.star != NONE).then_some(node.star),
            "#" => (node.hash != NONE).then_some(node.hash),
            _ => {
                let (number, _) = self.words.get(word)?;
                self.edges.get(&(parent, *number)).copied()
            }
        }
    }

    fn add_child(&mut self, parent: NodeIndex, word: &str) -> NodeIndex {
        let node = Node { is_hash: word == "#", ..Node::default() };
        let index = match self.free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                index
            }
            None => {
                self.nodes.push(node);
                NodeIndex::try_from(self.nodes.len() - 1).expect("fewer than 2^32 binding keys")
            }
        };
        let above = &mut self.nodes[parent as usize];
        above.n_children += 1;
        match word {
            "*" => above.star = index,
            "#" => above.hash = index,
            _ => {
                let next = self.next_word;
                let (number, uses) = self.words.entry(word.into()).or_insert((next, 0));
                self.next_word += u32::from(*uses == 0);
                *uses += 1;
                self.edges.insert((parent, *number), index);
            }
        }
        index
    }

    fn remove_child(&mut self, parent: NodeIndex, word: &str, child: NodeIndex) {
        let above = &mut self.nodes[parent as usize];
        above.n_children -= 1;
        match word {
            "*" => above.star = NONE,
            "#" => above.hash = NONE,
            _ => {
                if let Some((number, uses)) = self.words.get_mut(word) {
                    self.edges.remove(&(parent, *number));
                    *uses -= 1;
                    if *uses == 0 {
                        self.words.remove(word);
                    }
                }
            }
        }
        self.free.push(child);
    }
}

/// The words of a key. COMPAT: the empty key has no words, `.` has two empty ones.
pub fn words(key: &str) -> impl Iterator<Item = &str> {
    let mut rest = (!key.is_empty()).then_some(key);
    std::iter::from_fn(move || {
        let key = rest?;
        match key.split_once('.') {
            Some((word, after)) => {
                rest = Some(after);
                Some(word)
            }
            None => {
                rest = None;
                Some(key)
            }
        }
    })
}

/// Whether a binding key matches a routing key, word by word: the meaning the trie must keep.
///
/// Dynamic programming over both keys, so that it too is bounded: O(words × words).
pub fn matches(binding_key: &str, routing_key: &str) -> bool {
    let routing: Vec<&str> = words(routing_key).collect();
    // `reached[n]`: the binding words so far match the first n routing words.
    let mut reached = vec![false; routing.len() + 1];
    reached[0] = true;
    for word in words(binding_key) {
        if word == "#" {
            let first = reached.iter().position(|it| *it).unwrap_or(reached.len());
            reached.iter_mut().skip(first).for_each(|it| *it = true);
        } else {
            for n in (1..reached.len()).rev() {
                reached[n] = reached[n - 1] && (word == "*" || word == routing[n - 1]);
            }
            reached[0] = false;
        }
    }
    reached[routing.len()]
}

/// Whether some routing key matches both binding keys.
///
/// Dynamic programming: `reached[n]` says that the words of `a` so far and the first n of `b` can
/// stand for the same words.
pub fn intersect(a: &str, b: &str) -> bool {
    let b: Vec<&str> = words(b).collect();
    let mut reached = vec![false; b.len() + 1];
    reached[0] = true;
    let skip_hashes = |reached: &mut [bool]| {
        for (n, word) in b.iter().enumerate() {
            reached[n + 1] |= reached[n] && *word == "#";
        }
    };
    skip_hashes(&mut reached);
    for word in words(a) {
        let before = reached.clone();
        for n in 0..reached.len() {
            // `word` stands for one word: one of `b` is used up, or a `#` of `b` takes it.
            let same = |other: &str| word == "*" || other == "*" || word == other;
            let stepped = n > 0 && before[n - 1] && b[n - 1] != "#" && same(b[n - 1]);
            let swallowed = n > 0 && before[n] && b[n - 1] == "#";
            reached[n] = stepped || swallowed;
        }
        if word == "#" {
            // It stands for any number of words: none, or those of `b` one after the other.
            for n in 0..reached.len() {
                reached[n] = before[n] || (n > 0 && reached[n - 1]);
            }
        }
        skip_hashes(&mut reached);
    }
    reached[b.len()]
}
