//! Topologies for commands that need one without errors.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::files;
use crate::cli::files::color_of;
use crate::topology;
use crate::topology::Diagnostic;
use crate::topology::Source;
use crate::topology::Topology;
use crate::topology::diagnostic::Tally;
use crate::topology::render;

/// Reads the files, or the usual folder, into a topology; says why there is none, and what the
/// command ends with then.
pub(in crate::cli) fn read(paths: &[PathBuf]) -> Result<Topology, Exit> {
    let sources = files::read(&files::or_default(paths)).map_err(|error| {
        eprintln!("error: {error}");
        Exit::Unusable
    })?;
    load(&sources)
}

/// Makes a topology of texts that were read.
pub(in crate::cli) fn load(sources: &[Source]) -> Result<Topology, Exit> {
    let loaded = topology::check(sources, files::today());
    let tally = Tally::of(&loaded.diagnostics);
    if tally.errors == 0 {
        return Ok(loaded.topology);
    }
    let errors: Vec<Diagnostic> =
        loaded.diagnostics.iter().filter(|it| it.is_error()).cloned().collect();
    let color = color_of(std::io::stderr().is_terminal());
    eprint!("{}", render::text(&errors, &loaded.topology.sources, color));
    eprintln!("nothing was done, because the files have errors: {tally}");
    Err(Exit::Findings)
}
