//! AMQP frames as words, and words as frames; through `amq-protocol`, so that our own codec is
//! not its own judge.

use amq_protocol::frame::AMQPContentHeader;
use amq_protocol::frame::AMQPFrame;
use amq_protocol::frame::WriteContext;
use amq_protocol::frame::gen_frame;
use amq_protocol::frame::parse_frame;
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::BasicProperties;
use amq_protocol::protocol::access;
use amq_protocol::protocol::basic;
use amq_protocol::protocol::channel;
use amq_protocol::protocol::confirm;
use amq_protocol::protocol::connection;
use amq_protocol::protocol::exchange;
use amq_protocol::protocol::queue;
use amq_protocol::protocol::tx;
use amq_protocol::types::AMQPValue;
use amq_protocol::types::FieldArray;
use amq_protocol::types::FieldTable;

/// The words of one line: `key=value` and bare flags.
pub struct Words {
    all: Vec<(String, Option<String>)>,
}

impl Words {
    /// Splits at blanks outside of quotes and braces.
    pub fn parse(line: &str) -> Words {
        let mut words = vec![String::new()];
        let (mut quoted, mut depth) = (false, 0);
        for it in line.chars() {
            match it {
                '"' => quoted = !quoted,
                ' ' if !quoted && depth == 0 => words.push(String::new()),
                _ => {
                    depth += i32::from(matches!(it, '{' | '['));
                    depth -= i32::from(matches!(it, '}' | ']'));
                    words.last_mut().expect("never empty").push(it);
                }
            }
        }
        let split = |word: String| match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        Words { all: words.into_iter().filter(|it| !it.is_empty()).map(split).collect() }
    }

    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.all.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.all.iter().filter(|(it, _)| it == key).find_map(|(_, value)| value.as_deref())
    }

    fn text(&self, key: &str) -> String {
        self.get(key).unwrap_or_default().to_owned()
    }

    fn flag(&self, key: &str) -> bool {
        self.all.iter().any(|(it, value)| it == key && value.is_none())
    }

    fn number(&self, key: &str) -> u64 {
        self.get(key).map_or(0, |it| it.parse().expect("a number"))
    }

    fn table(&self, key: &str) -> FieldTable {
        self.get(key).map(inside).map(to_table).unwrap_or_default()
    }
}

/// What is between the outer braces.
fn inside(text: &str) -> &str {
    let text = text.strip_prefix('{').unwrap_or(text);
    text.strip_suffix('}').unwrap_or(text)
}

/// `name:Tvalue` entries, `T` being the type's letter on the wire.
fn to_table(text: &str) -> FieldTable {
    let mut table = FieldTable::default();
    for entry in split_outside(text) {
        let (name, value) = entry.split_once(':').expect("name:value");
        table.insert(name.into(), to_value(value));
    }
    table
}

fn to_value(text: &str) -> AMQPValue {
    let (kind, rest) = text.split_at(1);
    match kind {
        "t" => AMQPValue::Boolean(rest == "true"),
        "I" => AMQPValue::LongInt(rest.parse().expect("a number")),
        "l" => AMQPValue::LongLongInt(rest.parse().expect("a number")),
        "d" => AMQPValue::Double(rest.parse().expect("a number")),
        "S" => AMQPValue::LongString(rest.as_bytes().into()),
        "V" => AMQPValue::Void,
        "F" => AMQPValue::FieldTable(to_table(rest.trim_start_matches('{').trim_end_matches('}'))),
        "A" => {
            let items = split_outside(rest.trim_start_matches('[').trim_end_matches(']'));
            AMQPValue::FieldArray(FieldArray::from(
                items.iter().map(|it| to_value(it)).collect::<Vec<_>>(),
            ))
        }
        other => panic!("no such type: {other}"),
    }
}

