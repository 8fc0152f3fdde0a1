//! The log: append a batch, commit it, find it again by offset, drop what nobody needs. The files beneath it are
//! in `log/files`, the space taken for them in `log/ahead`, what is not committed in `log/pending`, the tail in memory
//! in `log/cache`, opening in `log/recovery`.

mod ahead;
mod cache;
mod files;
mod pending;
mod punch;
mod recovery;
mod rewrite;
#[cfg(test)]
mod tests;
mod unsynced;
mod walk;

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;

use crate::chunk::Chunk;
use crate::disk::Disk;
use crate::error::StorageError;
use crate::journal::State;
use crate::segment::{Segment, SegmentReader};

use cache::Cache;
use files::Files;
use pending::Pending;
pub use punch::Punch;
pub use recovery::Recovered;
pub use unsynced::Unsynced;

/// A place in a log: in front of a record, or at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The number of the record that stands here; the next one's at the end.
    pub seq: u64,
    /// The bytes before this place since the log was created.
    pub offset: u64,
    /// The records before this place since the log was created. Dense: differences count records.
    pub ordinal: u64,
}

/// How a log uses disk and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// How many bytes of records a segment gets before the next begins.
    pub segment_bytes: u64,
    /// How much of the committed tail stays in memory, in bytes.
    pub cache_bytes: usize,
    /// The longest record expected, in bytes. Longer ones are stored and read all the same.
    pub record_bytes_max: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        // nsqd: --max-bytes-per-file is 100 MiB; a record may hold one message of --max-msg-size, 1 MiB.
        Self { segment_bytes: 100 << 20, cache_bytes: 4 << 20, record_bytes_max: (1 << 20) + 4096 }
    }
}

/// What the caller knows of a log that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStart {
    /// The next record's number is at least this; 0 goes on densely. After a clean end pass
    /// [`crate::State::seq_min`], after an unclean one a number above every one that may have been given out before.
    pub seq_min: u64,
    /// Up to where the log is known to be synced: [`crate::State::synced`].
    pub synced: Option<Position>,
    /// The lowest place, as number and offset, that a cursor still needs: [`crate::State::floor`]. A log that
    /// begins behind it has lost what was in between.
    pub floor: Option<(u64, u64)>,
    /// Whether the last run ended well: [`crate::State::is_clean`]. If not, what is not known to be synced is
    /// written again to a new file.
    pub is_clean: bool,
}

impl From<&State> for LogStart {
    /// As the journal has it. After an unclean end `seq_min` is to be raised.
    fn from(state: &State) -> Self {
        let (synced, floor, is_clean) = (state.synced, state.floor(), state.is_clean);
        Self { seq_min: state.seq_min(), synced, floor, is_clean }
    }
}

impl From<u64> for LogStart {
    /// Nothing is known but the number: all of the last segment is verified, and nothing is written again.
    fn from(seq_min: u64) -> Self {
        Self { seq_min, synced: None, floor: None, is_clean: true }
    }
}

/// An append-only sequence of records.
#[derive(Debug)]
pub struct Log {
    options: LogOptions,
    /// `None`: in memory only.
    files: Option<Files>,
    /// In order, without gaps: each ends where the next begins.
    segments: Vec<Segment>,
    pending: Pending,
    cache: Cache,
    committed: Position,
    tail: Position,
}

