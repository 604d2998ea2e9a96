//! Counts what is alive, and tells when nothing is.

use tokio::sync::watch;

/// A count that can be waited for.
#[derive(Clone)]
pub(crate) struct Counter {
    count: watch::Sender<usize>,
}

/// Counts for as long as it lives.
pub(crate) struct Counted(watch::Sender<usize>);

impl Counter {
    /// Counts nothing so far.
    pub(crate) fn new() -> Self {
        Self { count: watch::Sender::new(0) }
    }

    /// Counts one thing until the result is dropped.
    pub(crate) fn enter(&self) -> Counted {
        self.count.send_modify(|count| *count += 1);
        Counted(self.count.clone())
    }

    /// How many are alive.
    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Ends when nothing is alive.
    pub(crate) async fn drained(&self) {
        let mut count = self.count.subscribe();
        // The channel cannot close: `self` is a sender.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
