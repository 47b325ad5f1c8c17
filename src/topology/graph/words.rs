//! The picture in the languages of other programs: Graphviz and Mermaid.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::broker::rules::Delivers;
use crate::topology::graph::Edge;
use crate::topology::graph::Graph;
use crate::topology::graph::Id;
use crate::topology::graph::Meaning;
use crate::topology::graph::Node;
use crate::topology::graph::Role;
use crate::topology::graph::State;

/// For `dot` of Graphviz.
pub fn dot(graph: &Graph) -> String {
    let numbers = numbers(graph);
    let mut text = "digraph topology {\n  rankdir=LR;\n  node [fontname=monospace];\n".to_owned();
    for (id, node) in &graph.nodes {
        let shape = match (id.1, node.delivers) {
            (Role::Exchange, Some(Delivers::Broadcast)) => "box, peripheries=2, color=purple",
            (Role::Exchange, _) => "cds, color=teal",
            (Role::Queue | Role::Instances, _) => "box3d",
            (Role::Publisher | Role::Consumer, _) => "ellipse",
        };
        let state = match node.state {
            State::Same => "",
            State::Changed => ", color=orange, penwidth=2",
            State::Added => ", color=green, penwidth=2",
            State::Removed => ", color=red, style=dashed",
        };
        let label = lines(id, node).join("\n").replace('\\', "\\\\").replace('"', "\\\"");
        let label = label.replace('\n', "\\n");
        let _ = writeln!(text, "  n{} [shape={shape}, label=\"{label}\"{state}];", numbers[id]);
    }
    for ((from, to, meaning), edge) in &graph.edges {
        let style = match (edge.state, meaning) {
            (State::Removed, _) => ", color=red, style=dashed",
            (State::Added, _) => ", color=green",
            (_, Meaning::DeadLetters | Meaning::Alternates) => ", style=dotted, constraint=false",
            _ => "",
        };
        let label = label(edge).replace('\\', "\\\\").replace('"', "\\\"");
        let (from, to) = (numbers[from], numbers[to]);
        let _ = writeln!(text, "  n{from} -> n{to} [label=\"{label}\"{style}];");
    }
    text + "}\n"
}

/// For Mermaid, which GitHub draws in markdown.
pub fn mermaid(graph: &Graph) -> String {
    let numbers = numbers(graph);
    let mut text = "flowchart LR\n".to_owned();
    for (id, node) in &graph.nodes {
        let (open, close, class) = match (id.1, node.delivers) {
            (Role::Exchange, Some(Delivers::Broadcast)) => ("[[", "]]", "broadcast"),
            (Role::Exchange, _) => (">", "]", "work"),
            (Role::Queue | Role::Instances, _) => ("[(", ")]", "queue"),
            (Role::Publisher | Role::Consumer, _) => ("([", "])", "service"),
        };
        let class = match node.state {
            State::Same => class,
            State::Changed => "changed",
            State::Added => "added",
            State::Removed => "removed",
        };
        let lines: Vec<String> = lines(id, node).iter().map(|it| escaped(it)).collect();
        let label = lines.join("<br/>");
        let _ = writeln!(text, "  n{}{open}\"{label}\"{close}:::{class}", numbers[id]);
    }
    for ((from, to, meaning), edge) in &graph.edges {
        let arrow = match (edge.state, meaning) {
            (State::Removed, _) | (_, Meaning::DeadLetters | Meaning::Alternates) => "-.->",
            (_, Meaning::Binds) if !edge.work => "==>",
            _ => "-->",
        };
        let label = match label(edge) {
            label if label.is_empty() => label,
            label => format!("|\"{}\"|", escaped(&label)),
        };
        let _ = writeln!(text, "  n{} {arrow}{label} n{}", numbers[from], numbers[to]);
    }
    text.push_str(
        "  classDef broadcast stroke:#7c3aed,stroke-width:2px\n  \
         classDef work stroke:#0f766e,stroke-width:2px\n  \
         classDef added stroke:#15803d,fill:#f0fdf4\n  \
         classDef removed stroke:#be123c,fill:#fff1f2,stroke-dasharray:5 4\n  \
         classDef changed stroke:#b45309,fill:#fffbeb\n",
    );
    text
}

fn numbers(graph: &Graph) -> BTreeMap<&Id, usize> {
    graph.nodes.keys().enumerate().map(|(at, id)| (id, at)).collect()
}

fn lines(id: &Id, node: &Node) -> Vec<String> {
    let name = format!("{}{}", node.state.sign(), id.2);
    std::iter::once(name).chain(node.lines.clone()).chain(node.retry.clone()).collect()
}

fn label(edge: &Edge) -> String {
    match edge.labels.is_empty() {
        true => edge.state.sign().trim().to_owned(),
        false => format!("{}{}", edge.state.sign(), edge.labels.join(", ")),
    }
}

/// Mermaid's own entities; `#` begins one.
fn escaped(text: &str) -> String {
    let text = text.replace('#', "#35;").replace('"', "#quot;");
    text.replace('<', "#lt;").replace('>', "#gt;").replace('`', "#96;")
}
