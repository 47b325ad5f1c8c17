//! The picture as SVG, drawn without any other program.

use std::fmt::Write as _;

use crate::broker::rules::Delivers;
use crate::topology::graph::Edge;
use crate::topology::graph::Graph;
use crate::topology::graph::Id;
use crate::topology::graph::Meaning;
use crate::topology::graph::Node;
use crate::topology::graph::Role;
use crate::topology::graph::State;
use crate::topology::graph::layout::Place;
use crate::topology::graph::layout::chars;
use crate::topology::graph::layout::layout;

const BROADCAST: &str = "#7c3aed";
const WORK: &str = "#0f766e";
const RETRY: &str = "#b45309";
const DEAD: &str = "#be123c";
const PLAIN: &str = "#475569";
const ADDED: &str = "#15803d";

const STYLE: &str = "text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#0f172a}\
    .s{font-size:11px;fill:#475569}.r{font-size:11px;fill:#b45309}.l{font-size:11px;\
    paint-order:stroke;stroke:#fff;stroke-width:4px}.n{font-weight:600}";

/// One SVG document.
pub fn svg(graph: &Graph) -> String {
    let layout = layout(graph);
    let legend = layout.height;
    let width = layout.width.max(620);
    let height = legend + 40;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>Topology</title>\n\
         <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for colour in [BROADCAST, WORK, DEAD, PLAIN, ADDED] {
        let id = &colour[1..];
        let _ = writeln!(
            text,
            "<marker id=\"a{id}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
             markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"{colour}\"/></marker>"
        );
    }
    for ((from, to, meaning), edge) in &graph.edges {
        if let (Some(a), Some(b)) = (layout.places.get(from), layout.places.get(to)) {
            line(&mut text, *a, *b, (from, to, *meaning), edge);
        }
    }
    for (id, place) in &layout.places {
        boxed(&mut text, id, *place, &graph.nodes[id]);
    }
    key(&mut text, legend + 12);
    text.push_str("</svg>\n");
    text
}

fn colour_of(node: &Node, role: Role) -> &'static str {
    match (role, node.delivers) {
        (_, Some(Delivers::Broadcast)) => BROADCAST,
        (_, Some(Delivers::Work)) => WORK,
        _ => PLAIN,
    }
}

fn boxed(text: &mut String, id: &Id, place: Place, node: &Node) {
    let (colour, fill) = match node.state {
        State::Added => (ADDED, "#f0fdf4"),
        State::Removed => (DEAD, "#fff1f2"),
        State::Changed => (RETRY, "#fffbeb"),
        State::Same => (colour_of(node, id.1), "#fff"),
    };
    let dash = if node.state == State::Removed { " stroke-dasharray=\"5 4\"" } else { "" };
    let Place { x, y, width, height } = place;
    let _ = writeln!(text, "<g><title>{}</title>", escaped(&format!("{} {}", role(id.1), id.2)));
    let rect = |text: &mut String, (x, y): (i64, i64), rx: i64, fill: &str| {
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{rx}\" \
             fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.6\"{dash}/>"
        );
    };
    match (id.1, node.delivers) {
        // A second sheet behind it: everybody gets a copy.
        (Role::Exchange, Some(Delivers::Broadcast)) => {
            rect(text, (x + 5, y + 5), 4, fill);
            rect(text, (x, y), 4, fill);
        }
        // A point to the right: one of them gets it.
        (Role::Exchange, _) => {
            let (right, bottom, middle) = (x + width, y + height, y + height / 2);
            let _ = writeln!(
                text,
                "<path d=\"M{x} {y}H{}L{right} {middle}L{} {bottom}H{x}z\" fill=\"{fill}\" \
                 stroke=\"{colour}\" stroke-width=\"1.6\"{dash}/>",
                right - 10,
                right - 10
            );
        }
        (Role::Queue | Role::Instances, _) => {
            rect(text, (x, y), 0, fill);
            let _ = writeln!(
                text,
                "<path d=\"M{0} {y}v{height}M{1} {y}v{height}\" stroke=\"{colour}\" \
                 stroke-width=\"1\"{dash}/>",
                x + 4,
                x + 8
            );
        }
        (Role::Publisher | Role::Consumer, _) => rect(text, (x, y), height / 2, fill),
    }
    let mut baseline = y + 22;
    let mut put = |class: &str, words: &str| {
        let _ = writeln!(
            text,
            "<text class=\"{class}\" x=\"{}\" y=\"{baseline}\">{}</text>",
            x + 14,
            escaped(words)
        );
        baseline += 16;
    };
    put("n", &format!("{}{}", node.state.sign(), id.2));
    node.lines.iter().for_each(|it| put("s", it));
    node.retry.iter().for_each(|it| put("r", it));
    text.push_str("</g>\n");
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Publisher => "publisher",
        Role::Exchange => "exchange",
        Role::Queue => "queue",
        Role::Instances => "queues of instances",
        Role::Consumer => "service",
    }
}

