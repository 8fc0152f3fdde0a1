//! The journal: what the cursors of one log have finished, in the order it happened. The state it comes to is
//! mirrored in memory, so the file can be replaced by a snapshot of it at any time. What the entries mean to a
//! channel is not known here; their bytes are in `journal/entry`.

mod entry;
mod frame;
mod ranges;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File};
use crate::error::StorageError;
use crate::format::{self, PREAMBLE_BYTES, Preamble};
use crate::segment::read_full;

pub use entry::Entry;
pub use ranges::RangeSet;
pub use state::{CursorState, Pending, State};

const MAGIC: &[u8; 8] = b"NSQBEjnl";
const NAME: &str = "journal";
const NAME_TMP: &str = "journal.tmp";
/// A journal shorter than this is not worth replacing by a snapshot.
const SNAPSHOT_BYTES_MIN: u64 = 1024 * 1024;
/// How much longer than its last snapshot a journal gets.
const SNAPSHOT_GROWTH: u64 = 4;
/// Entries that cannot be written wait in memory up to here; beyond it a snapshot is shorter.
const BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// What an idle journal keeps of its buffer.
const BUFFER_BYTES_KEPT: usize = 1024;

/// One log's journal.
///
/// ```text
///  0          16
///  | preamble | frame | frame | ...        frame: | payload len u32 | crc32c u32 | payload: one entry |
/// ```
///
/// The checksum is seeded with the frame's place in the file: bytes of an earlier write are never a frame.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// `None` before the first flush of a new journal.
    file: Option<Arc<dyn File>>,
    /// Where in the file the buffer goes.
    end: u64,
    buffer: Vec<u8>,
    state: State,
    /// The file must not be added to: it is damaged, or a write to it failed.
    is_condemned: bool,
    /// The directory has not been synced since the file was created.
    is_new: bool,
    /// The length at which the file is replaced by a snapshot.
    snapshot_at: u64,
}

