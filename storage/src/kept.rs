//! A small file that is only ever replaced as a whole, so that a crash leaves the old content or the new one. What the
//! content means is the caller's business.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::StorageError;
use crate::format::{self, PREAMBLE_BYTES, Preamble};
use crate::segment::read_full;

/// Such a file: its place, and the eight bytes it begins with.
#[derive(Debug, Clone)]
pub struct KeptFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    magic: &'static [u8; 8],
}

/// What is in such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// There is no file.
    Missing,
    /// There is one, and it is not what was written.
    Damaged,
    /// What was written last.
    Content(Vec<u8>),
}

impl KeptFile {
    /// The file at `path`; nothing is read or written yet. Magics of different files differ in three bytes, so that a
    /// flipped bit does not make one another.
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf, magic: &'static [u8; 8]) -> Self {
        Self { disk, path, magic }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was written last.
    ///
    /// # Errors
    /// `Foreign` and `Newer`: the file is not ours to replace. Or the disk failed.
    pub fn read(&self) -> Result<Kept, StorageError> {
        if !self.disk.exists(&self.path)? {
            return Ok(Kept::Missing);
        }
        let file = self.disk.open(&self.path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        let filled = read_full(&*file, &mut bytes, 0)?;
        bytes.truncate(filled);
        let header_bytes = bytes.len().max(PREAMBLE_BYTES);
        Ok(match format::judge(self.magic, &bytes, header_bytes, &self.path)? {
            Preamble::Fields(content) => Kept::Content(content.to_vec()),
            Preamble::Torn => Kept::Damaged,
        })
    }

    /// Put `content` in the place of what there is. Once this returns it survives a power cut.
    ///
    /// # Errors
    /// The disk failed: the old content stands, or the new one.
    pub fn write(&self, content: &[u8]) -> Result<(), StorageError> {
        let mut tmp = self.path.clone().into_os_string();
        tmp.push(".tmp");
        let tmp = PathBuf::from(tmp);
        if self.disk.exists(&tmp)? {
            self.disk.remove(&tmp)?;
        }
        let file = self.disk.create(&tmp)?;
        file.write_at(&format::header(self.magic, content), 0)?;
        file.sync_data()?;
        self.disk.rename(&tmp, &self.path)?;
        self.disk.sync_dir(self.path.parent().unwrap_or(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::fake_disk::FakeDisk;

    fn kept(disk: &FakeDisk) -> KeptFile {
        disk.create_dir(Path::new("/data")).unwrap();
        KeptFile::new(Arc::new(disk.clone()), PathBuf::from("/data/wish"), b"NSQBEabc")
    }

    #[test]
    fn what_was_written_last_is_read_and_survives_a_power_cut() {
        let disk = FakeDisk::default();
        let file = kept(&disk);
        assert_eq!(file.read().unwrap(), Kept::Missing);
        for content in ["one", "", "a longer one"] {
            file.write(content.as_bytes()).unwrap();
            assert_eq!(file.read().unwrap(), Kept::Content(content.as_bytes().to_vec()));
        }
    }

    #[test]
    fn damage_is_told_from_a_file_of_others_and_from_one_of_a_later_version() {
        let disk = FakeDisk::default();
        let file = kept(&disk);
        file.write(b"content").unwrap();
        let handle = disk.open(file.path()).unwrap();
        handle.write_at(b"C", 16).unwrap();
        assert_eq!(file.read().unwrap(), Kept::Damaged);
        handle.set_len(5).unwrap();
        assert_eq!(file.read().unwrap(), Kept::Damaged, "cut off");
        handle.set_len(0).unwrap();
        handle.write_at(b"{\"json\": \"of somebody else\"}", 0).unwrap();
        assert_eq!(file.read().unwrap_err().kind, ErrorKind::Foreign);
    }
}
