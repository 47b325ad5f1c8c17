//! `railpost store …`: looking at a data directory that no broker uses.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use crate::amqp::property::Property;
use crate::broker::definition::Definition;
use crate::broker::stored;
use crate::cli::args::DataArgs;
use crate::cli::args::DumpArgs;
use crate::cli::args::RepairArgs;
use crate::cli::args::StoreArgs;
use crate::cli::args::StoreCommand;
use crate::cli::exit::Exit;
use crate::server::disk::DataFolder;
use crate::storage::config::Config;
use crate::storage::disk::Disk as _;
use crate::storage::dump::Dumped;
use crate::storage::dump::dump;
use crate::storage::error::StorageError;
use crate::storage::message::Cause;
use crate::storage::record::Record;
use crate::storage::repair::repair;
use crate::storage::statistics::statistics;
use crate::storage::verify::Damage;
use crate::storage::verify::DamageKind;
use crate::storage::verify::Verification;
use crate::storage::verify::verify;

/// The cause that the log gives for messages that cannot be read.
const DAMAGED: Cause = Cause(6);

pub(in crate::cli) fn run(args: &StoreArgs) -> Exit {
    let (StoreCommand::Verify(DataArgs { data })
    | StoreCommand::Stats(DataArgs { data })
    | StoreCommand::Dump(DumpArgs { data: DataArgs { data }, .. })
    | StoreCommand::Repair(RepairArgs { data: DataArgs { data }, .. })) = &args.command;
    let disk = match open(data) {
        Ok(disk) => disk,
        Err(message) => {
            eprintln!("error: {message}");
            return Exit::Unusable;
        }
    };
    let done = match &args.command {
        StoreCommand::Verify(_) => run_verify(&disk),
        StoreCommand::Stats(_) => run_statistics(&disk),
        StoreCommand::Dump(args) => run_dump(&disk, args.segment),
        StoreCommand::Repair(args) => run_repair(disk, args.yes),
    };
    done.unwrap_or_else(|error| {
        println!("{error}");
        Exit::Findings
    })
}

