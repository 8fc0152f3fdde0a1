//! One file of frames: read once, added to, replaced as a whole. What the frames say, and when the file is worth
//! replacing, is the journal's business.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Disk, File};
use crate::error::{ErrorKind, StorageError};
use crate::format::{self, PREAMBLE_BYTES, Preamble, take_u32};
use crate::journal::entry::{Decoded, Entry};
use crate::journal::frame;
use crate::segment::read_full;

const MAGIC: &[u8; 8] = b"NSQBEjnl";
const HEADER_BYTES: usize = PREAMBLE_BYTES + 16;
const RESERVED_BYTES: usize = 12;
/// Entries that cannot be written wait in memory up to here; beyond it a snapshot is shorter.
pub(crate) const BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// What an idle journal keeps of its buffer.
const BUFFER_BYTES_KEPT: usize = 1024;

/// A file of frames in a log's folder.
///
/// ```text
///  0          16       20         32
///  | preamble | folder | reserved | frame | frame | ...     frame: | payload len u32 | crc32c u32 | payload: one entry |
/// ```
///
/// `folder` is the checksum of the folder's name. It and the frame's place seed the frame's checksum: bytes of an
/// earlier write or of another log are never a frame.
#[derive(Debug)]
pub(crate) struct FrameFile {
    name: &'static str,
    folder: u32,
    /// `None` before the first flush of a new file.
    pub(crate) file: Option<Arc<dyn File>>,
    /// Where in the file the buffer goes.
    pub(crate) end: u64,
    pub(crate) buffer: Vec<u8>,
    /// The file must not be added to: it is damaged, or a write to it failed.
    pub(crate) is_condemned: bool,
    unsynced: Arc<Unsynced>,
}

/// What a sync away from the journal's lock has to do; shared with it.
#[derive(Debug, Default)]
struct Unsynced {
    /// How many writes are done, and how many of them are known to be synced.
    written: AtomicU64,
    synced: AtomicU64,
    /// The directory has not been synced since the file was created.
    name: AtomicBool,
    /// One sync at a time: who comes while another is under way must not be told that there is nothing to do. And
    /// how one failed: what it was to sync is never known to be synced, whatever a later one says.
    failure: Mutex<Option<StorageError>>,
}

/// What reading a file found.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) exists: bool,
    /// Runs of bytes that are no frames with frames behind them, and frames that mean nothing.
    pub(crate) damaged: u64,
    /// Something at the end is no frame: torn by a crash, or damaged.
    pub(crate) is_torn: bool,
}

impl FrameFile {
    pub(crate) fn new(name: &'static str, dir: &Path) -> Self {
        Self {
            name,
            folder: format::folder(dir),
            file: None,
            end: HEADER_BYTES as u64,
            buffer: Vec::new(),
            is_condemned: false,
            unsynced: Arc::default(),
        }
    }

