//! A WebSocket (RFC 6455) between a browser and the control plane: limits, order, and an end that
//! says why.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use signalling::{Caller, CloseCode, TokenBucket};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WireCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::control::Control;
use crate::metrics::Counters;
use crate::outbox::{Item, OutboxReader, outbox};

/// The largest message; a larger one closes with 1009.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Frames at once, and per second after that, pings included. Faster clients are read more
/// slowly.
const FRAME_BURST: u32 = 500;
const FRAMES_PER_SECOND: u32 = 100;
/// How long a close frame may take to be written and answered.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// A write that takes longer finds nobody at the other end.
const WRITE_WITHIN: Duration = Duration::from_secs(60);
/// What is gathered before it is written out.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;
/// Every client has one for as long as it stays; what it says is mostly short.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// How long a client that is too fast is not listened to.
const PAUSE: Duration = Duration::from_millis(20);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Serves one WebSocket to its end.
pub(crate) async fn serve(
    upgraded: Upgraded,
    caller: Caller,
    control: Control,
    counters: &Counters,
) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES);
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let (outbox, mut reader) = outbox();
    let Some(conn) = control.connected(caller, outbox).await else {
        return;
    };
    let overflown = reader.overflown();
    let ended = tokio::select! {
        ended = talk(&mut socket, &mut reader, &control, conn) => ended,
        code = overflown => Ended::Ours(code),
    };
    counters.ws_closed(match &ended {
        Ended::Theirs(code) => *code,
        Ended::Ours(CloseCode::Frame { code, .. }) => Some(*code),
        Ended::Ours(CloseCode::Abrupt) => None,
    });
    control.disconnected(conn).await;
    // Whoever does not take the last words in time does not get them.
    let _ = tokio::time::timeout(CLOSE_WITHIN, say_goodbye(&mut socket, ended)).await;
}

/// Which side has ended a WebSocket.
enum Ended {
    /// The client, with this code; the library answers its close frame.
    Theirs(Option<u16>),
    /// We have, in this way.
    Ours(CloseCode),
}

async fn say_goodbye(socket: &mut Socket, ended: Ended) {
    match ended {
        Ended::Theirs(_) => {}
        Ended::Ours(CloseCode::Abrupt) => return,
        Ended::Ours(CloseCode::Frame { code, reason }) => {
            let frame = CloseFrame { code: WireCode::from(code), reason: Utf8Bytes::from(reason) };
            if socket.close(Some(frame)).await.is_err() {
                return;
            }
        }
    }
    while let Some(Ok(_)) = socket.next().await {}
}

/// Both directions, until one of them ends.
async fn talk(
    socket: &mut Socket,
    reader: &mut OutboxReader,
    control: &Control,
    conn: signalling::ConnId,
) -> Ended {
    let started = Instant::now();
    let mut frames = TokenBucket::new(FRAME_BURST, FRAMES_PER_SECOND, Duration::ZERO);
    loop {
        tokio::select! {
            item = reader.next() => {
                let Some(item) = item else { return Ended::Ours(CloseCode::Abrupt) };
                let written = tokio::time::timeout(WRITE_WITHIN, write(socket, reader, item)).await;
                match written {
                    Ok(Ok(None)) => {}
                    Ok(Ok(Some(code))) => return Ended::Ours(code),
                    Ok(Err(_)) | Err(_) => return Ended::Ours(CloseCode::Abrupt),
                }
            }
            message = socket.next() => {
                match message {
                    Some(Ok(Message::Text(text))) => {
                        control.text(conn, text.as_str().to_owned()).await;
                    }
                    Some(Ok(Message::Binary(bytes))) => match String::from_utf8(bytes.into()) {
                        Ok(text) => control.text(conn, text).await,
                        Err(_) => return Ended::Ours(close(1007, "not UTF-8")),
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(frame))) => {
                        return Ended::Theirs(frame.map(|frame| frame.code.into()));
                    }
                    None => return Ended::Theirs(None),
                    Some(Err(error)) => return Ended::Ours(code_for(&error)),
                }
                while !frames.take(started.elapsed()) {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Writes an item and all that wait behind it, then flushes once.
async fn write(
    socket: &mut Socket,
    reader: &mut OutboxReader,
    item: Item,
) -> Result<Option<CloseCode>, Error> {
    let mut next = Some(item);
    while let Some(item) = next {
        match item {
            Item::Text(text) => socket.feed(Message::Text(text)).await?,
            Item::Close(code) => {
                socket.flush().await?;
                return Ok(Some(code));
            }
        }
        next = reader.try_next();
    }
    socket.flush().await?;
    Ok(None)
}

fn close(code: u16, reason: &str) -> CloseCode {
    CloseCode::Frame { code, reason: reason.to_owned() }
}

fn code_for(error: &Error) -> CloseCode {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => close(1009, "larger than 1 MiB"),
        Error::Capacity(_) => close(1009, "too large"),
        Error::Protocol(_) => close(1002, "not RFC 6455"),
        Error::Utf8(_) => close(1007, "not UTF-8"),
        _ => CloseCode::Abrupt,
    }
}
