//! `railpost export` and `railpost import`: RabbitMQ's definitions.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::cli::args::EngineName;
use crate::cli::args::ExportArgs;
use crate::cli::args::ExportTarget;
use crate::cli::args::ImportArgs;
use crate::cli::exit::Exit;
use crate::cli::live::Live;
use crate::cli::sound;
use crate::topology::rabbitmq;
use crate::topology::rabbitmq::Exported;
use crate::topology::rabbitmq::node::Node;
use crate::topology::rabbitmq::node::Version;

pub(in crate::cli) fn export(args: &ExportArgs) -> Exit {
    let exported = match args.live {
        true => Live::new(&args.api)
            .and_then(|it| it.definitions())
            .map(|definitions| Exported { definitions, notes: Vec::new() }),
        false => sound::read(&args.paths).map(|topology| match args.api.engine {
            EngineName::Railpost => rabbitmq::export(&topology),
            EngineName::Rabbitmq => {
                rabbitmq::export_for(&topology, &Node::assumed(Version::NEWEST))
            }
        }),
    };
    let exported = match exported {
        Ok(exported) => exported,
        Err(exit) => return exit,
    };
    exported.notes.iter().for_each(|it| eprintln!("note: {it}"));
    match args.to {
        ExportTarget::Rabbitmq => print!("{}", exported.json()),
        ExportTarget::Toml => match rabbitmq::import(&exported.json()) {
            Ok(imported) => {
                imported.files.values().for_each(|it| print!("{it}"));
                imported.left_out.iter().for_each(|it| eprintln!("left out: {it}"));
            }
            Err(error) => {
                eprintln!("error: {error}");
                return Exit::Unusable;
            }
        },
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
