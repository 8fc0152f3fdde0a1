//! What a log has written and nobody has synced yet: taken out under the log's lock, synced away from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File};
use crate::error::StorageError;
use crate::seeded::{Bug, is_planted};

/// Files with bytes that a power cut could take, and whether some of them are new.
#[derive(Debug)]
pub struct Unsynced {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// With the offset their segment begins at, where it is known.
    files: Vec<(Option<u64>, Arc<dyn File>)>,
    has_new_files: bool,
}

impl Unsynced {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_path_buf(), files: Vec::new(), has_new_files: false }
    }

    /// A file was written to. The newest is the likeliest to be known.
    pub(crate) fn add(&mut self, base: Option<u64>, file: &Arc<dyn File>) {
        if !self.files.iter().rev().any(|(_, known)| Arc::ptr_eq(known, file)) {
            self.files.push((base, file.clone()));
        }
    }

    /// The segment that begins there is removed: its file must not be held open, and its space with it.
    pub(crate) fn forget(&mut self, base: u64) {
        self.files.retain(|(known, _)| *known != Some(base));
    }

    /// How many files wait.
    pub(crate) fn file_count(&self) -> usize {
        self.files.len()
    }

    /// A file was created: its name must survive too.
    pub(crate) fn add_name(&mut self) {
        self.has_new_files = true;
    }

    /// Everything so far; nothing is left. `None`: there is nothing.
    pub(crate) fn take(&mut self) -> Option<Self> {
        if self.files.is_empty() && !self.has_new_files {
            return None;
        }
        let empty = Self::new(self.disk.clone(), &self.dir);
        Some(std::mem::replace(self, empty))
    }

    /// Make it survive a power cut: the bytes, then the names.
    ///
    /// # Errors
    /// A sync failed. The kernel may have dropped the bytes and will not say so again: nothing that was written to
    /// these files since the last sync can be trusted, and trying again proves nothing.
    pub fn sync(self) -> Result<(), StorageError> {
        for (_, file) in &self.files {
            file.sync_data()?;
        }
        if self.has_new_files && !is_planted(Bug::SkipDirectorySync) {
            return self.disk.sync_dir(&self.dir);
        }
        Ok(())
    }
}
