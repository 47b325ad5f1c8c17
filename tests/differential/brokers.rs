//! The two brokers.

use std::env;
use std::net::SocketAddr;

use railpost::server::config::ServerConfig;
use railpost::server::run::Server;
use railpost::topology::Topology;

use crate::node::Rabbitmq;

/// A broker that runs, until this is dropped.
pub struct Broker {
    pub address: SocketAddr,
    _runs: Option<Runs>,
}

enum Runs {
    Here(tokio::runtime::Runtime, Box<Server>, tempfile::TempDir),
    There(#[allow(dead_code, reason = "stops when it is dropped")] Rabbitmq),
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
    let node = Rabbitmq::start(&[])?;
    Some(Broker { address: node.amqp, _runs: Some(Runs::There(node)) })
}
