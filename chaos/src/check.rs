//! The checker: a history goes in, a verdict comes out, with no clock, file or socket. What NSQube promises is in the
//! rules of its files; where a rule needs a bound of time it is a field of [`Rules`].

mod facts;
mod judge;
mod order;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

pub use verdict::{Counts, Rule, Verdict, Violation};

use crate::history::History;
use facts::Facts;
use judge::Judge;

/// What the contract allows around a fault. All else is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A crash may undo FINs and REQs that the broker processed within this time before it.
    pub finish_window: Duration,
    /// A crash may take attempts that were counted within this time before it, beyond the one it always may cost.
    pub requeue_window: Duration,
    /// The same as `finish_window` for FINs before a CLOSE_WAIT: zero, unless the level promises less at this fault.
    pub barrier_window: Duration,
    /// A crash may take messages written within this time before it: zero for kill -9 and at level fsync.
    pub loss_window: Duration,
    /// A crash may take messages that were delivered, but not acknowledged, within this time before it.
    pub unacked_window: Duration,
    /// How much a timer or a connection's end may be off.
    pub timeout_slack: Duration,
    /// A delivery may have been dispatched, which starts its timeout, this long before it was sent: machines stall.
    pub stall_max: Duration,
    /// How much two clocks of one machine may differ.
    pub clock_slack: Duration,
    /// A deferred message is stuck when it comes later than this after it was due and the broker was up.
    pub late_max: Duration,
}

impl Default for Rules {
    /// The contract at kill -9 and SIGTERM.
    fn default() -> Self {
        Self {
            // 10 ms by the contract; the rest is how late a timer of a busy machine fires.
            finish_window: Duration::from_millis(100),
            requeue_window: Duration::ZERO,
            barrier_window: Duration::ZERO,
            loss_window: Duration::ZERO,
            unacked_window: Duration::ZERO,
            timeout_slack: Duration::from_millis(200),
            stall_max: Duration::from_secs(2),
            clock_slack: Duration::from_millis(1),
            late_max: Duration::from_secs(30),
        }
    }
}

/// What must be remembered of earlier rounds: the message ids of each topic, at some ten bytes a message.
#[derive(Debug, Default)]
pub struct Past {
    ids: HashMap<u8, HashSet<u64>>,
}

impl Past {
    fn knows(&self, topic: u8, id: u64) -> bool {
        self.ids.get(&topic).is_some_and(|ids| ids.contains(&id))
    }

    fn remember(&mut self, ids: impl Iterator<Item = (u8, u64)>) {
        for (topic, id) in ids {
            self.ids.entry(topic).or_default().insert(id);
        }
    }
}

/// Judge one round that ended with empty channels.
pub fn check(history: &History, rules: &Rules, past: &mut Past) -> Verdict {
    let facts = Facts::gather(history);
    Judge::new(&facts, rules, past).judge()
}

/// Nanoseconds, as events have them.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
