//! Alarms of messages awaiting their time: DPUB and REQ with a delay. Which of them still hold is for the channel to
//! say.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::WallTime;

/// Alarms that no longer hold are squeezed out when they are more than half as many as the others, and at least so many.
const STALE_MIN: usize = 1024;

/// A heap by due time. Alarms of messages that are gone stay for a while and are then ignored.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    heap: BinaryHeap<Reverse<(WallTime, u64)>>,
}

impl Deferred {
    pub(crate) fn push(&mut self, due: WallTime, seq: u64) {
        if self.heap.len() == self.heap.capacity() && self.heap.len() >= 64 {
            // Doubling would leave half of the memory of millions of alarms unused.
            self.heap.reserve_exact(self.heap.len() / 8);
        }
        self.heap.push(Reverse((due, seq)));
    }

    pub(crate) fn earliest(&self) -> Option<WallTime> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// The next alarm whose time has come.
    pub(crate) fn pop_due(&mut self, now: WallTime) -> Option<(WallTime, u64)> {
        if self.earliest()? > now {
            return None;
        }
        let entry = self.heap.pop().map(|Reverse(entry)| entry);
        if self.heap.len() * 4 < self.heap.capacity() && self.heap.capacity() > STALE_MIN {
            self.heap.shrink_to(self.heap.len() * 2);
        }
        entry
    }

    /// Whether there are enough for `compact` to be of use.
    #[inline]
    pub(crate) fn is_long(&self) -> bool {
        self.heap.len() > STALE_MIN
    }

    /// Keep memory in proportion to the alarms that hold, of which there are at most `count_max`.
    pub(crate) fn compact(&mut self, count_max: u64, holds: impl Fn(WallTime, u64) -> bool) {
        let count_max = usize::try_from(count_max).unwrap_or(usize::MAX);
        if self.heap.len() <= count_max.saturating_add(count_max / 2).saturating_add(STALE_MIN) {
            return;
        }
        self.heap.retain(|Reverse((due, seq))| holds(*due, *seq));
        self.heap.shrink_to(self.heap.len() * 2);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.heap.capacity() * size_of::<(WallTime, u64)>()
    }
}
