//! A run of whole records in memory, shared without copying, and how it is read. All of it was verified before
//! it came here: by the reader that loaded it, or because it never left the memory.

use bytes::Bytes;

use crate::record::{HEADER_BYTES, Header};

/// Consecutive whole records, or a hole where damage was, or a hole and the records behind it.
/// Cheap to clone: the bytes are shared.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The offset that was asked for; differs from `at` only by damage.
    start: u64,
    /// The offset of the first byte.
    at: u64,
    bytes: Bytes,
    end: u64,
    hole: Hole,
}

/// What is known of bytes that are no records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hole {
    /// The records that were in it.
    pub(crate) lost: u64,
    /// The number of the first record behind.
    pub(crate) next_seq: u64,
}

/// One record as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The record's number: rises by one in a segment, may jump between two.
    pub seq: u64,
    /// How many records of the same batch follow.
    pub left: u32,
    /// The bytes that were appended.
    pub payload: &'a [u8],
    /// The offset behind the record: where the next one begins.
    pub next: u64,
}

/// What stands at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read<'a> {
    /// A whole record.
    Record(Record<'a>),
    /// Not in this chunk: before it, or at or behind its end.
    Outside,
    /// Bytes that are no record. `next` is the first whole record behind them in this chunk; `None`: there is
    /// none in the whole segment, go on at the chunk's end. [`Chunk::lost`] tells how many records it were. Not always
    /// damage: `punch` leaves holes where nothing is owed, and the caller knows what is.
    Damaged {
        /// Where to go on.
        next: Option<u64>,
        /// The number of the first record behind: all below are gone. Where it is not known, 0.
        next_seq: u64,
    },
}

impl Chunk {
    /// Verified records.
    pub(crate) fn new(start: u64, bytes: Bytes) -> Self {
        Self::behind_hole(start, start, bytes, Hole::default())
    }

    /// Verified records at `at`, and nothing valid between `start` and them.
    pub(crate) fn behind_hole(start: u64, at: u64, bytes: Bytes, hole: Hole) -> Self {
        let end = at + bytes.len() as u64;
        Self { start, at, bytes, end, hole }
    }

    /// Nothing valid up to `end`.
    pub(crate) fn hole(start: u64, end: u64, hole: Hole) -> Self {
        Self::behind_hole(start, end, Bytes::new(), hole)
    }

    /// The offset of its first byte, a hole counted in.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The offset behind its last byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether `offset` is inside.
    pub fn contains(&self, offset: u64) -> bool {
        (self.start..self.end).contains(&offset)
    }

    /// How many records were in the hole at its start, 0 without one.
    pub fn lost(&self) -> u64 {
        self.hole.lost
    }

    /// How many bytes of memory it shares.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What stands at `offset`, which must be a record's beginning as told by a `Position` or a `next`.
    pub fn record_at(&self, offset: u64) -> Read<'_> {
        if !self.contains(offset) {
            return Read::Outside;
        }
        if offset < self.at {
            let next = (self.at < self.end).then_some(self.at);
            return Read::Damaged { next, next_seq: self.hole.next_seq };
        }
        let from = usize::try_from(offset - self.at).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(from..).unwrap_or_default();
        let record = Header::parse(bytes).and_then(|header| {
            let end = HEADER_BYTES.checked_add(usize::try_from(header.payload_bytes).ok()?)?;
            let payload = bytes.get(HEADER_BYTES..end)?;
            Some(Record { seq: header.seq, left: header.left, payload, next: offset + header.record_bytes() })
        });
        // Not at a record's beginning: a place from a damaged journal. Everything behind counts as unreadable.
        record.map_or(Read::Damaged { next: None, next_seq: 0 }, Read::Record)
    }
}