    /// Read the file, if there is one, and tell `each` its entries in order. One that belongs to another log is put
    /// aside and counts as one frame damaged.
    pub(crate) fn load(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        mut each: impl FnMut(&Decoded<'_>),
    ) -> Result<Loaded, StorageError> {
        let path = dir.join(self.name);
        if !disk.exists(&path)? {
            return Ok(Loaded::default());
        }
        let file = disk.open(&path)?;
        let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let filled = read_full(&*file, &mut bytes, 0)?;
        bytes.truncate(filled);
        let judged = format::judge(MAGIC, &bytes, HEADER_BYTES, &path);
        if let Ok(Preamble::Fields(mut fields)) = judged
            && take_u32(&mut fields) != Some(self.folder)
        {
            set_aside(disk, dir, self.name)?;
            return Ok(Loaded { damaged: 1, ..Loaded::default() });
        }
        let mut loaded = Loaded { exists: true, ..Loaded::default() };
        let mut read_to = HEADER_BYTES;
        for found in frame::walk(&bytes, HEADER_BYTES, self.folder) {
            loaded.damaged += u64::from(found.is_behind_damage);
            match Entry::decode(found.payload) {
                Some(entry) => each(&entry),
                None => loaded.damaged += 1,
            }
            read_to = found.end;
        }
        let is_intact = match judged {
            Ok(preamble) => matches!(preamble, Preamble::Fields(_)),
            // With a frame in it, it is ours whatever its first bytes say; each frame has its own checksum.
            Err(error) if error.kind == ErrorKind::Foreign && read_to > HEADER_BYTES => false,
            Err(error) => return Err(error),
        };
        // A crash leaves a file without a header, but never one with frames.
        loaded.damaged += u64::from(!is_intact && bytes.len() > HEADER_BYTES);
        loaded.is_torn = read_to < bytes.len() || !is_intact;
        self.end = read_to as u64;
        // Nothing is added behind what is torn or damaged, the next flush writes a whole new file.
        self.is_condemned = loaded.is_torn || loaded.damaged > 0;
        self.file = Some(file);
        // What an earlier run wrote may be with the kernel only.
        self.unsynced.written.store(1, Ordering::Release);
        self.unsynced.name.store(true, Ordering::Release);
        Ok(loaded)
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.buffer.is_empty() || self.is_condemned
    }

    pub(crate) fn put(&mut self, entry: &Entry<'_>) {
        if self.buffer.len() > BUFFER_BYTES_MAX {
            self.is_condemned = true;
            self.buffer = Vec::new();
        }
        if !self.is_condemned {
            frame::put(&mut self.buffer, self.end, self.folder, |payload| entry.encode(payload));
        }
    }

    /// Write the buffer behind what is there.
    pub(crate) fn append(&mut self, disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
        let result = self.try_append(disk, dir);
        // After anything but a full disk the kernel may have dropped pages of this file: never trust it again.
        self.is_condemned |= result.as_ref().is_err_and(|error| !error.is_full());
        result
    }

    /// Put a new file with nothing but `entries` in the place of the old one.
    pub(crate) fn rewrite(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        entries: impl FnOnce(&mut dyn FnMut(Entry<'_>)),
    ) -> Result<(), StorageError> {
        let mut bytes = self.header();
        entries(&mut |entry| {
            for part in entry.parts() {
                frame::put(&mut bytes, 0, self.folder, |payload| part.encode(payload));
            }
        });
        let (path, tmp) = (dir.join(self.name), dir.join(format!("{}.tmp", self.name)));
        if disk.exists(&tmp)? {
            disk.remove(&tmp)?;
        }
        let file = disk.create(&tmp)?;
        // Synced before the rename even where nothing else is: the old file must not be lost for an empty one.
        if let Err(error) = file.write_at(&bytes, 0).and_then(|()| file.sync_data()) {
            // Half a snapshot on a full disk would keep it full.
            disk.remove(&tmp).ok();
            return Err(error);
        }
        disk.rename(&tmp, &path)?;
        self.file = Some(file);
        self.end = bytes.len() as u64;
        self.empty_buffer();
        self.is_condemned = false;
        // What an earlier sync does, or fails to do, is of the old file.
        self.unsynced = Arc::default();
        self.unsynced.name.store(true, Ordering::Release);
        disk.sync_dir(dir)?;
        self.unsynced.name.store(false, Ordering::Release);
        Ok(())
    }

    /// What it takes to sync the file elsewhere; `None` before the first flush.
    pub(crate) fn sync_target(&self) -> Option<FrameSync> {
        let file = self.file.clone()?;
        let written = self.unsynced.written.load(Ordering::Acquire);
        Some(FrameSync { file, written, unsynced: Arc::clone(&self.unsynced) })
    }

    fn try_append(&mut self, disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.create(disk, dir)?,
        };
        file.write_at(&self.buffer, self.end)?;
        // Not before: a sync under way elsewhere would take a write for done that comes behind it.
        self.unsynced.written.fetch_add(1, Ordering::AcqRel);
        self.end += self.buffer.len() as u64;
        self.empty_buffer();
        Ok(())
    }

    fn create(&mut self, disk: &dyn Disk, dir: &Path) -> Result<Arc<dyn File>, StorageError> {
        let file = disk.create(&dir.join(self.name))?;
        // Kept at once: should the header fail, the next flush replaces the file instead of creating it again.
        self.file = Some(file.clone());
        self.unsynced.name.store(true, Ordering::Release);
        if let Err(error) = file.write_at(&self.header(), 0) {
            self.is_condemned = true;
            return Err(error);
        }
        Ok(file)
    }

    fn header(&self) -> Vec<u8> {
        let mut fields = self.folder.to_le_bytes().to_vec();
        fields.extend_from_slice(&[0; RESERVED_BYTES]);
        format::header(MAGIC, &fields)
    }

    /// A burst must not cost its memory for ever: there are thousands of journals.
    fn empty_buffer(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
    }
}

/// A file to be synced.
#[derive(Debug)]
pub(crate) struct FrameSync {
    file: Arc<dyn File>,
    /// The writes that were done when this was made.
    written: u64,
    unsynced: Arc<Unsynced>,
}

impl FrameSync {
    /// Sync what was written before. What is written meanwhile asks again.
    pub(crate) fn sync(&self, disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
        let mut failure = self.unsynced.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &*failure {
            return Err(error.clone());
        }
        let written = self.unsynced.written.load(Ordering::Acquire);
        let content = written > self.unsynced.synced.load(Ordering::Acquire);
        let result = if content { self.file.sync_data() } else { Ok(()) };
        let name = self.unsynced.name.load(Ordering::Acquire);
        let result = result.and_then(|()| if name { disk.sync_dir(dir) } else { Ok(()) });
        match &result {
            Ok(()) => self.settle(written),
            Err(error) => *failure = Some(error.clone()),
        }
        result
    }

    /// The whole file system was synced since this was made.
    pub(crate) fn was_synced(&self) {
        self.settle(self.written);
    }

    /// So many writes are synced, and the file's name, which is older than any of them.
    fn settle(&self, written: u64) {
        self.unsynced.synced.fetch_max(written, Ordering::AcqRel);
        self.unsynced.name.store(false, Ordering::Release);
    }
}

fn set_aside(disk: &dyn Disk, dir: &Path, name: &str) -> Result<(), StorageError> {
    let mut number = 0;
    loop {
        let aside = dir.join(format!("{name}.bad{number}"));
        if !disk.exists(&aside)? {
            return disk.rename(&dir.join(name), &aside);
        }
        number += 1;
    }
}
