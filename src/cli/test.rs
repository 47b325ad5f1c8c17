//! `railpost test`: the `[[tests]]` of topology files, offline and in virtual time.

use std::time::Instant;

use crate::cli::args::TestArgs;
use crate::cli::args::TestFormat;
use crate::cli::exit::Exit;
use crate::cli::sound;
use crate::topology::coverage;
use crate::topology::run::Runner;
use crate::topology::scenario::Scenario;
use crate::topology::verdict;
use crate::topology::verdict::Verdict;

pub(in crate::cli) fn run(args: &TestArgs) -> Exit {
    let started = Instant::now();
    let topology = match sound::read(&args.paths) {
        Ok(topology) => topology,
        Err(exit) => return exit,
    };
    let wanted = |it: &&Scenario| args.filter.as_ref().is_none_or(|text| it.name.contains(text));
    let mut verdicts = Vec::new();
    for vhost in topology.vhosts.values() {
        let mut scenarios = vhost.scenarios.iter().filter(wanted).peekable();
        if scenarios.peek().is_none() {
            continue;
        }
        let mut runner = Runner::new(&topology, vhost);
        for scenario in scenarios {
            let begun = Instant::now();
            let failures = runner.run(scenario);
            let verdict = Verdict::new(&topology, scenario, &failures, begun.elapsed());
            if args.format == TestFormat::Text {
                print!("{}", verdict.text());
            }
            verdicts.push(verdict);
        }
    }
    let covered = args.coverage.then(|| coverage::of(&topology));
    let n_failed = verdicts.iter().filter(|it| !it.passed()).count();
    match args.format {
        TestFormat::Text => {
            let (took, n) = (started.elapsed().as_millis(), verdicts.len());
            println!("{} passed, {n_failed} failed, in {took} ms", n - n_failed);
            covered.iter().for_each(|it| print!("{}", it.text()));
        }
        TestFormat::Json => print!("{}", verdict::json(&verdicts, covered.as_ref())),
        TestFormat::Junit => {
            print!("{}", verdict::junit(&verdicts));
            // It has no place in JUnit's XML.
            covered.iter().for_each(|it| eprint!("{}", it.text()));
        }
    }
    if n_failed > 0 { Exit::Findings } else { Exit::Fine }
}
