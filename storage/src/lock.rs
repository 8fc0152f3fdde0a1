//! One process per data directory. The lock is the kernel's (flock): it is gone when the process is, however it
//! ended, so there is no lock file to clean up.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{ErrorKind, StorageError};

/// Holds a directory for this process until dropped.
#[derive(Debug)]
pub struct DirLock {
    _dir: File,
}

impl DirLock {
    /// Take the directory, which must exist.
    ///
    /// # Errors
    /// `Locked` when another process, or another part of this one, holds it: nothing was touched then.
    pub fn acquire(path: &Path) -> Result<Self, StorageError> {
        let dir = File::open(path).map_err(|e| StorageError::io(&e, "open", path))?;
        match dir.try_lock() {
            Ok(()) => Ok(Self { _dir: dir }),
            Err(TryLockError::WouldBlock) => Err(StorageError::new(ErrorKind::Locked, "lock", path)),
            Err(TryLockError::Error(e)) => Err(StorageError::io(&e, "lock", path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire(dir.path()).unwrap();
        let error = DirLock::acquire(dir.path()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Locked);
        let text = error.to_string();
        assert!(text.contains(&dir.path().display().to_string()), "{text}");
        assert!(text.contains("another nsqd") && text.contains("own data path"), "{text}");
        drop(first);
        DirLock::acquire(dir.path()).unwrap();
    }
}
