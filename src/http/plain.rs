//! HTTP without TLS on the port of HTTPS: whoever types the address without its scheme is shown the
//! way, instead of an error of the protocol.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::body::Body;
use super::{redirect, text};
use crate::tls::TLS_HANDSHAKE;

/// The header must be there by then.
const HEADER_WITHIN: Duration = Duration::from_secs(10);

/// A stream with its first byte put back.
pub(super) struct Rewound<S> {
    first: Option<u8>,
    stream: S,
}

impl<S: AsyncRead + Unpin> Rewound<S> {
    /// Waits for the first byte.
    pub(super) async fn first(mut stream: S) -> io::Result<(Self, u8)> {
        let first = stream.read_u8().await?;
        Ok((Self { first: Some(first), stream }, first))
    }

    /// The same as [`Self::first`]. Says whether it begins TLS.
    pub(super) async fn look(stream: S) -> io::Result<(Self, bool)> {
        let (stream, first) = Self::first(stream).await?;
        Ok((stream, first == TLS_HANDSHAKE))
    }

    /// What it is of.
    pub(super) fn inner(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.first.take_if(|_| buffer.remaining() > 0) {
            Some(first) => {
                buffer.put_slice(&[first]);
                Poll::Ready(Ok(()))
            }
            None => Pin::new(&mut self.stream).poll_read(context, buffer),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Sends one request to the same address over HTTPS.
pub(super) async fn show_the_way(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WITHIN)
        .keep_alive(false)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(|request| async move { Ok::<_, Infallible>(way(&request)) }),
        );
    // How it ends is between the connection and its peer.
    let _ = connection.await;
}

fn way(request: &Request<Incoming>) -> Response<Body> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        return text(StatusCode::BAD_REQUEST, "This port speaks HTTPS\n");
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // A POST must not become a GET.
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    let status =
        if is_get { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
    redirect(status, &format!("https://{host}{path}"))
}
