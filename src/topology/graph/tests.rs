use super::*;
use crate::topology::Source;
use crate::topology::load;

const FILE: &str = "[services.shop]\n[services.billing]\n\
    [exchanges.orders]\ntype = \"topic\"\n\
    messages = [{ key = \"order.<new>\", from = \"shop\" }]\n\
    [exchanges.jobs]\ntype = \"direct\"\nbindings = [{ exchange = \"orders\", key = \"job\" }]\n\
    [queues.billing]\nservice = \"billing\"\nretry = { attempts = 3, first = \"1s\" }\n\
    bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n\
    [queues.old]\ndead_letter = { exchange = \"jobs\", key = \"dead\" }\n\
    [queues.\"old.retry\"]\nttl = \"5s\"\ndead_letter = { exchange = \"\", key = \"old\" }\n";

fn topology(text: &str) -> Topology {
    load(&[Source { path: "t.toml".into(), text: text.into() }]).topology
}

#[test]
fn retries_and_parking_are_folded_into_their_queue() {
    let graph = Graph::of(&topology(FILE));
    let queue = |name: &str| graph.nodes.get(&("/".into(), Role::Queue, name.into()));
    let retry = |name| queue(name).and_then(|it| it.retry.as_deref());
    assert_eq!(retry("billing"), Some("retry 1s 2s → parked"));
    assert_eq!(retry("old"), Some("retry 5s by hand"));
    assert_eq!(queue("old.retry"), None);
}

#[test]
fn pictures_are_well_formed_and_the_same_each_time() {
    let graph = Graph::of(&topology(FILE));
    let picture = svg(&graph);
    assert_eq!(picture, svg(&Graph::of(&topology(FILE))));
    assert!(picture.contains("order.&lt;new&gt;") && !picture.contains("<new>"));
    assert_eq!(picture.matches("<g>").count(), graph.nodes.len());
    let places = layout::layout(&graph).places;
    for (id, a) in &places {
        for (other, b) in &places {
            let apart = a.x + a.width <= b.x
                || b.x + b.width <= a.x
                || a.y + a.height <= b.y
                || b.y + b.height <= a.y;
            assert!(id == other || apart, "{id:?} covers {other:?}");
        }
    }
    assert!(dot(&graph).contains("[label=\"order.<new>\"]"));
    assert!(mermaid(&graph).contains("==>|\"order.#35;\"| "));
}

#[test]
fn a_change_shows_what_it_adds_and_removes() {
    let new = FILE.replace("[queues.old]", "[queues.new]").replace("attempts = 3", "attempts = 4");
    let graph = Graph::between(&topology(FILE), &topology(&new));
    let state = |name: &str| graph.nodes[&("/".to_owned(), Role::Queue, name.to_owned())].state;
    assert_eq!(state("old"), State::Removed);
    assert_eq!(state("new"), State::Added);
    assert_eq!(state("billing"), State::Changed);
    assert!(svg(&graph).contains("− old</text>"));
    assert!(dot(&graph).contains("color=red, style=dashed"));
}
