//! `railpost diff`: what lies between two topologies.

use crate::cli::args::DiffArgs;
use crate::cli::args::DiffFormat;
use crate::cli::exit::Exit;
use crate::cli::live::Live;
use crate::cli::revision;
use crate::topology::Topology;
use crate::topology::plan::Plan;

pub(in crate::cli) fn run(args: &DiffArgs) -> Exit {
    match compare(args) {
        Some(true) => Exit::Fine,
        Some(false) if args.detailed_exitcode => Exit::Changes,
        None if !args.detailed_exitcode => Exit::Unusable,
        Some(false) | None => Exit::Findings,
    }
}

/// Prints the differences, and says whether there are none; nothing when they cannot be told.
fn compare(args: &DiffArgs) -> Option<bool> {
    let side = |text: &str| match text {
        "live" => Live::new(&args.api).and_then(|it| it.topology()),
        path => revision::read(path),
    };
    // Errors in a file are no differences, so they are not the answer "no".
    let (old, new) = (side(&args.old).ok()?, side(&args.new).ok()?);
    let (old, new) = (without_strangers(&old, &new), without_strangers(&new, &old));
    let plan = Plan::between(&old, &new);
    match args.format {
        DiffFormat::Text => print!("{}", plan.text()),
        DiffFormat::Json => print!("{}", plan.json()),
        DiffFormat::Markdown => print!("{}", plan.markdown()),
    }
    Some(plan.is_empty())
}

/// A broker has vhosts that are no topology's business: those with nothing in them.
fn without_strangers(one: &Topology, other: &Topology) -> Topology {
    let mut kept = one.clone();
    kept.vhosts.retain(|name, it| {
        let is_empty = it.queues.is_empty() && it.exchanges.is_empty() && it.services.is_empty();
        other.vhosts.contains_key(name) || !is_empty
    });
    kept
}
