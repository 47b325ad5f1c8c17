//! `railpost plan`, `apply`, `drift` and `adopt`: topology files and a running broker.

use std::collections::BTreeSet;
use std::fs;
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::cli::args::AdoptArgs;
use crate::cli::args::ApplyArgs;
use crate::cli::args::DiffFormat;
use crate::cli::args::DriftArgs;
use crate::cli::args::PlanArgs;
use crate::cli::exit::Exit;
use crate::cli::files;
use crate::cli::live::Live;
use crate::cli::rabbitmq::Done;
use crate::cli::sound;
use crate::topology;
use crate::topology::Source;
use crate::topology::adopt;
use crate::topology::observed::Binding;
use crate::topology::rabbitmq;
use crate::topology::rollout::Options;
use crate::topology::rollout::Rollout;
use crate::topology::rollout::SCHEMA;

pub(in crate::cli) fn plan(args: &PlanArgs) -> Exit {
    or_exit(make_plan(args))
}

fn make_plan(args: &PlanArgs) -> Result<Exit, Exit> {
    let rollout = rollout(&args.target.api, &args.target.paths, &args.target.options())?;
    match args.format {
        DiffFormat::Text => print!("{}", rollout.text()),
        DiffFormat::Json => print!("{}", rollout.json()),
        DiffFormat::Markdown => print!("{}", rollout.markdown()),
    }
    if let Some(path) = &args.out {
        write(path, &rollout.json())?;
    }
    Ok(if args.check && !rollout.is_empty() { Exit::Findings } else { Exit::Fine })
}

pub(in crate::cli) fn apply(args: &ApplyArgs) -> Exit {
    or_exit(carry_out(args))
}

fn carry_out(args: &ApplyArgs) -> Result<Exit, Exit> {
    let saved = match &args.target.paths[..] {
        [one] if one.extension().is_some_and(|it| it == "json") => Some(read_plan(one)?),
        _ => None,
    };
    let is_saved = saved.is_some();
    let rollout = match saved {
        Some(rollout) => rollout,
        None => rollout(&args.target.api, &args.target.paths, &args.target.options())?,
    };
    if !is_saved {
        print!("{}", rollout.text());
        if rollout.is_empty() && rollout.refusals.is_empty() {
            return Ok(Exit::Fine);
        }
        if !rollout.refusals.is_empty() {
            return Ok(Exit::Refused);
        }
        if !args.yes && !is_agreed() {
            eprintln!("nothing was done: answer `yes`, add --yes, or apply a saved plan");
            return Ok(Exit::Refused);
        }
    }
    let Done { created, changed, removed } = Live::new(&args.target.api)?.apply(&rollout)?;
    println!("applied: {created} created, {changed} changed, {removed} removed");
    Ok(Exit::Fine)
}

pub(in crate::cli) fn drift(args: &DriftArgs) -> Exit {
    or_exit(rollout(&args.api, &args.paths, &Options::default()).map(|rollout| {
        print!("{}", rollout.drift());
        let none = rollout.is_empty() && rollout.undeclared.is_empty();
        if none { Exit::Fine } else { Exit::Findings }
    }))
}

pub(in crate::cli) fn adopt(args: &AdoptArgs) -> Exit {
    or_exit(write_adopted(args))
}

/// Writes what clients declared on their own into a new file, and their bindings into the files
/// that declare what they lead to.
fn write_adopted(args: &AdoptArgs) -> Result<Exit, Exit> {
    let before = read(&args.paths)?;
    let mut sources = before.clone();
    let live = Live::new(&args.api)?;
    let rollout = live.plan(&before, &Options::default())?;
    let chosen = rollout.undeclared.iter().filter(|it| it.vhost == args.vhost);
    let of = |kind: &str| -> BTreeSet<String> {
        chosen.clone().filter(|it| it.kind == kind).map(|it| it.name.clone()).collect()
    };
    let (exchanges, queues) = (of("exchange"), of("queue"));
    if !exchanges.is_empty() || !queues.is_empty() {
        let mut definitions = live.definitions()?;
        keep_only(&mut definitions, &args.vhost, &exchanges, &queues);
        let imported = rabbitmq::import(&definitions.to_string()).map_err(|error| {
            eprintln!("error: {error}");
            Exit::Unusable
        })?;
        imported.left_out.iter().for_each(|it| eprintln!("left out: {it}"));
        let text = imported.files.values().map(String::as_str).collect();
        sources.push(Source { path: args.to.display().to_string(), text });
        if args.to.exists() {
            let error = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(unwritable(&args.to, &error));
        }
    }
    let observed = live.observed()?;
    let declared = live.as_made(topology::load(&sources).topology)?;
    let bindings = observed.vhosts.get(&args.vhost);
    let bindings = bindings.map(|it| adopt::undeclared(it, declared.vhost(&args.vhost)));
    let adopted = adopt::bind(&sources, &args.vhost, &bindings.unwrap_or_default());
    let changed: Vec<&Source> = adopted.sources.iter().filter(|it| !before.contains(it)).collect();
    for file in &changed {
        put_in_place(Path::new(&file.path), &file.text)?;
        let is_new = !before.iter().any(|it| it.path == file.path);
        println!("{} {}", if is_new { "wrote" } else { "changed" }, file.path);
        let own = adopted.written.iter().filter(|(path, _)| *path == file.path && !is_new);
        own.for_each(|(_, it)| println!("  {} → {} ({})", it.source, it.destination, it.key));
    }
    for (it, why) in &adopted.left_out {
        let Binding { source, destination, key, .. } = it;
        eprintln!("left out: the binding {source} → {destination} ({key}): {why}");
    }
    if changed.is_empty() {
        println!("there is nothing to adopt in the vhost `{}`", args.vhost);
    }
    Ok(Exit::Fine)
}

