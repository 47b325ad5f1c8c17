//! `railpost test`: the `[[tests]]` of topology files, offline and in virtual time.

use std::io::IsTerminal as _;
use std::time::Instant;

use crate::cli::args::TestArgs;
use crate::cli::exit::Exit;
use crate::cli::files;
use crate::cli::files::color_of;
use crate::topology;
use crate::topology::Diagnostic;
use crate::topology::Topology;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Tally;
use crate::topology::render;
use crate::topology::run;
use crate::topology::scenario::Scenario;

pub(in crate::cli) fn run(args: &TestArgs) -> Exit {
    let started = Instant::now();
    let sources = match files::read(&files::or_default(&args.paths)) {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Unusable;
        }
    };
    let loaded = topology::check(&sources, files::today());
    let topology = &loaded.topology;
    let tally = Tally::of(&loaded.diagnostics);
    if tally.errors > 0 {
        let errors: Vec<Diagnostic> =
            loaded.diagnostics.iter().filter(|it| it.is_error()).cloned().collect();
        let color = color_of(std::io::stderr().is_terminal());
        eprint!("{}", render::text(&errors, &topology.sources, color));
        eprintln!("no test was run, because the files have errors: {tally}");
        return Exit::Findings;
    }
    let wanted = |it: &&Scenario| args.filter.as_ref().is_none_or(|text| it.name.contains(text));
    let (mut n_passed, mut n_failed) = (0, 0);
    for vhost in topology.vhosts.values() {
        for scenario in vhost.scenarios.iter().filter(wanted) {
            match run_one(topology, vhost, scenario) {
                true => n_passed += 1,
                false => n_failed += 1,
            }
        }
    }
    let took = started.elapsed().as_millis();
    println!("{n_passed} passed, {n_failed} failed, in {took} ms");
    if n_failed > 0 { Exit::Findings } else { Exit::Fine }
}

fn run_one(topology: &Topology, vhost: &Vhost, scenario: &Scenario) -> bool {
    let failures = run::run(topology, vhost, scenario);
    let place = topology.sources.cite(scenario.origin);
    let verdict = if failures.is_empty() { "ok    " } else { "FAILED" };
    println!("{verdict} {} ({place})", scenario.name.value);
    for failure in &failures {
        println!("       {}: {}", topology.sources.cite(failure.origin), failure.text);
    }
    failures.is_empty()
}
