//! Finding and reading topology files.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::amqp::time::Timestamp;
use crate::topology::Source;
use crate::topology::day::Day;
use crate::topology::render::Color;

/// A file or folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{}`: {cause}", path.display())]
pub(in crate::cli) struct Unreadable {
    path: PathBuf,
    cause: std::io::Error,
}

/// The day, UTC: until when a suppression in a file holds.
pub(in crate::cli) fn today() -> Day {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Day::of(Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
}

/// Colours for a terminal, unless the environment is against it (`NO_COLOR`, `TERM=dumb`).
pub(in crate::cli) fn color_of(is_terminal: bool) -> Color {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|it| it == "dumb");
    if is_terminal && !no_color && !dumb { Color::Ansi } else { Color::Plain }
}

/// Where topology files are looked for when no path is named.
pub(in crate::cli) const USUAL: &str = "topology";

/// Paths named on the command line, or the usual folder.
pub(in crate::cli) fn or_default(paths: &[PathBuf]) -> Vec<PathBuf> {
    if paths.is_empty() { vec![PathBuf::from(USUAL)] } else { paths.to_vec() }
}

/// Reads the files named, and all `*.toml` below the folders named, in order of their paths.
pub(in crate::cli) fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Unreadable> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            collect(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    files.iter().map(|path| read_one(path)).collect()
}

fn read_one(path: &Path) -> Result<Source, Unreadable> {
    let bytes = fs::read(path).map_err(|cause| Unreadable { path: path.to_owned(), cause })?;
    // Bytes that are not UTF-8 become a character that no TOML may hold outside of strings, so
    // the mistake is reported at its place, with everything else.
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok(Source { path: path.display().to_string(), text })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Unreadable> {
    let unreadable = |cause| Unreadable { path: folder.to_owned(), cause };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|it| it == "toml") {
            files.push(path);
        }
    }
    Ok(())
}
