//! The commands that ask a running broker: the real binary against a real server.

#![allow(clippy::disallowed_methods, reason = "tests have files, processes and a network")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use railpost::server::config::Http;
use railpost::server::config::ServerConfig;
use railpost::server::run::Server;
use railpost::topology;
use railpost::topology::Source;
use serde_json::Value;

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

/// What a command ended with.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    error: String,
}

impl Ended {
    /// Its standard output, once the exit code is this one.
    #[track_caller]
    fn with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        self.with(0).parse().expect("JSON")
    }
}

/// Runs commands as somebody.
struct Terminal {
    api: String,
}

impl Terminal {
    fn new(server: &Server, login: &str) -> Terminal {
        let address = server.http_address().expect("asked for");
        Terminal { api: format!("http://{login}@{address}") }
    }

    async fn run(&self, line: &str) -> Ended {
        self.type_in(line, "").await
    }

    /// Runs a command whose standard input is this. Words that stand in `'` are one argument.
    async fn type_in(&self, line: &str, input: &str) -> Ended {
        let words = line.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_railpost"));
        command.args(words).env_clear().env("RAILPOST_API", &self.api);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let run = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().expect("runs");
            // A command that needs no input may be gone before it is written.
            let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
            child.wait_with_output().expect("ends")
        });
        let output = run.await.expect("ends");
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            error: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_published_looked_at_taken_and_purged() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Terminal::new(&server, "guest:guest");
    assert_eq!(guest.run("publish '' bills -b one -H tenant=7").await.with(0), "routed\n");
    assert_eq!(guest.type_in("publish '' bills -b -", "two").await.with(0), "routed\n");
    assert_eq!(guest.run("publish '' nobody").await.with(1), "not routed: no queue took it\n");
    let gone = guest.run("publish none key").await;
    assert!(gone.error.contains("none"), "{gone:?}");

    let seen = guest.run("peek bills").await.with(0);
    assert!(seen.starts_with("#0  (default) → bills\n"), "{seen}");
    assert!(seen.contains("  tenant: 7\n  | one\n"), "{seen}");
    let seen = guest.run("peek bills -n 1 --format json").await.json();
    assert_eq!(seen["schema"], "railpost.messages/1");
    assert_eq!(seen["messages"][0]["payload"], "one");
    assert_eq!(seen["messages"][0]["redelivered"], false);
    let seen = guest.run("peek bills --after 0 --format json").await.json();
    assert_eq!(seen["messages"][0]["payload"], "two");

    let got = guest.run("get bills --ack").await.with(0);
    assert!(got.contains("| one\n"), "{got}");
    let got = guest.run("get bills --format json").await.json();
    assert_eq!(got["messages"][0]["payload"], "two");
    let seen = guest.run("peek bills --format json").await.json();
    assert_eq!(seen["messages"][0]["redelivered"], true, "what was got without --ack is back");

    let refused = guest.run("purge bills").await;
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.error.contains("purges 1 ready messages"), "{refused:?}");
    let would = guest.run("purge bills --dry-run").await.with(0);
    assert!(would.starts_with("would: purges 1 ready messages"), "{would}");
    guest.run("purge bills --yes").await.with(0);
    assert_eq!(guest.run("peek bills").await.with(0), "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_messages_are_retried_redriven_and_discarded() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Terminal::new(&server, "guest:guest");
    assert_eq!(guest.run("retry list").await.with(0), "nothing waits for a retry\n");
    guest.run("publish '' slow -b a").await.with(0);
    guest.run("get slow --reject").await.with(0);
    let waiting = guest.run("retry list").await.with(0);
    assert!(waiting.starts_with("QUEUE  FAILED  WAITING  NEXT\nslow        1        1  in "));
    let would = guest.run("retry now slow --dry-run").await.with(0);
    assert!(would.starts_with("would retry 1 messages"), "{would}");
    guest.run("retry now slow --attempt 1").await.with(0);
    let ready = guest.run("peek slow --format json").await.json();
    assert_eq!(ready["messages"][0]["attempts"], 1);

    assert_eq!(guest.run("park list").await.with(0), "nothing is parked\n");
    for body in ["a", "b", "c"] {
        guest.run(&format!("publish '' bills -b {body}")).await.with(0);
    }
    guest.run("get bills -n 3 --reject").await.with(0);
    let parked = guest.run("park list --format json").await.json();
    assert_eq!(parked["queues"][0]["queue"], "bills");
    assert_eq!(parked["queues"][0]["groups"][0]["count"], 3);
    let shown = guest.run("park show bills -n 1 --format json").await.json();
    let id = shown["messages"][0]["id"].as_str().expect("an id");
    assert_eq!(shown["messages"][0]["parked"]["reason"], "rejected");

    assert_eq!(guest.run("park redrive bills").await.code, Some(2), "nothing is chosen");
    let would = guest.run("park redrive bills --all --dry-run").await.with(0);
    assert!(would.contains("redrive 3 messages"), "{would}");
    let done =
        guest.run(&format!("park redrive bills --id {id} --rate 9 --stop-at 50%")).await.with(0);
    assert_eq!(done, "1 redriven\n");
    assert!(guest.run("peek bills").await.with(0).contains("| a\n"));
    assert_eq!(guest.run("park discard bills --all").await.code, Some(5));
    let done = guest.run("park discard bills --reason rejected --limit 1 -y").await.with(0);
    assert_eq!(done, "1 discarded\n");
    let shown = guest.run("park show bills --format json").await.json();
    assert_eq!(shown["messages"].as_array().expect("a list").len(), 1);
    assert_eq!(shown["messages"][0]["payload"], "c");
    let jobs = guest.run("park jobs").await.with(0);
    assert!(jobs.contains("redrive") && jobs.contains("discard"), "{jobs}");
    assert_eq!(guest.run("park stop 99").await.code, Some(1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_vhosts_and_policies_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Terminal::new(&server, "guest:guest");
    guest.run("vhost add shop --description 'a shop' --tags a,b").await.with(0);
    let hash = guest.type_in("hash-password --algorithm sha512", "pw\n").await.with(0);
    let add = format!("user add app --tags management --hash {}", hash.trim());
    assert_eq!(guest.run(&add).await.with(0), "added user `app`\n");
    guest.run("user grant app -V shop --configure '' --read ^q").await.with(0);
    let app = Terminal::new(&server, "app:pw");
    let shops = app.run("vhost list --format json").await.json();
    assert_eq!(shops["items"][0]["description"], "a shop");
    let users = app.run("user list").await;
    assert_eq!((users.code, users.out.as_str()), (Some(5), ""), "{users:?}");

    guest.type_in("user passwd app", "other\n").await.with(0);
    assert_eq!(app.run("vhost list").await.code, Some(4));
    guest.run("user tag app administrator").await.with(0);
    let app = Terminal::new(&server, "app:other");
    assert!(app.run("user list").await.with(0).contains("administrator"));
    guest.run("user revoke app -V shop").await.with(0);
    assert_eq!(guest.run("user rm app").await.code, Some(5));
    guest.run("user rm app -y").await.with(0);
    assert_eq!(guest.run("user rm app -y").await.code, Some(1));
    guest.run("user rm app -y --idempotent").await.with(0);

    let set = "policy set short ^tmp -V shop --apply-to queues '{\"max-length\": 9}'";
    assert_eq!(guest.run(set).await.with(0), "added policy `short`\n");
    let policies = guest.run("policy list -V shop --format json").await.json();
    assert_eq!(policies["items"][0]["definition"]["max-length"], 9);
    assert_eq!(guest.run("policy set short ^tmp {").await.code, Some(2));
    guest.run("policy rm short -V shop -y").await.with(0);
    assert_eq!(guest.run("policy rm short -V shop -y").await.code, Some(1));
    guest.run("vhost rm shop -y").await.with(0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_and_how_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Terminal::new(&server, "guest:guest");
    guest.run("ping").await.with(0);
    guest.run("publish '' slow -n 2").await.with(0);
    let status = guest.run("status --wait 30s").await.with(0);
    assert!(status.contains("messages  2 ready · 0 unacked · 0 delayed\n"), "{status}");
    assert!(status.contains("alert     queue `slow` has 2 ready messages and no consumer"));
    let status = guest.run("status --format json").await.json();
    assert_eq!(status["status"]["overview"]["product_name"], "railpost");
    let top = guest.run("top --once --sort name").await.with(0);
    assert!(top.contains("QUEUE") && top.contains("bills.parked"), "{top}");

    let queues = guest.run("ls queues --no-headers --columns name,ready --where ready>1").await;
    assert_eq!(queues.with(0), "slow  2\n");
    for kind in ["exchanges", "bindings", "connections", "channels", "consumers", "users"] {
        guest.run(&format!("ls {kind}")).await.with(0);
        guest.run(&format!("ls {kind} -V /")).await.with(0);
    }
    assert_eq!(guest.run("ls q -V nowhere").await.code, Some(1));
    assert_eq!(guest.run("ls q --where ready").await.code, Some(2));

    assert_eq!(guest.run("pause slow").await.with(0), "paused: queue `slow` in vhost `/`\n");
    guest.run("resume slow").await.with(0);
    assert_eq!(guest.run("close nobody").await.code, Some(1));
    let endpoint = guest.run("endpoint").await.with(0);
    assert!(endpoint.contains("user      guest") && !endpoint.contains("guest:guest"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(&folder.path().join("data")).await;
    let guest = Terminal::new(&server, "guest:guest");
    let missing = guest.run("peek nothing").await;
    let expected = "error: there is no queue `nothing` in vhost `/`\n";
    assert_eq!((missing.code, missing.error.as_str()), (Some(1), expected));
    let wrong = Terminal::new(&server, "guest:wrong").run("ls queues").await;
    assert_eq!(wrong.code, Some(4));
    assert!(wrong.error.contains("refuses the login of `guest`: Login failed"), "{wrong:?}");
    assert!(!wrong.error.contains("wrong"), "no password is printed");
    server.stop().await;
    let gone = guest.run("ls queues").await;
    assert_eq!(gone.code, Some(4), "{gone:?}");
    assert!(gone.error.starts_with("error: cannot reach http://127.0.0.1:"), "{gone:?}");
    assert_eq!(guest.run("ping").await.code, Some(1));
    assert_eq!(guest.run("peek").await.code, Some(2));
}
