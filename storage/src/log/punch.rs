//! Freeing the space of a full segment's finished records while some of it is still owed. The file stays and so do
//! its offsets: where space was freed there are zeros, which no reader takes for a record.

use crate::disk::File;
use crate::error::StorageError;
use crate::log::LogOptions;
use crate::quarantine::BLOCK_BYTES;
use crate::scan::Scan;
use crate::segment::{self, Place, Segment};

/// Frees space of one segment, away from the log's lock.
///
/// What is freed is gone: the journal must durably say that nothing in it is owed and that the segment is synced, or a
/// power cut makes it lost.
#[derive(Debug)]
pub struct Punch {
    pub(crate) segment: Segment,
    pub(crate) place: Place,
    /// Where the next segment begins.
    pub(crate) end: u64,
    /// Where the first and the last record of each stretch to keep begin, rising.
    pub(crate) keep: Vec<(u64, u64)>,
    pub(crate) options: LogOptions,
}

impl Punch {
    /// Free all whole blocks that hold no byte of a record to keep. Tells how many bytes that made free.
    ///
    /// # Errors
    /// The disk failed, or `Unsupported`: this file system has no holes. Nothing that is kept was touched.
    pub fn run(self) -> Result<u64, StorageError> {
        let file = self.place.disk.open(&self.segment.path(&self.place.dir))?;
        let kept = self.kept(&*file)?;
        let before = file.allocated_bytes()?;
        // A start must not take what is missing from a batch here for what a crash split, whatever it knows of syncs.
        if !segment::is_punched(&*file)? {
            segment::mark_punched(&*file)?;
            file.sync_data()?;
        }
        let mut from = self.segment.base.offset;
        for (kept_from, kept_to) in kept {
            self.free(&*file, from, kept_from)?;
            from = from.max(kept_to);
        }
        self.free(&*file, from, self.end)?;
        Ok(before.saturating_sub(file.allocated_bytes()?))
    }

    /// From where to where the records to keep reach. One that cannot be read reaches to the next: somebody may want
    /// what is left of it.
    fn kept(&self, file: &dyn File) -> Result<Vec<(u64, u64)>, StorageError> {
        let window = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
        let mut scan = Scan::new(file, self.segment, self.end, window, self.options.record_bytes_max);
        let nexts = self.keep.iter().skip(1).map(|(first, _)| *first).chain([self.end]);
        let mut kept = Vec::with_capacity(self.keep.len());
        for ((first, last), next) in self.keep.iter().copied().zip(nexts) {
            if last >= self.end {
                kept.push((first, self.end));
                continue;
            }
            let found = scan.record(last)?;
            let behind = found.map_or(next.max(last), |header| last + header.record_bytes());
            kept.push((first.max(self.segment.base.offset), behind));
        }
        Ok(kept)
    }

    fn free(&self, file: &dyn File, from: u64, to: u64) -> Result<(), StorageError> {
        // The block that ends the header is shared with the first records, and is never freed.
        let first = (segment::HEADER_BYTES as u64).next_multiple_of(BLOCK_BYTES);
        let from = self.segment.place(from).next_multiple_of(BLOCK_BYTES).max(first);
        let to = self.segment.place(to) / BLOCK_BYTES * BLOCK_BYTES;
        if from < to { file.punch(from, to) } else { Ok(()) }
    }
}
