//! Where nodes stand: columns by what they are, rows so that edges are short. Whole numbers only,
//! so that the same topology gives the same picture everywhere.

use std::collections::BTreeMap;

use crate::topology::graph::Graph;
use crate::topology::graph::Id;
use crate::topology::graph::Meaning;
use crate::topology::graph::Role;

/// A node's box, in pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::topology) struct Place {
    pub(in crate::topology) x: i64,
    pub(in crate::topology) y: i64,
    pub(in crate::topology) width: i64,
    pub(in crate::topology) height: i64,
}

#[derive(Clone, Debug, Default)]
pub(in crate::topology) struct Layout {
    pub(in crate::topology) places: BTreeMap<Id, Place>,
    pub(in crate::topology) width: i64,
    pub(in crate::topology) height: i64,
}

const CHAR: i64 = 8;
const LINE: i64 = 16;
const PADDING: i64 = 12;
const GAP: i64 = 22;
const MARGIN: i64 = 24;
/// Room for the labels of edges between two columns, at least and at most.
const BETWEEN: (i64, i64) = (90, 260);
/// How often rows are put in order, from the left and from the right.
const SWEEPS: usize = 8;

/// Boxes for all nodes.
pub(in crate::topology) fn layout(graph: &Graph) -> Layout {
    let column_of = columns(graph);
    let n_columns = column_of.values().max().map_or(0, |it| it + 1);
    let mut columns: Vec<Vec<&Id>> = vec![Vec::new(); n_columns];
    for (id, column) in &column_of {
        columns[*column].push(id);
    }
    order(graph, &mut columns);
    let between = between(graph, &column_of, n_columns);
    let mut places = BTreeMap::new();
    let heights: Vec<i64> = columns.iter().map(|column| tall(graph, column)).collect();
    let tallest = heights.iter().copied().max().unwrap_or(0);
    let mut x = MARGIN;
    for (at, column) in columns.iter().enumerate() {
        let wide = column.iter().map(|id| width(graph, id)).max().unwrap_or(0);
        let mut y = MARGIN + (tallest - heights[at]) / 2;
        for id in column {
            let height = height(graph, id);
            places.insert((*id).clone(), Place { x, y, width: wide, height });
            y += height + GAP;
        }
        x += wide + between.get(at).copied().unwrap_or(0);
    }
    Layout { places, width: x + MARGIN, height: tallest + 2 * MARGIN }
}

/// Publishers, exchanges behind those that feed them, queues, consumers.
fn columns(graph: &Graph) -> BTreeMap<Id, usize> {
    let mut depth: BTreeMap<&Id, usize> = BTreeMap::new();
    let exchanges = graph.nodes.keys().filter(|it| it.1 == Role::Exchange);
    let n = exchanges.clone().count();
    exchanges.for_each(|it| {
        depth.insert(it, 0);
    });
    // As many rounds as there can be steps; a cycle of exchanges ends there too.
    for _ in 0..n.min(16) {
        for (from, to, meaning) in graph.edges.keys() {
            let links = matches!(meaning, Meaning::Binds | Meaning::Alternates);
            if !links || to.1 != Role::Exchange || from == to {
                continue;
            }
            let next = depth.get(from).map_or(0, |it| it + 1).min(n);
            let own = depth.entry(to).or_default();
            *own = (*own).max(next);
        }
    }
    let deepest = depth.values().copied().max().unwrap_or(0);
    let column = |id: &Id| match id.1 {
        Role::Publisher => 0,
        Role::Exchange => 1 + depth.get(id).copied().unwrap_or(0),
        Role::Queue | Role::Instances => 2 + deepest,
        Role::Consumer => 3 + deepest,
    };
    let wanted: BTreeMap<Id, usize> =
        graph.nodes.keys().map(|id| (id.clone(), column(id))).collect();
    // Columns that nothing stands in take no room.
    let mut used: Vec<usize> = wanted.values().copied().collect();
    used.sort_unstable();
    used.dedup();
    let dense = |column: usize| used.iter().position(|it| *it == column).unwrap_or(0);
    wanted.into_iter().map(|(id, column)| (id, dense(column))).collect()
}

/// Puts each node near the middle of those it is connected with.
fn order(graph: &Graph, columns: &mut [Vec<&Id>]) {
    let mut neighbours: BTreeMap<&Id, Vec<&Id>> = BTreeMap::new();
    for (from, to, meaning) in graph.edges.keys() {
        if *meaning != Meaning::DeadLetters {
            neighbours.entry(from).or_default().push(to);
            neighbours.entry(to).or_default().push(from);
        }
    }
    for sweep in 0..SWEEPS {
        let n = columns.len();
        let indices: Vec<usize> =
            if sweep % 2 == 0 { (0..n).collect() } else { (0..n).rev().collect() };
        for at in indices {
            let rows: BTreeMap<&Id, i64> = columns.iter().flat_map(|column| rows(column)).collect();
            let mut column = std::mem::take(&mut columns[at]);
            column.sort_by_cached_key(|id| {
                let near = neighbours.get(id).into_iter().flatten();
                let near: Vec<i64> = near.filter_map(|it| rows.get(it).copied()).collect();
                let n = i64::try_from(near.len()).unwrap_or(1);
                let own = rows.get(id).copied().unwrap_or(0);
                let middle = if n == 0 { own } else { near.iter().sum::<i64>() / n };
                (id.0.clone(), middle, (*id).clone())
            });
            columns[at] = column;
        }
    }
}

/// Rows as shares of a column's height, in thousandths.
fn rows<'i>(column: &[&'i Id]) -> Vec<(&'i Id, i64)> {
    let n = i64::try_from(column.len()).unwrap_or(1).max(1);
    let row = |at: usize| (2 * i64::try_from(at).unwrap_or(0) + 1) * 500 / n;
    column.iter().enumerate().map(|(at, id)| (*id, row(at))).collect()
}

fn tall(graph: &Graph, column: &[&Id]) -> i64 {
    column.iter().map(|id| height(graph, id) + GAP).sum::<i64>() - GAP.min(GAP)
}

/// The room for labels right of each column.
fn between(graph: &Graph, column_of: &BTreeMap<Id, usize>, n: usize) -> Vec<i64> {
    let mut all = vec![BETWEEN.0; n.saturating_sub(1)];
    for ((from, _, _), edge) in &graph.edges {
        let longest = edge.labels.iter().map(|it| chars(it)).max().unwrap_or(0);
        if let Some(room) = column_of.get(from).and_then(|at| all.get_mut(*at)) {
            *room = (*room).max(longest * 7 + 40).min(BETWEEN.1);
        }
    }
    all
}

pub(in crate::topology) fn chars(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(0)
}

fn width(graph: &Graph, id: &Id) -> i64 {
    let node = &graph.nodes[id];
    let small = node.lines.iter().chain(&node.retry).map(|it| chars(it) * 7).max().unwrap_or(0);
    small.max((chars(&id.2) + 2) * CHAR).max(60) + 2 * PADDING
}

fn height(graph: &Graph, id: &Id) -> i64 {
    let node = &graph.nodes[id];
    let n = 1 + node.lines.len() + usize::from(node.retry.is_some());
    i64::try_from(n).unwrap_or(1) * LINE + 2 * PADDING - 4
}
