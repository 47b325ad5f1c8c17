//! Users, permissions, vhosts and policies on the real server: changed while clients are connected,
//! and still there after a restart and after a kill -9.

#![allow(clippy::disallowed_methods, reason = "tests have a clock and a network")]

use std::io::BufRead as _;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use lapin::BasicProperties;
use lapin::Channel;
use lapin::Connection;
use lapin::ConnectionProperties;
use lapin::options::BasicGetOptions;
use lapin::options::BasicPublishOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use railpost::access::password::PasswordHash;
use railpost::access::permission::Permission;
use railpost::access::user::Origin;
use railpost::access::user::User;
use railpost::access::user::UserLimits;
use railpost::broker::policy::Policy;
use railpost::broker::policy::Side;
use railpost::broker::vhost::Profile;
use railpost::server::config::DefaultUser;
use railpost::server::config::ServerConfig;
use railpost::server::run::Server;
use railpost::topology::Topology;

/// How long anything may take before a test gives up; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(data: &Path) -> Server {
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data: data.to_owned(),
        default_user: DefaultUser {
            name: "root".into(),
            password: "secret".into(),
            vhost: "/".into(),
        },
        ..ServerConfig::default()
    };
    Server::start(&config, &Topology::default()).await.expect("starts")
}

async fn connect(address: SocketAddr, user: &str, vhost: &str) -> Result<Connection, lapin::Error> {
    let url = format!("amqp://{user}@{address}/{vhost}");
    Connection::connect(&url, ConnectionProperties::default()).await
}

async fn channel(address: SocketAddr, user: &str, vhost: &str) -> (Connection, Channel) {
    let connection = connect(address, user, vhost).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    (connection, channel)
}

async fn publish(channel: &Channel, queue: &str) -> Result<(), lapin::Error> {
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default().with_delivery_mode(2);
    let sent = channel.basic_publish("".into(), queue.into(), options, b"x", properties).await?;
    sent.await.map(|_| ())
}

async fn declare(channel: &Channel, queue: &str) -> Result<u32, lapin::Error> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    Ok(declared.message_count())
}

fn user(name: &str) -> User {
    User {
        name: name.into(),
        password: Some(PasswordHash::sha256([1, 2, 3, 4], "pw")),
        tags: vec!["management".into()],
        limits: UserLimits { connections_max: Some(1), ..UserLimits::default() },
        loopback_only: false,
        origin: Origin::Stored,
    }
}

