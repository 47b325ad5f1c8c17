//! A node of RabbitMQ of our own, for as long as a test runs.
//!
//! `RAILPOST_RABBITMQ_NODE=amqp_port,http_port` names one on this machine that runs already, of another
//! version for example; tests leave their vhosts on it.

use std::env;
use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Runs until this is dropped.
pub struct Rabbitmq {
    pub amqp: SocketAddr,
    /// The management API; nothing answers there unless it was asked for.
    #[allow(dead_code, reason = "not every test asks for it")]
    pub http: SocketAddr,
    children: Vec<Child>,
    _folder: Option<tempfile::TempDir>,
}

impl Drop for Rabbitmq {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Its starter is a script with children: all of its group.
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = child.wait();
        }
    }
}

impl Rabbitmq {
    /// Starts a node with these plugins; nothing when RabbitMQ is not installed, which is a failure
    /// where `RAILPOST_NEEDS_RABBITMQ` is set.
    pub fn start(plugins: &[&str]) -> Option<Rabbitmq> {
        if let Ok(ports) = env::var("RAILPOST_RABBITMQ_NODE") {
            return Some(running(&ports));
        }
        if !Path::new(RABBITMQ).exists() {
            assert!(env::var_os("RAILPOST_NEEDS_RABBITMQ").is_none(), "there is no {RABBITMQ}");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let enabled = folder.path().join("plugins");
        fs::write(&enabled, format!("[{}].", plugins.join(","))).expect("written");
        let [amqp, http, distribution, names] = free_ports();
        let config = folder.path().join("rabbitmq.conf");
        let mut text = "collect_statistics_interval = 1000\n".to_owned();
        if plugins.contains(&"rabbitmq_management") {
            text += &format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {http}\n");
        }
        fs::write(&config, text).expect("written");
        // Its own name server, so that nothing is left behind.
        let names_server = Command::new("epmd")
            .args(["-address", "127.0.0.1", "-port", &names.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("epmd comes with RabbitMQ");
        let mut node = Command::new(RABBITMQ)
            .env("HOME", folder.path())
            .env("ERL_EPMD_PORT", names.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("test{amqp}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", amqp.to_string())
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("RABBITMQ_CONFIG_FILE", &config)
            .env("RABBITMQ_MNESIA_BASE", folder.path().join("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder.path().join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", &enabled)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("RabbitMQ starts");
        let mut lines = BufReader::new(node.stdout.take().expect("piped")).lines();
        let started = lines.by_ref().map_while(Result::ok).any(|it| it.contains("completed with"));
        assert!(started, "RabbitMQ has ended instead of starting");
        // What else it says is read, so that it can go on saying it.
        std::thread::spawn(move || lines.count());
        Some(Rabbitmq {
            amqp: local(amqp),
            http: local(http),
            children: vec![node, names_server],
            _folder: Some(folder),
        })
    }
}

/// A node that somebody else has started.
fn running(ports: &str) -> Rabbitmq {
    let mut ports = ports.split(',').map(|it| local(it.parse().expect("amqp_port,http_port")));
    let (amqp, http) = (ports.next().expect("a port"), ports.next().expect("two ports"));
    Rabbitmq { amqp, http, children: Vec::new(), _folder: None }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn free_ports() -> [u16; 4] {
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|it| it.local_addr().expect("bound").port())
}
