//! The chat that a group remembers for those who come later.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::message::Message;
use crate::time::UnixMs;

/// How many chat messages a group keeps.
const HISTORY_MESSAGES_MAX: usize = 50;
/// How many bytes of chat a group keeps; the oldest go first. Every joiner gets all of it.
const HISTORY_BYTES_MAX: usize = 256 * 1024;

/// Chat as new members see it.
#[derive(Debug, Default)]
pub(crate) struct History {
    messages: VecDeque<(UnixMs, usize, Arc<Message>)>,
    bytes: usize,
}

impl History {
    pub(crate) fn push(&mut self, at: UnixMs, bytes: usize, message: Arc<Message>) {
        self.messages.push_back((at, bytes, message));
        self.bytes += bytes;
        while self.messages.len() > HISTORY_MESSAGES_MAX || self.bytes > HISTORY_BYTES_MAX {
            if let Some((_, bytes, _)) = self.messages.pop_front() {
                self.bytes -= bytes;
            }
        }
    }

    /// Oldest first, after forgetting what is older than `oldest`.
    pub(crate) fn recent(&mut self, oldest: UnixMs) -> Vec<Arc<Message>> {
        self.retain(|at, _| at >= oldest);
        self.messages.iter().map(|(_, _, message)| message.clone()).collect()
    }

    pub(crate) fn forget(&mut self, is_meant: impl Fn(&Message) -> bool) {
        self.retain(|_, message| !is_meant(message));
    }

    fn retain(&mut self, keep: impl Fn(UnixMs, &Message) -> bool) {
        self.messages.retain(|(at, _, message)| keep(*at, message));
        self.bytes = self.messages.iter().map(|(_, bytes, _)| bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str) -> Arc<Message> {
        Arc::new(Message { id: id.to_owned(), ..Message::default() })
    }

    #[test]
    fn history_is_bounded_by_count_bytes_and_age() {
        let mut history = History::default();
        for index in 0..60 {
            history.push(UnixMs(index), 10, message(&index.to_string()));
        }
        assert_eq!(history.recent(UnixMs(0)).len(), 50);
        assert_eq!(history.recent(UnixMs(58)).len(), 2);
        for _ in 0..10 {
            history.push(UnixMs(100), 100 * 1024, message("big"));
        }
        assert_eq!(history.recent(UnixMs(0)).len(), 2);
        history.forget(|message| message.id == "big");
        assert!(history.recent(UnixMs(0)).is_empty());
        assert_eq!(history.bytes, 0);
    }
}
