//! Connections: limits, keys, the log, and an end that leaves nothing half done.

use crate::app::App;
use crate::read;
use crate::refusal::{Kind, Refusal};
use crate::routes;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONTENT_TYPE, ORIGIN, RETRY_AFTER, VARY,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::select_all;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

/// The hashes of the logits of the answers, in the order of the choices.
pub const HASH_HEADER: HeaderName = HeaderName::from_static("x-carat-logits-hash");

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Most headers of a request.
const MOST_HEADERS: usize = 100;
/// Between two looks at whether the texts under way have ended.
const LOOK: Duration = Duration::from_millis(50);

/// Why a server does not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something else has the port, or it is not allowed.
    #[error("{address}: cannot listen there: {reason}; choose another port")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        reason: std::io::Error,
    },
}

/// A server that listens.
pub struct Server {
    app: Arc<App>,
    listeners: Vec<TcpListener>,
}

impl Server {
    /// Listens at addresses, `host:port`; port 0 is any that is free.
    ///
    /// Errors: an address cannot be had.
    pub async fn bind(app: Arc<App>, addresses: &[String]) -> Result<Self, ServeError> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            let listener = TcpListener::bind(address).await;
            listeners.push(listener.map_err(|reason| ServeError::Listen {
                address: address.into(),
                reason,
            })?);
        }
        Ok(Self { app, listeners })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let local = |l: &TcpListener| l.local_addr().ok();
        self.listeners.iter().filter_map(local).collect()
    }

    /// Serves until `end` is ready. Then nobody else is let in, texts under way have [`Config::grace`](crate::Config::grace) to end,
    /// and all else is broken off.
    pub async fn run(self, end: impl Future<Output = ()>) {
        let Self { app, listeners } = self;
        let (ending, ends) = watch::channel(false);
        let router = router(app.clone(), ends.clone());
        let places = Arc::new(Semaphore::new(app.config.connections.max(1)));
        let mut open = JoinSet::new();
        let mut end = std::pin::pin!(end);
        loop {
            while open.try_join_next().is_some() {}
            let accepted = tokio::select! {
                accepted = accept(&listeners, &places) => accepted,
                () = &mut end => break,
            };
            let (stream, permit) = accepted;
            let (app, router, ends) = (app.clone(), router.clone(), ends.clone());
            open.spawn(async move {
                connection(&app, stream, router, ends).await;
                drop(permit);
            });
        }
        drop(listeners);
        // Nobody listens where no connection is open.
        let _ = ending.send(true);
        let last = Instant::now() + app.config.grace;
        while !open.is_empty() && Instant::now() < last {
            let _ = tokio::time::timeout(LOOK, open.join_next()).await;
        }
        open.shutdown().await;
        let shelf = app.shelf.clone();
        // The engines' threads are waited for.
        let _ = tokio::task::spawn_blocking(move || shelf.clear()).await;
    }
}

