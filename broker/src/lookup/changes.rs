//! What changed of the topics and channels that nsqlookupds must know: names in order, so that telling one new topic
//! does not mean comparing ten thousand.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::TopicName;
use tokio::sync::watch;

/// Who is further behind compares everything.
const KEPT_MAX: usize = 1024;

/// Numbered changes, the last of them by name.
#[derive(Debug)]
pub(crate) struct Changes {
    recent: Mutex<VecDeque<TopicName>>,
    /// How many there were.
    count: watch::Sender<u64>,
}

/// What somebody does not know yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// These topics came, went, or changed their channels.
    Of(Vec<TopicName>),
    /// Anything may have changed.
    All,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self { recent: Mutex::default(), count: watch::Sender::new(0) }
    }

    /// A topic came or went, or a channel of it.
    pub(crate) fn note(&self, topic: &TopicName) {
        let mut recent = self.lock();
        if recent.len() == KEPT_MAX {
            recent.pop_front();
        }
        recent.push_back(topic.clone());
        self.count.send_modify(|count| *count += 1);
    }

    /// Anything may have changed.
    pub(crate) fn note_all(&self) {
        let mut recent = self.lock();
        recent.clear();
        self.count.send_modify(|count| *count += 1);
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// Tells when there are more.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// What came after the first `known` changes, and how many there are now.
    pub(super) fn since(&self, known: u64) -> (News, u64) {
        let recent = self.lock();
        let count = self.count();
        let behind = usize::try_from(count.saturating_sub(known)).unwrap_or(usize::MAX);
        let news = match recent.len().checked_sub(behind) {
            Some(skipped) => News::Of(recent.iter().skip(skipped).cloned().collect()),
            None => News::All,
        };
        (news, count)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<TopicName>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(number: usize) -> TopicName {
        TopicName::new(&format!("t{number}")).unwrap()
    }

    #[test]
    fn who_is_a_little_behind_hears_names_and_who_is_far_behind_looks_at_everything() {
        let changes = Changes::new();
        assert_eq!(changes.since(0), (News::Of(vec![]), 0));
        (0..3).for_each(|number| changes.note(&topic(number)));
        assert_eq!(changes.since(1), (News::Of(vec![topic(1), topic(2)]), 3));
        assert_eq!(changes.since(3), (News::Of(vec![]), 3));
        changes.note_all();
        assert_eq!(changes.since(3), (News::All, 4));
        changes.note(&topic(3));
        assert_eq!(changes.since(4), (News::Of(vec![topic(3)]), 5));
        assert_eq!(changes.since(3).0, News::All, "what was before is still unknown");
    }

    #[test]
    fn no_more_names_are_kept_than_there_is_room_for() {
        let changes = Changes::new();
        (0..3).for_each(|number| changes.note(&topic(number)));
        (3..KEPT_MAX + 1).for_each(|number| changes.note(&topic(number)));
        assert_eq!(changes.since(0).0, News::All);
        assert!(matches!(changes.since(1).0, News::Of(names) if names.len() == KEPT_MAX));
    }
}
