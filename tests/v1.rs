//! The native API of the real server, over HTTP.

#![allow(clippy::disallowed_methods, reason = "tests have a clock and a network")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use railpost::server::config::Http;
use railpost::server::config::ServerConfig;
use railpost::server::run::Server;
use railpost::topology;
use railpost::topology::Source;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How long anything may take before a test gives up; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

const FILE: &str = r#"
[queues.bills]
retry = { attempts = 1 }

[queues.slow]
retry = { attempts = 3, first = "1h", max = "1h" }
"#;

async fn start(data: &Path) -> Server {
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        http: Http::At(SocketAddr::from(([127, 0, 0, 1], 0))),
        data: data.to_owned(),
        ..ServerConfig::default()
    };
    let source = Source { path: "shop.toml".to_owned(), text: FILE.to_owned() };
    let loaded = topology::load(&[source]);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    Server::start(&config, &loaded.topology).await.expect("starts")
}

/// Somebody with a login.
#[derive(Clone, Copy)]
struct Tool {
    address: SocketAddr,
    login: &'static str,
}

struct Reply {
    status: u16,
    body: Value,
}

impl Tool {
    fn new(server: &Server, login: &'static str) -> Tool {
        Tool { address: server.http_address().expect("asked for"), login }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Reply {
        let login = match self.login {
            "" => String::new(),
            login => format!("Authorization: Basic {}\r\n", STANDARD.encode(login)),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{login}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.expect("connects");
            stream.write_all(request.as_bytes()).await.expect("writes");
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.expect("reads");
            String::from_utf8(bytes).expect("text")
        };
        let text = tokio::time::timeout(PATIENCE, exchange).await.expect("answers");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        Reply {
            status: head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status"),
            body: if body.is_empty() {
                Value::Null
            } else {
                body.parse().unwrap_or(Value::from(body))
            },
        }
    }

    async fn get(&self, path: &str) -> Value {
        let reply = self.call("GET", path, "").await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body
    }

    /// Calls and wants this status.
    async fn wants(&self, status: u16, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.call(method, path, &body).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        reply
    }
}

impl Tool {
    async fn publish(&self, queue: &str, body: &str) {
        let message = json!({
            "routing_key": queue, "payload": body, "payload_encoding": "string",
            "properties": { "delivery_mode": 2, "headers": { "kept": 1 } },
        });
        let path = "/api/exchanges/%2F/amq.default/publish";
        let reply = self.wants(200, "POST", path, message).await;
        assert_eq!(reply.body, json!({ "routed": true }));
    }

    /// Gets messages and says what becomes of them.
    async fn take(&self, queue: &str, count: u32, ackmode: &str) -> Vec<Value> {
        let body = json!({ "count": count, "ackmode": ackmode, "encoding": "auto" });
        let reply = self.wants(200, "POST", &format!("/api/queues/%2F/{queue}/get"), body).await;
        let payloads = reply.body.as_array().expect("a list").iter();
        payloads.map(|it| it["payload"].clone()).collect()
    }

    /// The messages of a page, and where the next one begins.
    async fn peek(&self, queue: &str, query: &str) -> (Vec<Value>, Value) {
        let page = self.get(&format!("/v1/queues/%2F/{queue}/messages?{query}")).await;
        (page["messages"].as_array().expect("a list").clone(), page["next"].clone())
    }

