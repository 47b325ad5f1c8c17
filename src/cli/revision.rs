//! Topology files of today's folder, or of a revision: `PATH` or `REV:PATH`, by the git program.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::cli::exit::Exit;
use crate::cli::files;
use crate::cli::sound;
use crate::topology::Source;
use crate::topology::Topology;

/// Reads the topology that `text` names; says why there is none.
pub(in crate::cli) fn read(text: &str) -> Result<Topology, Exit> {
    let sources = match split(text) {
        Some((revision, path)) => of_revision(revision, path),
        None => files::read(&[PathBuf::from(text)]).map_err(|error| error.to_string()),
    };
    let sources = sources.map_err(|error| {
        eprintln!("error: {error}");
        Exit::Unusable
    })?;
    sound::load(&sources)
}

/// What is there is a path, whatever its name.
fn split(text: &str) -> Option<(&str, &str)> {
    if Path::new(text).exists() { None } else { text.split_once(':') }
}

fn of_revision(revision: &str, path: &str) -> Result<Vec<Source>, String> {
    let path = if path.is_empty() { "." } else { path };
    // Behind the end of options, so that no name is taken for one.
    let listed = git(&["ls-tree", "-r", "-z", "--name-only", "--end-of-options", revision, path])?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let names: Vec<&str> = listed
        .split('\0')
        .filter(|it| !it.is_empty() && (it.ends_with(".toml") || *it == path))
        .collect();
    if names.is_empty() {
        // A tree without the folder is the state before there was a topology.
        eprintln!("note: {revision} has no topology files at {path}");
    }
    let one = |name: &str| {
        let text = git(&["show", "--end-of-options", &format!("{revision}:./{name}")])?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Source { path: name.to_owned(), text })
    };
    names.into_iter().map(one).collect()
}

fn git(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("git")
        .args(arguments)
        .output()
        .map_err(|error| format!("git cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("git {}: {}", arguments[0], text.trim()))
}
