//! Why a folder of stock NSQ is not imported, or ours is not exported: what is wrong with which file, and what to do.

use std::fmt;
use std::path::PathBuf;

use storage::StorageError;

/// Nothing of stock's was changed, whatever it is.
#[derive(Debug)]
pub(crate) enum StockError {
    /// The disk refused.
    Storage(StorageError),
    /// `nsqd.dat` cannot be read.
    Metadata {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is data of ours, and of a stock nsqd beside it.
    Both {
        /// The first file of stock's.
        path: PathBuf,
    },
    /// `nsqd.dat` says that the folder was imported, and our data is not there.
    Missing {
        /// The data folder.
        folder: PathBuf,
    },
    /// Something of ours is in the way that nothing is known of.
    InTheWay {
        /// What.
        path: PathBuf,
    },
    /// The import would not fit.
    NoSpace {
        /// Where.
        folder: PathBuf,
        /// Bytes needed at least.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Told to stop while importing.
    Stopped,
    /// There is nothing of ours to export.
    NotOurs {
        /// The data folder.
        folder: PathBuf,
    },
    /// There is something where an export would go.
    NotEmpty {
        /// Where.
        folder: PathBuf,
    },
    /// A folder is missing.
    NoFolder {
        /// Which.
        folder: PathBuf,
    },
}

impl From<StorageError> for StockError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl fmt::Display for StockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::Metadata { path, why } => write!(
                f,
                "{} is not the list of topics that a stock nsqd writes ({why}); nothing was changed: restore it from a \
                 backup, or move it away to import the topics and channels that have files, without their pauses",
                path.display()
            ),
            Self::Both { path } => write!(
                f,
                "{} was left by a stock nsqd that ran here after the import; nothing was changed: move its nsqd.dat \
                 and *.diskqueue.* files to a folder of their own",
                path.display()
            ),
            Self::Missing { folder } => write!(
                f,
                "nsqd.dat in {} says that its messages were imported, but the file nsqube that marks them is gone; \
                 nothing was changed: restore the folder, or start over with the files in its legacy folder",
                folder.display()
            ),
            Self::InTheWay { path } => write!(
                f,
                "{} is in the way of the import, and is not known to be ours; nothing was changed: move it away",
                path.display()
            ),
            Self::NoSpace { folder, needed, free } => write!(
                f,
                "importing needs at least {needed} bytes more in {}, and {free} are free; nothing was changed: free \
                 space or enlarge the volume (the old files are kept aside until you delete them)",
                folder.display()
            ),
            Self::Stopped => {
                f.write_str("stopped while importing; nothing was changed, the next start begins again")
            }
            Self::NotOurs { folder } => write!(
                f,
                "{} holds no messages of this nsqd; give --data-path the folder it runs on",
                folder.display()
            ),
            Self::NotEmpty { folder } => write!(
                f,
                "{} is not empty; give --to a folder that is empty or does not exist yet",
                folder.display()
            ),
            Self::NoFolder { folder } => write!(
                f,
                "there is no folder {}; check --data-path, and that its volume is mounted",
                folder.display()
            ),
        }
    }
}

impl std::error::Error for StockError {}
