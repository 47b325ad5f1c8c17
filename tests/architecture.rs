//! The house rules, as tests: floors, walls around crates, the map, and the words we use.

#![allow(clippy::disallowed_methods, reason = "reads our own sources")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// Modules and their floors. A module may use lower floors and itself.
const FLOORS: [(&str, u8); 14] = [
    ("amqp", 0),
    ("codec", 1),
    ("routing", 1),
    ("queue", 1),
    ("storage", 1),
    ("access", 1),
    ("broker", 2),
    ("session", 3),
    ("topology", 3),
    ("admin", 3),
    ("controller", 4),
    ("server", 4),
    ("cli", 5),
    ("main", 6),
];

/// Crates that stay behind a wall, and the modules inside of it.
const WALLS: [(&str, &[&str]); 14] = [
    ("amq_protocol", &["codec"]),
    ("tokio", &["server", "controller", "cli"]),
    ("parking_lot", &["server"]),
    ("dashmap", &["server"]),
    ("metrics", &["server"]),
    ("tracing", &["server", "controller", "cli"]),
    ("tracing_subscriber", &["cli"]),
    ("axum", &["server"]),
    ("rustix", &["server", "cli"]),
    ("getrandom", &["server", "cli"]),
    ("clap", &["cli"]),
    ("annotate_snippets", &["topology"]),
    ("ureq", &["cli"]),
    ("lapin", &["controller"]),
];

/// Words that say nothing, in names of files and types.
const EMPTY_WORDS: [&str; 8] =
    ["manager", "helper", "util", "common", "misc", "data", "info", "handler"];

struct Source {
    path: PathBuf,
    module: String,
    text: String,
    is_test: bool,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(root().join("src")).expect("below src").to_owned();
            let first = relative.iter().next().expect("not empty").to_string_lossy().into_owned();
            // A disk in memory serves unit tests only.
            let is_test =
                relative.ends_with("tests.rs") || relative == Path::new("storage/disk/memory.rs");
            let text = fs::read_to_string(&path).expect("readable");
            Source {
                path: relative,
                module: first.trim_end_matches(".rs").to_owned(),
                text,
                is_test,
            }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}

/// The lines of a file that are neither comments nor in its inline tests.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let end = source.text.find("#[cfg(test)]\nmod tests {").unwrap_or(source.text.len());
    let lines = source.text[..end].lines().enumerate();
    lines.map(|(at, line)| (at + 1, line)).filter(|(_, it)| !it.trim_start().starts_with("//"))
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn dependencies_point_down() {
    let floors: BTreeMap<&str, u8> = FLOORS.into_iter().collect();
    let mut problems = Vec::new();
    for source in sources().iter().filter(|it| it.module != "lib") {
        let Some(own) = floors.get(source.module.as_str()) else {
            problems.push(format!("{}: module has no floor", source.path.display()));
            continue;
        };
        for (at, line) in code(source) {
            for used in line.split("crate::").skip(1) {
                let used = used.split(|it: char| !it.is_alphanumeric() && it != '_').next();
                let used = used.unwrap_or_default();
                let Some(floor) = floors.get(used) else { continue };
                let below = floor < own || used == source.module;
                if !below {
                    problems.push(format!(
                        "{}:{at}: floor {own} uses `{used}` of floor {floor}",
                        source.path.display()
                    ));
                }
            }
            if line.contains("use crate::{") {
                problems.push(format!("{}:{at}: one `use` per module", source.path.display()));
            }
        }
    }
    report(&problems);
}

#[test]
fn crates_stay_behind_their_walls() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|it| !it.is_test) {
        for (at, line) in code(source) {
            for (name, inside) in WALLS {
                let used = line.contains(&format!("{name}::"));
                let of_std = line.contains(&format!("server::{name}::"));
                if used && !of_std && !inside.contains(&source.module.as_str()) {
                    problems.push(format!(
                        "{}:{at}: `{name}` is used outside of {inside:?}",
                        source.path.display()
                    ));
                }
            }
        }
    }
    report(&problems);
}