impl Log {
    /// Open the log in `dir`, or create it there.
    ///
    /// # Errors
    /// A file that is not ours or newer (nothing was touched then), or the disk failed.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
        start: impl Into<LogStart>,
    ) -> Result<(Self, Recovered), StorageError> {
        recovery::open(disk, dir, options, start.into())
    }

    /// A log without files: a commit moves records to the cache, which only `drop_below` empties.
    pub fn in_memory(options: LogOptions, seq_min: u64) -> Self {
        let origin = Position { seq: seq_min, offset: 0, ordinal: 0 };
        Self::assemble(options, None, vec![Segment { base: origin, incarnation: 0 }], origin)
    }

    fn assemble(options: LogOptions, files: Option<Files>, segments: Vec<Segment>, end: Position) -> Self {
        let is_writable = files.as_ref().is_none_or(Files::is_writable);
        let writing = segments.last().copied().filter(|_| is_writable);
        let pending = Pending::new(writing);
        Self { options, files, segments, pending, cache: Cache::default(), committed: end, tail: end }
    }

    /// The oldest record kept; `committed` when there is none.
    pub fn start(&self) -> Position {
        if self.files.is_some() {
            return self.segments.first().map_or(self.committed, |segment| segment.base);
        }
        self.cache.first().unwrap_or(self.committed)
    }

    /// Behind the last record appended.
    pub fn tail(&self) -> Position {
        self.tail
    }

    /// Behind the last record committed: up to here it can be read, and survives a killed process.
    pub fn committed(&self) -> Position {
        self.committed
    }

    /// Whether something was appended since the last commit.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Append one record of a batch and tell its number; `left` more of the batch follow. `write` gets the number
    /// and puts the payload at the end of the buffer. Nothing is on disk, or can be read, before `commit`.
    pub fn append(&mut self, left: u32, write: impl FnOnce(u64, &mut BytesMut)) -> u64 {
        let seq = self.tail.seq;
        let record_bytes = self.pending.append(self.tail, write);
        self.tail.seq += 1;
        self.tail.ordinal += 1;
        self.tail.offset += record_bytes;
        if left == 0 {
            self.close_batch();
        }
        seq
    }

    /// Hand what was appended to the kernel: one write in the usual case.
    ///
    /// # Errors
    /// The appended records are forgotten, their numbers will be given again; what was committed is untouched.
    /// A full disk: later commits work when there is space. Other failures: the file is not written to again.
    pub fn commit(&mut self) -> Result<Position, StorageError> {
        if self.pending.is_empty() {
            return Ok(self.committed);
        }
        self.close_batch();
        if let Some(files) = &mut self.files {
            let (bytes, rolls) = self.pending.sealed();
            if let Err(error) = files.write(&mut self.segments, bytes, self.committed, rolls) {
                self.discard();
                return Err(error);
            }
        }
        let limit = if self.files.is_some() { self.options.cache_bytes } else { usize::MAX };
        self.cache.push(self.committed, self.pending.take(), limit);
        self.committed = self.tail;
        Ok(self.committed)
    }

    /// Forget what was appended since the last commit; the numbers will be given again.
    pub fn discard(&mut self) {
        let is_writable = self.files.as_ref().is_none_or(Files::is_writable);
        self.pending.forget(self.segments.last().copied().filter(|_| is_writable));
        self.tail = self.committed;
    }

    /// The committed records around `offset`, if they are still in memory. Never touches the disk.
    pub fn cached(&self, offset: u64) -> Option<Chunk> {
        self.cache.find(offset)
    }

    /// What it takes to read at `offset` away from the log's lock. `None`: nothing committed is there on disk.
    pub fn reader(&self, offset: u64) -> Option<SegmentReader> {
        let files = self.files.as_ref()?;
        if offset >= self.committed.offset {
            return None;
        }
        let index = self.segments.partition_point(|segment| segment.base.offset <= offset).checked_sub(1)?;
        let segment = *self.segments.get(index)?;
        let following = self.segments.get(index + 1);
        let end = following.map_or(self.committed, |next| next.base);
        let source = files.source(&segment, following.is_none());
        let (place, record_bytes_max) = (files.place(), self.options.record_bytes_max);
        Some(SegmentReader { segment, place, source, offset, expected: None, end, record_bytes_max })
    }

    /// What it takes to free the space of all records of the segment around `offset` but for those in the stretches
    /// `keep`, each told by where its first and its last record begin. `synced` is what the journal durably says of
    /// it. `None`: the segment is the last, or not on disk, or not synced.
    pub fn punch(&self, offset: u64, keep: &[(u64, u64)], synced: Position) -> Option<Punch> {
        let files = self.files.as_ref()?;
        let index = self.segments.partition_point(|segment| segment.base.offset <= offset).checked_sub(1)?;
        let (segment, next) = (*self.segments.get(index)?, self.segments.get(index + 1)?);
        if next.base.offset > synced.offset || next.base.offset > self.syncable().offset {
            return None;
        }
        let (begin, end) = (segment.base.offset, next.base.offset);
        // A stretch may begin before the segment and end behind it.
        let touches = |(first, last): &(u64, u64)| *first < end && *last >= begin;
        let mut keep: Vec<(u64, u64)> = keep.iter().copied().filter(touches).collect();
        keep.sort_unstable();
        let (place, options) = (files.place(), self.options);
        Some(Punch { segment, place, end, keep, options })
    }

    /// Where the segments begin that `drop_below` and `punch` can free, oldest first, and where the last begins.
    pub fn segment_offsets(&self) -> impl Iterator<Item = u64> {
        let on_disk = self.files.as_ref().map_or(&[][..], |_| &self.segments);
        on_disk.iter().map(|segment| segment.base.offset)
    }

    /// Remove what lies entirely below `offset`, by whole segments and never the last one; in memory by whole
    /// commits. Tells how many were removed.
    ///
    /// # Errors
    /// A file could not be removed: it and those behind it are still part of the log.
    pub fn drop_below(&mut self, offset: u64) -> Result<u64, StorageError> {
        let Some(files) = &mut self.files else { return Ok(self.cache.drop_below(offset)) };
        self.cache.drop_below(offset);
        let mut removed = 0;
        while self.segments.get(1).is_some_and(|next| next.base.offset <= offset) {
            if let Some(oldest) = self.segments.first() {
                files.remove(oldest)?;
            }
            self.segments.remove(0);
            removed += 1;
        }
        Ok(removed)
    }

    /// How many records lie before the one numbered `seq`. Numbers that were never given count as the next one
    /// that was; below the start, as the start.
    pub fn ordinal_of(&self, seq: u64) -> u64 {
        self.ordinal_in_segments(seq).max(self.start().ordinal)
    }

    /// The place of a cursor that was stored as number and offset, brought inside the log: after a power cut the
    /// stored one may lie behind the end, after `drop_below` before the start.
    pub fn locate(&self, seq: u64, offset: u64) -> Position {
        let start = self.start();
        if seq <= start.seq || offset < start.offset {
            return start;
        }
        if seq >= self.committed.seq {
            return self.committed;
        }
        if offset >= self.committed.offset {
            // Its records are lost, and others will take their offsets: what comes next is at the end.
            return self.committed;
        }
        let index = self.segments.partition_point(|segment| segment.base.seq <= seq);
        let next = self.segments.get(index).map_or(self.committed, |segment| segment.base);
        if offset >= next.offset {
            return next;
        }
        match index.checked_sub(1).and_then(|index| self.segments.get(index)) {
            Some(segment) if offset < segment.base.offset => segment.base,
            _ => Position { seq, offset, ordinal: self.ordinal_of(seq) },
        }
    }

    /// How many bytes of records are kept.
    pub fn bytes(&self) -> u64 {
        self.committed.offset.saturating_sub(self.start().offset)
    }

    /// How many bytes of memory the cached tail and the pending records take, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.cache.bytes() + self.pending.capacity()
    }

    /// Let go of cached records beyond `bytes`, when the memory is needed elsewhere. They are read from the disk
    /// then; a log in memory keeps all.
    pub fn trim_cache(&mut self, bytes: usize) {
        if self.files.is_some() {
            self.cache.trim(bytes);
        }
    }

    /// Where the segments begin, from the oldest; numbers are dense from each to the next.
    pub fn segment_starts(&self) -> impl Iterator<Item = Position> {
        self.segments.iter().map(|segment| segment.base)
    }

    /// How many segments there are; in memory none.
    pub fn segment_count(&self) -> usize {
        self.files.as_ref().map_or(0, |_| self.segments.len())
    }

    /// What was committed since the last call, for a sync away from the log's lock. `None`: nothing was.
    pub fn take_unsynced(&mut self) -> Option<Unsynced> {
        self.files.as_mut()?.take_unsynced()
    }

    /// How many files have bytes that nobody has synced yet. They are held open until somebody does.
    pub fn unsynced_files(&self) -> usize {
        self.files.as_ref().map_or(0, Files::unsynced_files)
    }

    /// Up to where everything survives a power cut once what `take_unsynced` gave is synced: all that is committed,
    /// unless a full disk keeps an unclean end's tail from being written again. For [`crate::Entry::Synced`].
    pub fn syncable(&self) -> Position {
        let rewrite = self.files.as_ref().and_then(Files::rewrite_from);
        rewrite.map_or(self.committed, |from| from.min(self.committed))
    }

    fn ordinal_in_segments(&self, seq: u64) -> u64 {
        let rolls = self.pending.rolls();
        let bases = self.segments.iter().chain(rolls).map(|segment| segment.base);
        // From the newest: nearly all questions are about the tail, and a log has some hundred segments at most.
        let mut next = self.tail;
        for base in bases.rev() {
            if base.seq <= seq {
                return base.ordinal + (seq - base.seq).min(next.ordinal.saturating_sub(base.ordinal));
            }
            next = base;
        }
        next.ordinal
    }

    /// Decide which segment the open batch goes into, and give its records their checksums.
    fn close_batch(&mut self) {
        let segment_bytes = self.files.as_ref().map(|_| self.options.segment_bytes);
        self.pending.close_batch(self.committed, self.tail, segment_bytes);
    }
}
