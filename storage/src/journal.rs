//! The journal: what the cursors of one log have finished, in the order it happened. The state it comes to is
//! mirrored in memory, so the file can be replaced by a snapshot of it at any time. What the entries mean to a
//! channel is not known here; their bytes are in `journal/entry`, the files in `journal/file`.

mod entry;
mod file;
mod frame;
mod merge;
mod ranges;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::StorageError;
use crate::segment;

pub use entry::Entry;
use file::{FrameFile, FrameSync};
pub use ranges::RangeSet;
pub use state::{CursorState, Pending, State};

const NAME: &str = "journal";
/// A second copy of what nothing else tells: which cursors there are, and what was done to them on purpose.
const COPY_NAME: &str = "cursors";
/// A journal shorter than this is not worth replacing by a snapshot.
const SNAPSHOT_BYTES_MIN: u64 = 1024 * 1024;
/// The same for the copy, which is read with it at every start.
const COPY_BYTES_MIN: u64 = 64 * 1024;
/// How much longer than its last snapshot a journal gets.
const SNAPSHOT_GROWTH: u64 = 4;

/// One log's journal: two files, the whole of it in one, and in the other a copy of the entries whose loss would
/// forget a cursor or bring back what was emptied. Losing either costs messages that come again, no more.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    main: FrameFile,
    copy: FrameFile,
    state: State,
    /// The last end was unclean: the kernel may show bytes the disk does not have, so a new file is written as soon
    /// as there is space.
    is_suspect: bool,
    /// The lengths at which the files are replaced by snapshots.
    snapshot_at: u64,
    copy_snapshot_at: u64,
}

/// Makes a journal's files survive a power cut, away from its lock.
#[derive(Debug)]
pub struct JournalSync {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    files: Vec<FrameSync>,
}