/// Splits at commas outside of brackets.
fn split_outside(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for it in text.chars() {
        depth += i32::from(matches!(it, '{' | '[')) - i32::from(matches!(it, '}' | ']'));
        if it == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().expect("never empty").push(it);
        }
    }
    parts.retain(|it| !it.is_empty());
    parts
}

/// The frames of one client step: a method, and content when it is a publish.
pub fn to_bytes(channel: u16, line: &str) -> Vec<u8> {
    let words = Words::parse(line);
    let (name, _) = &words.all[0];
    let mut frames = Vec::new();
    let body = words.text("body");
    match name.as_str() {
        "heartbeat" => frames.push(AMQPFrame::Heartbeat),
        "header" => frames.push(header(channel, &words, words.number("size"))),
        "body" => frames.push(AMQPFrame::Body(channel, body.into_bytes())),
        _ => frames.push(AMQPFrame::Method(channel, to_method(name, &words))),
    }
    if name == "basic.publish" && !words.flag("method-only") {
        let body = match words.get("body-bytes") {
            Some(n) => "x".repeat(n.parse().expect("a number")),
            None => words.text("body"),
        };
        frames.push(header(channel, &words, body.len() as u64));
        if !body.is_empty() {
            frames.push(AMQPFrame::Body(channel, body.into_bytes()));
        }
    }
    let write = |frame: &AMQPFrame| {
        gen_frame(frame)(WriteContext::from(Vec::new())).expect("to memory").write
    };
    frames.iter().flat_map(write).collect()
}

fn header(channel: u16, words: &Words, body_size: u64) -> AMQPFrame {
    let mut properties = BasicProperties::default();
    if let Some(mode) = words.get("delivery-mode") {
        properties = properties.with_delivery_mode(mode.parse().expect("a number"));
    }
    if let Some(priority) = words.get("priority") {
        properties = properties.with_priority(priority.parse().expect("a number"));
    }
    if let Some(expiration) = words.get("expiration") {
        properties = properties.with_expiration(expiration.into());
    }
    if let Some(id) = words.get("message-id") {
        properties = properties.with_message_id(id.into());
    }
    if let Some(reply_to) = words.get("reply-to") {
        properties = properties.with_reply_to(reply_to.into());
    }
    if let Some(user) = words.get("user-id") {
        properties = properties.with_user_id(user.into());
    }
    if let Some(content_type) = words.get("content-type") {
        properties = properties.with_content_type(content_type.into());
    }
    if let Some(id) = words.get("correlation-id") {
        properties = properties.with_correlation_id(id.into());
    }
    if let Some(id) = words.get("app-id") {
        properties = properties.with_app_id(id.into());
    }
    if let Some(kind) = words.get("type") {
        properties = properties.with_type(kind.into());
    }
    if let Some(time) = words.get("timestamp") {
        properties = properties.with_timestamp(time.parse().expect("a number"));
    }
    if words.get("headers").is_some() {
        properties = properties.with_headers(words.table("headers"));
    }
    let header = AMQPContentHeader { class_id: 60, body_size, properties };
    AMQPFrame::Header(channel, Box::new(header).as_ref().clone())
}

fn to_method(name: &str, words: &Words) -> AMQPClass {
    match name.split_once('.').expect("class.method") {
        ("connection", method) => AMQPClass::Connection(to_connection(method, words)),
        ("channel", method) => AMQPClass::Channel(match method {
            "open" => channel::AMQPMethod::Open(channel::Open {}),
            "flow" => channel::AMQPMethod::Flow(channel::Flow { active: !words.flag("stop") }),
            "close" => channel::AMQPMethod::Close(channel::Close {
                reply_code: 200,
                reply_text: "bye".into(),
                class_id: 0,
                method_id: 0,
            }),
            "close-ok" => channel::AMQPMethod::CloseOk(channel::CloseOk {}),
            "open-ok" => channel::AMQPMethod::OpenOk(channel::OpenOk {}),
            other => panic!("channel.{other}"),
        }),
        ("access", _) => AMQPClass::Access(access::AMQPMethod::Request(access::Request {
            realm: "/data".into(),
            exclusive: false,
            passive: true,
            active: true,
            write: true,
            read: true,
        })),
        ("exchange", method) => AMQPClass::Exchange(to_exchange(method, words)),
        ("queue", method) => AMQPClass::Queue(to_queue(method, words)),
        ("basic", method) => AMQPClass::Basic(to_basic(method, words)),
        ("confirm", _) => AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select {
            nowait: words.flag("nowait"),
        })),
        ("tx", "select") => AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})),
        ("tx", "commit") => AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})),
        ("tx", "rollback") => AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {})),
        other => panic!("no such method: {other:?}"),
    }
}

