//! What can go wrong with the disk, by what the caller can do about it. Damage that recovery steps over is not an
//! error: it is counted in `Recovered` and reported by `Read::Damaged`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failed operation of the storage: what failed, on which file, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageError {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// What was tried, as it reads behind "could not": `write`, `open`, `rename`.
    pub operation: &'static str,
    /// The file or directory it was tried on.
    pub path: PathBuf,
    /// What the system said, empty where `kind` says everything.
    pub detail: String,
}

/// Why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No space, or the quota is used up: what is stored is safe, writing can go on when there is space again.
    Full,
    /// No file descriptors are left: what is stored is safe, and they come back.
    Exhausted,
    /// The system refused for another reason.
    Io(io::ErrorKind),
    /// Written by a later version: nothing was touched.
    Newer {
        /// The version in the file.
        found: u32,
        /// The newest version this program reads.
        known: u32,
    },
    /// The file is not ours: nothing was touched.
    Foreign,
    /// The directory belongs to a stock nsqd: nothing was touched.
    Stock,
    /// The directory belongs to another; `detail` says to whom. Nothing was touched.
    Identity,
    /// Another process holds the directory.
    Locked,
    /// The name cannot be a folder.
    Name,
    /// The file system cannot do this at all: nothing was touched, and trying again is of no use.
    Unsupported,
}

/// `EMFILE`, of the process, and `ENFILE`, of the system; the standard library has no kind for them.
const OUT_OF_FILES: [i32; 2] = [24, 23];

impl StorageError {
    pub(crate) fn new(kind: ErrorKind, operation: &'static str, path: &Path) -> Self {
        Self { kind, operation, path: path.to_path_buf(), detail: String::new() }
    }

    pub(crate) fn io(error: &io::Error, operation: &'static str, path: &Path) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            _ if error.raw_os_error().is_some_and(|code| OUT_OF_FILES.contains(&code)) => {
                ErrorKind::Exhausted
            }
            other => ErrorKind::Io(other),
        };
        Self { kind, operation, path: path.to_path_buf(), detail: error.to_string() }
    }

    pub(crate) fn belongs_to(owner: &str, path: &Path) -> Self {
        Self { detail: owner.to_owned(), ..Self::new(ErrorKind::Identity, "use", path) }
    }

    /// Whether the disk or its quota is full: the one error after which waiting helps.
    pub fn is_full(&self) -> bool {
        self.kind == ErrorKind::Full
    }

    /// Whether waiting can help: the disk is full or file descriptors ran out.
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, ErrorKind::Full | ErrorKind::Exhausted)
    }

    /// Whether the file system cannot do that at all.
    pub fn is_unsupported(&self) -> bool {
        self.kind == ErrorKind::Unsupported
    }

    /// Whether the file or directory does not exist.
    pub fn is_missing(&self) -> bool {
        self.kind == ErrorKind::Io(io::ErrorKind::NotFound)
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} {}: ", self.operation, self.path.display())?;
        match self.kind {
            ErrorKind::Exhausted => f.write_str("no file descriptors are left; raise the limit (ulimit -n)"),
            ErrorKind::Full => {
                f.write_str("the disk is full; free space or enlarge the volume, publishing resumes by itself")
            }
            ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
                write!(f, "{}; give this process read and write access to it", self.detail)
            }
            ErrorKind::Io(io::ErrorKind::NotFound) => write!(f, "{}; it may have been removed", self.detail),
            ErrorKind::Io(io::ErrorKind::IsADirectory) => {
                f.write_str("a folder stands where a file of ours belongs; move it away")
            }
            ErrorKind::Io(io::ErrorKind::NotADirectory) => {
                f.write_str("a file stands where a folder of ours belongs; move it away, or put the folder back")
            }
            ErrorKind::Identity => write!(
                f,
                "the data belongs to {}; nothing was changed, mount its own volume here or choose another data path",
                self.detail
            ),
            ErrorKind::Io(_) => write!(f, "{}; check the disk and the system log", self.detail),
            ErrorKind::Newer { found, known } => write!(
                f,
                "it was written in format {found} by a later version, this one reads up to {known}; \
                 nothing was changed, start the later version again"
            ),
            ErrorKind::Foreign => {
                f.write_str("it was not written by this program; nothing was changed, move it away or choose another data path")
            }
            ErrorKind::Stock => f.write_str(
                "the directory holds the data of a stock nsqd; nothing was changed, import it first \
                 (nsqd import) or choose an empty data path",
            ),
            ErrorKind::Locked => f.write_str(
                "another nsqd is running on this directory; stop it, or give this one its own data path",
            ),
            ErrorKind::Unsupported => {
                f.write_str("this file system cannot do it; choose a data path on ext4, xfs, btrfs or tmpfs")
            }
            ErrorKind::Name => f.write_str("the name is empty or too long for a folder"),
        }
    }
}

impl std::error::Error for StorageError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_tells_what_failed_on_what_why_and_what_to_do() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = StorageError::io(&full, "write", Path::new("/data/topics/a/journal"));
        assert!(error.is_full());
        assert_eq!(
            error.to_string(),
            "could not write /data/topics/a/journal: the disk is full; free space or enlarge the volume, \
             publishing resumes by itself"
        );
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let path = Path::new("/data/x");
        let texts = [
            (StorageError::new(ErrorKind::Exhausted, "open", path), "ulimit -n"),
            (
                StorageError::new(ErrorKind::Io(io::ErrorKind::PermissionDenied), "open", path),
                "read and write access",
            ),
            (
                StorageError::new(ErrorKind::Io(io::ErrorKind::NotFound), "open", path),
                "may have been removed",
            ),
            (
                StorageError::new(ErrorKind::Io(io::ErrorKind::NotADirectory), "list", path),
                "put the folder back",
            ),
            (StorageError::new(ErrorKind::Foreign, "open", path), "move it away"),
            (StorageError::new(ErrorKind::Locked, "lock", path), "another nsqd"),
            (StorageError::new(ErrorKind::Name, "create", path), "empty or too long"),
            (StorageError::new(ErrorKind::Unsupported, "free a part of", path), "choose a data path"),
            (StorageError::belongs_to("prod/a", path), "prod/a"),
        ];
        for (error, expected) in texts {
            let text = error.to_string();
            assert!(text.contains("/data/x"), "{text}");
            assert!(text.contains(expected), "{text}");
        }
        let exhausted = StorageError::io(&io::Error::from_raw_os_error(24), "open", path);
        assert!(exhausted.is_passing() && !exhausted.is_full());
    }

    #[test]
    fn other_failures_are_not_taken_for_a_full_disk() {
        let error = StorageError::io(&io::Error::from_raw_os_error(5), "sync", Path::new("a.log"));
        assert!(!error.is_full());
        assert!(error.to_string().contains("check the disk"), "{error}");
        let newer = StorageError::new(ErrorKind::Newer { found: 9, known: 1 }, "open", Path::new("a.log"));
        assert!(newer.to_string().contains("format 9"), "{newer}");
    }
}
