//! Taking disk space for the file that is written to before its records come. A file that grows write by write asks
//! the file system for every block of every write; one that has its blocks already is written for a tenth less CPU
//! time (MPUB of 200 x 100 B on ext4, A B A B). Nothing depends on it: a disk that cannot do it is written to all the
//! same.

use crate::disk::File;

/// Smaller files get nothing: most topics are small, and there may be ten thousand of them.
const FILE_BYTES_MIN: u64 = 1 << 20;
/// What is taken is a quarter of what the file holds, so that a slow topic does not sit on space it will not need soon.
const SHARE: u64 = 4;
const AHEAD_BYTES_MAX: u64 = 8 << 20;

/// How far the space of one file is taken.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Where its segment begins in the log; another file begins anew.
    base: u64,
    until: u64,
}

impl Ahead {
    /// Before a write that ends at `end` of the file whose segment begins at `base`. Never more than up to `limit`,
    /// where the file is full: what nobody will write to would never be given back.
    pub(crate) fn reserve(&mut self, file: &dyn File, base: u64, end: u64, limit: u64) {
        if self.base != base {
            *self = Self { base, until: 0 };
        }
        if end < FILE_BYTES_MIN || end <= self.until || end >= limit {
            return;
        }
        let until = (end + (end / SHARE).min(AHEAD_BYTES_MAX)).min(limit);
        // A full disk is told by the write itself, if it comes to that. Not asked again before this much is written.
        let _ = file.reserve(self.until.max(end), until);
        self.until = until;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::error::StorageError;

    #[derive(Debug, Default)]
    struct Asked(Mutex<Vec<(u64, u64)>>);

    impl File for Asked {
        fn reserve(&self, from: u64, to: u64) -> Result<(), StorageError> {
            self.0.lock().unwrap().push((from, to));
            Ok(())
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize, StorageError> {
            unreachable!("nothing is read")
        }
        fn write_at(&self, _: &[u8], _: u64) -> Result<(), StorageError> {
            unreachable!("nothing is written")
        }
        fn sync_data(&self) -> Result<(), StorageError> {
            unreachable!("nothing is synced")
        }
        fn len(&self) -> Result<u64, StorageError> {
            unreachable!("nobody measures")
        }
        fn set_len(&self, _: u64) -> Result<(), StorageError> {
            unreachable!("nothing is cut")
        }
        fn punch(&self, _: u64, _: u64) -> Result<(), StorageError> {
            unreachable!("nothing is freed")
        }
        fn allocated_bytes(&self) -> Result<u64, StorageError> {
            unreachable!("nobody measures")
        }
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn small_files_take_nothing_and_large_ones_a_quarter_ahead_up_to_where_they_are_full() {
        let (mut ahead, file) = (Ahead::default(), Asked::default());
        for end in [1000, MIB - 1, 4 * MIB, 4 * MIB + 1, 5 * MIB, 5 * MIB + 4, 90 * MIB, 96 * MIB, 99 * MIB] {
            ahead.reserve(&file, 7, end, 100 * MIB);
        }
        ahead.reserve(&file, 7, 101 * MIB, 100 * MIB);
        let quarter = 5 * MIB + 4 + MIB + MIB / 4 + 1;
        let asked = [(4 * MIB, 5 * MIB), (5 * MIB + 4, quarter), (90 * MIB, 98 * MIB), (99 * MIB, 100 * MIB)];
        assert_eq!(*file.0.lock().unwrap(), asked);
    }

    #[test]
    fn the_next_segment_begins_anew() {
        let (mut ahead, file) = (Ahead::default(), Asked::default());
        ahead.reserve(&file, 0, 90 * MIB, 100 * MIB);
        ahead.reserve(&file, 100 * MIB, 2 * MIB, 100 * MIB);
        assert_eq!(file.0.lock().unwrap()[1], (2 * MIB, 2 * MIB + MIB / 2));
    }
}
