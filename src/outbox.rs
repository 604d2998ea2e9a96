//! A client's outbound queue: ordered and bounded. Nobody waits for a slow client; one that does
//! not read is closed with 1013.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signalling::CloseCode;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Bytes waiting for a client; more close it. The list of users that a joiner of a class of
/// twenty thousand gets fits.
const OUTBOX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages waiting for a client; more close it.
const OUTBOX_MESSAGES_MAX: usize = 32 * 1024;
/// RFC 6455 s7.4.1 and its registry: try again later.
const TRY_AGAIN_LATER: u16 = 1013;

/// What the writer sends.
#[derive(Debug)]
pub(crate) enum Item {
    Text(Utf8Bytes),
    Close(CloseCode),
}

/// The control plane's end.
pub(crate) struct Outbox {
    items: mpsc::Sender<Item>,
    bytes: Arc<AtomicUsize>,
    overflow: watch::Sender<bool>,
}

/// The end of the WebSocket, which writes.
pub(crate) struct OutboxReader {
    items: mpsc::Receiver<Item>,
    bytes: Arc<AtomicUsize>,
    overflow: watch::Receiver<bool>,
}

/// Both ends of an empty queue.
pub(crate) fn outbox() -> (Outbox, OutboxReader) {
    let (sender, receiver) = mpsc::channel(OUTBOX_MESSAGES_MAX);
    let (overflow, overflown) = watch::channel(false);
    let bytes = Arc::new(AtomicUsize::new(0));
    (
        Outbox { items: sender, bytes: bytes.clone(), overflow },
        OutboxReader { items: receiver, bytes, overflow: overflown },
    )
}

impl Outbox {
    /// Puts something at the end. What does not fit gives the client up.
    pub(crate) fn push(&self, item: Item) {
        let length = item.length();
        let before = self.bytes.fetch_add(length, Ordering::Relaxed);
        if before.saturating_add(length) > OUTBOX_BYTES_MAX || self.items.try_send(item).is_err() {
            self.overflow.send_replace(true);
        }
    }
}

impl Item {
    fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Close(_) => 0,
        }
    }
}

impl OutboxReader {
    /// The next thing to send; nothing once the control plane has let go.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        let item = self.items.recv().await?;
        self.bytes.fetch_sub(item.length(), Ordering::Relaxed);
        Some(item)
    }

    /// The next thing, if there is one.
    pub(crate) fn try_next(&mut self) -> Option<Item> {
        let item = self.items.try_recv().ok()?;
        self.bytes.fetch_sub(item.length(), Ordering::Relaxed);
        Some(item)
    }

    /// Ends when the queue has overflown, with the close code for that.
    pub(crate) fn overflown(&self) -> impl Future<Output = CloseCode> + use<> {
        let mut overflow = self.overflow.clone();
        async move {
            if overflow.wait_for(|overflown| *overflown).await.is_err() {
                // The control plane has let go: there is nothing left to overflow.
                std::future::pending::<()>().await;
            }
            CloseCode::Frame { code: TRY_AGAIN_LATER, reason: "you do not read".to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn order_is_kept_and_overflow_is_noticed() {
        let (outbox, mut reader) = outbox();
        for index in 0..3 {
            outbox.push(Item::Text(index.to_string().into()));
        }
        for index in 0..3 {
            let Some(Item::Text(text)) = reader.next().await else { panic!("an item is lost") };
            assert_eq!(text.as_str(), index.to_string());
        }
        assert!(!*reader.overflow.borrow());
        for _ in 0..5 {
            outbox.push(Item::Text("x".repeat(OUTBOX_BYTES_MAX / 4).into()));
        }
        assert!(matches!(reader.overflown().await, CloseCode::Frame { code: 1013, .. }));
    }
}
