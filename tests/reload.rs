//! SIGHUP: the real binary reads its files again, and stays as it was when something is wrong.

#![allow(clippy::disallowed_methods, reason = "starts a process and signals it")]

use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::path::Path;
use std::process::Child;
use std::process::ChildStderr;
use std::process::Command;
use std::process::Stdio;

const OLD: &str = "[exchanges.orders]\ntype = \"direct\"\n[queues.billing]\n\
    bindings = [{ exchange = \"orders\", key = \"created\" }]\n";

struct Broker {
    process: Child,
    log: BufReader<ChildStderr>,
    http: String,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Broker {
    fn start(folder: &Path) -> Broker {
        let mut process = Command::new(env!("CARGO_BIN_EXE_railpost"))
            .args(["serve", "topology", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--metrics", "off", "--data", "data"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let mut http = None;
        for line in output.lines().map_while(Result::ok) {
            let address = line.split_once("management http://").map(|it| it.1);
            http = http.or(address.and_then(|it| it.split('/').next()).map(str::to_owned));
            if line.starts_with("Server startup complete") {
                break;
            }
        }
        let log = BufReader::new(process.stderr.take().expect("piped"));
        Broker { process, log, http: http.expect("it listens") }
    }

    /// Sends SIGHUP and returns what the log says of the topology then.
    fn reload(&mut self) -> String {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &id]).status().expect("it runs");
        assert!(sent.success());
        let lines = self.log.by_ref().lines().map_while(Result::ok);
        let mut about = lines.filter(|it| it.contains("topology"));
        about.next().expect("it says something")
    }

    /// Whether a message with this key gets anywhere.
    fn routes(&self, folder: &Path, key: &str) -> bool {
        let status = Command::new(env!("CARGO_BIN_EXE_railpost"))
            .args(["route", "orders", key, "--live", "--require-routed"])
            .env("RAILPOST_API", format!("http://guest:guest@{}", self.http))
            .current_dir(folder)
            .stdout(Stdio::null())
            .status()
            .expect("it runs");
        status.success()
    }
}

#[test]
fn files_are_read_again_and_a_mistake_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let file = folder.join("topology/a.toml");
    fs::create_dir(folder.join("topology")).expect("made");
    fs::write(&file, OLD).expect("written");
    let mut broker = Broker::start(folder);
    assert!(broker.routes(folder, "created"));

    fs::write(&file, OLD.replace("\"created\"", "\"paid\"")).expect("written");
    assert!(broker.reload().contains("was read again"));
    assert!(!broker.routes(folder, "created"), "it is not bound any more");
    assert!(broker.routes(folder, "paid"));

    for wrong in ["[queues.billing]\nbindings = [{ exchange = \"no\" }]\n", "type = ", "\u{1}"] {
        fs::write(&file, wrong).expect("written");
        let said = broker.reload();
        assert!(said.contains("stays as it was") && said.contains("a.toml"), "{said}");
        assert!(broker.routes(folder, "paid"), "after {wrong}");
    }
    fs::remove_dir_all(folder.join("topology")).expect("removed");
    let said = broker.reload();
    assert!(said.contains("stays as it was") && said.contains("cannot read"), "{said}");
    assert!(broker.routes(folder, "paid"));
}
