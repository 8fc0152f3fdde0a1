//! What was appended and not committed: the bytes, the batch that is still open, and where new segments begin.

use bytes::{BufMut, Bytes, BytesMut};

use crate::log::Position;
use crate::record::{self, Seed};
use crate::seeded::{Bug, is_planted};
use crate::segment::Segment;

/// An idle topic costs one block of the smallest size; a busy one allocates once per 16 commits or so.
const BLOCK_BYTES_MIN: usize = 4 * 1024;
const BLOCK_BYTES_MAX: usize = 1024 * 1024;
const COMMITS_PER_BLOCK: usize = 16;

/// Appended records, in the order of the log.
#[derive(Debug)]
pub(crate) struct Pending {
    bytes: BytesMut,
    /// Where the records of the open batch begin in `bytes`.
    open: Vec<usize>,
    /// The segment the next batch goes into if it has room.
    writing: Option<Segment>,
    /// The segments that begin inside `bytes`.
    rolls: Vec<Segment>,
    /// The mean commit, to size blocks by the log's rate without a clock.
    commit_bytes: usize,
    record_bytes: usize,
}

impl Pending {
    pub(crate) fn new(writing: Option<Segment>) -> Self {
        let (bytes, open, rolls) = (BytesMut::new(), Vec::new(), Vec::new());
        Self { bytes, open, writing, rolls, commit_bytes: 0, record_bytes: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn rolls(&self) -> &[Segment] {
        &self.rolls
    }

    /// The bytes since the last commit and the segments that begin in them; all batches are closed.
    pub(crate) fn sealed(&self) -> (&[u8], &[Segment]) {
        (&self.bytes, &self.rolls)
    }

    /// Put one record; its length. The header is filled in when the batch is closed.
    pub(crate) fn append(&mut self, at: Position, write: impl FnOnce(u64, &mut BytesMut)) -> u64 {
        self.reserve();
        let begin = self.bytes.len();
        self.bytes.put_bytes(0, record::HEADER_BYTES);
        write(at.seq, &mut self.bytes);
        let end = self.bytes.len();
        assert!(end >= begin + record::HEADER_BYTES, "a payload is put behind what is there");
        self.record_bytes = end - begin;
        self.open.push(begin);
        (end - begin) as u64
    }

    /// Give the open batch its segment and its checksums. `segment_bytes`: `None` in memory, where nothing rolls
    /// and nothing is ever verified.
    pub(crate) fn close_batch(&mut self, committed: Position, tail: Position, segment_bytes: Option<u64>) {
        let Some(first) = self.open.first().copied() else { return };
        let count = self.open.len() as u64;
        let (seq, ordinal) = (tail.seq - count, tail.ordinal - count);
        let base = Position { seq, offset: committed.offset + first as u64, ordinal };
        let segment = match self.writing {
            Some(segment) if has_room(&segment, base.offset, tail.offset, segment_bytes) => segment,
            _ => {
                let segment = Segment::new(base);
                self.rolls.push(segment);
                segment
            }
        };
        self.writing = Some(segment);
        let ends = self.open.iter().skip(1).copied().chain([self.bytes.len()]);
        for (index, (begin, end)) in self.open.iter().copied().zip(ends).enumerate() {
            let offset = committed.offset + begin as u64;
            // Counted here, not taken from the caller: what recovery relies on must be true.
            let left = u32::try_from(count - 1 - index as u64).unwrap_or(u32::MAX);
            let left = if is_planted(Bug::TearBatches) { 0 } else { left };
            let Some(record) = self.bytes.get_mut(begin..end) else {
                unreachable!("records stand in the buffer")
            };
            let seed = Seed { incarnation: segment.incarnation, offset };
            let flags = if index == 0 || is_planted(Bug::TearBatches) { record::FIRST } else { 0 };
            record::seal(record, seq + index as u64, (flags, left), seed);
        }
        self.open.clear();
    }

    /// Everything since the last commit, which is now done.
    pub(crate) fn take(&mut self) -> Bytes {
        let bytes = self.bytes.split().freeze();
        self.commit_bytes = (self.commit_bytes * 7 + bytes.len()) / 8;
        self.rolls.clear();
        if bytes.len() > BLOCK_BYTES_MAX {
            // What is left of such a block would hold all of it, for as long as the topic is idle.
            self.bytes = BytesMut::new();
        }
        bytes
    }

    pub(crate) fn forget(&mut self, writing: Option<Segment>) {
        self.bytes.clear();
        self.open.clear();
        self.rolls.clear();
        self.writing = writing;
    }

    /// Make room for a record like the last one, in a block as large as the log is busy.
    fn reserve(&mut self) {
        let expected = record::HEADER_BYTES + self.record_bytes;
        if self.bytes.capacity() - self.bytes.len() >= expected {
            return;
        }
        let block = (self.commit_bytes * COMMITS_PER_BLOCK).next_power_of_two();
        let block = block.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        self.bytes.reserve(block.max(expected));
    }
}

/// Whether a batch belongs into `segment`: it fits, or it is the first and longer than any segment.
fn has_room(segment: &Segment, from: u64, to: u64, segment_bytes: Option<u64>) -> bool {
    let Some(limit) = segment_bytes else { return true };
    from == segment.base.offset || to - segment.base.offset <= limit
}
