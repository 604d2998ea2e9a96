//! Accepting connections: TCP with or without TLS, or a Unix socket. Every stage has a deadline
//! and a limit.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

use super::plain::{self, Rewound};
use super::{Context, route};
use crate::counter::Counter;
use crate::descriptors::ACCEPT_PAUSE;
use crate::ice_tcp::{self, carry_media};
use crate::peer::Peer;
use crate::redacted::Redacted;
use crate::tls::Certificates;

/// Connections alive at once, WebSockets included; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 25_000;
/// A TLS handshake must be over by then.
const TLS_WITHIN: Duration = Duration::from_secs(10);
/// A request's header must be there by then.
const HEADER_WITHIN: Duration = Duration::from_secs(10);
/// How much of a header hyper buffers.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// The most header fields.
const HEADERS_MAX: usize = 100;
/// HTTP/2: requests in flight on one connection.
const STREAMS_MAX: u32 = 64;
/// HTTP/2: streams reset by the client that are still remembered (CVE-2023-44487).
const RESETS_MAX: usize = 32;
/// HTTP/2: a client that does not answer pings is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// What TURN inside TLS calls itself (RFC 7443).
pub(crate) const ALPN_TURN: &[u8] = b"stun.turn";
/// How often such errors are logged.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Where connections come in.
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// With its path, removed at the end.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds `:port`, `host:port`, or the path of a Unix socket.
    pub(crate) async fn bind(address: &str) -> io::Result<Self> {
        if address.starts_with('/') {
            let path = Path::new(address);
            // A socket that nobody listens on any more is in the way.
            if path.exists() && std::os::unix::net::UnixStream::connect(path).is_err() {
                std::fs::remove_file(path)?;
            }
            return Ok(Self::Unix(UnixListener::bind(path)?, path.to_owned()));
        }
        let Some(port) = address.strip_prefix(':') else {
            return TcpListener::bind(address).await.map(Self::Tcp);
        };
        // Both families if there are both.
        match TcpListener::bind(format!("[::]:{port}")).await {
            Ok(listener) => Ok(Self::Tcp(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await.map(Self::Tcp),
        }
    }

    /// The TCP port, if there is one.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|addr| addr.port()),
            Self::Unix(..) => None,
        }
    }
}

/// Serves until `closing` turns true, then lets connections finish what they are doing.
/// `connections` counts them.
pub(crate) async fn serve(
    listener: Listener,
    certificates: Option<Arc<Certificates>>,
    context: Arc<Context>,
    connections: Counter,
    closing: watch::Receiver<bool>,
) {
    let mut last_logged: Option<Instant> = None;
    let mut until_closing = closing.clone();
    loop {
        while connections.count() >= CONNECTIONS_MAX {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            _ = until_closing.wait_for(|closing| *closing) => break,
        };
        let connection = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let is_due = last_logged.is_none_or(|at| at.elapsed() >= ACCEPT_LOG_INTERVAL);
                if is_due {
                    last_logged = Some(Instant::now());
                    tracing::error!("cannot accept connections: {error}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (certificates, context) = (certificates.clone(), context.clone());
        let (counted, closing) = (connections.enter(), closing.clone());
        tokio::spawn(async move {
            let _counted = counted;
            attend(connection, certificates, context, closing).await;
        });
    }
    if let Listener::Unix(_, path) = &listener {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(path);
    }
}

/// Finds out what a connection speaks, and has it served.
async fn attend(
    connection: Connection,
    certificates: Option<Arc<Certificates>>,
    context: Arc<Context>,
    closing: watch::Receiver<bool>,
) {
    let until = tokio::time::Instant::now() + TLS_WITHIN;
    let Some((stream, from, local)) = connection.look(&context, until).await else {
        return;
    };
    // IPv4 over a dual-stack socket is IPv4 to everybody who reads it.
    let address = from.map(|address| {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Redacted(address.to_string())
    });
    let Some(certificates) = certificates else {
        let peer = Peer { address, local, is_tls: false };
        return speak_http1(stream, peer, context, closing).await;
    };
    let Ok(Ok((stream, is_tls))) = tokio::time::timeout_at(until, Rewound::look(stream)).await
    else {
        return;
    };
    if !is_tls {
        return plain::show_the_way(stream).await;
    }
    let handshake = certificates.acceptor().accept(stream);
    let Ok(Ok(stream)) = tokio::time::timeout_at(until, handshake).await else {
        return;
    };
    let is_http2 = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => true,
        Some(ALPN_TURN) => {
            if let Some(from) = from {
                carry_media(stream.get_ref().0.inner());
                context.ice_tcp.take_secure(stream, Vec::new(), from).await;
            }
            return;
        }
        _ => false,
    };
    let peer = Peer { address, local, is_tls: true };
    if is_http2 {
        return speak_http2(stream, peer, context, closing).await;
    }
    // Browsers name no protocol for TURN: its messages begin with bits that no letter has.
    let Ok(Ok((stream, first))) = tokio::time::timeout(HEADER_WITHIN, Rewound::first(stream)).await
    else {
        return;
    };
    match from.filter(|_| ice_tcp::begins_with(first)) {
        Some(from) => {
            carry_media(stream.inner().get_ref().0.inner());
            context.ice_tcp.take_secure(stream, Vec::new(), from).await;
        }
        None => speak_http1(stream, peer, context, closing).await,
    }
}

/// A byte stream of either kind.
trait Stream: AsyncRead + AsyncWrite + AsFd + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + AsFd + Send + Unpin> Stream for T {}

/// A connection, with its peer's address and our own.
type Accepted = (Box<dyn Stream>, Option<SocketAddr>, Option<IpAddr>);

/// A connection of which nothing is known yet.
enum Connection {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Connection {
    /// Waits for its first octet. If that is media over TCP, it is served elsewhere.
    async fn look(self, context: &Context, until: tokio::time::Instant) -> Option<Accepted> {
        let (stream, address) = match self {
            Self::Tcp(stream, address) => (stream, address),
            Self::Unix(stream) => return Some((Box::new(stream), None, None)),
        };
        let mut first = [0];
        let peeked = tokio::time::timeout_at(until, stream.peek(&mut first)).await;
        // Nothing came, or it has ended without a word.
        let _octet @ 1.. = peeked.ok()?.ok()? else {
            return None;
        };
        if ice_tcp::begins_with(first[0]) {
            context.ice_tcp.take(stream, address).await;
            return None;
        }
        // Small messages must not wait for each other; failing that, they do.
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().ok().map(|local| local.ip().to_canonical());
        Some((Box::new(stream), Some(address), local))
    }
}

async fn accept(listener: &Listener) -> io::Result<Connection> {
    Ok(match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            Connection::Tcp(stream, address)
        }
        Listener::Unix(listener, _) => Connection::Unix(listener.accept().await?.0),
    })
}

async fn speak_http1(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    context: Arc<Context>,
    mut closing: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| route(request, peer.clone(), context.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WITHIN)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // How a connection ends is between it and its peer.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn speak_http2(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    context: Arc<Context>,
    mut closing: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| route(request, peer.clone(), context.clone()));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .max_send_buf_size(HEADER_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

impl Context {
    /// Whether newcomers are welcome.
    pub(crate) fn readiness(&self) -> StatusCode {
        match self.is_draining.load(Ordering::Relaxed) || self.memory.is_full() {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::OK,
        }
    }

    /// From here on `/readyz` says no.
    pub(crate) fn start_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }
}
