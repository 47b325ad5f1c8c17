//! `railpost check`: what is wrong with topology files.

use std::fs;
use std::io::IsTerminal as _;

use crate::cli::args::CheckArgs;
use crate::cli::args::CheckFormat;
use crate::cli::args::Color;
use crate::cli::args::FailOn;
use crate::cli::exit::Exit;
use crate::cli::files;
use crate::cli::files::color_of;
use crate::topology;
use crate::topology::Loaded;
use crate::topology::diagnostic::Tally;
use crate::topology::fix;
use crate::topology::render;

pub(in crate::cli) fn run(args: &CheckArgs) -> Exit {
    let sources = match files::read(&files::or_default(&args.paths)) {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Unusable;
        }
    };
    let loaded = topology::check(&sources, files::today());
    if args.fix {
        match correct(&loaded) {
            Ok(0) => {}
            Ok(n_fixed) => {
                eprintln!("corrected: {n_fixed}");
                return run(&CheckArgs { fix: false, ..args.clone() });
            }
            Err(error) => {
                eprintln!("error: {error}");
                return Exit::Unusable;
            }
        }
    }
    let (found, sources) = (&loaded.diagnostics, &loaded.topology.sources);
    let tally = Tally::of(found);
    match args.format {
        CheckFormat::Json => print!("{}", render::json(found, sources)),
        CheckFormat::Sarif => print!("{}", render::sarif(found, sources)),
        CheckFormat::Github => print!("{}", render::github(found, sources)),
        CheckFormat::Text => {
            let color = match args.color {
                Color::Always => render::Color::Ansi,
                Color::Never => render::Color::Plain,
                Color::Auto => color_of(std::io::stdout().is_terminal()),
            };
            print!("{}", render::text(found, sources, color));
            let plural = if sources.n_files() == 1 { "" } else { "s" };
            println!("{} file{plural}: {tally}", sources.n_files());
        }
    }
    let fails = match args.fail_on {
        FailOn::Error => tally.errors > 0,
        FailOn::Warning => tally.errors + tally.warnings > 0,
        FailOn::Info => !found.is_empty(),
    };
    if fails { Exit::Findings } else { Exit::Fine }
}

/// Writes the corrections there are; returns how many.
fn correct(loaded: &Loaded) -> Result<usize, String> {
    let (changed, n_fixed) = fix::fixed(&loaded.topology.sources, &loaded.diagnostics);
    for source in changed {
        let failed = |error| format!("cannot write `{}`: {error}", source.path);
        fs::write(&source.path, &source.text).map_err(failed)?;
    }
    Ok(n_fixed)
}