/// The next connection, when there is a place for it.
async fn accept(
    listeners: &[TcpListener],
    places: &Arc<Semaphore>,
) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = places.clone().acquire_owned().await else {
            std::future::pending::<()>().await;
            continue;
        };
        let all = listeners.iter().map(|l| Box::pin(l.accept()));
        match select_all(all).await.0 {
            Ok((stream, _)) => return (stream, permit),
            // Too many files are open, or the client has gone: others may come.
            Err(e) => {
                tracing::warn!("a connection was not accepted: {e}");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

async fn connection(app: &App, stream: TcpStream, router: Router, mut ends: watch::Receiver<bool>) {
    // Small pieces go out as they are made.
    let _ = stream.set_nodelay(true);
    let service = router.map_request(|r: hyper::Request<hyper::body::Incoming>| r.map(Body::new));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .title_case_headers(true)
        .header_read_timeout(app.config.patience)
        .max_headers(MOST_HEADERS);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut served = std::pin::pin!(served);
    let ending = async move {
        // The value says nothing more than that it changed.
        let _ = ends.changed().await;
    };
    let done = tokio::select! {
        done = served.as_mut() => done,
        () = ending => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(e) = done {
        tracing::debug!("a connection broke off: {e}");
    }
}

/// What every middleware needs.
#[derive(Clone)]
struct Rules {
    app: Arc<App>,
    ends: watch::Receiver<bool>,
}

/// The paths, and what every request passes.
fn router(app: Arc<App>, ends: watch::Receiver<bool>) -> Router {
    let rules = Rules {
        app: app.clone(),
        ends,
    };
    routes::router(&app.config)
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .with_state(app)
        .layer(from_fn_with_state(rules, pass))
}

async fn no_path(request: Request) -> Refusal {
    Refusal::new(
        Kind::NotFound,
        format!(
            "there is nothing at {}; /openapi.json lists what there is",
            request.uri().path()
        ),
    )
}

async fn no_method(request: Request) -> Refusal {
    Refusal::new(
        Kind::Method,
        format!(
            "{} does not take {}; /openapi.json lists what it takes",
            request.uri().path(),
            request.method()
        ),
    )
}

/// What every request passes: the log, keys, limits, and errors in the API's form.
async fn pass(State(rules): State<Rules>, request: Request, next: Next) -> Response {
    let app = &rules.app;
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let origin = request.headers().get(ORIGIN).cloned();
    let open = Open::new(app.clone());
    // A handler that panics answers with an error, and the server goes on.
    let answered = AssertUnwindSafe(answer(&rules, request, next)).catch_unwind();
    let mut response = match answered.await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => refusal.into_response(),
        Err(_) => Refusal::new(
            Kind::Engine,
            "the server failed in this request; it goes on with others",
        )
        .into_response(),
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        response = told(&refusal, &path);
    }
    allow(app, origin.as_ref(), &mut response);
    let status = response.status().as_u16();
    app.stats.answered(status);
    tracing::info!(
        %method,
        path = known(&path),
        status,
        ms = begun.elapsed().as_millis() as u64,
        "request"
    );
    drop(open);
    response
}

/// A path as it may stand in a log: without what a client may have put behind it.
fn known(path: &str) -> &str {
    path.get(..64).unwrap_or(path)
}

/// Counts a request while it is under way.
struct Open(Arc<App>);

impl Open {
    fn new(app: Arc<App>) -> Self {
        app.stats.enter();
        Self(app)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.stats.leave();
    }
}

async fn answer(rules: &Rules, request: Request, next: Next) -> Result<Response, Refusal> {
    let app = &rules.app;
    if request.method() == Method::OPTIONS {
        return Ok(StatusCode::OK.into_response());
    }
    check_key(app, &request)?;
    if *rules.ends.borrow() {
        let mut refusal = Refusal::new(
            Kind::Ending,
            "the server is about to end; ask again when it is back",
        );
        refusal.retry_after = Some(10);
        return Err(refusal);
    }
    let (parts, body) = request.into_parts();
    let whole = read::body(body, app.config.body);
    let whole = tokio::time::timeout(app.config.patience, whole).await;
    let whole = whole.map_err(|_| {
        let seconds = app.config.patience.as_secs();
        Refusal::new(
            Kind::Timeout,
            format!("the body took longer than {seconds} s; send it faster"),
        )
    })??;
    let request = Request::from_parts(parts, Body::from(whole));
    Ok(next.run(request).await)
}

fn check_key(app: &App, request: &Request) -> Result<(), Refusal> {
    if app.keys.is_empty() || routes::is_open(&app.config, request.uri().path()) {
        return Ok(());
    }
    let headers = request.headers();
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let bearer = headers.get(AUTHORIZATION).and_then(text);
    let bearer = bearer.and_then(|v| v.strip_prefix("Bearer ").map(str::to_owned));
    let given = bearer.or_else(|| headers.get(API_KEY).and_then(text));
    let Some(given) = given else {
        return Err(Refusal::new(
            Kind::Authentication,
            "there is no key; send the header 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'",
        ));
    };
    let given = blake3::hash(given.trim().as_bytes());
    // Hashes are compared in constant time, and all of them.
    let known = app
        .keys
        .iter()
        .fold(false, |known, key| known | (*key == given));
    match known {
        true => Ok(()),
        false => Err(Refusal::new(
            Kind::Authentication,
            "the key is none of this server's; ask whoever runs it for one",
        )),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// An error in the form of the API whose path it is.
fn told(refusal: &Refusal, path: &str) -> Response {
    let json = match path.starts_with("/v1/messages") {
        true => serde_json::to_vec(&refusal.anthropic()),
        false => serde_json::to_vec(&refusal.openai()),
    };
    let headers = [(CONTENT_TYPE, "application/json")];
    let mut response = (refusal.status(), headers, json.unwrap_or_default()).into_response();
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Whether an origin is a page of this machine.
fn is_local(origin: &HeaderValue) -> bool {
    let host = origin.to_str().ok().and_then(|o| {
        let rest = o
            .strip_prefix("http://")
            .or_else(|| o.strip_prefix("https://"))?;
        match rest.strip_prefix('[') {
            Some(v6) => v6.split(']').next(),
            None => rest.split(':').next(),
        }
    });
    matches!(host, Some("localhost" | "127.0.0.1" | "::1"))
}

/// Lets pages of the configured origins read the answer.
fn allow(app: &App, origin: Option<&HeaderValue>, response: &mut Response) {
    let Some(origin) = origin else { return };
    let allowed = |o: &String| match o.as_str() {
        "*" => true,
        "localhost" => is_local(origin),
        o => o.as_bytes() == origin.as_bytes(),
    };
    if !app.config.origins.iter().any(allowed) {
        return;
    }
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, fixed("true"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        fixed("GET, POST, DELETE, OPTIONS"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, fixed("*"));
    headers.insert(VARY, fixed("Origin"));
}