    async fn ended(&self, job: &Value) -> Value {
        let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
        for _ in 0..400 {
            let job = self.get(&path).await;
            if job["state"] != "running" {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the job does not end");
    }
}

fn payloads(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|it| it["payload"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_messages_are_looked_at_sent_back_and_discarded() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Tool::new(&server, "guest:guest");
    for body in ["a", "b", "c", "d"] {
        guest.publish("bills", body).await;
    }
    let (messages, next) = guest.peek("bills", "limit=3").await;
    assert_eq!(
        (payloads(&messages), next.clone()),
        (vec!["a", "b", "c"], messages[2]["id"].clone())
    );
    let after = next.as_str().expect("an id");
    let (messages, next) = guest.peek("bills", &format!("limit=3&after={after}")).await;
    assert_eq!((payloads(&messages), next), (vec!["d"], Value::Null));
    assert_eq!(messages[0]["redelivered"], false);

    let figures = guest.get("/v1/queues/%2F/bills").await;
    assert_eq!((&figures["ready"], &figures["unacked"]), (&json!(4), &json!(0)));
    assert!(figures["oldest_ready_age_ms"].is_u64(), "{figures}");
    assert_eq!(figures["oldest_unacked_age_ms"], Value::Null);

    assert_eq!(guest.take("bills", 4, "reject_requeue_false").await.len(), 4);
    assert!(guest.peek("bills", "").await.0.is_empty());
    let (parked, _) = guest.peek("bills", "state=parked").await;
    assert_eq!(payloads(&parked), ["a", "b", "c", "d"]);
    assert_eq!(parked[0]["parked"]["reason"], "rejected");
    let groups = guest.get("/v1/queues/%2F/bills/parked").await;
    assert_eq!((&groups["parked"], &groups["groups"][0]["count"]), (&json!(4), &json!(4)));

    let redrive = "/v1/queues/%2F/bills/parked/redrive";
    guest.wants(400, "POST", redrive, json!({})).await;
    let dry_path = format!("{redrive}?dry_run=true");
    let dry = guest.wants(200, "POST", &dry_path, json!({ "all": true })).await;
    assert_eq!(dry.body["matching"], 4);
    let ids = json!({ "ids": [parked[1]["id"], parked[2]["id"]] });
    let job = guest.wants(202, "POST", redrive, ids).await.body;
    let job = guest.ended(&job).await;
    assert_eq!((&job["state"], &job["done"]), (&json!("done"), &json!(2)), "{job}");
    let (back, _) = guest.peek("bills", "").await;
    assert_eq!(payloads(&back), ["b", "c"]);
    assert_eq!(back[0]["properties"]["headers"]["kept"], 1);
    assert_eq!(back[0]["attempts"], 0);

    let discard = "/v1/queues/%2F/bills/parked/discard";
    let chosen = json!({ "reason": "rejected", "limit": 1, "rate": 50 });
    let job = guest.wants(202, "POST", discard, chosen).await.body;
    assert_eq!(guest.ended(&job).await["done"], 1);
    assert_eq!(payloads(&guest.peek("bills", "state=parked").await.0), ["d"]);
    let restore = "/v1/queues/%2F/bills/parked/restore";
    let path = format!("{restore}?dry_run=true");
    let dry = guest.wants(200, "POST", &path, json!({ "all": true })).await;
    assert_eq!(dry.body["matching"], 1);
    let job = guest.wants(202, "POST", restore, json!({ "all": true })).await.body;
    assert_eq!(guest.ended(&job).await["done"], 1);
    let (parked, _) = guest.peek("bills", "state=parked").await;
    assert_eq!(payloads(&parked), ["d", "a"]);
    let chosen = json!({ "ids": [parked[1]["id"]] });
    let job = guest.wants(202, "POST", discard, chosen).await.body;
    assert_eq!(guest.ended(&job).await["done"], 1);
    server.stop().await;

    // All of it is so after a restart, when messages are on disk only.
    let server = start(&folder.path().join("data")).await;
    let guest = Tool::new(&server, "guest:guest");
    let (parked, next) = guest.peek("bills", "state=parked").await;
    assert_eq!((payloads(&parked), next), (vec!["d"], Value::Null));
    assert_eq!(payloads(&guest.peek("bills", "").await.0), ["b", "c"]);
    let job = guest.wants(202, "POST", redrive, json!({ "all": true })).await.body;
    assert_eq!(guest.ended(&job).await["done"], 1);
    assert_eq!(guest.take("bills", 9, "ack_requeue_false").await, ["b", "c", "d"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_ends_when_its_messages_are_parked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Tool::new(&server, "guest:guest");
    for body in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        guest.publish("bills", body).await;
    }
    assert_eq!(guest.take("bills", 8, "reject_requeue_false").await.len(), 8);
    let redrive = "/v1/queues/%2F/bills/parked/redrive";
    guest.wants(400, "POST", redrive, json!({ "all": true, "stop_at": 50 })).await;
    let body = json!({ "all": true, "rate": 1, "stop_at": 50 });
    let job = guest.wants(202, "POST", redrive, body).await.body;
    // One message a second comes back; each of them fails again.
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    let rejecting = async {
        while guest.get(&path).await["state"] == "running" {
            guest.take("bills", 8, "reject_requeue_false").await;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(PATIENCE, rejecting).await.expect("it ends");
    let job = guest.get(&path).await;
    assert_eq!(
        (&job["state"], &job["reason"]),
        (&json!("failed"), &json!("too many were parked again"))
    );
    assert!(job["done"].as_u64() < Some(8) && job["parked_again"].as_u64() > Some(0), "{job}");
    let parked = guest.get("/v1/queues/%2F/bills/parked").await["parked"].clone();
    let ready = guest.get("/v1/queues/%2F/bills").await["ready"].clone();
    assert_eq!(parked.as_u64().zip(ready.as_u64()).map(|(a, b)| a + b), Some(8), "none is lost");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_ahead_and_the_others_follow_when_it_lives() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Tool::new(&server, "guest:guest");
    for body in ["a", "b", "c", "d"] {
        guest.publish("bills", body).await;
    }
    assert_eq!(guest.take("bills", 4, "reject_requeue_false").await.len(), 4);
    let redrive = "/v1/queues/%2F/bills/parked/redrive";
    for outcome in ["reject_requeue_false", "ack_requeue_false"] {
        let body = json!({ "all": true, "canary": 1 });
        let job = guest.wants(202, "POST", redrive, body).await.body;
        let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
        let waiting = async {
            while guest.get(&path).await["waits_for_canary"] != true {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it waits");
        assert_eq!(guest.get("/v1/queues/%2F/bills").await["ready"], 1, "one goes ahead");
        assert_eq!(guest.take("bills", 1, outcome).await.len(), 1);
        let job = guest.ended(&job).await;
        let (state, done) = if outcome.starts_with("ack") { ("done", 4) } else { ("failed", 1) };
        assert_eq!((&job["state"], &job["done"]), (&json!(state), &json!(done)), "{job}");
    }
    assert_eq!(guest.get("/v1/queues/%2F/bills").await["ready"], 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_retry_is_shown_and_retried_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Tool::new(&server, "guest:guest");
    for body in ["a", "b"] {
        guest.publish("slow", body).await;
    }
    guest.take("slow", 2, "reject_requeue_true").await;
    let retries = guest.get("/v1/queues/%2F/slow/retries").await;
    assert_eq!((&retries["waiting"], &retries["attempts"][0]["attempt"]), (&json!(2), &json!(1)));
    assert!(retries["next_due_ms"].as_u64() > retries["now_ms"].as_u64());
    let (delayed, _) = guest.peek("slow", "state=delayed").await;
    assert_eq!(payloads(&delayed), ["a", "b"]);
    let path = "/v1/queues/%2F/slow/retries/now";
    let dry = guest.wants(200, "POST", &format!("{path}?dry_run=true"), json!({})).await;
    assert_eq!(dry.body["retried"], 2);
    let now = guest.wants(200, "POST", path, json!({ "ids": [delayed[1]["id"]] })).await;
    assert_eq!(now.body["retried"], 1);
    assert_eq!(payloads(&guest.peek("slow", "").await.0), ["b"]);
    assert_eq!(guest.take("slow", 2, "ack_requeue_false").await, ["b"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_back_messages_are_listed_and_cancelled() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Tool::new(&server, "guest:guest");
    let exchange = json!({
        "type": "x-delayed-message", "durable": true, "arguments": { "x-delayed-type": "direct" },
    });
    guest.wants(201, "PUT", "/api/exchanges/%2F/later", exchange).await;
    let binding = json!({ "routing_key": "bills" });
    guest.wants(201, "POST", "/api/bindings/%2F/e/later/q/bills", binding).await;
    let message = json!({
        "routing_key": "bills", "payload": "x", "payload_encoding": "string",
        "properties": { "delivery_mode": 2, "headers": { "x-delay": 3_600_000 } },
    });
    guest.wants(200, "POST", "/api/exchanges/%2F/later/publish", message).await;
    let queue = "amq.delayed.later";
    let (held, _) = guest.peek(queue, "state=delayed").await;
    assert_eq!(payloads(&held), ["x"]);
    assert!(held[0]["due_ms"].is_u64(), "{}", held[0]);
    let id = held[0]["id"].as_str().expect("an id");
    let path = format!("/v1/queues/%2F/{queue}/messages/{id}");
    guest.wants(204, "DELETE", &path, Value::Null).await;
    guest.wants(404, "DELETE", &path, Value::Null).await;
    assert!(guest.peek(queue, "state=delayed").await.0.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_topology_pauses_and_health() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Tool::new(&server, "guest:guest");
    let route = guest.get("/v1/route?key=bills").await;
    assert_eq!((&route["routed"], &route["queues"][0]["queue"]), (&json!(true), &json!("bills")));
    assert_eq!(route["queues"][0]["parking_lot"], "bills.parked");
    let binding = json!({ "routing_key": "a.*" });
    guest.wants(201, "POST", "/api/bindings/%2F/e/amq.topic/q/slow", binding).await;
    let route = guest.get("/v1/route?exchange=amq.topic&key=b.c").await;
    let why = &route["hops"][0]["bindings"][0]["why"];
    assert_eq!((&route["routed"], why), (&json!(false), &json!("word 1 is `b`, not `a`")));
    guest.wants(404, "GET", "/v1/route?exchange=none", Value::Null).await;

    let topology = guest.get("/v1/topology").await;
    let queues = topology["vhosts"][0]["queues"].as_array().expect("a list").clone();
    assert!(queues.iter().any(|it| it["at"] == "shop.toml:2"), "{topology}");

    let paused = guest.wants(200, "POST", "/v1/queues/%2F/slow/pause", Value::Null).await;
    assert_eq!(paused.body["paused"], true);
    assert_eq!(guest.get("/v1/route?key=slow").await["queues"][0]["paused"], true);
    guest.wants(200, "POST", "/v1/queues/%2F/slow/resume", Value::Null).await;
    assert_eq!(guest.get("/v1/route?key=slow").await["queues"][0]["paused"], false);

    let nobody = Tool::new(&server, "");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(nobody.call("GET", path, "").await.status, 200, "{path}");
    }
    assert_eq!(nobody.call("GET", "/v1/jobs", "").await.status, 401);
    assert_eq!(guest.get("/v1/openapi.json").await["openapi"], "3.1.0");
    assert_eq!(guest.call("PUT", "/v1/jobs", "").await.status, 405);

    let audit = guest.get("/v1/audit?limit=1").await;
    assert_eq!((&audit[0]["path"], &audit[0]["status"]), (&json!("/v1/jobs"), &json!(405)));
    assert_eq!(audit.as_array().expect("a list").len(), 1);

    // Who may not read a queue may not look into it either.
    let user = json!({ "password": "pw", "tags": "management" });
    guest.wants(201, "PUT", "/api/users/app", user).await;
    let permission = json!({ "configure": "", "write": "", "read": "^slow$" });
    guest.wants(201, "PUT", "/api/permissions/%2F/app", permission).await;
    let app = Tool::new(&server, "app:pw");
    assert!(app.peek("slow", "").await.0.is_empty());
    app.wants(401, "GET", "/v1/queues/%2F/bills/messages", Value::Null).await;
    app.wants(401, "POST", "/v1/queues/%2F/slow/pause", Value::Null).await;
    app.wants(401, "GET", "/v1/audit", Value::Null).await;
    server.stop().await;
}

/// A stream of events that is being read.
struct Stream {
    stream: TcpStream,
    text: String,
}

impl Stream {
    async fn open(tool: Tool, topics: &str) -> Stream {
        let mut stream = TcpStream::connect(tool.address).await.expect("connects");
        let login = STANDARD.encode(tool.login);
        let request = format!(
            "GET /v1/events?topics={topics} HTTP/1.1\r\nHost: test\r\n\
             Authorization: Basic {login}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("writes");
        Stream { stream, text: String::new() }
    }

    /// Reads until this has come.
    async fn until(&mut self, wanted: &str) {
        let reading = async {
            let mut bytes = [0; 4096];
            while !self.text.contains(wanted) {
                let n = self.stream.read(&mut bytes).await.expect("reads");
                assert!(n > 0, "it ends: {}", self.text);
                self.text.push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "`{wanted}` does not come: {}", self.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_everything_and_then_what_changed_to_a_bounded_number_of_readers() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Tool::new(&server, "guest:guest");
    let mut stream = Stream::open(guest, "queue:%2F/bills").await;
    stream.until("text/event-stream").await;
    stream.until("event: snapshot").await;
    stream.until("\"ready\":0").await;
    assert!(!stream.text.contains("slow"), "{}", stream.text);
    guest.publish("bills", "a").await;
    stream.until("event: delta").await;
    stream.until("\"ready\":1").await;

    let mut open = vec![stream];
    while open.len() < 64 {
        let mut stream = Stream::open(guest, "jobs").await;
        stream.until("event: snapshot").await;
        open.push(stream);
    }
    Stream::open(guest, "jobs").await.until("too_many_streams").await;
    Stream::open(Tool { login: "guest:no", ..guest }, "jobs").await.until(" 401 ").await;
    // Messages flow all the while, and the server stops although streams are open.
    assert_eq!(guest.take("bills", 1, "ack_requeue_false").await, ["a"]);
    server.stop().await;
}
