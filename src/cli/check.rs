//! `railpost check`: what is wrong with topology files.

use std::fs;
use std::io::IsTerminal as _;
use std::path::Path;
use std::path::PathBuf;

use crate::cli::args::CheckArgs;
use crate::cli::args::CheckFormat;
use crate::cli::args::Color;
use crate::cli::args::EngineName;
use crate::cli::args::FailOn;
use crate::cli::exit::Exit;
use crate::cli::files;
use crate::cli::files::color_of;
use crate::cli::live::Live;
use crate::cli::serve;
use crate::server::config::ConfigFile;
use crate::topology;
use crate::topology::Loaded;
use crate::topology::Source;
use crate::topology::diagnostic::Tally;
use crate::topology::fix;
use crate::topology::lint::subject::Inputs;
use crate::topology::rabbitmq::node::Node;
use crate::topology::rabbitmq::node::Version;
use crate::topology::render;

pub(in crate::cli) fn run(args: &CheckArgs) -> Exit {
    let loaded = match read(args) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
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

fn unusable(error: impl std::fmt::Display) -> Exit {
    eprintln!("error: {error}");
    Exit::Unusable
}

/// Reads all there is to check, and checks it; a broker is looked at when the files have no errors.
fn read(args: &CheckArgs) -> Result<Loaded, Exit> {
    let (configuration, topology) = match &args.config {
        Some(path) => {
            let (source, file) = read_config(path).map_err(unusable)?;
            (Some(source), file.topology)
        }
        None => (None, None),
    };
    let is_json = |it: &&PathBuf| it.extension().is_some_and(|it| it == "json");
    let (definitions, paths): (Vec<&PathBuf>, Vec<&PathBuf>) = args.paths.iter().partition(is_json);
    let paths: Vec<PathBuf> = match (paths.is_empty(), topology) {
        (false, _) => paths.into_iter().cloned().collect(),
        (true, _) if !definitions.is_empty() => Vec::new(),
        (true, Some(path)) => vec![path],
        // With a configuration alone there need not be any topology.
        (true, None) if configuration.is_some() && !Path::new(files::USUAL).exists() => Vec::new(),
        (true, None) => files::or_default(&[]),
    };
    let topology = files::read(&paths).map_err(unusable)?;
    let definitions: Vec<PathBuf> = definitions.into_iter().cloned().collect();
    let definitions = files::read(&definitions).map_err(unusable)?;
    let inputs = Inputs {
        topology: &topology,
        definitions: &definitions,
        configuration: configuration.as_ref(),
        ..Inputs::default()
    };
    let loaded = topology::check_all(&inputs, files::today()).map_err(unusable)?;
    if Tally::of(&loaded.diagnostics).errors > 0 {
        return Ok(loaded);
    }
    let (live, node) = match (args.live, args.api.engine) {
        (true, _) => {
            let (live, node) = Live::new(&args.api)?.look(&topology)?;
            (Some(live), node)
        }
        (false, EngineName::Rabbitmq) => (None, Some(Node::assumed(Version::NEWEST))),
        (false, EngineName::Railpost) => return Ok(loaded),
    };
    let inputs = Inputs { live: live.as_ref(), node: node.as_ref(), ..inputs };
    topology::check_all(&inputs, files::today()).map_err(unusable)
}

/// The configuration as text, and as the daemon would take it.
fn read_config(path: &Path) -> Result<(Source, ConfigFile), String> {
    let path_text = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|it| format!("cannot read `{path_text}`: {it}"))?;
    let file = serve::parse_config(path, &text)?;
    Ok((Source { path: path_text, text }, file))
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
