//! What happened in a channel since the start of the process, as /stats shows it. What is there now is channel.rs's.

use super::Channel;
use crate::locality::LocalityCounts;

impl<H> Channel<H> {
    /// Messages that entered the channel since the start of the process.
    #[must_use]
    pub fn message_count(&self) -> u64 {
        self.tally.messages
    }

    /// REQs so far. Messages of a consumer that went away are not among them.
    #[must_use]
    pub fn requeue_count(&self) -> u64 {
        self.tally.requeued
    }

    /// Messages that were in flight for too long, so far.
    #[must_use]
    pub fn timeout_count(&self) -> u64 {
        self.tally.timed_out
    }

    /// Messages given up because their record is damaged, so far.
    #[must_use]
    pub fn lost_count(&self) -> u64 {
        self.tally.lost
    }

    /// Messages that emptying the channel took, so far.
    #[must_use]
    pub fn emptied_count(&self) -> u64 {
        self.tally.emptied
    }

    /// Messages an ephemeral channel dropped because nobody took them in time, so far.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        self.tally.dropped + self.backlog.dropped_count()
    }

    /// Deliveries by how near the consumer was, so far.
    #[must_use]
    pub fn delivered_counts(&self) -> LocalityCounts {
        self.tally.delivered
    }
}
