//! What is on disk: one append-only log of records per topic, and one journal of what the log's cursors have
//! finished. Records are bytes here and cursors are numbers: topics, channels and messages live in `queue`.
//!
//! A log at `buffered`: what `commit` took is with the kernel and survives a killed process; a power cut may take
//! what was not synced yet ([`Log::take_unsynced`]). No threads and no clock: the caller decides when to commit, flush and sync.

mod chunk;
mod directory;
mod disk;
mod error;
#[cfg(any(test, feature = "fake"))]
mod fake_disk;
mod format;
#[cfg(test)]
mod golden;
mod journal;
mod kept;
mod lock;
mod log;
#[cfg(test)]
mod proof;
mod quarantine;
mod record;
mod scan;
mod seeded;
mod segment;
mod whole;

pub use chunk::{Chunk, Read, Record};
pub use directory::{DataDir, decode_name, encode_name};
pub use disk::{DirEntry, Disk, File, RealDisk, Space, WholeDisk};
pub use error::{ErrorKind, StorageError};
#[cfg(any(test, feature = "fake"))]
pub use fake_disk::{FakeDisk, Fault, Moment};
pub use journal::{CursorState, Entry, Journal, JournalSync, Pending, RangeSet, State};
pub use kept::{Kept, KeptFile};
pub use lock::DirLock;
pub use log::{Log, LogOptions, LogStart, Position, Punch, Recovered, Unsynced};
pub use seeded::{Bug, is_planted};
pub use segment::SegmentReader;
