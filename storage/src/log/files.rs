//! The files of a log: writing a commit into them, undoing one that failed, removing old ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File};
use crate::error::StorageError;
use crate::log::ahead::Ahead;
use crate::log::rewrite::Rewrite;
use crate::log::unsynced::Unsynced;
use crate::log::{LogOptions, Position};
use crate::segment::{self, Place, Segment, Source};

/// A log's directory and the one file in it that is written to.
#[derive(Debug)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    /// The file of the last segment. `None`: the next batch begins a new one, because there is none yet, its tail
    /// is torn, or a write to it failed.
    active: Option<Arc<dyn File>>,
    ahead: Ahead,
    /// How long a file gets, unless one batch is longer.
    file_bytes: u64,
    /// Files that must be gone before anything is written: their offsets will be used again.
    leftovers: Vec<PathBuf>,
    /// What an unclean end left unsynced and a full disk kept from being written again.
    rewrite: Option<Rewrite>,
    unsynced: Unsynced,
}

impl Files {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        active: Option<Arc<dyn File>>,
        options: LogOptions,
    ) -> Self {
        let mut unsynced = Unsynced::new(disk.clone(), dir);
        // What an earlier run wrote may be with the kernel only.
        active.iter().for_each(|file| unsynced.add(None, file));
        Self {
            disk,
            dir: Arc::from(dir),
            active,
            ahead: Ahead::default(),
            file_bytes: segment::HEADER_BYTES as u64 + options.segment_bytes,
            leftovers: Vec::new(),
            rewrite: None,
            unsynced,
        }
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.active.is_some()
    }

    pub(crate) fn take_unsynced(&mut self) -> Option<Unsynced> {
        self.unsynced.take()
    }

    pub(crate) fn source(&self, segment: &Segment, is_last: bool) -> Source {
        let rewritten = self.rewrite.as_ref().and_then(|rewrite| rewrite.file(segment));
        match (&self.active, rewritten) {
            (Some(file), _) if is_last => Source::Open(file.clone()),
            // Its name may mean another file by the time it is read.
            (_, Some(file)) => Source::Open(file.clone()),
            _ => Source::Closed,
        }
    }

    pub(crate) fn remove(&mut self, segment: &Segment) -> Result<(), StorageError> {
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.forget(segment);
        }
        self.unsynced.forget(segment.base.offset);
        absent_is_fine(self.disk.remove(&segment.path(&self.dir)))
    }

    /// Remove a segment's file before the next write: a new one will begin at the same offset.
    pub(crate) fn replace(&mut self, segment: &Segment) {
        self.active = None;
        self.leftovers.push(segment.path(&self.dir));
    }

    /// An earlier run wrote to it.
    pub(crate) fn add_unsynced(&mut self, file: &Arc<dyn File>) {
        self.unsynced.add(None, file);
    }

    pub(crate) fn unsynced_files(&self) -> usize {
        self.unsynced.file_count()
    }

    /// Where writing again begins that must come before the next write.
    pub(crate) fn rewrite_from(&self) -> Option<Position> {
        self.rewrite.as_ref().and_then(Rewrite::from)
    }

    /// Have this done before the next write.
    pub(crate) fn rewrite_first(&mut self, rewrite: Rewrite) {
        self.active = None;
        self.rewrite = Some(rewrite);
    }

    pub(crate) fn place(&self) -> Place {
        Place { disk: self.disk.clone(), dir: self.dir.clone() }
    }

    /// Write what begins at `from`, in pieces where `rolls` begin. After an error it is as if nothing was written.
    pub(crate) fn write(
        &mut self,
        segments: &mut Vec<Segment>,
        bytes: &[u8],
        from: Position,
        rolls: &[Segment],
    ) -> Result<(), StorageError> {
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.run(&*self.disk, &self.dir, segments)?;
            self.rewrite = None;
        }
        // The newest come first: an older one missing below a newer one would look like records lost.
        while let Some(path) = self.leftovers.first() {
            absent_is_fine(self.disk.remove(path))?;
            self.leftovers.remove(0);
        }
        let before = self.active.clone();
        let count = segments.len();
        let result = self.write_pieces(segments, bytes, from.offset, rolls);
        if let Err(error) = &result {
            self.undo(segments, count, before, from, error);
        }
        result
    }

    fn write_pieces(
        &mut self,
        segments: &mut Vec<Segment>,
        bytes: &[u8],
        from: u64,
        rolls: &[Segment],
    ) -> Result<(), StorageError> {
        let mut rest = bytes;
        let mut at = from;
        for roll in rolls {
            let length = usize::try_from(roll.base.offset - at).unwrap_or(usize::MAX);
            let Some((piece, behind)) = rest.split_at_checked(length) else {
                unreachable!("segments begin inside of what is written")
            };
            self.write_piece(segments, piece, at)?;
            self.begin(segments, roll)?;
            (rest, at) = (behind, roll.base.offset);
        }
        self.write_piece(segments, rest, at)
    }

    fn write_piece(&mut self, segments: &[Segment], piece: &[u8], at: u64) -> Result<(), StorageError> {
        if piece.is_empty() {
            return Ok(());
        }
        let (Some(file), Some(segment)) = (&self.active, segments.last()) else {
            unreachable!("a batch without a segment begins one")
        };
        self.unsynced.add(Some(segment.base.offset), file);
        let place = segment.place(at);
        self.ahead.reserve(&**file, segment.base.offset, place + piece.len() as u64, self.file_bytes);
        file.write_at(piece, place)
    }

    fn begin(&mut self, segments: &mut Vec<Segment>, segment: &Segment) -> Result<(), StorageError> {
        let file = self.disk.create(&segment.path(&self.dir))?;
        self.unsynced.add_name();
        // Listed before its header is written, so that a failure there is undone.
        segments.push(*segment);
        file.write_at(&segment.header(&self.dir), 0)?;
        self.active = Some(file);
        Ok(())
    }

    /// Back to `from`: the segments begun are removed, the newest first, then the old one is cut. A crash in
    /// between leaves a prefix of the commit, whose outcome nobody was told.
    fn undo(
        &mut self,
        segments: &mut Vec<Segment>,
        count: usize,
        before: Option<Arc<dyn File>>,
        from: Position,
        error: &StorageError,
    ) {
        self.active = None;
        // What is cut off goes with the space that was taken behind it.
        self.ahead = Ahead::default();
        for begun in segments.drain(count..).rev() {
            let path = begun.path(&self.dir);
            if absent_is_fine(self.disk.remove(&path)).is_err() {
                self.leftovers.push(path);
            }
        }
        let (Some(file), Some(segment)) = (before, segments.last().copied()) else { return };
        // Only a full disk leaves a file that can be trusted: after any other error the kernel may have dropped
        // pages of it, and no later record may depend on it.
        if error.is_full() && file.set_len(segment.place(from.offset)).is_ok() {
            self.active = Some(file);
            return;
        }
        if segment.base.offset == from.offset {
            segments.pop();
            self.leftovers.push(segment.path(&self.dir));
        }
    }
}

fn absent_is_fine(result: Result<(), StorageError>) -> Result<(), StorageError> {
    match result {
        Err(error) if error.is_missing() => Ok(()),
        other => other,
    }
}
