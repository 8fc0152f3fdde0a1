//! The committed tail of a log in memory: one entry per commit, oldest first, found by offset.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::chunk::Chunk;
use crate::log::Position;

/// What an entry costs besides its bytes: itself, and its share of the block's reference count.
const ENTRY_BYTES: usize = 64;

/// The newest commits. Without gaps: each begins where the one before ends.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    at: Position,
    bytes: Bytes,
}

impl Entry {
    fn end(&self) -> u64 {
        self.at.offset + self.bytes.len() as u64
    }

    fn cost(&self) -> usize {
        self.bytes.len() + ENTRY_BYTES
    }
}

impl Cache {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place of the oldest record.
    pub(crate) fn first(&self) -> Option<Position> {
        self.entries.front().map(|entry| entry.at)
    }

    /// Add a commit that begins at `at`, and let go of the oldest beyond `limit` bytes.
    pub(crate) fn push(&mut self, at: Position, bytes: Bytes, limit: usize) {
        let entry = Entry { at, bytes };
        self.bytes += entry.cost();
        self.entries.push_back(entry);
        self.trim(limit);
    }

    /// Let go of the oldest until no more than `limit` bytes are left.
    pub(crate) fn trim(&mut self, limit: usize) {
        while self.bytes > limit {
            self.pop();
        }
    }

    pub(crate) fn find(&self, offset: u64) -> Option<Chunk> {
        let index = self.entries.partition_point(|entry| entry.at.offset <= offset).checked_sub(1)?;
        let entry = self.entries.get(index).filter(|entry| offset < entry.end())?;
        Some(Chunk::new(entry.at.offset, entry.bytes.clone()))
    }

    /// Let go of what ends at or below `offset`; how many entries that were.
    pub(crate) fn drop_below(&mut self, offset: u64) -> u64 {
        let mut dropped = 0;
        while self.entries.front().is_some_and(|entry| entry.end() <= offset) {
            self.pop();
            dropped += 1;
        }
        dropped
    }

    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.cost();
        }
    }
}