/// Writes a file beside its place and puts it there, so that it is never half of one.
fn put_in_place(path: &Path, text: &str) -> Result<(), Exit> {
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut beside = place.clone().into_os_string();
    beside.push(".new");
    let written = || {
        let mut file = fs::File::create(&beside)?;
        if let Ok(old) = fs::metadata(&place) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &place)
    };
    written().map_err(|error| unwritable(path, &error))
}

/// Takes out of definitions what is not to be adopted.
fn keep_only(
    definitions: &mut Value,
    vhost: &str,
    exchanges: &BTreeSet<String>,
    queues: &BTreeSet<String>,
) {
    let mut retain = |list: &str, wanted: &dyn Fn(&Value) -> bool| {
        if let Some(all) = definitions[list].as_array_mut() {
            all.retain(|it| it["vhost"].as_str() == Some(vhost) && wanted(it));
        }
    };
    let is_one =
        |names: &BTreeSet<String>, it: &Value| it.as_str().is_some_and(|it| names.contains(it));
    retain("exchanges", &|it| is_one(exchanges, &it["name"]));
    retain("queues", &|it| is_one(queues, &it["name"]));
    retain("bindings", &|it| {
        let names = if it["destination_type"] == "exchange" { exchanges } else { queues };
        let is_own = |it: &str| it.starts_with("amq.") || exchanges.contains(it);
        // The others are added afterwards.
        is_one(names, &it["destination"]) && it["source"].as_str().is_some_and(is_own)
    });
    let others = [
        "users",
        "permissions",
        "topic_permissions",
        "policies",
        "parameters",
        "global_parameters",
    ];
    others.iter().for_each(|list| retain(list, &|_| false));
    if let Some(all) = definitions["vhosts"].as_array_mut() {
        all.retain(|it| it["name"].as_str() == Some(vhost));
    }
}

fn rollout(
    api: &crate::cli::args::ApiArgs,
    paths: &[std::path::PathBuf],
    options: &Options,
) -> Result<Rollout, Exit> {
    Live::new(api)?.plan(&read(paths)?, options)
}

/// Files without errors.
fn read(paths: &[std::path::PathBuf]) -> Result<Vec<Source>, Exit> {
    let sources = files::read(&files::or_default(paths)).map_err(|error| {
        eprintln!("error: {error}");
        Exit::Unusable
    })?;
    // Findings are shown where the files are.
    sound::load(&sources)?;
    Ok(sources)
}

fn read_plan(path: &Path) -> Result<Rollout, Exit> {
    let unusable = |why: String| {
        eprintln!("error: `{}` is no saved plan: {why}", path.display());
        Exit::Unusable
    };
    let text = fs::read_to_string(path).map_err(|it| unusable(it.to_string()))?;
    let rollout: Rollout = serde_json::from_str(&text).map_err(|it| unusable(it.to_string()))?;
    match rollout.schema == SCHEMA {
        true => Ok(rollout),
        false => Err(unusable(format!("its schema is `{}`, not `{SCHEMA}`", rollout.schema))),
    }
}

/// Asks at a terminal; without one, nobody agrees.
fn is_agreed() -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    eprint!("apply this? only `yes` counts: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}

fn write(path: &Path, text: &str) -> Result<(), Exit> {
    fs::write(path, text).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Exit {
    eprintln!("error: cannot write `{}`: {error}", path.display());
    Exit::Unusable
}

fn or_exit(done: Result<Exit, Exit>) -> Exit {
    done.unwrap_or_else(|exit| exit)
}
