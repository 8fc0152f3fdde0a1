//! What is known from before a restart about messages the cursor has yet to pass again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::progress::Pending;
use crate::time::WallTime;

/// Used up from the front as the cursor passes; empty for a channel that was never restored.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    finished: VecDeque<Range<u64>>,
    pending: BTreeMap<u64, Known>,
    finished_count: u64,
    deferred_count: u64,
}

/// A message's past as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) attempts: u16,
    pub(crate) due: Option<WallTime>,
}

impl Restored {
    pub(crate) fn new(floor: u64, mut finished: Vec<Range<u64>>, pending: &[Pending]) -> Self {
        finished.sort_unstable_by_key(|range| range.start);
        let mut restored = Self::default();
        let mut passed = floor;
        for range in finished {
            let range = range.start.max(passed)..range.end;
            if !range.is_empty() {
                passed = range.end;
                restored.finished_count += range.end - range.start;
                restored.finished.push_back(range);
            }
        }
        for entry in pending.iter().filter(|entry| entry.seq >= floor) {
            restored.pending.insert(entry.seq, Known { attempts: entry.attempts, due: entry.due });
        }
        restored.deferred_count =
            restored.pending.values().filter(|known| known.due.is_some()).fold(0, |count, _| count + 1);
        restored
    }

    /// Finished messages still ahead of the cursor.
    pub(crate) fn finished_count(&self) -> u64 {
        self.finished_count
    }

    /// Deferred messages still ahead of the cursor.
    pub(crate) fn deferred_count(&self) -> u64 {
        self.deferred_count
    }

    /// Whether `seq`, the next message, is finished. Ranges below it must have been forgotten.
    #[inline]
    pub(crate) fn is_finished(&self, seq: u64) -> bool {
        self.finished.iter().take_while(|range| range.start <= seq).any(|range| range.contains(&seq))
    }

    #[inline]
    pub(crate) fn known(&self, seq: u64) -> Option<Known> {
        self.pending.get(&seq).copied()
    }

    /// The due times, for the channel's order of deferred messages.
    pub(crate) fn due_times(&self) -> impl Iterator<Item = (WallTime, u64)> {
        self.pending.iter().filter_map(|(seq, known)| Some((known.due?, *seq)))
    }

    /// Its time has come before the cursor came to it: from now on it is an unread message like others.
    pub(crate) fn wake(&mut self, seq: u64, due: WallTime) -> bool {
        let Some(known) = self.pending.get_mut(&seq).filter(|known| known.due == Some(due)) else {
            return false;
        };
        known.due = None;
        self.deferred_count -= 1;
        true
    }

    /// The cursor is at or behind `seq` now: what is known of lower ones has been used.
    #[inline]
    pub(crate) fn forget_below(&mut self, seq: u64) {
        if !self.finished.is_empty() || !self.pending.is_empty() {
            self.use_up(seq);
        }
    }

    fn use_up(&mut self, seq: u64) {
        while let Some(range) = self.finished.front_mut().filter(|range| range.start < seq) {
            let passed = range.end.min(seq);
            self.finished_count -= passed - range.start;
            range.start = passed;
            if !range.is_empty() {
                break;
            }
            self.finished.pop_front();
        }
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() < seq) {
            self.deferred_count -= u64::from(entry.remove().due.is_some());
        }
    }
}
