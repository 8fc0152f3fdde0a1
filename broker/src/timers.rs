//! The one place that waits for deadlines: it sleeps until the earliest that any channel asked for, then
//! has that channel expire what is due. Channels arm it; precision is the runtime's, about a millisecond.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::channel::Channel;
use crate::clock::Clock;

/// The deadlines channels asked to be woken at.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    alarms: Mutex<BinaryHeap<Reverse<Alarm>>>,
    earlier: Notify,
}

/// One channel's request. A channel that asks for an earlier time leaves its older request behind, which is
/// cheaper than searching the heap; the channel ignores it when it rings.
#[derive(Debug)]
struct Alarm {
    at: queue::Instant,
    channel: Weak<Channel>,
}

impl Timers {
    /// Wake `channel` at `at`.
    pub(crate) fn arm(&self, at: queue::Instant, channel: Weak<Channel>) {
        let mut alarms = self.lock();
        let is_earliest = alarms.peek().is_none_or(|Reverse(first)| at < first.at);
        alarms.push(Reverse(Alarm { at, channel }));
        drop(alarms);
        if is_earliest {
            self.earlier.notify_one();
        }
    }

    /// Wake channels for ever. One task of the control runtime runs this.
    pub(crate) async fn run(&self, clock: Clock) {
        loop {
            let next = self.lock().peek().map(|Reverse(alarm)| alarm.at);
            match next {
                None => self.earlier.notified().await,
                Some(at) => {
                    let _elapsed =
                        tokio::time::timeout_at(clock.instant_of(at), self.earlier.notified()).await;
                }
            }
            for (channel, at) in self.due(clock.now().instant) {
                channel.ring(at);
            }
        }
    }

    fn due(&self, now: queue::Instant) -> Vec<(Arc<Channel>, queue::Instant)> {
        let mut alarms = self.lock();
        let mut due = Vec::new();
        while alarms.peek().is_some_and(|Reverse(alarm)| alarm.at <= now) {
            due.extend(alarms.pop().and_then(|Reverse(alarm)| Some((alarm.channel.upgrade()?, alarm.at))));
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Alarm>>> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Timers {
    /// How many alarms are set.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Have all of them ring: when they were set for.
    pub(crate) fn drain(&self) -> Vec<queue::Instant> {
        self.lock().drain().map(|Reverse(alarm)| alarm.at).collect()
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