async fn ended(connection: &Connection) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while connection.status().connected() {
        assert!(tokio::time::Instant::now() < end, "the connection is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn policy(definition: &str) -> Policy {
    let definition = serde_json::from_str(definition).expect("an object");
    Policy::new(Side::User, "short", "^q", "queues", 1, definition).expect("a policy")
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_hold_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = start(&data).await;
    let address = server.address();
    let operator = server.operator();

    // Nobody is let in without a permission, nor twice where once is the limit.
    operator.put_user(user("app")).await.expect("put");
    assert!(connect(address, "app:pw", "%2f").await.is_err());
    let permission = Permission::new(".*", ".*", "^q").expect("patterns");
    operator.put_permission("app", "/", permission).await.expect("put");
    let (app, on) = channel(address, "app:pw", "%2f").await;
    assert!(connect(address, "app:pw", "%2f").await.is_err());
    assert!(connect(address, "app:wrong", "%2f").await.is_err());

    // A policy is felt by a queue that has messages.
    declare(&on, "q").await.expect("declared");
    for _ in 0..5 {
        publish(&on, "q").await.expect("confirmed");
    }
    operator.put_policy("/", Side::User, policy(r#"{"max-length":2}"#)).await.expect("put");
    assert_eq!(declare(&on, "q").await.expect("declared"), 2);

    // A permission is lost between two publishes.
    let permission = Permission::new(".*", "^none$", "^q").expect("patterns");
    operator.put_permission("app", "/", permission).await.expect("put");
    let refused = publish(&on, "q").await.expect_err("refused");
    assert!(refused.to_string().contains("write access to exchange ''"), "{refused}");

    // A vhost, with everything in it, and its end.
    let profile = Profile { description: "for a while".into(), ..Profile::default() };
    operator.put_vhost("brief", profile).await.expect("made");
    operator.put_permission("root", "brief", Permission::all()).await.expect("put");
    let (root, in_brief) = channel(address, "root:secret", "brief").await;
    declare(&in_brief, "q").await.expect("declared");
    publish(&in_brief, "q").await.expect("confirmed");
    operator.delete_vhost("brief").await.expect("deleted");
    ended(&root).await;
    assert!(connect(address, "root:secret", "brief").await.is_err());
    assert!(operator.delete_vhost("brief").await.is_err());

    server.stop().await;
    drop(app);
    let server = start(&data).await;
    let address = server.address();
    let operator = server.operator();
    let (app, on) = channel(address, "app:pw", "%2f").await;
    assert_eq!(declare(&on, "q").await.expect("declared"), 2);
    let refused = publish(&on, "q").await.expect_err("still refused");
    assert!(refused.to_string().contains("write access"), "{refused}");
    assert!(connect(address, "root:secret", "brief").await.is_err(), "a vhost is not back");
    // One of the same name begins with nothing.
    operator.put_vhost("brief", Profile::default()).await.expect("made");
    operator.put_permission("root", "brief", Permission::all()).await.expect("put");
    let (_root, in_brief) = channel(address, "root:secret", "brief").await;
    assert_eq!(declare(&in_brief, "q").await.expect("declared"), 0);

    // The policy goes, and so does the user, with the connection.
    operator.delete_policy("/", Side::User, "short").await.expect("deleted");
    operator.delete_user("app").await.expect("deleted");
    ended(&app).await;
    assert!(connect(address, "app:pw", "%2f").await.is_err());
    let (_root, on) = channel(address, "root:secret", "%2f").await;
    for _ in 0..5 {
        publish(&on, "q").await.expect("confirmed");
    }
    assert_eq!(declare(&on, "q").await.expect("declared"), 7);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_logins_with_a_slow_hash_do_not_hold_up_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let address = server.address();
    let (_keep, on) = channel(address, "root:secret", "%2f").await;
    // Of users that are not there the hash is as slow; one by one, so that no answer is held back
    // for long.
    let wrong = ["a:pw", "b:pw", "c:pw", "d:pw", "e:pw", "f:pw", "g:pw", "root:wrong"];
    let wrong = wrong.map(|login| tokio::spawn(connect(address, login, "%2f")));
    // Nobody waits for a hash who has shown the password already.
    declare(&on, "q").await.expect("declared");
    let (_again, on) = channel(address, "root:secret", "%2f").await;
    let got = on.basic_get("q".into(), BasicGetOptions { no_ack: true }).await.expect("answered");
    assert!(got.is_none());
    for login in wrong {
        assert!(login.await.expect("no panic").is_err());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_answered_later_and_later_but_the_right_one_is_let_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let address = server.address();
    for late_ms in [500, 1000] {
        let begin = Instant::now();
        assert!(connect(address, "root:wrong", "%2f").await.is_err());
        assert!(begin.elapsed() >= Duration::from_millis(late_ms), "{:?}", begin.elapsed());
    }
    let (_root, on) = channel(address, "root:secret", "%2f").await;
    declare(&on, "q").await.expect("declared");
    server.stop().await;
}

/// A broker process with a default user of its own.
fn serve(data: &Path, user: Option<(&str, &str)>) -> (Child, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_railpost"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    if let Some((name, password)) = user {
        command.env("RABBITMQ_DEFAULT_USER", name).env("RABBITMQ_DEFAULT_PASS", password);
        command.env("RABBITMQ_DEFAULT_VHOST", "shop");
    }
    let mut process =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the broker starts");
    let output = BufReader::new(process.stdout.take().expect("piped"));
    let mut address = None;
    for line in output.lines() {
        let line = line.expect("text");
        if let Some(at) = line.strip_prefix("listening amqp ") {
            address = at.split(' ').next().and_then(|it| it.parse().ok());
        }
        if line.starts_with("Server startup complete") {
            break;
        }
    }
    (process, address.expect("it said where it listens"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_makes_a_user_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (mut broker, address) = serve(&data, Some(("owner", "s3cret")));
    let (_keep, on) = channel(address, "owner:s3cret", "shop").await;
    declare(&on, "q").await.expect("declared");
    publish(&on, "q").await.expect("confirmed");
    assert!(connect(address, "guest:guest", "shop").await.is_err());
    broker.kill().expect("it was alive");
    broker.wait().expect("it ended");

    // Other variables, or none, make no other user.
    let (mut broker, address) = serve(&data, Some(("other", "other")));
    assert!(connect(address, "other:other", "shop").await.is_err());
    let (_keep, on) = channel(address, "owner:s3cret", "shop").await;
    assert_eq!(declare(&on, "q").await.expect("declared"), 1);
    broker.kill().expect("it was alive");
    broker.wait().expect("it ended");

    let dump = Command::new(env!("CARGO_BIN_EXE_railpost"))
        .args(["store", "dump"])
        .arg(&data)
        .output()
        .expect("it runs");
    let dump = String::from_utf8_lossy(&dump.stdout);
    assert!(dump.contains("owner") && !dump.contains("$argon2id"), "{dump}");
}
