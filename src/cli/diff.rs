//! `railpost diff`: what lies between two topologies.

use crate::cli::args::DiffArgs;
use crate::cli::args::DiffFormat;
use crate::cli::exit::Exit;
use crate::cli::revision;
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
    let both = revision::read(&args.old).and_then(|old| Ok((old, revision::read(&args.new)?)));
    // Errors in a file are no differences, so they are not the answer "no".
    let (old, new) = both.ok()?;
    let plan = Plan::between(&old, &new);
    match args.format {
        DiffFormat::Text => print!("{}", plan.text()),
        DiffFormat::Json => print!("{}", plan.json()),
        DiffFormat::Markdown => print!("{}", plan.markdown()),
    }
    Some(plan.is_empty())
}
