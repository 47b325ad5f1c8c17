//! The commands about topology files, on the real binary: what they print and end with.

#![allow(clippy::disallowed_methods, reason = "starts processes and changes files")]

use std::fs;
use std::path::Path;
use std::process::Command;

const RAILPOST: &str = env!("CARGO_BIN_EXE_railpost");
const ORDERS: &str = "[services.shop]\n[services.billing]\n[services.audit]\n\n\
    [exchanges.orders]\ntype = \"topic\"\n\
    messages = [{ key = \"order.created\", from = \"shop\" }]\n\n\
    [queues.billing]\nservice = \"billing\"\nretry = { attempts = 3, first = \"1s\" }\n\
    limits = { messages = 1000, overflow = \"reject-publish\" }\n\
    bindings = [{ exchange = \"orders\", key = \"order.#\" }]\n";
const AUDIT: &str = "\n[queues.audit]\nservice = \"audit\"\nretry = {}\n\
    limits = { messages = 1000, overflow = \"reject-publish\" }\n\
    bindings = [{ exchange = \"orders\", key = \"order.created\" }]\n";

/// A folder with the files named.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(path, text).expect("written");
    }
    folder
}

/// Exit code, stdout and stderr of a command run in `folder`.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(RAILPOST)
        .args(arguments)
        .current_dir(folder)
        .env_remove("GITHUB_ACTIONS")
        .env_remove("RAILPOST_TOPOLOGY")
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn route_shows_the_way_of_a_message() {
    let folder = folder(&[("topology/orders.toml", ORDERS)]);
    let (code, text, _) = run(folder.path(), &["route", "orders", "order.created"]);
    let expected = "orders (topic, broadcast)  topology/orders.toml:5\n └─ order.# → billing  copy \
                    1 of 1 · instances of billing compete · retry 1s 2s → parked\n1 queue\n";
    assert_eq!((code, text.as_str()), (0, expected));
    let json = ["route", "orders", "x", "--format", "json", "--require-routed"];
    let (code, text, _) = run(folder.path(), &json);
    assert_eq!(code, 1);
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(json["hops"][0]["not_matched"][0]["reason"], "word 1 is `x`, not `order`");
    assert_eq!(run(folder.path(), &["route", "nothing", "x"]).0, 2);
    assert_eq!(run(folder.path(), &["route", "a", "x", "--topology", "missing"]).0, 2);
}

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
    let status = Command::new("git")
        .args(identity)
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git is there")
        .status;
    assert!(status.success(), "git {arguments:?}");
}

