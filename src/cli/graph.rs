//! `railpost graph`: a topology as a picture.

use crate::cli::args::GraphArgs;
use crate::cli::args::GraphFormat;
use crate::cli::exit::Exit;
use crate::cli::revision;
use crate::topology::graph;
use crate::topology::graph::Graph;

pub(in crate::cli) fn run(args: &GraphArgs) -> Exit {
    let drawn = revision::read(&args.path).and_then(|new| {
        Ok(match &args.diff {
            Some(old) => Graph::between(&revision::read(old)?, &new),
            None => Graph::of(&new),
        })
    });
    let drawn = match drawn {
        Ok(drawn) => drawn,
        Err(exit) => return exit,
    };
    match args.format {
        GraphFormat::Svg => print!("{}", graph::svg(&drawn)),
        GraphFormat::Dot => print!("{}", graph::dot(&drawn)),
        GraphFormat::Mermaid => print!("{}", graph::mermaid(&drawn)),
    }
    Exit::Fine
}
