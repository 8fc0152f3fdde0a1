//! The seam between the storage and the file system: everything the crate asks of a disk, and the real one.
//! The disk of the tests, which fails on command, is `fake_disk`. No formats here.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::error::StorageError;
use crate::whole::RealWhole;

/// The unit of `st_blocks`, whatever the file system's own block is.
const STAT_BLOCK_BYTES: u64 = 512;

/// A file system, as far as the storage needs one. Every call may fail and is then safe to repeat or to give up.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Create a directory and its parents, mode 0700; fine if it exists.
    fn create_dir(&self, path: &Path) -> Result<(), StorageError>;
    /// What is in a directory, in no particular order.
    fn list(&self, path: &Path) -> Result<Vec<DirEntry>, StorageError>;
    /// Create a file that must not exist yet, mode 0600.
    fn create(&self, path: &Path) -> Result<Arc<dyn File>, StorageError>;
    /// Open an existing file for reading and writing.
    fn open(&self, path: &Path) -> Result<Arc<dyn File>, StorageError>;
    /// Remove a file; open handles of it stay readable.
    fn remove(&self, path: &Path) -> Result<(), StorageError>;
    /// Remove a directory and everything in it.
    fn remove_dir(&self, path: &Path) -> Result<(), StorageError>;
    /// Rename a file or directory; a file in the place of `to` is replaced.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError>;
    /// Make the names in a directory survive a power cut.
    fn sync_dir(&self, path: &Path) -> Result<(), StorageError>;
    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> Result<bool, StorageError>;
    /// How much room there is where `path` is.
    fn space(&self, path: &Path) -> Result<Space, StorageError>;
    /// The file system that `path` is on, to be synced with one call. `None`: files must be synced one by one.
    fn whole(&self, _path: &Path) -> Option<Arc<dyn WholeDisk>> {
        None
    }
}

/// All of one file system, whoever's files they are.
pub trait WholeDisk: Send + Sync + Debug {
    /// Make everything that was written before survive a power cut. A failure says that some file's content may be
    /// lost; whether it is one of ours its own sync tells.
    fn sync(&self) -> Result<(), StorageError>;
}

/// The room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// How much there is in all.
    pub total: u64,
    /// How much of it this process may still use.
    pub available: u64,
}

