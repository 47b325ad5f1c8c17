//! The management API over HTTP: logins, bodies, waiting for the disk. What is answered is decided
//! in [`crate::admin`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::body::to_bytes;
use axum::extract::ConnectInfo;
use axum::extract::Request as HttpRequest;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::Method as HttpMethod;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::response::Response as HttpResponse;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::access::directory::LoginError;
use crate::access::sasl::Credentials;
use crate::admin;
use crate::admin::caller::Caller;
use crate::admin::request::Method;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::v1::audit::AuditEntry;
use crate::server::estate::LiveEstate;
use crate::server::events;
use crate::server::web;

/// COMPAT: the largest body RabbitMQ takes.
const BODY_BYTES: usize = 20_000_000;
/// How long a client may take to send a body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Requests that are being answered at a time.
const AT_A_TIME: usize = 16;

struct Management {
    estate: Arc<LiveEstate>,
    turns: Semaphore,
    /// Places for streams of events.
    streams: Arc<Semaphore>,
}

/// Serves the API until the server stops.
pub(in crate::server) async fn run(estate: LiveEstate, listener: TcpListener) {
    let node = Arc::clone(&estate.node);
    let state = Management {
        estate: Arc::new(estate),
        turns: Semaphore::new(AT_A_TIME),
        streams: Arc::new(Semaphore::new(events::OPEN_MAX)),
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(serve)
        .with_state(Arc::new(state));
    web::serve(listener, router, web::BOUNDS, node.stopped()).await;
}

/// Whether publishers are let in: traffic is for another broker while the disk is nearly full.
async fn ready(State(state): State<Arc<Management>>) -> HttpResponse {
    if state.estate.node.is_disk_low() {
        return (StatusCode::SERVICE_UNAVAILABLE, "low on disk\n").into_response();
    }
    (StatusCode::OK, "ready\n").into_response()
}

/// Whose words are spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Api {
    /// RabbitMQ's management API, below `/api`.
    Management,
    /// Our own, below `/v1`.
    Native,
}

fn api(path: &str) -> Option<(Api, &str)> {
    let management = path.strip_prefix("/api/").map(|it| (Api::Management, it));
    management.or_else(|| path.strip_prefix("/v1/").map(|it| (Api::Native, it)))
}

async fn serve(
    State(state): State<Arc<Management>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: HttpRequest,
) -> HttpResponse {
    if request.method() == HttpMethod::OPTIONS {
        let allow = [(header::ALLOW, "HEAD, GET, PUT, POST, DELETE, OPTIONS")];
        return (StatusCode::OK, allow).into_response();
    }
    let no_body = request.method() == HttpMethod::HEAD;
    let Some((api, path)) = api(request.uri().path()) else {
        return to_http(Problem::NotFound.response(), no_body);
    };
    let (Some(path), Some(method)) = (split_path(path), method(request.method())) else {
        return to_http(Problem::NotFound.response(), no_body);
    };
    let caller = match state.log_in(request.headers(), peer).await {
        Ok(caller) => caller,
        Err(refused) => return refused,
    };
    let said = (request.method().to_string(), request.uri().path().to_owned());
    let query = split_query(request.uri().query().unwrap_or_default());
    let reason = request.headers().get("x-reason").and_then(|it| it.to_str().ok());
    let reason = reason.map(str::to_owned);
    let body = match read_body(request.into_body()).await {
        Ok(body) => body,
        Err(problem) => return to_http(problem.response(), no_body),
    };
    let user = caller.user.name.clone();
    let request = Request { method, path, query, body, reason };
    if api == Api::Native && method == Method::Get && request.path == ["events"] && !no_body {
        return state.stream(caller, request).await;
    }
    let response = state.answer(api, caller, request).await;
    if method != Method::Get {
        // Bodies may hold passwords: what is named in the path is enough.
        let status = response.status;
        let (method, path) = said;
        let at = state.estate.node.clock.now();
        let peer = peer.to_string();
        state.estate.audit.note(AuditEntry { at, peer, user, method, path, status });
    }
    to_http(response, no_body)
}