fn to_connection(method: &str, words: &Words) -> connection::AMQPMethod {
    use connection::AMQPMethod as M;
    match method {
        "start-ok" => M::StartOk(connection::StartOk {
            client_properties: words.table("properties"),
            mechanism: words.get("mechanism").unwrap_or("PLAIN").into(),
            response: match words.get("response") {
                Some(text) => text.replace("\\0", "\0").as_bytes().into(),
                None => {
                    let user = words.get("user").unwrap_or("guest");
                    let password = words.get("password").unwrap_or(user);
                    format!("\0{user}\0{password}").as_bytes().into()
                }
            },
            locale: "en_US".into(),
        }),
        "tune-ok" => M::TuneOk(connection::TuneOk {
            channel_max: number(words.get("channel-max").unwrap_or("2047")),
            frame_max: words.get("frame-max").unwrap_or("131072").parse().expect("a number"),
            heartbeat: number(words.get("heartbeat").unwrap_or("0")),
        }),
        "open" => {
            M::Open(connection::Open { virtual_host: words.get("vhost").unwrap_or("/").into() })
        }
        "close" => M::Close(connection::Close {
            reply_code: 200,
            reply_text: "bye".into(),
            class_id: 0,
            method_id: 0,
        }),
        "close-ok" => M::CloseOk(connection::CloseOk {}),
        "update-secret" => {
            M::UpdateSecret(connection::UpdateSecret { new_secret: "x".into(), reason: "r".into() })
        }
        other => panic!("connection.{other}"),
    }
}

fn number(text: &str) -> u16 {
    text.parse().expect("a number")
}

fn to_exchange(method: &str, words: &Words) -> exchange::AMQPMethod {
    use exchange::AMQPMethod as M;
    match method {
        "declare" => M::Declare(exchange::Declare {
            exchange: words.text("exchange").into(),
            kind: words.get("type").unwrap_or("direct").into(),
            passive: words.flag("passive"),
            durable: words.flag("durable"),
            auto_delete: words.flag("auto-delete"),
            internal: words.flag("internal"),
            nowait: words.flag("nowait"),
            arguments: words.table("args"),
        }),
        "delete" => M::Delete(exchange::Delete {
            exchange: words.text("exchange").into(),
            if_unused: words.flag("if-unused"),
            nowait: words.flag("nowait"),
        }),
        "bind" => M::Bind(exchange::Bind {
            destination: words.text("destination").into(),
            source: words.text("source").into(),
            routing_key: words.text("key").into(),
            nowait: words.flag("nowait"),
            arguments: words.table("args"),
        }),
        "unbind" => M::Unbind(exchange::Unbind {
            destination: words.text("destination").into(),
            source: words.text("source").into(),
            routing_key: words.text("key").into(),
            nowait: words.flag("nowait"),
            arguments: words.table("args"),
        }),
        other => panic!("exchange.{other}"),
    }
}

