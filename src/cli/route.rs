//! `railpost route`: the way of one message through topology files.

use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::cli::args::PlainFormat;
use crate::cli::args::RouteArgs;
use crate::cli::exit::Exit;
use crate::cli::live::Live;
use crate::cli::sound;
use crate::topology::Topology;
use crate::topology::declared::Vhost;
use crate::topology::way;

pub(in crate::cli) fn run(args: &RouteArgs) -> Exit {
    let read = match args.live {
        true => Live::new(&args.api).and_then(|it| it.topology()),
        false => sound::read(&args.topology),
    };
    let topology = match read {
        Ok(topology) => topology,
        Err(exit) => return exit,
    };
    match follow(args, &topology) {
        Ok(way) => {
            match args.format {
                PlainFormat::Text => print!("{}", way.text()),
                PlainFormat::Json => print!("{}", way.json()),
            }
            let lost = args.require_routed && way.queues.is_empty();
            if lost { Exit::Findings } else { Exit::Fine }
        }
        Err(text) => {
            eprintln!("error: {text}");
            Exit::Unusable
        }
    }
}

fn follow(args: &RouteArgs, topology: &Topology) -> Result<way::Way, String> {
    let vhost = vhost(args, topology)?;
    let headers = args.headers.iter().map(|it| header(it)).collect::<Result<Vec<_>, _>>()?;
    way::of(topology, vhost, &args.exchange, &args.key, &Table(headers))
        .map_err(|error| error.to_string())
}

/// The vhost asked for; else the one that declares the exchange, if only one does.
fn vhost<'t>(args: &RouteArgs, topology: &'t Topology) -> Result<&'t Vhost, String> {
    let declares = |it: &&Vhost| it.exchanges.contains_key(&*args.exchange);
    let name = match &args.vhost {
        Some(name) => name,
        None => {
            let mut all = topology.vhosts.values().filter(declares);
            if let (Some(only), None) = (all.next(), all.next()) {
                return Ok(only);
            }
            "/"
        }
    };
    topology.vhost(name).ok_or_else(|| format!("no file declares the vhost `{name}`"))
}

/// Reads `name=value`.
fn header(text: &str) -> Result<(String, Value), String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!("`{text}` is no header; write -H name=value"));
    };
    let typed = match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => match text.parse() {
            Ok(number) => Value::I64(number),
            Err(_) => Value::text(text.trim_matches('"')),
        },
    };
    Ok((name.to_owned(), typed))
}