/// What floors 0 to 3 never contain: they decide, and the floors above act.
#[test]
fn lower_floors_are_pure() {
    const NEVER: [&str; 12] = [
        "async fn",
        ".await",
        "Instant",
        "SystemTime",
        "Mutex",
        "RwLock",
        "thread::",
        "std::fs",
        "std::net",
        "std::env",
        "println!",
        "rand::",
    ];
    let floors: BTreeMap<&str, u8> = FLOORS.into_iter().collect();
    let mut problems = Vec::new();
    for source in sources().iter().filter(|it| !it.is_test) {
        if floors.get(source.module.as_str()).is_none_or(|it| *it > 3) {
            continue;
        }
        for (at, line) in code(source) {
            for word in NEVER.iter().filter(|word| line.contains(**word)) {
                problems.push(format!("{}:{at}: `{word}`", source.path.display()));
            }
        }
    }
    report(&problems);
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    let mut problems = Vec::new();
    for source in sources() {
        let path = source.path.display();
        if !source.is_test && !source.text.starts_with("//! ") {
            problems.push(format!("{path}: does not begin with a `//!` sentence"));
        }
        for (at, line) in code(&source) {
            let quotes = line.contains('"') || line.contains("http");
            if line.chars().count() > 100 && !quotes && !source.is_test {
                problems.push(format!("{path}:{at}: longer than 100 characters"));
            }
        }
        let lines = code(&source).count();
        if !source.is_test && lines > 900 {
            problems.push(format!("{path}: {lines} lines of code; what is it hiding?"));
        }
        let stem = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for word in EMPTY_WORDS {
            if stem.split('_').any(|it| it == word) {
                problems.push(format!("{path}: `{word}` says nothing"));
            }
        }
    }
    report(&problems);
}

#[test]
fn functions_are_short() {
    /// Flat lists with one arm per case are as long as there are cases.
    const FLAT: [&str; 6] = ["on_method", "to_class", "declare", "layout", "to_method", "commands"];
    let mut problems = Vec::new();
    for source in sources().iter().filter(|it| !it.is_test) {
        let mut open: Option<(usize, usize, String)> = None;
        for (at, line) in code(source) {
            let indent = line.len() - line.trim_start().len();
            let trimmed = line.trim_start();
            let begins = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(", "const fn "]
                .iter()
                .any(|it| trimmed.starts_with(it))
                && trimmed.contains("fn ");
            if begins && open.is_none() {
                let name = trimmed.split("fn ").nth(1).unwrap_or_default();
                let name = name.split(['(', '<']).next().unwrap_or_default().to_owned();
                open = Some((at, indent, name));
            }
            if let Some((start, depth, name)) = &open
                && (line == format!("{}}}", " ".repeat(*depth))
                    || (line.ends_with(';')
                        && (begins || (indent == *depth && trimmed.starts_with(')')))))
            {
                let lines = at - start;
                if lines > 100 && !FLAT.contains(&name.as_str()) {
                    problems.push(format!(
                        "{}:{start}: `{name}` has {lines} lines",
                        source.path.display()
                    ));
                }
                open = None;
            }
        }
    }
    report(&problems);
}

/// The path of a message in ARCHITECTURE.md: each step names a function, and that function says
/// its step.
#[test]
fn the_map_leads_somewhere() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let sources = sources();
    let mut steps = BTreeSet::new();
    let mut problems = Vec::new();
    for line in map.lines() {
        let Some((number, rest)) = line.split_once(". `") else { continue };
        let Ok(number) = number.trim().parse::<u32>() else { continue };
        let parts: Vec<&str> = rest.split('`').collect();
        let [file, _, function, ..] = parts[..] else { continue };
        steps.insert(number);
        let Some(source) = sources.iter().find(|it| it.path == Path::new(file)) else {
            problems.push(format!("step {number}: no file `{file}`"));
            continue;
        };
        if !source.text.contains(&format!("fn {function}")) {
            problems.push(format!("step {number}: no function `{function}` in `{file}`"));
        }
        if !source.text.contains(&format!("Step {number}")) {
            problems.push(format!("step {number}: `{function}` does not say that it is this step"));
        }
    }
    if steps.len() < 13 {
        problems.push(format!("only the steps {steps:?} are in ARCHITECTURE.md"));
    }
    report(&problems);
}