fn to_queue(method: &str, words: &Words) -> queue::AMQPMethod {
    use queue::AMQPMethod as M;
    let name = words.text("queue").into();
    let nowait = words.flag("nowait");
    match method {
        "declare" => M::Declare(queue::Declare {
            queue: name,
            passive: words.flag("passive"),
            durable: words.flag("durable"),
            exclusive: words.flag("exclusive"),
            auto_delete: words.flag("auto-delete"),
            nowait,
            arguments: words.table("args"),
        }),
        "declare-ok" => {
            M::DeclareOk(queue::DeclareOk { queue: name, message_count: 0, consumer_count: 0 })
        }
        "bind" => M::Bind(queue::Bind {
            queue: name,
            exchange: words.text("exchange").into(),
            routing_key: words.text("key").into(),
            nowait,
            arguments: words.table("args"),
        }),
        "unbind" => M::Unbind(queue::Unbind {
            queue: name,
            exchange: words.text("exchange").into(),
            routing_key: words.text("key").into(),
            arguments: words.table("args"),
        }),
        "purge" => M::Purge(queue::Purge { queue: name, nowait }),
        "delete" => M::Delete(queue::Delete {
            queue: name,
            if_unused: words.flag("if-unused"),
            if_empty: words.flag("if-empty"),
            nowait,
        }),
        other => panic!("queue.{other}"),
    }
}

fn to_basic(method: &str, words: &Words) -> basic::AMQPMethod {
    use basic::AMQPMethod as M;
    let (delivery_tag, multiple) = (words.number("tag"), words.flag("multiple"));
    let requeue = words.flag("requeue");
    match method {
        "qos" => M::Qos(basic::Qos {
            prefetch_count: number(words.get("prefetch").unwrap_or("0")),
            global: words.flag("global"),
        }),
        "consume" => M::Consume(basic::Consume {
            queue: words.text("queue").into(),
            consumer_tag: words.text("consumer").into(),
            no_local: words.flag("no-local"),
            no_ack: words.flag("no-ack"),
            exclusive: words.flag("exclusive"),
            nowait: words.flag("nowait"),
            arguments: words.table("args"),
        }),
        "cancel" => M::Cancel(basic::Cancel {
            consumer_tag: words.text("consumer").into(),
            nowait: words.flag("nowait"),
        }),
        "cancel-ok" => M::CancelOk(basic::CancelOk { consumer_tag: words.text("consumer").into() }),
        "publish" => M::Publish(basic::Publish {
            exchange: words.text("exchange").into(),
            routing_key: words.text("key").into(),
            mandatory: words.flag("mandatory"),
            immediate: words.flag("immediate"),
        }),
        "get" => {
            M::Get(basic::Get { queue: words.text("queue").into(), no_ack: words.flag("no-ack") })
        }
        "ack" => M::Ack(basic::Ack { delivery_tag, multiple }),
        "nack" => M::Nack(basic::Nack { delivery_tag, multiple, requeue }),
        "reject" => M::Reject(basic::Reject { delivery_tag, requeue }),
        "recover" => M::Recover(basic::Recover { requeue }),
        "recover-async" => M::RecoverAsync(basic::RecoverAsync { requeue }),
        other => panic!("basic.{other}"),
    }
}

/// Reads what the broker wrote; each method with its content is one line.
pub fn to_lines(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (after, frame) = parse_frame(rest).unwrap_or_else(|it| panic!("{it:?} in {rest:02x?}"));
        rest = after;
        match frame {
            AMQPFrame::Method(channel, class) => {
                lines.push(format!("{channel} {}", method(&class)));
            }
            AMQPFrame::Header(_, header) => {
                let line = lines.last_mut().expect("a header follows a method");
                line.push_str(&properties(&header.properties));
                if header.body_size == 0 {
                    line.push_str(" body=");
                }
            }
            AMQPFrame::Body(_, piece) => {
                let line = lines.last_mut().expect("a body follows a header");
                if !line.contains(" body=") {
                    line.push_str(" body=");
                }
                let piece = if piece.len() > 100 {
                    format!("[{} bytes]", piece.len())
                } else {
                    String::from_utf8_lossy(&piece).into_owned()
                };
                line.push_str(&piece);
            }
            AMQPFrame::Heartbeat => lines.push("0 heartbeat".to_owned()),
            AMQPFrame::ProtocolHeader(_) | AMQPFrame::InvalidHeartbeat(_) => {
                lines.push("0 preamble".to_owned());
            }
        }
    }
    lines
}