/// Takes the folder for this process, so that no broker changes it meanwhile.
pub(in crate::cli) fn open(folder: &Path) -> Result<DataFolder, String> {
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

fn run_verify(disk: &DataFolder) -> Result<Exit, StorageError> {
    let found = verify(disk, &Config::default())?;
    print_verification(&found);
    if found.is_whole() {
        println!("everything can be read");
        return Ok(Exit::Fine);
    }
    println!("something that was confirmed cannot be read");
    Ok(Exit::Findings)
}

fn print_verification(found: &Verification) {
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
}

fn run_statistics(disk: &DataFolder) -> Result<Exit, StorageError> {
    let found = statistics(disk, &Config::default())?;
    println!("queues     messages      bytes");
    for queue in &found.queues {
        println!("{:<10} {:>8} {:>10}", queue.id.to_string(), queue.n_messages, queue.body_bytes);
    }
    println!("\nsegment        used  live messages  live bytes");
    for it in &found.segments {
        let (used, n_live, bytes) = (it.used_bytes, it.n_live, it.live_bytes);
        println!("{:<8} {used:>10} {n_live:>14} {bytes:>11}", it.number);
    }
    println!("\nspare segments      {} ({} bytes)", found.n_spares, found.spare_bytes);
    println!("index chunks        {} ({} bytes)", found.n_chunks, found.chunk_bytes);
    println!("definitions         {} ({} bytes)", found.n_definitions, found.definition_bytes);
    println!("read at a start     {} bytes of log", found.replay_bytes);
    Ok(Exit::Fine)
}

fn run_dump(disk: &DataFolder, segment: Option<u32>) -> Result<Exit, StorageError> {
    let mut n_unreadable = 0;
    let mut out = std::io::stdout().lock();
    dump(disk, segment, &mut |it| {
        n_unreadable += u32::from(matches!(it, Dumped::Unreadable { .. }));
        // Nobody reads on: no reason to go on.
        writeln!(out, "{}", dumped(&it)).is_ok()
    })?;
    Ok(if n_unreadable > 0 { Exit::Findings } else { Exit::Fine })
}

fn dumped(it: &Dumped<'_>) -> Value {
    match it {
        Dumped::Batch(it) => json!({
            "batch": it.id.0,
            "file": it.file.to_string(),
            "offset": it.offset,
            "bytes": it.bytes,
            "records": it.n_records,
            "previous": it.previous.0,
        }),
        Dumped::Record(it) => json!({
            "record": it.record.map(record),
            "file": it.file.to_string(),
            "offset": it.offset,
            "bytes": it.bytes,
            "body_is_whole": it.body.is_some(),
        }),
        Dumped::Unreadable { file, bytes } => json!({
            "unreadable": file.to_string(),
            "from": bytes.0,
            "to": bytes.1,
        }),
    }
}

/// A record for people: names and numbers, no bodies.
fn record(it: Record<'_>) -> Value {
    match it {
        Record::Message(it) => {
            let to = it.targets.map(|to| format!("{} number {}", to.queue, to.seq));
            let parts = stored::decode_head(it.head);
            json!({
                "kind": if it.from.is_some() { "move" } else { "message" },
                "to": to.collect::<Vec<_>>(),
                "from": it.from.map(|(queue, seq, _)| format!("{queue} number {seq}")),
                "exchange": parts.map(|it| it.exchange),
                "key": parts.map(|it| it.routing_key.0),
                "message_id": parts.and_then(|it| it.properties.text(Property::MessageId)),
            })
        }
        Record::Ack { queue, cause, seqs } => {
            let ranges = seqs.map(|(first, last)| [first.0, last.0]).collect::<Vec<_>>();
            json!({ "kind": "ack", "queue": queue.0, "cause": cause.0, "numbers": ranges })
        }
        Record::Returned { queue, seq, .. } => {
            json!({ "kind": "return", "queue": queue.0, "number": seq.0 })
        }
        Record::Delayed { queue, seq, .. } => {
            json!({ "kind": "delay", "queue": queue.0, "number": seq.0 })
        }
        Record::Watermark { queue, seq } => {
            json!({ "kind": "watermark", "queue": queue.0, "number": seq.0 })
        }
        Record::Define { value, .. } => {
            let shown = Definition::parse(value).map(|it| it.to_shown());
            let shown = shown.unwrap_or_else(|| "cannot be read".to_owned());
            json!({ "kind": "define", "value": shown })
        }
        Record::Undefine { key } => {
            json!({ "kind": "undefine", "key": String::from_utf8_lossy(key).replace('\0', " ") })
        }
        Record::Purge { queue, below, .. } => {
            json!({ "kind": "purge", "queue": queue.0, "below": below.0 })
        }
        Record::DropQueue { queue } => json!({ "kind": "drop-queue", "queue": queue.0 }),
        Record::Next { segment, bytes } => {
            json!({ "kind": "next", "segment": segment, "bytes": bytes })
        }
        Record::Seal => json!({ "kind": "seal" }),
        Record::Skipped => json!({ "kind": "of a later version" }),
    }
}

fn run_repair(disk: DataFolder, yes: bool) -> Result<Exit, StorageError> {
    if !yes {
        let found = verify(&disk, &Config { accept_loss: true, ..Config::default() })?;
        print_verification(&found);
        println!("nothing was changed; `--yes` gives up what cannot be read");
        return Ok(if found.is_whole() { Exit::Fine } else { Exit::Findings });
    }
    let done = repair(&Arc::new(disk), &Config::default(), DAMAGED)?;
    print_verification(&done.found);
    for (file, kept) in &done.kept {
        println!("`{file}` is kept as `{kept}`");
    }
    for it in &done.removed {
        let places = it.places.iter().map(|(queue, seq)| format!("{queue} number {seq}"));
        println!("given up: {}", places.collect::<Vec<_>>().join(", "));
    }
    match done.recovery {
        None => println!("nothing was wrong"),
        Some(_) => println!("the directory can be used again"),
    }
    Ok(Exit::Fine)
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
