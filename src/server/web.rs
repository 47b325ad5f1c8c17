//! Serving HTTP to peers that may be slow, many, or both.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::server::listen::AFTER_FAILURE;

/// How long answers that are on their way may take when the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What one listener bears.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Bounds {
    /// Connections at a time; one more is closed at once.
    pub(in crate::server) connections: usize,
    /// How long a peer may take to send a request's head, and be idle between two requests.
    pub(in crate::server) patience: Duration,
}

pub(in crate::server) const BOUNDS: Bounds =
    Bounds { connections: 1_000, patience: Duration::from_secs(30) };

/// Serves until the server stops.
pub(in crate::server) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    stopped: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => break,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, peer)), Ok(place)) => {
                answer(stream, peer, router.clone(), bounds.patience, &graceful, place);
            }
            (Ok((_, peer)), Err(_)) => tracing::warn!(%peer, "HTTP connection limit is reached"),
            (Err(error), _) => {
                tracing::error!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
    if tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await.is_err() {
        tracing::warn!("HTTP answers were still under way");
    }
}

fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    patience: Duration,
    graceful: &GracefulShutdown,
    place: OwnedSemaphorePermit,
) {
    let service = router.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%peer, %error, "HTTP connection ended");
        }
        drop(place);
    });
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::routing::get;
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn server(bounds: Bounds) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
        let router = Router::new().route("/peer", get(peer));
        tokio::spawn(serve(listener, router, bounds, pending()));
        address
    }

    /// What comes until the other side closes.
    async fn all(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("text, then the end");
        text
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_not_waited_for() {
        let patience = Duration::from_millis(20);
        let address = server(Bounds { connections: 1, patience }).await;
        let mut slow = TcpStream::connect(address).await.expect("accepted");
        slow.write_all(b"GET /peer HTTP/1.1\r\nHost: ").await.expect("sent");
        let text = all(&mut slow).await;
        assert!(!text.contains("200 OK"), "{text}");
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_the_others_are_served() {
        let patience = Duration::from_secs(3600);
        let address = server(Bounds { connections: 1, patience }).await;
        let mut first = TcpStream::connect(address).await.expect("accepted");
        let mut second = TcpStream::connect(address).await.expect("accepted");
        assert_eq!(all(&mut second).await, "");
        let request = b"GET /peer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        first.write_all(request).await.expect("sent");
        let text = all(&mut first).await;
        let peer = first.local_addr().expect("it is bound").to_string();
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with(&peer), "{text}");
    }
}
