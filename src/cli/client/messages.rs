//! `railpost publish`, `peek` and `get`.

use std::fs;
use std::io;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::cli::args::PlainFormat;
use crate::cli::client::Outcome;
use crate::cli::client::api::Api;
use crate::cli::client::api::items;
use crate::cli::client::args::GetArgs;
use crate::cli::client::args::PeekArgs;
use crate::cli::client::args::PeekState;
use crate::cli::client::args::PublishArgs;
use crate::cli::client::failure::Failure;
use crate::cli::client::output;
use crate::cli::client::output::number;
use crate::cli::client::target::escape;
use crate::cli::exit::Exit;

/// Properties that are numbers.
const NUMBERS: [&str; 3] = ["delivery_mode", "priority", "timestamp"];
/// Messages of a page.
const PAGE: u64 = 500;

pub(super) fn publish(args: &PublishArgs) -> Outcome {
    let message = json!({
        "routing_key": args.key,
        "payload": STANDARD.encode(body(&args.body)?),
        "payload_encoding": "base64",
        "properties": properties(args)?,
    });
    let api = Api::new(&args.target)?;
    let exchange = if args.exchange.is_empty() { "amq.default" } else { &args.exchange };
    let path = format!("/api/exchanges/{}/{}/publish", escape(api.vhost()), escape(exchange));
    let what = format!("exchange `{exchange}` in vhost `{}`", api.vhost());
    let mut n_routed: u64 = 0;
    for _ in 0..args.count {
        let answer = api.send("POST", &path, Some(&message), &what)?;
        n_routed += u64::from(answer.body["routed"] == true);
    }
    let n = args.count;
    if n_routed == n {
        output::say(&match n {
            1 => "routed\n".to_owned(),
            n => format!("{n} messages routed\n"),
        });
        return Ok(Exit::Fine);
    }
    output::say(&match n {
        1 => "not routed: no queue took it\n".to_owned(),
        n => format!("{} of {n} messages were taken by no queue\n", n - n_routed),
    });
    Ok(Exit::Findings)
}

fn body(text: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match text.strip_prefix('@') {
        Some(path) => fs::read(path).map(|it| bytes = it),
        None if text == "-" => io::stdin().read_to_end(&mut bytes).map(|_| ()),
        None => return Ok(text.as_bytes().to_vec()),
    };
    read.map_err(|it| Failure::usage(format!("cannot read the body `{text}`: {it}")))?;
    Ok(bytes)
}

fn properties(args: &PublishArgs) -> Result<Value, Failure> {
    let mut properties = Map::new();
    properties.insert("delivery_mode".to_owned(), Value::from(2));
    for text in &args.properties {
        let (name, value) = pair(text, "-p")?;
        let value = match value.parse::<u64>() {
            Ok(number) if NUMBERS.contains(&name) => Value::from(number),
            _ => Value::from(value),
        };
        properties.insert(name.to_owned(), value);
    }
    let mut headers = Map::new();
    for text in &args.headers {
        let (name, value) = pair(text, "-H")?;
        let value = match value {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        };
        headers.insert(name.to_owned(), value);
    }
    if !headers.is_empty() {
        properties.insert("headers".to_owned(), Value::Object(headers));
    }
    Ok(Value::Object(properties))
}

fn pair<'a>(text: &'a str, flag: &str) -> Result<(&'a str, &'a str), Failure> {
    let wrong = || Failure::usage(format!("`{text}` has no `=`; write {flag} name=value"));
    text.split_once('=').ok_or_else(wrong)
}

impl PeekState {
    fn name(self) -> &'static str {
        match self {
            PeekState::Ready => "ready",
            PeekState::Unacked => "unacked",
            PeekState::Delayed => "delayed",
            PeekState::Parked => "parked",
        }
    }
}

pub(super) fn peek(args: &PeekArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    show(&api, &args.queue, args.state, args.count, args.after.clone(), args.format)
}

