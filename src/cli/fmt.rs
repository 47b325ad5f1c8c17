//! `railpost fmt`: topology files in order.

use std::fs;

use crate::cli::args::FmtArgs;
use crate::cli::exit::Exit;
use crate::cli::files;
use crate::topology::format;

pub(in crate::cli) fn run(args: &FmtArgs) -> Exit {
    let sources = match files::read(&files::or_default(&args.paths)) {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Unusable;
        }
    };
    let mut exit = Exit::Fine;
    for source in sources {
        let path = &source.path;
        let new = match format::format(&source.text) {
            Ok(new) => new,
            Err(error) => {
                eprintln!("error: `{path}`: {error}");
                exit = Exit::Unusable;
                continue;
            }
        };
        if new == source.text {
            continue;
        }
        println!("{path}");
        if args.check {
            exit = if exit == Exit::Fine { Exit::Findings } else { exit };
        } else if let Err(error) = fs::write(path, new) {
            eprintln!("error: cannot write `{path}`: {error}");
            exit = Exit::Unusable;
        }
    }
    exit
}
