//! `railpost init` and `railpost schema`: what a new repository needs.

use std::fs;
use std::io::ErrorKind;
use std::io::Write as _;
use std::path::Path;

use crate::cli::args::InitArgs;
use crate::cli::exit::Exit;
use crate::topology::load::schema;

const TOPOLOGY: &str = include_str!("init/orders.toml");
const WORKFLOW: &str = include_str!("init/workflow.yml");

pub(in crate::cli) fn run(args: &InitArgs) -> Exit {
    let files = [("topology/orders.toml", TOPOLOGY), (".github/workflows/topology.yml", WORKFLOW)];
    for (name, text) in files {
        let path = args.folder.join(name);
        match write_new(&path, text) {
            Ok(()) => println!("wrote {}", path.display()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                println!("kept {}, which is there already", path.display());
            }
            Err(error) => {
                eprintln!("error: cannot write `{}`: {error}", path.display());
                return Exit::Unusable;
            }
        }
    }
    println!("next: railpost check, railpost test, railpost serve topology");
    Exit::Fine
}

pub(in crate::cli) fn schema() -> Exit {
    print!("{}", schema::schema());
    Exit::Fine
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}