/// Shows up to `count` messages behind `after`.
pub(super) fn show(
    api: &Api,
    queue: &str,
    state: PeekState,
    count: u64,
    mut after: Option<String>,
    format: PlainFormat,
) -> Outcome {
    let mut messages = Vec::new();
    while (messages.len() as u64) < count {
        let limit = (count - messages.len() as u64).min(PAGE);
        let mut rest = format!("/messages?state={}&limit={limit}", state.name());
        if let Some(after) = &after {
            rest.push_str(&format!("&after={}", escape(after)));
        }
        let mut page = api.get_of(&api.queue_path("/v1", queue, &rest), &api.queue_name(queue))?;
        messages.extend(items(page["messages"].take())?);
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    match format {
        PlainFormat::Json => output::say_json("messages", "messages", Value::Array(messages)),
        PlainFormat::Text if messages.is_empty() => {
            eprintln!("no {} messages in {}", state.name(), api.queue_name(queue));
        }
        PlainFormat::Text => {
            messages.iter().for_each(|it| output::say(&peeked(it)));
            if let Some(after) = after {
                eprintln!("more with --after {after}");
            }
        }
    }
    Ok(Exit::Fine)
}

/// A message on a few lines.
fn peeked(message: &Value) -> String {
    let mut text = format!("#{}  {}", output::cell(&message["id"]), address(message));
    if message["redelivered"] == true {
        text.push_str("  redelivered");
    }
    if number(&message["failures"]) > 0 {
        text.push_str(&format!("  failed {}", number(&message["failures"])));
    }
    for (key, what) in [("due_ms", "due"), ("delivered_ms", "delivered"), ("expires_ms", "expires")]
    {
        if let Some(ms) = message[key].as_u64() {
            text.push_str(&format!("  {what} {}", output::moment(ms)));
        }
    }
    if let Some(reason) = message["parked"]["reason"].as_str() {
        let at = output::moment(number(&message["parked"]["at_ms"]));
        text.push_str(&format!("  parked {at} {reason}"));
    }
    text.push('\n');
    text.push_str(&contents(message));
    text
}

fn address(message: &Value) -> String {
    let exchange = message["exchange"].as_str().filter(|it| !it.is_empty());
    let key = output::cell(&message["routing_key"]);
    format!("{} → {key}", exchange.unwrap_or("(default)"))
}

/// Properties and body, indented.
fn contents(message: &Value) -> String {
    let mut text = String::new();
    for (name, value) in message["properties"].as_object().into_iter().flatten() {
        match value.as_object() {
            Some(headers) if name == "headers" => {
                for (name, value) in headers {
                    text.push_str(&format!("  {name}: {}\n", output::cell(value)));
                }
            }
            _ => text.push_str(&format!("  {name} = {}\n", output::cell(value))),
        }
    }
    let payload = output::cell(&message["payload"]);
    let bytes = number(&message["payload_bytes"]);
    match message["payload_encoding"].as_str() {
        Some("string") => payload.lines().for_each(|it| text.push_str(&format!("  | {it}\n"))),
        Some(_) => text.push_str(&format!("  | {bytes} bytes, base64: {payload}\n")),
        None => text.push_str("  | the body could not be read\n"),
    }
    text
}

pub(super) fn get(args: &GetArgs) -> Outcome {
    let api = Api::new(&args.target)?;
    let ackmode = match (args.ack, args.reject) {
        (true, _) => "ack_requeue_false",
        (false, true) => "reject_requeue_false",
        (false, false) => "ack_requeue_true",
    };
    let body = json!({ "count": args.count, "ackmode": ackmode, "encoding": "auto" });
    let path = api.queue_path("/api", &args.queue, "/get");
    let answer = api.send("POST", &path, Some(&body), &api.queue_name(&args.queue))?;
    let messages = answer.body.as_array().cloned().unwrap_or_default();
    match args.format {
        PlainFormat::Json => output::say_json("messages", "messages", Value::Array(messages)),
        PlainFormat::Text if messages.is_empty() => eprintln!("the queue is empty"),
        PlainFormat::Text => {
            for message in &messages {
                let mark = if message["redelivered"] == true { "  redelivered" } else { "" };
                output::say(&format!("{}{mark}\n{}", address(message), contents(message)));
            }
        }
    }
    Ok(Exit::Fine)
}
