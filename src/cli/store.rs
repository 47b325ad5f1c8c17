//! `railpost store …`: looking at a data directory that no broker uses.

use std::path::Path;

use crate::cli::args::StoreArgs;
use crate::cli::args::StoreCommand;
use crate::cli::exit::Exit;
use crate::server::disk::DataFolder;
use crate::storage::config::Config;
use crate::storage::disk::Disk as _;
use crate::storage::verify::Damage;
use crate::storage::verify::DamageKind;
use crate::storage::verify::verify;

pub(in crate::cli) fn run(args: &StoreArgs) -> Exit {
    let folder = match &args.command {
        StoreCommand::Verify(folder) => &folder.data,
    };
    let disk = match open(folder) {
        Ok(disk) => disk,
        Err(message) => {
            eprintln!("error: {message}");
            return Exit::Unusable;
        }
    };
    match &args.command {
        StoreCommand::Verify(_) => run_verify(&disk),
    }
}

/// Takes the folder for this process, so that no broker changes it meanwhile.
fn open(folder: &Path) -> Result<DataFolder, String> {
    let shown = folder.display();
    if !folder.join("STORE").exists() {
        return Err(format!("`{shown}` is no data directory: there is no file `STORE` in it"));
    }
    let disk = DataFolder::new(folder).map_err(|it| format!("cannot open `{shown}`: {it}"))?;
    match disk.lock() {
        Ok(()) => Ok(disk),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(format!("a broker uses `{shown}`; stop it first"))
        }
        Err(error) => Err(format!("cannot lock `{shown}`: {error}")),
    }
}

fn run_verify(disk: &DataFolder) -> Exit {
    let found = match verify(disk, &Config::default()) {
        Ok(found) => found,
        Err(error) => {
            println!("{error}");
            return Exit::Findings;
        }
    };
    let (major, minor) = found.format;
    println!(
        "format {major}.{minor}, {} batches with {} bytes read, {} messages in queues",
        found.n_batches, found.n_bytes, found.n_messages
    );
    if let Some(torn) = &found.torn {
        println!(
            "the log ends unfinished at byte {} of segment {}; nothing behind was confirmed",
            torn.offset, torn.segment
        );
    }
    for damage in &found.damage {
        println!("{}", describe(damage));
    }
    if found.is_whole() {
        println!("everything can be read");
        return Exit::Fine;
    }
    println!("something that was confirmed cannot be read");
    Exit::Findings
}

fn describe(damage: &Damage) -> String {
    let (start, end) = damage.bytes;
    let place = format!("`{}` bytes {start} to {end}", damage.file);
    let what = match damage.kind {
        DamageKind::Unused => "damaged, and not needed any more".to_owned(),
        DamageKind::Mended => "damaged, and made anew at the next start".to_owned(),
        DamageKind::Messages => "damaged: these messages are not delivered".to_owned(),
        DamageKind::Log { batches: Some((first, last)) } => {
            format!("damaged: batches {} to {} are missing, a start refuses", first.0, last.0)
        }
        DamageKind::Log { batches: None } => "damaged: a start refuses".to_owned(),
    };
    let messages = damage.messages.iter().map(|(queue, seq)| format!("\n  {queue} number {seq}"));
    format!("{place} {what}{}", messages.collect::<String>())
}