/// An open file. Reads and writes name their place, so one handle serves many threads.
pub trait File: Send + Sync + Debug {
    /// Read up to `buffer.len()` bytes; fewer than asked for may come back, 0 only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize, StorageError>;
    /// Write all bytes; after an error any part of them may be in the file.
    fn write_at(&self, bytes: &[u8], at: u64) -> Result<(), StorageError>;
    /// Make the content survive a power cut. A failure is final for the file: the kernel may have dropped the data.
    fn sync_data(&self) -> Result<(), StorageError>;
    /// The file's length in bytes.
    fn len(&self) -> Result<u64, StorageError>;
    /// Cut the file, or extend it with zeros.
    fn set_len(&self, bytes: u64) -> Result<(), StorageError>;
    /// Give the space of the bytes from `from` to `to` back: they read as zeros, the length stays.
    /// `Unsupported`: this file system has no holes.
    fn punch(&self, from: u64, to: u64) -> Result<(), StorageError>;
    /// Take the space of the bytes from `from` to `to` before they are written; the length stays. Only ever saves
    /// time: a disk that cannot do it does nothing.
    fn reserve(&self, _from: u64, _to: u64) -> Result<(), StorageError> {
        Ok(())
    }
    /// How many bytes of space the file takes, holes not counted.
    fn allocated_bytes(&self) -> Result<u64, StorageError>;
    /// Whether the file holds nothing.
    fn is_empty(&self) -> Result<bool, StorageError> {
        Ok(self.len()? == 0)
    }
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name without its directory; names that are not UTF-8 are never ours and are left out.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// The length of a file, 0 for a directory.
    pub bytes: u64,
}

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> Result<(), StorageError> {
        let result = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        result.map_err(|e| StorageError::io(&e, "create", path))
    }

    fn list(&self, path: &Path) -> Result<Vec<DirEntry>, StorageError> {
        let failed = |e: io::Error| StorageError::io(&e, "list", path);
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed between the listing and the question: as if it had never been listed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            let is_dir = metadata.is_dir();
            entries.push(DirEntry { name, is_dir, bytes: if is_dir { 0 } else { metadata.len() } });
        }
        Ok(entries)
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn File>, StorageError> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|e| StorageError::io(&e, "create", path))?;
        Ok(Arc::new(RealFile { file, path: path.to_path_buf() }))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>, StorageError> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|e| StorageError::io(&e, "open", path))?;
        Ok(Arc::new(RealFile { file, path: path.to_path_buf() }))
    }

    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        fs::remove_file(path).map_err(|e| StorageError::io(&e, "remove", path))
    }

    fn remove_dir(&self, path: &Path) -> Result<(), StorageError> {
        fs::remove_dir_all(path).map_err(|e| StorageError::io(&e, "remove", path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        fs::rename(from, to).map_err(|e| StorageError::io(&e, "rename", from))
    }

    fn sync_dir(&self, path: &Path) -> Result<(), StorageError> {
        let result = fs::File::open(path).and_then(|dir| dir.sync_all());
        result.map_err(|e| StorageError::io(&e, "sync", path))
    }

    fn exists(&self, path: &Path) -> Result<bool, StorageError> {
        path.try_exists().map_err(|e| StorageError::io(&e, "look for", path))
    }

    fn space(&self, path: &Path) -> Result<Space, StorageError> {
        let found = rustix::fs::statvfs(path).map_err(|e| StorageError::io(&e.into(), "measure", path))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space { total: bytes(found.f_blocks), available: bytes(found.f_bavail) })
    }

    fn whole(&self, path: &Path) -> Option<Arc<dyn WholeDisk>> {
        Some(Arc::new(RealWhole::open(path)?))
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

impl RealFile {
    fn failed(&self, operation: &'static str) -> impl Fn(io::Error) -> StorageError {
        move |e| StorageError::io(&e, operation, &self.path)
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize, StorageError> {
        loop {
            match self.file.read_at(buffer, at) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(self.failed("read")),
            }
        }
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<(), StorageError> {
        self.file.write_all_at(bytes, at).map_err(self.failed("write"))
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(self.failed("sync"))
    }

    fn len(&self) -> Result<u64, StorageError> {
        self.file.metadata().map(|m| m.len()).map_err(self.failed("measure"))
    }

    fn set_len(&self, bytes: u64) -> Result<(), StorageError> {
        self.file.set_len(bytes).map_err(self.failed("cut"))
    }

    fn punch(&self, from: u64, to: u64) -> Result<(), StorageError> {
        let length = to.saturating_sub(from);
        if length == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        loop {
            match rustix::fs::fallocate(&self.file, flags, from, length) {
                Err(Errno::INTR) => {}
                other => return other.map_err(|e| self.failed("free a part of")(e.into())),
            }
        }
    }

    fn reserve(&self, from: u64, to: u64) -> Result<(), StorageError> {
        let length = to.saturating_sub(from);
        if length == 0 {
            return Ok(());
        }
        let result = rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, from, length);
        result.map_err(|e| self.failed("reserve a part of")(e.into()))
    }

    fn allocated_bytes(&self) -> Result<u64, StorageError> {
        let metadata = self.file.metadata().map_err(self.failed("measure"))?;
        Ok(metadata.blocks().saturating_mul(STAT_BLOCK_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn reserved_space_is_taken_and_the_length_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("f")).unwrap();
        file.write_at(b"abc", 0).unwrap();
        // Not every file system can; one that can takes the space at once.
        if file.reserve(3, 1 << 20).is_ok() {
            assert!(file.allocated_bytes().unwrap() >= 1 << 20);
        }
        assert_eq!(file.len().unwrap(), 3);
    }

    #[test]
    fn files_and_directories_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        RealDisk.create_dir(&inner).unwrap();
        RealDisk.create(&inner.join("f")).unwrap().write_at(b"xyz", 2).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&inner), 0o700);
        assert_eq!(mode(&inner.join("f")), 0o600);
        assert_eq!(fs::read(inner.join("f")).unwrap(), b"\0\0xyz");
        let listed = RealDisk.list(&inner).unwrap();
        assert_eq!(listed, [DirEntry { name: "f".into(), is_dir: false, bytes: 5 }]);
    }

    #[test]
    fn a_punched_hole_reads_as_zeros_and_takes_no_space() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("f")).unwrap();
        file.write_at(&[7; 65536], 0).unwrap();
        file.sync_data().unwrap();
        let before = file.allocated_bytes().unwrap();
        file.punch(5, 5).unwrap();
        match file.punch(4096, 61440) {
            Err(error) => return assert_eq!(error.kind, ErrorKind::Unsupported, "{error}"),
            Ok(()) => file.sync_data().unwrap(),
        }
        let mut bytes = [1; 65536];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 65536);
        assert!(bytes[4096..61440].iter().all(|byte| *byte == 0));
        assert!(bytes[..4096].iter().chain(&bytes[61440..]).all(|byte| *byte == 7));
        assert!(file.allocated_bytes().unwrap() + 40_000 < before, "{before} bytes before");
    }

    #[test]
    fn what_fails_names_its_file_and_what_was_tried() {
        let dir = tempfile::tempdir().unwrap();
        let (never, file) = (dir.path().join("never/x"), dir.path().join("file"));
        RealDisk.create(&file).unwrap();
        let failures = [
            RealDisk.list(&never).map(drop),
            RealDisk.create(&never).map(drop),
            RealDisk.remove(&never),
            RealDisk.remove_dir(&never),
            RealDisk.rename(&never, &file),
            RealDisk.sync_dir(&never),
            RealDisk.open(&never).map(drop),
        ];
        for failure in failures {
            let error = failure.unwrap_err();
            assert!(error.is_missing() && error.path == never, "{error}");
            assert!(error.to_string().contains("could not") && !error.is_passing(), "{error}");
        }
        let inside = RealDisk.create_dir(&file.join("x")).unwrap_err();
        assert_eq!(inside.kind, ErrorKind::Io(io::ErrorKind::NotADirectory));
        let folder = RealDisk.open(dir.path()).unwrap_err();
        assert_eq!(folder.kind, ErrorKind::Io(io::ErrorKind::IsADirectory));
        assert!(folder.to_string().contains("move it away"), "{folder}");
    }

    #[test]
    fn names_come_and_go_on_the_real_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let file = RealDisk.create(&from).unwrap();
        file.write_at(b"abcdef", 0).unwrap();
        file.set_len(3).unwrap();
        assert!(!file.is_empty().unwrap());
        RealDisk.rename(&from, &to).unwrap();
        RealDisk.sync_dir(dir.path()).unwrap();
        assert!(!RealDisk.exists(&from).unwrap() && RealDisk.exists(&to).unwrap());
        let mut bytes = [0; 9];
        assert_eq!(RealDisk.open(&to).unwrap().read_at(&mut bytes, 1).unwrap(), 2);
        assert_eq!(&bytes[..2], b"bc");
        RealDisk.remove(&to).unwrap();
        RealDisk.create_dir(&from.join("deep")).unwrap();
        RealDisk.remove_dir(&from).unwrap();
        assert!(RealDisk.list(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn the_space_of_a_disk_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let space = RealDisk.space(dir.path()).unwrap();
        assert!(space.total > 0 && space.available <= space.total, "{space:?}");
        assert!(RealDisk.space(&dir.path().join("never")).unwrap_err().is_missing());
    }

    #[test]
    fn creating_over_an_existing_file_is_refused_and_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("once");
        RealDisk.create(&path).unwrap();
        let error = RealDisk.create(&path).unwrap_err();
        assert_eq!(error.path, path);
        assert!(RealDisk.open(&dir.path().join("never")).unwrap_err().is_missing());
    }
}
