//! The page Prometheus reads, and the one a health check does.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::server::metrics;
use crate::server::node::Node;

/// Serves `/metrics` and `/healthz` until the server stops.
pub(in crate::server) async fn run(node: Arc<Node>, listener: TcpListener) {
    let router = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(Arc::clone(&node));
    let stopped = async move { node.stopped().await };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "metrics listener failed");
    }
}

async fn metrics_page(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, metrics::render(&node))
}