impl Journal {
    /// Read the journal in `dir`, or begin a new one. Bad frames are stepped over and counted in the state.
    ///
    /// # Errors
    /// The file is not ours or newer (nothing was touched then), or the disk failed.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Self, State), StorageError> {
        let path = dir.join(NAME);
        let mut journal = Self {
            disk,
            dir: dir.to_path_buf(),
            file: None,
            end: PREAMBLE_BYTES as u64,
            buffer: Vec::new(),
            state: State::default(),
            is_condemned: false,
            is_new: false,
            snapshot_at: SNAPSHOT_BYTES_MIN,
        };
        if journal.disk.exists(&path)? {
            let file = journal.disk.open(&path)?;
            journal.load(&*file, &path)?;
            journal.file = Some(file);
        }
        let state = journal.state.clone();
        Ok((journal, state))
    }

    /// Take an entry into the state and into the buffer; it is in the file after the next flush. Entries that
    /// change nothing, as those of unknown cursors, are kept all the same: order is all they need.
    pub fn note(&mut self, entry: Entry<'_>) {
        for part in entry.parts() {
            self.state.apply(&part);
            if self.buffer.len() > BUFFER_BYTES_MAX {
                self.is_condemned = true;
                self.buffer = Vec::new();
            }
            if !self.is_condemned {
                frame::put(&mut self.buffer, self.end, |payload| part.encode(payload));
            }
        }
    }

    /// Whether there is anything to flush.
    pub fn has_pending(&self) -> bool {
        !self.buffer.is_empty() || self.is_condemned
    }

    /// Hand what was noted to the kernel, with one write; a long journal is replaced by a snapshot.
    ///
    /// # Errors
    /// What was noted is kept for the next flush.
    pub fn flush(&mut self) -> Result<(), StorageError> {
        if !self.has_pending() {
            return Ok(());
        }
        if self.is_condemned {
            return self.rewrite();
        }
        if let Err(error) = self.append() {
            // After anything but a full disk the kernel may have dropped pages of this file: never trust it again.
            self.is_condemned |= !error.is_full();
            return Err(error);
        }
        if self.end <= self.snapshot_at {
            return Ok(());
        }
        let result = self.rewrite();
        if result.is_err() {
            // Everything is in the file; the next attempt can wait.
            self.snapshot_at = self.end + SNAPSHOT_BYTES_MIN;
        }
        result
    }

    /// `flush`, and make it survive a power cut.
    ///
    /// # Errors
    /// As `flush`; or the sync failed, which condemns the file: the next flush writes a new one.
    pub fn flush_durable(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        let Some(file) = &self.file else { return Ok(()) };
        if let Err(error) = file.sync_data() {
            self.is_condemned = true;
            return Err(error);
        }
        if self.is_new {
            self.disk.sync_dir(&self.dir)?;
            self.is_new = false;
        }
        Ok(())
    }

    /// What the entries come to, those not flushed included.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The file for a sync away from the journal's lock; `None` before the first flush.
    pub fn sync_target(&self) -> Option<Arc<dyn File>> {
        self.file.clone()
    }

    fn load(&mut self, file: &dyn File, path: &Path) -> Result<(), StorageError> {
        let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let filled = read_full(file, &mut bytes, 0)?;
        bytes.truncate(filled);
        // A damaged preamble says nothing about the frames: each has its own checksum.
        let is_intact = matches!(format::judge(MAGIC, &bytes, PREAMBLE_BYTES, path)?, Preamble::Fields(_));
        let mut read_to = PREAMBLE_BYTES;
        for found in frame::walk(&bytes, PREAMBLE_BYTES) {
            self.state.damaged_frames += u64::from(found.is_behind_damage);
            match Entry::decode(found.payload) {
                Some(entry) => self.state.apply_owned(&entry),
                None => self.state.damaged_frames += 1,
            }
            read_to = found.end;
        }
        self.end = read_to as u64;
        // Torn or damaged: nothing is added behind it, the next flush writes a whole new file.
        self.is_condemned = !is_intact || read_to < bytes.len() || self.state.damaged_frames > 0;
        Ok(())
    }

    fn append(&mut self) -> Result<(), StorageError> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.create()?,
        };
        file.write_at(&self.buffer, self.end)?;
        self.end += self.buffer.len() as u64;
        self.empty_buffer();
        Ok(())
    }

    /// A burst must not cost its memory for ever: there are thousands of journals.
    fn empty_buffer(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
    }

    fn create(&mut self) -> Result<Arc<dyn File>, StorageError> {
        let path = self.dir.join(NAME);
        let file = self.disk.create(&path)?;
        // Kept at once: should the header fail, the next flush replaces the file instead of creating it again.
        self.file = Some(file.clone());
        self.is_new = true;
        if let Err(error) = file.write_at(&format::header(MAGIC, &[]), 0) {
            self.is_condemned = true;
            return Err(error);
        }
        Ok(file)
    }

    /// Write the state to a new file and put it in the place of the old one.
    fn rewrite(&mut self) -> Result<(), StorageError> {
        let mut bytes = format::header(MAGIC, &[]);
        self.state.entries(|entry| {
            for part in entry.parts() {
                frame::put(&mut bytes, 0, |payload| part.encode(payload));
            }
        });
        let (path, tmp) = (self.dir.join(NAME), self.dir.join(NAME_TMP));
        if self.disk.exists(&tmp)? {
            self.disk.remove(&tmp)?;
        }
        let file = self.disk.create(&tmp)?;
        file.write_at(&bytes, 0)?;
        // Synced before the rename even where nothing else is: the old file must not be lost for an empty one.
        file.sync_data()?;
        self.disk.rename(&tmp, &path)?;
        self.file = Some(file);
        self.end = bytes.len() as u64;
        self.empty_buffer();
        self.is_condemned = false;
        self.is_new = true;
        self.snapshot_at = SNAPSHOT_BYTES_MIN.max(self.end.saturating_mul(SNAPSHOT_GROWTH));
        self.disk.sync_dir(&self.dir)?;
        self.is_new = false;
        Ok(())
    }
}
