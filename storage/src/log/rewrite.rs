//! Writing what an unclean end left unsynced again, to new files. After a failed sync the kernel may show bytes that
//! the disk does not have, and would call the next sync a success: only what is written anew can be synced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File};
use crate::error::StorageError;
use crate::log::walk::WINDOW_BYTES;
use crate::log::{LogOptions, Position};
use crate::record::{self, Seed};
use crate::scan::Scan;
use crate::segment::Segment;

/// The part of a segment that is not known to be synced, and not empty.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) segment: Segment,
    pub(crate) from: Position,
    pub(crate) end: Position,
    /// Records that a crash left of batches, in order: they are not part of the log.
    pub(crate) split: Vec<u64>,
    /// Open, because its name may come to mean the new file.
    pub(crate) file: Arc<dyn File>,
}

/// What is to be written again before anything is appended.
#[derive(Debug)]
pub(crate) struct Rewrite {
    options: LogOptions,
    pieces: Vec<Piece>,
    /// New files have names that a power cut could take.
    has_new_names: bool,
}

impl Rewrite {
    pub(crate) fn new(options: LogOptions, pieces: Vec<Piece>) -> Self {
        Self { options, pieces, has_new_names: false }
    }

    /// Whether there is nothing left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.pieces.is_empty() && !self.has_new_names
    }

    /// Where it begins.
    pub(crate) fn from(&self) -> Option<Position> {
        self.pieces.first().map(|piece| piece.from)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.end.offset - piece.from.offset).sum()
    }

    /// Which files are to be cut once all is written, and to how many bytes: a new segment begins inside of them.
    pub(crate) fn cuts(&self) -> Vec<(Arc<dyn File>, u64)> {
        let inside = self.pieces.iter().filter(|piece| piece.from.offset > piece.segment.base.offset);
        inside.map(|piece| (piece.file.clone(), piece.segment.place(piece.from.offset))).collect()
    }

    /// The old file of a segment that is still to be written again.
    pub(crate) fn file(&self, segment: &Segment) -> Option<&Arc<dyn File>> {
        self.pieces.iter().find(|piece| piece.segment == *segment).map(|piece| &piece.file)
    }

    /// A segment that is dropped need not be written again.
    pub(crate) fn forget(&mut self, segment: &Segment) {
        self.pieces.retain(|piece| piece.segment != *segment);
    }

    /// Write all pieces to new files, sync them, and put them into the place of the old. What is done when one fails
    /// stays done: each new file holds what the old one did.
    pub(crate) fn run(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        segments: &mut Vec<Segment>,
    ) -> Result<(), StorageError> {
        if self.is_done() {
            return Ok(());
        }
        while let Some(piece) = self.pieces.first() {
            let segment = piece.write(disk, dir, self.options)?;
            let old = segments.iter().position(|known| *known == piece.segment);
            match old.and_then(|index| segments.get_mut(index)) {
                Some(known) if known.base.offset == segment.base.offset => *known = segment,
                _ => segments.insert(old.map_or(segments.len(), |index| index + 1), segment),
            }
            self.pieces.remove(0);
            self.has_new_names = true;
        }
        disk.sync_dir(dir)?;
        self.has_new_names = false;
        Ok(())
    }
}

impl Piece {
    /// The new segment: the same records at the same places, in a file of its own.
    fn write(&self, disk: &dyn Disk, dir: &Path, options: LogOptions) -> Result<Segment, StorageError> {
        let segment = Segment::new(self.from);
        let path = segment.path(dir);
        let tmp = temporary(&path);
        if disk.exists(&tmp)? {
            disk.remove(&tmp)?;
        }
        let file = disk.create(&tmp)?;
        let result = self.copy(&*file, segment, dir, options).and_then(|()| file.sync_data());
        if let Err(error) = result {
            // Half a copy on a full disk would keep it full.
            disk.remove(&tmp).ok();
            return Err(error);
        }
        disk.rename(&tmp, &path)?;
        Ok(segment)
    }

    fn copy(
        &self,
        to: &dyn File,
        segment: Segment,
        dir: &Path,
        options: LogOptions,
    ) -> Result<(), StorageError> {
        to.write_at(&segment.header(dir), 0)?;
        let mut scan =
            Scan::new(&*self.file, self.segment, self.end.offset, WINDOW_BYTES, options.record_bytes_max);
        let (mut offset, mut seq) = (self.from.offset, self.from.seq);
        let mut run = Run { segment, at: self.from.offset, bytes: Vec::new() };
        while let Some((at, header)) = scan.first_valid(offset)? {
            if header.seq < seq || self.split.binary_search(&at).is_ok() {
                offset = at + 1;
                continue;
            }
            let bytes = header.record_bytes();
            scan.load(at, bytes)?;
            if scan.loaded(at).is_none() {
                // Valid a moment ago and not any more: the disk gives different answers.
                offset = at + 1;
                continue;
            }
            let mut stored = scan.copy(at, bytes);
            let seed = Seed { incarnation: segment.incarnation, offset: at };
            record::seal(&mut stored, header.seq, (header.flags, header.left), seed);
            run.put(to, at, &stored)?;
            (offset, seq) = (at + bytes, header.seq + 1);
        }
        run.flush(to)?;
        // A hole at the end keeps its place, too.
        to.set_len(segment.place(self.end.offset))
    }
}

/// Records that follow each other, written together.
struct Run {
    segment: Segment,
    at: u64,
    bytes: Vec<u8>,
}

impl Run {
    fn put(&mut self, to: &dyn File, at: u64, record: &[u8]) -> Result<(), StorageError> {
        let is_full = self.bytes.len() >= WINDOW_BYTES;
        if is_full || at != self.at + self.bytes.len() as u64 {
            self.flush(to)?;
            self.at = at;
        }
        self.bytes.extend_from_slice(record);
        Ok(())
    }

    fn flush(&mut self, to: &dyn File) -> Result<(), StorageError> {
        if !self.bytes.is_empty() {
            to.write_at(&self.bytes, self.segment.place(self.at))?;
        }
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

/// The name of a segment's file while it is written. Left by a crash, it is nobody's.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    path.with_extension("log.tmp")
}