fn line(text: &mut String, a: Place, b: Place, ends: (&Id, &Id, Meaning), edge: &Edge) {
    let (from, _, meaning) = ends;
    let colour = match (edge.state, meaning) {
        (State::Added, _) => ADDED,
        (State::Removed, _) | (_, Meaning::DeadLetters) => DEAD,
        (_, Meaning::Binds) if from.1 == Role::Exchange && edge.work => WORK,
        (_, Meaning::Binds) => BROADCAST,
        _ => PLAIN,
    };
    let dash = match (edge.state, meaning) {
        (State::Removed, _) => " stroke-dasharray=\"5 4\"",
        (_, Meaning::DeadLetters | Meaning::Alternates) => " stroke-dasharray=\"2 4\"",
        _ => "",
    };
    let forward = b.x >= a.x + a.width;
    let (x1, y1) = (a.x + if forward { a.width } else { a.width / 2 }, a.y + a.height / 2);
    let (x2, y2) = (b.x, b.y + b.height / 2);
    let (path, lx, ly) = if forward {
        let bend = (x2 - x1) / 2;
        let path = format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2 - bend);
        // Near the end, where edges of one exchange have parted.
        (path, x1 + (x2 - x1) * 2 / 3, y1 + (y2 - y1) * 3 / 4)
    } else {
        let below = (a.y + a.height).max(b.y + b.height) + 14;
        let (ya, bx, yb) = (a.y + a.height, b.x + b.width / 2, b.y + b.height);
        let path = format!("M{x1} {ya}C{x1} {below} {bx} {below} {bx} {}", yb + 6);
        (path, (x1 + bx) / 2, below - 2)
    };
    let width = if edge.work || meaning != Meaning::Binds { "1.4" } else { "2" };
    let _ = writeln!(
        text,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dash} \
         marker-end=\"url(#a{})\"/>",
        &colour[1..]
    );
    let mut label = edge.labels.join(", ");
    if chars(&label) > 32 {
        label = label.chars().take(31).chain(['…']).collect();
    }
    if !label.is_empty() {
        let label = format!("{}{label}", edge.state.sign());
        let _ = writeln!(
            text,
            "<text class=\"l\" text-anchor=\"middle\" x=\"{lx}\" y=\"{}\">{}</text>",
            ly - 4,
            escaped(&label)
        );
    }
}

fn key(text: &mut String, y: i64) {
    let words = [
        (BROADCAST, "broadcast: a copy for each"),
        (WORK, "work: one of them handles it"),
        (RETRY, "retry"),
        (DEAD, "dead letters"),
    ];
    let mut x = 24;
    for (colour, word) in words {
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text class=\"s\" x=\"{}\" y=\"{}\">{word}</text>",
            x + 15,
            y + 9
        );
        x += 30 + chars(word) * 7;
    }
}

pub(in crate::topology) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for it in text.chars() {
        match it {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // No XML may hold them, in whatever form.
            it if it.is_control() => escaped.push('\u{fffd}'),
            it => escaped.push(it),
        }
    }
    escaped
}
