//! HTTP on the admin thread: bounded in connections, bytes and time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use super::Shards;
use super::answers::{self, Answer, Asked};
use super::text::Format;

/// Connections that are served at once; more are closed.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's line and headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// How long a request's head may take to come.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long one connection may take for everything: its request, our answer, and their reading it.
const ALL_WITHIN: Duration = Duration::from_secs(30);
/// After an accept that failed, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the admin thread counts of itself.
pub(super) struct Counts {
    /// By path, in the order of [`answers::PATHS`], then all others.
    pub requests: [AtomicU64; answers::PATHS.len() + 1],
    pub refused: AtomicU64,
}

/// Serves until the process ends. Runs on a thread of its own.
pub(super) fn serve(listener: std::net::TcpListener, shards: Shards) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(accept(listener, shards)),
        Err(error) => tracing::error!("the admin listener does not run: {error}"),
    }
}

async fn accept(listener: std::net::TcpListener, shards: Shards) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the admin listener does not run: {error}"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let counts = Arc::new(Counts {
        requests: [const { AtomicU64::new(0) }; answers::PATHS.len() + 1],
        refused: AtomicU64::new(0),
    });
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (shards, counts) = (shards.clone(), counts.clone());
        tokio::spawn(async move {
            let _place = place;
            let answering = counts.clone();
            let service =
                service_fn(move |request| answer(request, shards.clone(), answering.clone()));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .max_buf_size(HEAD_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                // One request a connection: then one deadline is enough for everything.
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let served = tokio::time::timeout(ALL_WITHIN, connection).await;
            if !matches!(served, Ok(Ok(()))) {
                counts.refused.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    shards: Shards,
    counts: Arc<Counts>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let place = answers::PATHS.iter().position(|known| *known == path);
    let place = place.unwrap_or(answers::PATHS.len());
    counts.requests[place].fetch_add(1, Ordering::Relaxed);
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = respond(Answer::error(405, "only GET and HEAD are answered"));
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    let accept = request.headers().get(ACCEPT);
    let asked = Asked {
        path,
        query: request.uri().query().unwrap_or(""),
        format: Format::accepted(accept.and_then(|value| value.to_str().ok())),
    };
    Ok(respond(answers::answer(&shards, &counts, asked).await))
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