impl Management {
    /// Who asks, by HTTP Basic.
    async fn log_in(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Caller, HttpResponse> {
        let Some(credentials) = credentials(headers) else {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"RabbitMQ Management\"")];
            return Err((StatusCode::UNAUTHORIZED, challenge).into_response());
        };
        let node = &self.estate.node;
        let loopback = peer.ip().to_canonical().is_loopback();
        let claim = node.access.claim(&credentials, loopback);
        let name = credentials.user.clone();
        let login = node.access.login(claim, credentials).await;
        let setback = node.note_login(&node.metrics.http_logins, peer, &name, &login);
        if let Some(setback) = setback {
            node.access.hold_back(setback).await;
        }
        match login {
            Ok(user) => {
                let user = node.access.read(|it| it.user(&user).cloned());
                let caller = user.map(|user| Caller { user });
                let caller = caller.ok_or_else(|| refused("Login failed"))?;
                match caller.check_management() {
                    Ok(()) => Ok(caller),
                    Err(problem) => Err(to_http(problem.response(), false)),
                }
            }
            Err(error) => Err(refused(match error {
                LoginError::NotFromThere => "User can only log in via localhost",
                LoginError::UnknownUser | LoginError::WrongPassword => "Login failed",
            })),
        }
    }

    async fn stream(&self, caller: Caller, request: Request) -> HttpResponse {
        let Ok(place) = Arc::clone(&self.streams).try_acquire_owned() else {
            let reason = format!("{} streams are open; close one", events::OPEN_MAX);
            let body = json!({ "error": "too_many_streams", "reason": reason });
            return to_http(Response { status: 503, ..Response::ok(body) }, false);
        };
        match events::open(Arc::clone(&self.estate), caller, request, place).await {
            Ok(events) => {
                let kind = [
                    (header::CONTENT_TYPE, "text/event-stream"),
                    (header::CACHE_CONTROL, "no-cache"),
                ];
                (kind, Body::new(events)).into_response()
            }
            Err(problem) => to_http(problem.response(), false),
        }
    }

    /// Answers on a thread that may take its time, and once what was done is on disk.
    async fn answer(&self, api: Api, caller: Caller, request: Request) -> Response {
        let _turn = self.turns.acquire().await;
        let estate = Arc::clone(&self.estate);
        let answered = tokio::task::spawn_blocking(move || match api {
            Api::Management => admin::answer(&*estate, &caller, &request),
            Api::Native => admin::v1::answer(&*estate, &caller, &request),
        });
        let Ok(response) = answered.await else {
            return Response { status: 500, ..Response::no_content() };
        };
        let node = &self.estate.node;
        tokio::select! {
            () = node.log.until_durable(response.after) => response,
            () = node.stopped() => Response { status: 503, ..Response::no_content() },
        }
    }
}

fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credentials { user: user.to_owned(), password: password.to_owned() })
}

fn refused(reason: &'static str) -> HttpResponse {
    let body = json!({ "error": "not_authorized", "reason": reason });
    let response = Response { status: 401, ..Response::ok(body) };
    let mut response = to_http(response, false);
    let challenge = header::HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn method(method: &HttpMethod) -> Option<Method> {
    match *method {
        HttpMethod::GET | HttpMethod::HEAD => Some(Method::Get),
        HttpMethod::PUT => Some(Method::Put),
        HttpMethod::POST => Some(Method::Post),
        HttpMethod::DELETE => Some(Method::Delete),
        _ => None,
    }
}

/// COMPAT: cut at slashes, then each part decoded; `+` is no blank, and one slash at the end means
/// nothing.
fn split_path(path: &str) -> Option<Vec<String>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').map(|it| decode(it, false)).collect()
}

fn split_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|it| !it.is_empty());
    let pairs = pairs.map(|it| it.split_once('=').unwrap_or((it, "")));
    pairs.filter_map(|(key, value)| Some((decode(key, true)?, decode(value, true)?))).collect()
}

/// Percent-decoding; `None` for what is no UTF-8 then.
fn decode(text: &str, plus_is_blank: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let hex = || std::str::from_utf8(after.get(..2)?).ok();
        let number = || u8::from_str_radix(hex()?, 16).ok();
        match (*first, number()) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) if plus_is_blank => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

async fn read_body(body: Body) -> Result<Value, Problem> {
    let read = tokio::time::timeout(BODY_PATIENCE, to_bytes(body, BODY_BYTES)).await;
    let bytes = read
        .map_err(|_| Problem::bad("the body took too long"))?
        .map_err(|_| Problem::bad(format!("the body is larger than {BODY_BYTES} bytes")))?;
    // COMPAT: some tools begin with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(bytes).map_err(|_| Problem::Invalid {
        error: "bad_request",
        reason: "the body is no JSON".to_owned(),
    })
}

fn to_http(response: Response, no_body: bool) -> HttpResponse {
    let status = StatusCode::from_u16(response.status);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = response.body.filter(|_| !no_body).map(|it| it.to_string());
    let mut http = HttpResponse::new(body.map_or_else(Body::empty, Body::from));
    *http.status_mut() = status;
    let headers = http.headers_mut();
    let text = |text: &'static str| header::HeaderValue::from_static(text);
    headers.insert(header::CACHE_CONTROL, text("no-cache"));
    headers.insert(header::VARY, text("accept, accept-encoding, origin"));
    headers.insert(header::CONTENT_TYPE, text("application/json"));
    headers.insert("x-content-type-options", text("nosniff"));
    if let Some(location) = response.location.and_then(|it| it.parse().ok()) {
        headers.insert(header::LOCATION, location);
    }
    if response.n_conflicts > 0 {
        headers.insert("x-import-conflicts", response.n_conflicts.into());
    }
    http
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_decoded_part_by_part() {
        let path = split_path("queues/%2F/a%2Fb+c%zz/").unwrap();
        assert_eq!(path, ["queues", "/", "a/b+c%zz"]);
        assert_eq!(split_path("queues//").unwrap(), ["queues", ""]);
        assert_eq!(split_path("%ff"), None);
        let query = split_query("a=1+2&b&c=%C3%A9");
        let expected = [("a", "1 2"), ("b", ""), ("c", "é")];
        assert_eq!(query, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
