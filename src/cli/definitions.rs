//! `railpost export` and `railpost import`: RabbitMQ's definitions.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::cli::args::ExportArgs;
use crate::cli::args::ExportTarget;
use crate::cli::args::ImportArgs;
use crate::cli::exit::Exit;
use crate::cli::sound;
use crate::topology::rabbitmq;

pub(in crate::cli) fn export(args: &ExportArgs) -> Exit {
    let topology = match sound::read(&args.paths) {
        Ok(topology) => topology,
        Err(exit) => return exit,
    };
    match args.to {
        ExportTarget::Rabbitmq => {
            let exported = rabbitmq::export(&topology);
            print!("{}", exported.json());
            exported.notes.iter().for_each(|it| eprintln!("note: {it}"));
        }
    }
    Exit::Fine
}

pub(in crate::cli) fn import(args: &ImportArgs) -> Exit {
    match import_file(args) {
        Ok(exit) => exit,
        Err(text) => {
            eprintln!("error: {text}");
            Exit::Unusable
        }
    }
}

fn import_file(args: &ImportArgs) -> Result<Exit, String> {
    let path = args.file.display();
    let text =
        fs::read_to_string(&args.file).map_err(|it| format!("cannot read `{path}`: {it}"))?;
    let mut imported = rabbitmq::import(&text).map_err(|it| format!("`{path}`: {it}"))?;
    if let Some(vhost) = &args.vhost {
        imported.files.retain(|name, _| name == vhost);
    }
    match (&args.to_toml, imported.files.len()) {
        (_, 0) => return Err("there is no such vhost in these definitions".to_owned()),
        (Some(folder), _) => {
            for (vhost, text) in &imported.files {
                write(folder, vhost, text)?;
            }
        }
        (None, 1) => imported.files.values().for_each(|it| print!("{it}")),
        (None, n) => {
            let names: Vec<&str> = imported.files.keys().map(String::as_str).collect();
            return Err(format!(
                "there are {n} vhosts, and a file is about one of them: add --to-toml DIR, or \
                 --vhost with one of {}",
                names.join(", ")
            ));
        }
    }
    for it in &imported.left_out {
        eprintln!("left out: {it}");
    }
    let lost = args.strict && !imported.left_out.is_empty();
    Ok(if lost { Exit::Findings } else { Exit::Fine })
}

/// Writes a vhost's file, named after it.
fn write(folder: &Path, vhost: &str, text: &str) -> Result<(), String> {
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
    let stem: String = vhost.chars().map(|it| if plain(it) { it } else { '-' }).collect();
    let stem = match stem.trim_matches('-') {
        "" => "default",
        stem => stem,
    };
    let path = folder.join(format!("{stem}.toml"));
    let failed = |it: std::io::Error| format!("cannot write `{}`: {it}", path.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let mut file = fs::File::create_new(&path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    println!("wrote {}", path.display());
    Ok(())
}