#[test]
fn diff_compares_folders_and_revisions() {
    let folder = folder(&[("topology/orders.toml", ORDERS)]);
    let at = folder.path();
    git(at, &["init", "--quiet", "--initial-branch=main"]);
    git(at, &["add", "."]);
    git(at, &["commit", "--quiet", "-m", "first"]);
    let (code, text, _) = run(at, &["diff", "main:topology", "topology"]);
    assert_eq!((code, text.as_str()), (0, "no differences\n"));

    fs::write(at.join("topology/audit.toml"), AUDIT).expect("written");
    let (code, text, _) = run(at, &["diff", "main:topology"]);
    assert_eq!(code, 1);
    assert!(text.contains("+ queue     audit"), "{text}");
    assert!(text.contains("orders/order.created from shop: 2 copies, was 1"), "{text}");
    assert!(text.ends_with("2 to create; 1 of 1 flows changed\n"), "{text}");
    let detailed = ["diff", "main:topology", "--detailed-exitcode", "--format", "markdown"];
    let (code, text, _) = run(at, &detailed);
    assert_eq!(code, 2);
    assert!(
        text.contains("| billing (billing) | **audit (audit)**, billing (billing) |"),
        "{text}"
    );
    let (code, text, _) = run(at, &["diff", "topology", "main:topology", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!((code, &json["delete"]), (1, &serde_json::json!(2)));
    assert_eq!(run(at, &["diff", "nothing:topology"]).0, 2);
    assert_eq!(run(at, &["diff", "--output=x:topology"]).0, 2);
    assert_eq!(run(at, &["diff", "missing"]).0, 2);
}

#[test]
fn graph_draws_in_three_languages() {
    let folder = folder(&[("old/a.toml", ORDERS), ("new/a.toml", ORDERS), ("new/b.toml", AUDIT)]);
    let (code, svg, _) = run(folder.path(), &["graph", "old"]);
    assert_eq!(code, 0);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    let (_, mermaid, _) = run(folder.path(), &["graph", "old", "--format", "mermaid"]);
    assert!(mermaid.contains("[[\"orders<br/>topic · broadcast\"]]:::broadcast"), "{mermaid}");
    let (_, dot, _) = run(folder.path(), &["graph", "new", "--diff", "old", "--format", "dot"]);
    assert!(
        dot.contains(
            "label=\"+ audit\\nat most 1000 messages\\nretry 1s 2s 4s 8s → parked\", color=green"
        ),
        "{dot}"
    );
    assert_eq!(run(folder.path(), &["graph", "missing"]).0, 2);
}

const TESTS: &str = "\n[[tests]]\nname = \"billing gets orders\"\n\
    publish = { exchange = \"orders\", key = \"order.created\" }\nreaches = { billing = 1 }\n";

#[test]
fn test_reports_in_three_formats_and_counts_what_is_untouched() {
    let orders = format!("{ORDERS}{TESTS}");
    let folder = folder(&[("topology/a.toml", &orders), ("none/b.toml", ORDERS)]);
    let at = folder.path();
    let (code, text, _) = run(at, &["test", "--coverage"]);
    assert_eq!(code, 0);
    assert!(
        text.ends_with("1 of 1 bindings touched by a test\n1 of 1 messages touched by a test\n")
    );
    let (_, text, _) = run(at, &["test", "none", "--coverage"]);
    let expected = "  not touched: orders/order.# → billing (none/b.toml:13)\n";
    assert!(text.contains(expected), "{text}");

    let wrong = orders.replace("billing = 1 }", "billing = 2 }");
    fs::write(at.join("topology/a.toml"), wrong).expect("written");
    let (code, xml, _) = run(at, &["test", "--format", "junit"]);
    assert_eq!(code, 1);
    assert!(
        xml.contains("<testsuite name=\"topology/a.toml\" tests=\"1\" failures=\"1\""),
        "{xml}"
    );
    let (_, json, _) = run(at, &["test", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["failed"], 1);
}

#[test]
fn check_reports_in_sarif() {
    let folder = folder(&[("topology/a.toml", "[queues.q]\nservce = \"a\"\n")]);
    let (code, text, _) = run(folder.path(), &["check", "--format", "sarif"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!((code, &json["version"]), (1, &serde_json::json!("2.1.0")));
    assert_eq!(json["runs"][0]["results"][0]["ruleId"], "TOP-002");
}

#[test]
fn definitions_come_in_and_go_out() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions");
    let sample = sample.join("3.10.8-definitions.json");
    let sample = sample.to_str().expect("a path");
    let folder = folder(&[]);
    let at = folder.path();
    assert_eq!(run(at, &["import", sample]).0, 2, "two vhosts are two files");
    let (code, text, left_out) = run(at, &["import", sample, "--vhost", "shop", "--strict"]);
    assert_eq!(code, 1);
    assert!(text.contains("[queues.billing]"), "{text}");
    assert!(left_out.contains("left out: vhost `shop`: policy `ttl`"), "{left_out}");
    let (code, text, _) = run(at, &["import", sample, "--to-toml", "topology"]);
    assert_eq!(
        (code, text.as_str()),
        (0, "wrote topology/default.toml\nwrote topology/shop.toml\n")
    );
    assert_eq!(
        run(at, &["import", sample, "--to-toml", "topology"]).0,
        2,
        "nothing is overwritten"
    );
    assert_eq!(run(at, &["fmt", "--check"]).0, 0, "what is written is in order");
    let (code, json, _) = run(at, &["export", "topology/shop.toml", "--to", "rabbitmq"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!((code, &json["vhosts"][0]["name"]), (0, &serde_json::json!("shop")));
    fs::write(at.join("bad.json"), "[]").expect("written");
    assert_eq!(run(at, &["import", "bad.json"]).0, 2);
}

#[test]
fn init_makes_a_topology_that_is_fine() {
    let folder = folder(&[]);
    let at = folder.path();
    let (code, text, _) = run(at, &["init"]);
    assert_eq!(code, 0);
    assert!(text.contains("wrote ./.github/workflows/topology.yml"), "{text}");
    assert_eq!(run(at, &["check", "--fail-on", "info"]).0, 0);
    assert_eq!(run(at, &["test"]).0, 0);
    assert_eq!(run(at, &["fmt", "--check"]).0, 0);
    let (code, text, _) = run(at, &["init"]);
    assert_eq!(code, 0);
    assert!(text.contains("kept ./topology/orders.toml, which is there already"), "{text}");
}

#[test]
fn fmt_puts_files_in_order() {
    let folder = folder(&[("topology/a.toml", "[exchanges.e]\ntype='fanout' # all\n")]);
    let at = folder.path();
    let (code, text, _) = run(at, &["fmt", "--check"]);
    assert_eq!((code, text.as_str()), (1, "topology/a.toml\n"));
    assert_eq!(run(at, &["fmt"]).0, 0);
    let text = fs::read_to_string(at.join("topology/a.toml")).expect("it is there");
    assert_eq!(text, "[exchanges.e]\ntype = 'fanout' # all\n");
    assert_eq!(run(at, &["fmt", "--check"]).0, 0);
    fs::write(at.join("topology/a.toml"), "a = ").expect("written");
    assert_eq!(run(at, &["fmt"]).0, 2);
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(run(ours, &["fmt", "--check"]).0, 0, "our own files are in order");
}

#[test]
fn schema_is_a_document_of_its_own() {
    let (code, text, _) = run(Path::new("."), &["schema"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!((code, &json["title"]), (0, &serde_json::json!("railpost topology file")));
}

#[test]
fn check_reads_definitions_and_the_configuration() {
    let definitions = r#"{"users": [{"name": "app", "password_hash": ""}],
        "permissions": [{"user": "app", "vhost": "/", "configure": ".*", "write": "", "read": ""}],
        "queues": [{"name": "q", "vhost": "/"}],
        "policies": [{"name": "p", "vhost": "/", "pattern": "q", "definition": {"expires": 9}}]}"#;
    let open = "listen = \"0.0.0.0:5672\"\ntopology = \"files\"\n";
    let folder = folder(&[
        ("definitions.json", definitions),
        ("broken.json", "{\"queues\": [\n{\"name\": 5}]}"),
        ("plan.json", "{\"schema\": \"railpost.plan/1\"}"),
        ("no-policy.json", "{\"policies\": [\n {\"name\": \"p\"}]}"),
        ("open.toml", open),
        ("closed.toml", "listen = \"127.0.0.1:5672\"\n"),
        ("broken.toml", "lisen = \"127.0.0.1:5672\"\n"),
        ("no-address.toml", "listen = \"here\"\n"),
        ("files/a.toml", "[services.a]\n# token = \"kiU3-vi9\"\n"),
    ]);
    let at = folder.path();
    let (code, text, _) = run(at, &["check", "definitions.json", "--fail-on", "warning"]);
    assert_eq!(code, 1);
    for expected in ["definitions.json:4:61", "[POL-004]", "definitions.json:2:68", "[SEC-002]"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.ends_with("1 file: 2 warnings\n"), "{text}");
    let (code, text, _) = run(at, &["check", "--config", "open.toml"]);
    assert_eq!(code, 0);
    assert!(text.contains("open.toml:1:10") && text.contains("[SEC-006]"), "{text}");
    assert!(text.contains("files/a.toml:2:12") && !text.contains("kiU3-vi9"), "{text}");
    let (code, text, _) = run(at, &["check", "--config", "closed.toml"]);
    assert_eq!((code, text.as_str()), (0, "1 file: no findings\n"));
    for (arguments, cause) in [
        (&["check", "broken.json"][..], "`broken.json`: these are no definitions of RabbitMQ"),
        (&["check", "no-policy.json"], "line 2, column 2: missing field `pattern`"),
        (&["check", "plan.json"], "none of their lists is there"),
        (&["check", "missing.json"], "cannot read `missing.json`"),
        (&["check", "--config", "broken.toml"], "unknown field `lisen`"),
        (&["check", "--config", "no-address.toml"], "`listen = \"here\"` is no address"),
    ] {
        let (code, _, error) = run(at, arguments);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(error.starts_with("error: ") && error.contains(cause), "{error}");
    }
}
