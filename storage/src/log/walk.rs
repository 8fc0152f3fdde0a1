//! Walking one segment's records: where its last whole batch ends, what is damaged before, and which batches a
//! crash has split. Decides nothing about what to do with them.

use std::ops::Range;

use crate::disk::File;
use crate::error::StorageError;
use crate::log::{LogOptions, Position};
use crate::record::Header;
use crate::scan::Scan;
use crate::seeded::{Bug, is_planted};
use crate::segment::Segment;

/// How much one read brings.
pub(crate) const WINDOW_BYTES: usize = 1024 * 1024;

/// What is walked, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    pub(crate) segment: Segment,
    pub(crate) from: Position,
    /// Where the file ends, as an offset of the log.
    pub(crate) file_end: u64,
    /// Below this all was synced: what is invalid there was damaged later, what is invalid behind it was torn.
    pub(crate) synced: u64,
    /// The end was unclean: a batch that is not whole was split by a crash and is no batch.
    pub(crate) is_strict: bool,
}

/// What the records of one segment come to.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Behind the last whole batch.
    pub(crate) end: Position,
    pub(crate) damaged_bytes: u64,
    pub(crate) damaged_records: u64,
    /// The bytes that were damaged, as offsets of the log.
    pub(crate) holes: Vec<Range<u64>>,
    pub(crate) torn_bytes: u64,
    pub(crate) torn_records: u64,
    /// The valid records of batches that are not whole.
    pub(crate) split: Vec<u64>,
    pub(crate) course: Course,
    /// The batch whose last record has not been seen.
    open: Option<Open>,
    /// What is none since the last whole batch: bytes, and how many records they were. Part of a torn tail until
    /// something whole follows.
    gaps: Vec<(Range<u64>, u64)>,
}

#[derive(Debug)]
struct Open {
    records: Vec<u64>,
    is_whole: bool,
}

impl Walk {
    pub(crate) fn along(file: &dyn File, course: Course, options: LogOptions) -> Result<Self, StorageError> {
        let Course { segment, from, file_end, .. } = course;
        let mut scan = Scan::new(file, segment, file_end, WINDOW_BYTES, options.record_bytes_max);
        let mut walk = Self {
            end: from,
            damaged_bytes: 0,
            damaged_records: 0,
            holes: Vec::new(),
            torn_bytes: 0,
            torn_records: 0,
            split: Vec::new(),
            course,
            open: None,
            gaps: Vec::new(),
        };
        let (mut offset, mut seq) = (from.offset, from.seq);
        while let Some((at, header)) = scan.first_valid(offset)? {
            if header.seq < seq {
                // Valid by chance inside of damage: not where its number belongs.
                offset = at + 1;
                continue;
            }
            if at > offset && is_planted(Bug::TruncateAtDamage) {
                break;
            }
            walk.take(at, &header, offset, seq);
            seq = header.seq + 1;
            offset = at + header.record_bytes();
            if header.left == 0 {
                walk.close(seq, offset);
            }
        }
        walk.torn_bytes += file_end.saturating_sub(walk.end.offset);
        // No batch spans two segments: whatever comes behind, this one is not whole.
        walk.split();
        if !course.is_strict {
            walk.split.clear();
        }
        Ok(walk)
    }

    /// What is not there is no damage.
    pub(crate) fn forget_damage(&mut self) {
        (self.damaged_bytes, self.damaged_records) = (0, 0);
        self.holes.clear();
    }

    /// A valid record at `at`, where one numbered `seq` was expected at `offset`.
    fn take(&mut self, at: u64, header: &Header, offset: u64, seq: u64) {
        let is_next = at == offset && header.seq == seq;
        if self.course.is_strict && header.is_first() && self.open.is_some() {
            // The end of the batch before it is lost.
            self.split();
        }
        let open = self.open.get_or_insert_with(|| Open { records: Vec::new(), is_whole: header.is_first() });
        open.is_whole &= is_next || open.records.is_empty();
        open.records.push(at);
        if !is_next {
            self.gaps.push((offset..at, header.seq - seq));
        }
    }

    fn close(&mut self, seq: u64, offset: u64) {
        if self.course.is_strict && self.open.as_ref().is_some_and(|open| !open.is_whole) {
            self.split();
            return;
        }
        // What is damaged inside of the batch or before it is lost; the batch is as whole as that left it.
        self.open = None;
        self.count_gaps();
        let base = self.course.segment.base;
        self.end = Position { seq, offset, ordinal: base.ordinal + (seq - base.seq) };
    }

    fn split(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.torn_records += open.records.len() as u64;
        self.split.extend(open.records);
    }

    fn count_gaps(&mut self) {
        for (hole, records) in std::mem::take(&mut self.gaps) {
            let bytes = hole.end - hole.start;
            if hole.start >= self.course.synced {
                self.torn_bytes += bytes;
                self.torn_records += records;
            } else {
                self.damaged_bytes += bytes;
                self.damaged_records += records;
                self.holes.push(hole);
            }
        }
    }
}
