//! The two brokers.

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

use railpost::server::config::ServerConfig;
use railpost::server::run::Server;
use railpost::topology::Topology;

const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A broker that runs, until this is dropped.
pub struct Broker {
    pub address: SocketAddr,
    _runs: Option<Runs>,
}

enum Runs {
    Here(tokio::runtime::Runtime, Box<Server>, tempfile::TempDir),
    There(Vec<Child>, tempfile::TempDir),
}

impl Drop for Runs {
    fn drop(&mut self) {
        if let Runs::There(children, _) = self {
            for child in children {
                // RabbitMQ's starter is a script with children: all of its group.
                let group = format!("-{}", child.id());
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
                let _ = child.wait();
            }
        }
    }
}

/// railpost, in this process.
pub fn railpost() -> Broker {
    let folder = tempfile::tempdir().expect("a folder");
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data: folder.path().join("data"),
        ..ServerConfig::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start(&config, &Topology::default())).expect("starts");
    let address = server.address();
    Broker { address, _runs: Some(Runs::Here(runtime, Box::new(server), folder)) }
}

/// A RabbitMQ node of our own, if RabbitMQ is installed, or the one the environment names.
pub fn rabbitmq() -> Option<Broker> {
    if let Ok(address) = env::var("RAILPOST_DIFFERENTIAL_RABBITMQ") {
        return Some(Broker { address: address.parse().expect("an address"), _runs: None });
    }
    if !Path::new(RABBITMQ).exists() {
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let plugins = folder.path().join("plugins");
    fs::write(&plugins, "[].").expect("written");
    let [port, distribution, names] = free_ports();
    // Its own name server, so that nothing is left behind.
    let names_server = Command::new("epmd")
        .args(["-address", "127.0.0.1", "-port", &names.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .ok()?;
    let mut node = Command::new(RABBITMQ)
        .env("HOME", folder.path())
        .env("ERL_EPMD_PORT", names.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", format!("differential{port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", folder.path().join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.path().join("log"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
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
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Some(Broker { address, _runs: Some(Runs::There(vec![node, names_server], folder)) })
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|it| it.local_addr().expect("bound").port())
}
