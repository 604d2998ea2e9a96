//! The operator's own listener (`--metrics`): metrics and health, without TLS and without a
//! password. It belongs on the loopback interface or in a private network.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::body::{Body, full};
use super::{Context, plain_status, text};
use crate::metrics::{self, Observed};

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 32;
/// A request's header must be there by then, and the next one on the same connection too.
const HEADER_WITHIN: Duration = Duration::from_secs(10);

/// Serves until it is aborted.
pub(crate) async fn monitor(listener: TcpListener, context: Arc<Context>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let context = context.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let context = context.clone();
                async move { Ok::<_, Infallible>(answer(request.uri().path(), &context).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_WITHIN)
                .serve_connection(TokioIo::new(stream), service);
            // How a connection ends is between it and its peer.
            let _ = connection.await;
        });
    }
}

async fn answer(path: &str, context: &Context) -> Response<Body> {
    let is_draining = context.is_draining.load(Ordering::Relaxed);
    match path {
        "/metrics" => match context.control.census().await {
            Some((census, shards)) => {
                let certificates = context.certificates.as_ref();
                let page = metrics::render(&Observed {
                    census,
                    shards: &shards,
                    counters: &context.counters,
                    certificate_not_after: certificates.and_then(|held| held.not_after()),
                    is_draining,
                });
                let mut response = Response::new(full(page));
                let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, version);
                response
            }
            None => text(StatusCode::SERVICE_UNAVAILABLE, "The server is ending\n"),
        },
        "/healthz" => plain_status(StatusCode::OK),
        "/readyz" => plain_status(context.readiness()),
        _ => text(StatusCode::NOT_FOUND, "Here are /metrics, /healthz and /readyz\n"),
    }
}
