//! Taking connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::server::connection::Client;
use crate::server::link::Link;
use crate::server::node::Node;

/// How long to wait after a failed accept: the usual reason is that no file descriptor is left.
pub(in crate::server) const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Accepts clients until the server stops.
pub(in crate::server) async fn run(node: Arc<Node>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = node.stopping() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Frames are written whole, so waiting for more only adds delay.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "TCP_NODELAY not set");
                }
                let link = Link::new(node.new_connection_id(), peer, stream, node.clock.now());
                if node.registry.add(&link) {
                    tokio::spawn(Client::new(Arc::clone(&node), link).run());
                } else {
                    tracing::warn!(%peer, "connection limit is reached");
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}
