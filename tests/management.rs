//! The management API of the real server, over HTTP, as tools use it.

#![allow(clippy::disallowed_methods, reason = "tests have a clock and a network")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::BasicProperties;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::options::BasicConsumeOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::BasicQosOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::types::FieldTable;
use railpost::admin::request::Method;
use railpost::admin::table::Need;
use railpost::admin::table::Row;
use railpost::admin::table::TABLE;
use railpost::server::config::Http;
use railpost::server::config::ServerConfig;
use railpost::server::run::Server;
use railpost::topology::Topology;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How long anything may take before a test gives up; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(data: &Path) -> Server {
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        http: Http::At(SocketAddr::from(([127, 0, 0, 1], 0))),
        metrics: Http::At(SocketAddr::from(([127, 0, 0, 1], 0))),
        data: data.to_owned(),
        ..ServerConfig::default()
    };
    Server::start(&config, &Topology::default()).await.expect("starts")
}

/// Somebody with a login.
#[derive(Clone)]
struct Tool {
    address: SocketAddr,
    login: String,
}

struct Reply {
    status: u16,
    head: String,
    body: Value,
}

/// Sends a request and reads the whole answer.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("reads");
        String::from_utf8(bytes).expect("text")
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("answers")
}

impl Tool {
    fn new(server: &Server, login: &str) -> Tool {
        Tool { address: server.http_address().expect("asked for"), login: login.to_owned() }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Reply {
        let login = match self.login.as_str() {
            "" => String::new(),
            login => format!("Authorization: Basic {}\r\n", STANDARD.encode(login)),
        };
        let request = format!(
            "{method} /api/{path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{login}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let text = exchange(self.address, &request).await;
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        Reply {
            status: head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status"),
            head: head.to_lowercase(),
            body: if body.is_empty() { Value::Null } else { body.parse().expect("JSON") },
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

#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask_and_who_may_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Tool::new(&server, "guest:guest");
    let reply = Tool::new(&server, "").call("GET", "overview", "").await;
    assert_eq!((reply.status, reply.body), (401, Value::Null));
    assert!(reply.head.contains("www-authenticate: basic realm=\"rabbitmq management\""));
    let reply = Tool::new(&server, "guest:wrong").call("GET", "overview", "").await;
    assert_eq!(reply.body, json!({"error": "not_authorized", "reason": "Login failed"}));

    let expected = json!({"name": "guest", "tags": ["administrator"], "is_internal_user": true});
    assert_eq!(guest.get("whoami").await, expected);
    guest.wants(201, "PUT", "users/mon", json!({"password": "pw", "tags": "monitoring"})).await;
    guest.wants(204, "PUT", "users/mon", json!({"password": "pw", "tags": ["monitoring"]})).await;
    guest.wants(400, "PUT", "users/x", json!({"password": "pw"})).await;
    guest.wants(201, "PUT", "users/app", json!({"password": "pw", "tags": ""})).await;
    let monitor = Tool::new(&server, "mon:pw");
    assert_eq!(monitor.get("nodes").await.as_array().expect("a list").len(), 1);
    let reply = monitor.wants(401, "GET", "users", Value::Null).await;
    let expected = json!({"error": "not_authorised", "reason": "Not administrator user"});
    assert_eq!(reply.body, expected);
    let reply = Tool::new(&server, "app:pw").wants(401, "GET", "whoami", Value::Null).await;
    assert_eq!(reply.body["reason"], "Not management user");

    // A hash of another broker's is taken as it is.
    let hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
    let user = json!({"password_hash": hash, "tags": "management"});
    guest.wants(201, "PUT", "users/old", user).await;
    assert_eq!(guest.get("users/old").await["password_hash"], hash);
    let old = Tool::new(&server, "old:test12");
    assert_eq!(old.get("whoami").await["name"], "old");
    // Without a permission it sees no vhost.
    assert_eq!(old.get("queues").await, json!([]));
    let reply = old.wants(401, "GET", "queues/%2F", Value::Null).await;
    assert_eq!(reply.body["reason"], "User not authorised to access virtual host");
    let permission = json!({"configure": "^mine", "write": "", "read": ".*"});
    guest.wants(201, "PUT", "permissions/%2F/old", permission.clone()).await;
    guest.wants(204, "PUT", "permissions/%2F/old", permission).await;
    guest.wants(400, "PUT", "permissions/%2F/old", json!({"configure": "("})).await;
    old.wants(201, "PUT", "queues/%2F/mine", json!({"durable": "true"})).await;
    let reply = old.wants(401, "PUT", "queues/%2F/theirs", json!({})).await;
    assert_eq!(reply.body["reason"], "Access refused.");
    let list = guest.get("users/old/permissions").await;
    assert_eq!(list[0]["configure"], "^mine");
    guest.wants(204, "DELETE", "permissions/%2F/old", Value::Null).await;
    guest.wants(404, "DELETE", "permissions/%2F/old", Value::Null).await;
    guest.wants(204, "DELETE", "users/old", Value::Null).await;
    guest.wants(404, "GET", "users/old", Value::Null).await;
    guest.wants(405, "POST", "users", json!({})).await;
    guest.wants(404, "GET", "no/such/thing", Value::Null).await;
    guest.wants(400, "PUT", "users/mon", Value::from("no object")).await;
    server.stop().await;
}

/// Paths whose object is not there in this test: they are answered with 404.
const GONE: [&str; 3] =
    ["connections/{connection}", "connections/{connection}/channels", "channels/{channel}"];

/// A path of the table about something that is there, or, when it is to be changed, not there.
fn example(row: &Row) -> String {
    let path = row.path.replace("health/checks/{*}", "health/checks/alarms");
    let path = path.replace("/{*}", "").replace("{vhost}", "%2F");
    let there = row.method == Method::Get;
    let names = if there {
        [("{user}", "guest"), ("{queue}", "jobs"), ("{source}", "amq.direct")]
    } else {
        [("{user}", "none"), ("{queue}", "none"), ("{source}", "none")]
    };
    let path = names.iter().fold(path, |path, (from, to)| path.replace(from, to));
    let path = path.replace("e/{exchange}", if there { "e/amq.topic" } else { "e/none" });
    let path = path.replace("{exchange}", if there { "amq.fanout" } else { "none" });
    let path = path.replace("{binding}", "k").replace("{policy}", if there { "p" } else { "none" });
    let path = path.replace("{node}", "railpost@localhost").replace("{limit}", "max-queues");
    path.replace(['{', '}'], "")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_of_the_table_is_for_those_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Tool::new(&server, "guest:guest");
    guest.wants(201, "PUT", "queues/%2F/jobs", json!({})).await;
    guest.wants(201, "POST", "bindings/%2F/e/amq.direct/q/jobs", json!({"routing_key": "k"})).await;
    let between = json!({"routing_key": "k"});
    guest.wants(201, "POST", "bindings/%2F/e/amq.direct/e/amq.topic", between).await;
    let policy = json!({"pattern": "^none$", "definition": {"max-length": 5}});
    guest.wants(201, "PUT", "policies/%2F/p", policy.clone()).await;
    guest.wants(201, "PUT", "operator-policies/%2F/p", policy).await;
    let topics = json!({"exchange": "amq.topic", "write": ".*", "read": ".*"});
    guest.wants(201, "PUT", "topic-permissions/%2F/guest", topics).await;
    let node = guest.get("nodes").await[0]["name"].as_str().map(str::to_owned).expect("a node");
    let allowed = |role: &str, need: Need| match need {
        Need::Management => role != "app",
        Need::Monitoring => ["monitoring", "administrator"].contains(&role),
        Need::Policymaker => ["policymaker", "administrator"].contains(&role),
        Need::Administrator => role == "administrator",
    };
    for role in ["app", "management", "policymaker", "monitoring", "administrator"] {
        let tags = if role == "app" { "" } else { role };
        let user = json!({"password": "pw", "tags": tags});
        guest.wants(201, "PUT", &format!("users/{role}"), user).await;
        let rights = json!({"configure": ".*", "write": ".*", "read": ".*"});
        guest.wants(201, "PUT", &format!("permissions/%2F/{role}"), rights).await;
        let login = format!("{role}:pw");
        let tool = Tool::new(&server, &login);
        for row in
            TABLE.iter().filter(|it| (it.path, it.method) != ("vhosts/{vhost}", Method::Delete))
        {
            let path = example(row).replace("railpost@localhost", &node);
            let method = format!("{:?}", row.method).to_uppercase();
            let body = if row.method == Method::Get { "" } else { "{}" };
            let reply = tool.call(&method, &path, body).await;
            let what = format!("{role}: {method} {path}: {} {}", reply.status, reply.body);
            assert_eq!(reply.status == 401, !allowed(role, row.need), "{what}");
            if role == "administrator" && row.method == Method::Get {
                assert_eq!(
                    reply.status,
                    if GONE.contains(&row.path) { 404 } else { 200 },
                    "{what}"
                );
            }
            assert!(reply.status < 500 && reply.status != 405, "{what}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_exchanges_bindings_and_messages() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let tool = Tool::new(&server, "guest:guest");
    let arguments = json!({"x-max-length": 5, "x-dead-letter-exchange": "dlx"});
    let queue = json!({"durable": true, "arguments": arguments});
    tool.wants(201, "PUT", "queues/%2F/jobs", queue.clone()).await;
    tool.wants(204, "PUT", "queues/%2F/jobs", queue).await;
    let reply = tool.wants(400, "PUT", "queues/%2F/jobs", json!({"durable": false})).await;
    let reason = reply.body["reason"].as_str().expect("a text");
    assert!(reason.starts_with("inequivalent arg 'durable' for queue 'jobs'"), "{reason}");
    let reply = tool.wants(404, "PUT", "queues/nope/jobs", json!({})).await;
    assert_eq!(reply.body["reason"], "vhost_not_found");
    let view = tool.get("queues/%2f/jobs").await;
    assert_eq!(view["arguments"], arguments, "arguments are echoed as they came");
    assert_eq!(view["effective_policy_definition"], json!({}));

    tool.wants(201, "PUT", "exchanges/%2F/orders", json!({"type": "topic"})).await;
    let bind = json!({"routing_key": "a~b/c d"});
    let reply = tool.wants(201, "POST", "bindings/%2F/e/orders/q/jobs", bind).await;
    assert!(reply.head.contains("location: jobs/a%257eb%252fc%2bd"), "{}", reply.head);
    let bind = json!({"routing_key": "#", "arguments": {"k": 1}});
    tool.wants(201, "POST", "bindings/%2F/e/orders/q/jobs", bind).await;
    let bindings = tool.get("bindings/%2F/e/orders/q/jobs").await;
    assert_eq!(bindings.as_array().expect("a list").len(), 2);
    assert_eq!(tool.get("queues/%2F/jobs/bindings").await.as_array().expect("a list").len(), 3);

    let message = json!({
        "routing_key": "any", "payload": "aGk=", "payload_encoding": "base64",
        "properties": {"delivery_mode": 2, "message_id": "m1", "headers": {"n": 1}}
    });
    let publish = "exchanges/%2F/orders/publish";
    let reply = tool.wants(200, "POST", publish, message.clone()).await;
    assert_eq!(reply.body, json!({"routed": true}));
    let view = tool.get("queues/%2F/jobs").await;
    let (from, to) = (&view["incoming"][0], tool.get("exchanges/%2F/orders").await);
    assert_eq!(from["exchange"], json!({ "name": "orders", "vhost": "/" }));
    assert_eq!(from["stats"]["publish"], 1);
    let expected = json!({ "queue": { "name": "jobs", "vhost": "/" }, "stats": from["stats"] });
    assert_eq!(to["outgoing"], json!([expected]));
    let reply = tool.wants(400, "POST", "exchanges/%2F/nope/publish", message).await;
    assert_eq!(reply.body["reason"], "404 NOT_FOUND - no exchange 'nope' in vhost '/'");
    let get = json!({"count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"});
    for redelivered in [false, true] {
        let reply = tool.wants(200, "POST", "queues/%2F/jobs/get", get.clone()).await;
        let got = &reply.body[0];
        assert_eq!((&got["payload"], &got["payload_bytes"]), (&json!("hi"), &json!(2)));
        assert_eq!(got["properties"]["headers"], json!({"n": 1}));
        assert_eq!(got["redelivered"], redelivered);
    }
    assert_eq!(tool.get("queues/%2F/jobs").await["messages_ready"], 1);
    let page = tool.get("queues?page=1&page_size=10&name=JOB&columns=name,messages").await;
    assert_eq!(page["items"], json!([{"name": "jobs", "messages": 1}]));
    tool.wants(400, "DELETE", "queues/%2F/jobs?if-empty=true", Value::Null).await;
    tool.wants(204, "DELETE", "queues/%2F/jobs/contents", Value::Null).await;
    assert_eq!(tool.get("queues/%2F/jobs").await["messages"], 0);

    let props = bindings[0]["properties_key"].as_str().expect("a text").replace('%', "%25");
    let path = format!("bindings/%2F/e/orders/q/jobs/{props}");
    tool.wants(204, "DELETE", &path, Value::Null).await;
    tool.wants(404, "DELETE", &path, Value::Null).await;
    tool.wants(401, "DELETE", "exchanges/%2F/amq.default", Value::Null).await;
    tool.wants(204, "DELETE", "exchanges/%2F/orders", Value::Null).await;
    tool.wants(204, "DELETE", "queues/%2F/jobs", Value::Null).await;
    tool.wants(404, "GET", "queues/%2F/jobs", Value::Null).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_seen_and_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let tool = Tool::new(&server, "guest:guest");
    tool.wants(201, "PUT", "queues/%2F/jobs", json!({"durable": true})).await;
    let url = format!("amqp://guest:guest@{}/%2f", server.address());
    let properties = ConnectionProperties::default().with_connection_name("seen".into());
    let connection = Connection::connect(&url, properties).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    channel.basic_qos(7, BasicQosOptions::default()).await.expect("set");
    let _consumer = channel
        .basic_consume(
            "jobs".into(),
            "tag".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("consumes");
    let all = tool.get("connections").await;
    assert_eq!(all[0]["user_provided_name"], "seen");
    assert_eq!((&all[0]["channels"], &all[0]["user"]), (&json!(1), &json!("guest")));
    let channels = tool.get("channels").await;
    let seen = ["prefetch_count", "confirm", "consumer_count"].map(|it| channels[0][it].clone());
    assert_eq!(seen, [json!(7), json!(true), json!(1)]);
    let consumers = tool.get("consumers/%2F").await;
    assert_eq!(consumers[0]["channel_details"]["connection_name"], all[0]["name"]);
    assert_eq!(tool.get("queues/%2F/jobs").await["consumer_details"][0]["consumer_tag"], "tag");
    assert_eq!(tool.get("overview").await["object_totals"]["consumers"], 1);

    let name = all[0]["name"].as_str().expect("a text").replace(' ', "%20").replace('>', "%3E");
    tool.wants(204, "DELETE", &format!("connections/{name}"), Value::Null).await;
    let end = tokio::time::Instant::now() + PATIENCE;
    while connection.status().connected() {
        assert!(tokio::time::Instant::now() < end, "the connection is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let port = server.address().port();
    tool.get(&format!("health/checks/port-listener/{port}")).await;
    let bad = "health/checks/protocol-listener/mqtt";
    assert_eq!(tool.wants(503, "GET", bad, Value::Null).await.body["missing"], json!(["mqtt"]));
    tool.get("health/checks/alarms").await;
    tool.get("aliveness-test/%2F").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_have_rates_and_go_to_prometheus() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let tool = Tool::new(&server, "guest:guest");
    tool.wants(201, "PUT", "queues/%2F/jobs", json!({"durable": true})).await;
    // The first to ask for rates starts them.
    assert_eq!(tool.get("overview").await["message_stats"]["publish_details"]["rate"], 0.0);
    let url = format!("amqp://guest:guest@{}/%2f", server.address());
    let connected = Connection::connect(&url, ConnectionProperties::default()).await;
    let connection = connected.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    for key in ["jobs", "jobs", "jobs", "nowhere"] {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let publish = channel.basic_publish("".into(), key.into(), options, b"x", properties);
        publish.await.expect("publishes").await.expect("confirmed");
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    let rate = |of: &Value, key: &str| of[format!("{key}_details")]["rate"].as_f64();
    loop {
        let overview = tool.get("overview").await;
        let queue = tool.get("queues/%2F/jobs").await;
        let (stats, of_queue) = (&overview["message_stats"], &queue["message_stats"]);
        assert_eq!((&stats["publish"], &stats["confirm"]), (&json!(4), &json!(4)));
        assert_eq!((&of_queue["publish"], &queue["messages"]), (&json!(3), &json!(3)));
        let rates = [rate(stats, "publish"), rate(of_queue, "publish"), rate(&queue, "messages")];
        if rates.iter().all(|it| it.is_some_and(|it| it > 0.0)) {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "no rates: {rates:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let channels = tool.get("channels").await;
    let stats = &channels[0]["message_stats"];
    assert_eq!((&stats["publish"], &stats["confirm"]), (&json!(4), &json!(4)));
    assert_eq!(channels[0]["messages_unconfirmed"], 0);
    let metrics = server.metrics_address().expect("asked for");
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let page = exchange(metrics, &get("/metrics")).await;
    for line in [
        "rabbitmq_endpoint=\"aggregated\"} 1",
        "rabbitmq_queue_messages_ready 3",
        "rabbitmq_connections 1",
        "rabbitmq_global_messages_received_total{protocol=\"amqp091\"} 4",
        "rabbitmq_global_messages_confirmed_total{protocol=\"amqp091\"} 4",
        "rabbitmq_global_messages_unroutable_dropped_total{protocol=\"amqp091\"} 1",
        "railpost_published_total 4",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    let page = exchange(metrics, &get("/metrics/per-object")).await;
    assert!(page.contains("rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"jobs\"} 3"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_make_another_broker_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("first");
    let server = start(&data).await;
    let tool = Tool::new(&server, "guest:guest");
    for (path, body) in [
        ("vhosts/shop", json!({"description": "a shop", "tags": "a,b"})),
        ("users/app", json!({"password": "pw", "tags": "management"})),
        ("permissions/shop/app", json!({"configure": "", "write": ".*", "read": "^q"})),
        ("exchanges/shop/orders", json!({"type": "topic", "durable": true, "internal": true})),
        ("queues/shop/q", json!({"durable": true, "arguments": {"x-max-length": 9}})),
        (
            "policies/shop/short",
            json!({"pattern": "^q", "definition": {"max-length": 3}, "apply-to": "queues"}),
        ),
        (
            "operator-policies/shop/bound",
            json!({"pattern": ".*", "definition": {"message-ttl": 1000}, "priority": 1}),
        ),
        ("topic-permissions/shop/app", json!({"exchange": "orders", "write": "^a", "read": ".*"})),
    ] {
        tool.wants(201, "PUT", path, body).await;
    }
    tool.wants(204, "PUT", "vhost-limits/shop/max-queues", json!({"value": 10})).await;
    tool.wants(204, "PUT", "user-limits/app/max-connections", json!({"value": 3})).await;
    tool.wants(201, "POST", "bindings/shop/e/orders/q/q", json!({"routing_key": "k"})).await;
    let unknown = json!({"pattern": "", "definition": {"nope": 1}});
    let reply = tool.wants(400, "PUT", "policies/shop/bad", unknown).await;
    let expected = "Validation failed\n\n'nope' is not a recognised policy setting\n";
    assert_eq!(reply.body["reason"], expected);
    let effective = &tool.get("queues/shop/q").await["effective_policy_definition"];
    assert_eq!(*effective, json!({"max-length": 3, "message-ttl": 1000}));

    // What is there is there after a restart, and then elsewhere.
    let mut exported = tool.get("definitions").await;
    server.stop().await;
    let server = start(&data).await;
    assert_eq!(Tool::new(&server, "guest:guest").get("definitions").await, exported);
    server.stop().await;
    let server = start(&folder.path().join("second")).await;
    let tool = Tool::new(&server, "guest:guest");
    let conflicting = json!({"durable": false});
    tool.wants(201, "PUT", "vhosts/shop", json!({})).await;
    tool.wants(201, "PUT", "queues/shop/q", conflicting).await;
    let before = tool.get("definitions").await;
    let reply = tool.wants(200, "POST", "definitions?dry_run=true", exported.clone()).await.body;
    let conflict = &reply["conflicts"][0];
    assert_eq!((&conflict["kind"], &conflict["name"]), (&json!("queue"), &json!("q")), "{reply}");
    tool.wants(409, "POST", "definitions?strict=true", exported.clone()).await;
    let mut broken = exported.clone();
    broken["bindings"][0]["destination"] = json!("nowhere");
    tool.wants(404, "POST", "definitions", broken).await;
    assert_eq!(tool.get("definitions").await, before, "nothing of these came in");
    let reply = tool.wants(200, "POST", "definitions", exported.clone()).await;
    assert!(reply.head.contains("x-import-conflicts: 1"), "{}", reply.head);
    assert_eq!(reply.body["conflicts"].as_array().map(Vec::len), Some(1));
    assert_eq!(tool.get("queues/shop/q").await["durable"], false, "what is there stays");
    tool.wants(204, "DELETE", "vhosts/shop", Value::Null).await;
    tool.wants(204, "POST", "definitions", exported.clone()).await;
    let mut imported = tool.get("definitions").await;
    // Whoever made the vhost was let into it; nothing else differs.
    for document in [&mut imported, &mut exported] {
        let list = document["permissions"].as_array_mut().expect("a list");
        list.retain(|it| it["user"] != "guest");
    }
    assert_eq!(imported, exported);
    assert_eq!(Tool::new(&server, "app:pw").get("whoami").await["name"], "app");
    let part = tool.get("definitions/shop").await;
    assert!(part.get("users").is_none() && part["queues"][0].get("vhost").is_none());
    server.stop().await;
}
