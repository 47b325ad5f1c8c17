//! The page Prometheus reads, and the one a health check does.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::server::estate::About;
use crate::server::metrics;
use crate::server::node::Node;
use crate::server::rabbitmq_metrics::Detail;
use crate::server::web;

/// What the pages are made of.
#[derive(Clone)]
struct Source {
    node: Arc<Node>,
    about: Arc<About>,
}

/// Serves `/metrics`, `/metrics/per-object` and `/healthz` until the server stops.
pub(in crate::server) async fn run(node: Arc<Node>, about: About, listener: TcpListener) {
    let source = Source { node: Arc::clone(&node), about: Arc::new(about) };
    let router = Router::new()
        .route("/metrics", get(|it| page(it, Detail::Aggregated)))
        .route("/metrics/per-object", get(|it| page(it, Detail::PerObject)))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(source);
    web::serve(listener, router, web::BOUNDS, node.stopped()).await;
}

async fn page(State(source): State<Source>, detail: Detail) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    // Each queue's lock is taken in turn: with many of them not for a thread that serves.
    let render = move || metrics::render(&source.node, &source.about, detail);
    let text = tokio::task::spawn_blocking(render).await;
    (kind, text.unwrap_or_default())
}