impl Journal {
    /// Read the journal in `dir`, or begin a new one. Bad frames are stepped over and counted in the state: what
    /// they may have said counts as never said, but for what the copy knows.
    ///
    /// # Errors
    /// A file is not ours or newer (nothing was touched then), or the disk failed.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Self, State), StorageError> {
        let mut journal = Self {
            disk,
            dir: dir.to_path_buf(),
            main: FrameFile::new(NAME, dir),
            copy: FrameFile::new(COPY_NAME, dir),
            state: State::default(),
            is_suspect: false,
            snapshot_at: SNAPSHOT_BYTES_MIN,
            copy_snapshot_at: COPY_BYTES_MIN,
        };
        journal.load()?;
        let state = journal.state.clone();
        Ok((journal, state))
    }

    /// Take an entry into the state and into the buffer; it is in the file after the next flush. Entries that
    /// change nothing, as those of unknown cursors, are kept all the same: order is all they need.
    pub fn note(&mut self, entry: Entry<'_>) {
        for part in entry.parts() {
            self.state.apply(&part);
            self.main.put(&part);
            if part.is_kept_twice() {
                self.copy.put(&part);
            }
        }
    }

    /// Whether there is anything to flush.
    pub fn has_pending(&self) -> bool {
        self.main.has_pending() || self.copy.has_pending()
    }

    /// Hand what was noted to the kernel, with one write in the usual case; a long journal is replaced by a snapshot.
    ///
    /// # Errors
    /// What was noted is kept for the next flush.
    pub fn flush(&mut self) -> Result<(), StorageError> {
        if self.main.has_pending() {
            self.flush_main()?;
        }
        if self.copy.has_pending() {
            self.flush_copy()?;
        }
        Ok(())
    }

    /// `flush`, and make it survive a power cut.
    ///
    /// # Errors
    /// As `flush`; or the sync failed, which condemns the files: the next flush writes new ones.
    pub fn flush_durable(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        let result = self.sync_target().map_or(Ok(()), |files| files.sync_data());
        if result.is_err() {
            self.main.is_condemned = true;
            self.copy.is_condemned = true;
        }
        result
    }

    /// What the entries come to, those not flushed included.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The files for a sync away from the journal's lock; `None` before the first flush.
    pub fn sync_target(&self) -> Option<JournalSync> {
        let files: Vec<FrameSync> =
            [&self.main, &self.copy].into_iter().filter_map(FrameFile::sync_target).collect();
        (!files.is_empty()).then(|| JournalSync { disk: self.disk.clone(), dir: self.dir.clone(), files })
    }

    fn load(&mut self) -> Result<(), StorageError> {
        let (disk, dir) = (&*self.disk, &*self.dir);
        let mut copied = State::default();
        let main = self.main.load(disk, dir, |entry| self.state.apply_owned(entry))?;
        let copy = self.copy.load(disk, dir, |entry| copied.apply_owned(entry))?;
        let is_lost = !main.exists && (copy.exists || has_segments(disk, dir)?);
        // Of one that is torn at the end all before is known, as of one that is cut between two frames.
        let is_damaged = main.damaged > 0 || is_lost;
        if self.state.merge(&copied, is_damaged, copy.exists && !copy.is_torn && copy.damaged == 0) {
            self.main.is_condemned = true;
            self.copy.is_condemned = true;
        }
        // A crash between the two writes leaves the copy behind.
        self.copy.is_condemned |= !self.state.is_copied_by(&copied);
        self.main.is_condemned |= is_lost;
        self.state.damaged_frames = main.damaged + copy.damaged + u64::from(is_lost && main.damaged == 0);
        // What was lost may have been the news of another start.
        self.state.is_clean &= !is_damaged && !main.is_torn;
        self.is_suspect = main.exists && !self.state.is_clean;
        Ok(())
    }

    fn flush_main(&mut self) -> Result<(), StorageError> {
        if self.main.is_condemned {
            return self.rewrite();
        }
        if self.is_suspect {
            match self.rewrite() {
                // What is there can be added to: consumers go on while the disk is full.
                Err(error) if error.is_full() => {}
                other => return other,
            }
        }
        self.main.append(&*self.disk, &self.dir)?;
        if self.main.end <= self.snapshot_at {
            return Ok(());
        }
        let result = self.rewrite();
        if result.is_err() {
            // Everything is in the file; the next attempt can wait.
            self.snapshot_at = self.main.end + SNAPSHOT_BYTES_MIN;
        }
        result
    }

    fn flush_copy(&mut self) -> Result<(), StorageError> {
        let (disk, dir, state) = (&*self.disk, &*self.dir, &self.state);
        if !self.copy.is_condemned {
            self.copy.append(disk, dir)?;
            if self.copy.end <= self.copy_snapshot_at {
                return Ok(());
            }
        }
        let only_kept = |each: &mut dyn FnMut(Entry<'_>)| {
            state.entries(|entry| {
                if entry.is_kept_twice() {
                    each(entry);
                }
            });
        };
        self.copy.rewrite(disk, dir, only_kept)?;
        self.copy_snapshot_at = COPY_BYTES_MIN.max(self.copy.end.saturating_mul(SNAPSHOT_GROWTH));
        Ok(())
    }

    /// Write the state to a new file and put it in the place of the old one.
    fn rewrite(&mut self) -> Result<(), StorageError> {
        let state = &self.state;
        self.main.rewrite(&*self.disk, &self.dir, |each| state.entries(each))?;
        self.is_suspect = false;
        self.snapshot_at = SNAPSHOT_BYTES_MIN.max(self.main.end.saturating_mul(SNAPSHOT_GROWTH));
        Ok(())
    }
}

impl JournalSync {
    /// Sync what was flushed so far, and the names of new files.
    ///
    /// # Errors
    /// A sync failed. Trying again proves nothing.
    pub fn sync_data(&self) -> Result<(), StorageError> {
        self.files.iter().try_for_each(|file| file.sync(&*self.disk, &self.dir))
    }

    /// The whole file system was synced since this was made, which is as good.
    pub fn was_synced(&self) {
        self.files.iter().for_each(FrameSync::was_synced);
    }
}

fn has_segments(disk: &dyn Disk, dir: &Path) -> Result<bool, StorageError> {
    let entries = match disk.list(dir) {
        Err(error) if error.is_missing() => return Ok(false),
        other => other?,
    };
    Ok(entries.iter().any(|entry| segment::offset_in_name(&entry.name).is_some()))
}
