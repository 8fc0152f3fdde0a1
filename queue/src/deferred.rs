//! Messages awaiting their time: DPUB and REQ with a delay. Which of the entries still hold is for the channel to say.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::WallTime;

/// A heap by due time. Entries of messages that are gone stay until their time and are then ignored.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    heap: BinaryHeap<Reverse<(WallTime, u64)>>,
}

impl Deferred {
    pub(crate) fn push(&mut self, due: WallTime, seq: u64) {
        self.heap.push(Reverse((due, seq)));
    }

    pub(crate) fn earliest(&self) -> Option<WallTime> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// The next entry whose time has come.
    pub(crate) fn pop_due(&mut self, now: WallTime) -> Option<(WallTime, u64)> {
        if self.earliest()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub(crate) fn clear(&mut self) {
        self.heap.clear();
    }
}