fn properties(it: &BasicProperties) -> String {
    let mut out = String::new();
    if let Some(mode) = it.delivery_mode() {
        out.push_str(&format!(" delivery-mode={mode}"));
    }
    if let Some(expiration) = it.expiration() {
        out.push_str(&format!(" expiration={expiration}"));
    }
    if let Some(id) = it.message_id() {
        out.push_str(&format!(" message-id={id}"));
    }
    if let Some(reply_to) = it.reply_to() {
        out.push_str(&format!(" reply-to={reply_to}"));
    }
    let texts = [
        ("content-type", it.content_type()),
        ("correlation-id", it.correlation_id()),
        ("user-id", it.user_id()),
        ("app-id", it.app_id()),
        ("type", it.kind()),
    ];
    for (name, text) in texts {
        out.extend(text.as_ref().map(|it| format!(" {name}={it}")));
    }
    if let Some(priority) = it.priority() {
        out.push_str(&format!(" priority={priority}"));
    }
    if let Some(time) = it.timestamp() {
        out.push_str(&format!(" timestamp={time}"));
    }
    if let Some(headers) = it.headers() {
        for (key, value) in headers {
            out.push_str(&format!(" {key}={}", value_text(value)));
        }
    }
    out
}

fn value_text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(it) => String::from_utf8_lossy(it.as_bytes()).into_owned(),
        AMQPValue::LongInt(it) => it.to_string(),
        AMQPValue::LongLongInt(it) => it.to_string(),
        AMQPValue::Boolean(it) => it.to_string(),
        AMQPValue::Timestamp(it) => it.to_string(),
        AMQPValue::FieldArray(it) => {
            let items: Vec<String> = it.as_slice().iter().map(value_text).collect();
            format!("[{}]", items.join(","))
        }
        AMQPValue::FieldTable(it) => {
            let entries = it.into_iter().map(|(key, value)| format!("{key}:{}", value_text(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        other => format!("{other:?}"),
    }
}

/// Turns `DeclareOk(DeclareOk { queue: "q", message_count: 0 })` into `declare-ok queue=q messages=0`.
fn method(class: &AMQPClass) -> String {
    match class {
        AMQPClass::Basic(it) => format!("basic.{}", basic_words(it)),
        AMQPClass::Queue(it) => format!("queue.{}", queue_words(it)),
        AMQPClass::Connection(it) => format!("connection.{}", connection_words(it)),
        AMQPClass::Channel(it) => format!(
            "channel.{}",
            match it {
                channel::AMQPMethod::OpenOk(_) => "open-ok".to_owned(),
                channel::AMQPMethod::FlowOk(_) => "flow-ok".to_owned(),
                channel::AMQPMethod::CloseOk(_) => "close-ok".to_owned(),
                channel::AMQPMethod::Close(it) =>
                    close(it.reply_code, it.reply_text.as_str(), it.class_id, it.method_id),
                other => format!("{other:?}"),
            }
        ),
        AMQPClass::Exchange(it) => format!(
            "exchange.{}",
            match it {
                exchange::AMQPMethod::DeclareOk(_) => "declare-ok".to_owned(),
                exchange::AMQPMethod::DeleteOk(_) => "delete-ok".to_owned(),
                exchange::AMQPMethod::BindOk(_) => "bind-ok".to_owned(),
                exchange::AMQPMethod::UnbindOk(_) => "unbind-ok".to_owned(),
                other => format!("{other:?}"),
            }
        ),
        AMQPClass::Confirm(_) => "confirm.select-ok".to_owned(),
        AMQPClass::Access(_) => "access.request-ok".to_owned(),
        AMQPClass::Tx(it) => format!(
            "tx.{}",
            match it {
                tx::AMQPMethod::SelectOk(_) => "select-ok".to_owned(),
                tx::AMQPMethod::CommitOk(_) => "commit-ok".to_owned(),
                tx::AMQPMethod::RollbackOk(_) => "rollback-ok".to_owned(),
                other => format!("{other:?}"),
            }
        ),
    }
}

fn close(code: u16, text: &str, class: u16, method: u16) -> String {
    // Quotes inside would end the word.
    let text = text.replace('"', "'");
    format!("close code={code} text=\"{text}\" at={class}/{method}")
}

fn connection_words(method: &connection::AMQPMethod) -> String {
    use connection::AMQPMethod as M;
    match method {
        M::Start(it) => format!(
            "start version={}.{} mechanisms=\"{}\"",
            it.version_major,
            it.version_minor,
            String::from_utf8_lossy(it.mechanisms.as_bytes())
        ),
        M::Tune(it) => format!(
            "tune channel-max={} frame-max={} heartbeat={}",
            it.channel_max, it.frame_max, it.heartbeat
        ),
        M::OpenOk(_) => "open-ok".to_owned(),
        M::CloseOk(_) => "close-ok".to_owned(),
        M::Blocked(it) => format!("blocked reason=\"{}\"", it.reason),
        M::Unblocked(_) => "unblocked".to_owned(),
        M::UpdateSecretOk(_) => "update-secret-ok".to_owned(),
        M::Close(it) => close(it.reply_code, it.reply_text.as_str(), it.class_id, it.method_id),
        other => format!("{other:?}"),
    }
}

fn queue_words(method: &queue::AMQPMethod) -> String {
    use queue::AMQPMethod as M;
    match method {
        M::DeclareOk(it) => format!(
            "declare-ok queue={} messages={} consumers={}",
            it.queue, it.message_count, it.consumer_count
        ),
        M::BindOk(_) => "bind-ok".to_owned(),
        M::UnbindOk(_) => "unbind-ok".to_owned(),
        M::PurgeOk(it) => format!("purge-ok messages={}", it.message_count),
        M::DeleteOk(it) => format!("delete-ok messages={}", it.message_count),
        other => format!("{other:?}"),
    }
}

fn basic_words(method: &basic::AMQPMethod) -> String {
    use basic::AMQPMethod as M;
    let redelivered = |it: bool| if it { " redelivered" } else { " first" };
    match method {
        M::QosOk(_) => "qos-ok".to_owned(),
        M::ConsumeOk(it) => format!("consume-ok consumer={}", it.consumer_tag),
        M::Cancel(it) => format!("cancel consumer={}", it.consumer_tag),
        M::CancelOk(it) => format!("cancel-ok consumer={}", it.consumer_tag),
        M::Deliver(it) => format!(
            "deliver consumer={} tag={}{} exchange={} key={}",
            it.consumer_tag,
            it.delivery_tag,
            redelivered(it.redelivered),
            it.exchange,
            it.routing_key
        ),
        M::GetOk(it) => format!(
            "get-ok tag={}{} exchange={} key={} messages={}",
            it.delivery_tag,
            redelivered(it.redelivered),
            it.exchange,
            it.routing_key,
            it.message_count
        ),
        M::GetEmpty(_) => "get-empty".to_owned(),
        M::Return(it) => format!(
            "return code={} text={} exchange={} key={}",
            it.reply_code, it.reply_text, it.exchange, it.routing_key
        ),
        M::Ack(it) => {
            format!("ack tag={}{}", it.delivery_tag, if it.multiple { " multiple" } else { " one" })
        }
        M::Nack(it) => format!("nack tag={}", it.delivery_tag),
        M::RecoverOk(_) => "recover-ok".to_owned(),
        other => format!("{other:?}"),
    }
}
