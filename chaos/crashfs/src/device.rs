//! The disk with its power switch, the errors it was told to give, and its counters. Still a value: who waits for
//! a slow sync, and who speaks FUSE, is in `shell`.

use rustix::io::Errno;

use crate::state::{Disk, Ino, Mode};

/// A disk that can be cut, healed and made to fail.
#[derive(Debug)]
pub struct Device {
    disk: Disk,
    is_on: bool,
    life: u64,
    sync_fault: SyncFault,
    write_fault: Option<(u64, Errno)>,
    counted: Stats,
}

/// Which syncs fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncFault {
    /// No more than real ones do.
    None,
    /// The n-th from now, 1 being the next; the later ones work again.
    Nth(u64),
    /// Every one from now on.
    All,
}

/// What happened since the start, and how full the disk is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Operations that were asked for.
    pub operations: u64,
    /// Writes that were done, and their bytes.
    pub writes: u64,
    /// Bytes of them.
    pub written_bytes: u64,
    /// Writes that failed because they were told to.
    pub failed_writes: u64,
    /// Syncs of files and directories that were done.
    pub syncs: u64,
    /// Syncs that failed because they were told to.
    pub failed_syncs: u64,
    /// Power cuts.
    pub cuts: u64,
    /// What the files take now.
    pub used_bytes: u64,
    /// What a cut would take now.
    pub unsynced_bytes: u64,
    /// Changes of names that a cut would take now.
    pub unsynced_names: u64,
}

/// A sync on its way.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Sync {
    ino: Ino,
    covers: u64,
    life: u64,
    is_failing: bool,
}

impl Sync {
    /// Whether the device was told to fail it.
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }
}

impl Device {
    /// Switched on and without faults.
    pub fn new(disk: Disk) -> Self {
        Self {
            disk,
            is_on: true,
            life: 1,
            sync_fault: SyncFault::None,
            write_fault: None,
            counted: Stats::default(),
        }
    }

    /// Which life this is, counted by cuts. What was opened in an earlier one is dead.
    pub fn life(&self) -> u64 {
        self.life
    }

    /// Do one operation; with `life`, on something that was opened in that life.
    ///
    /// # Errors
    /// EIO without power or from another life; otherwise what the operation says.
    pub fn serve<R>(
        &mut self,
        life: Option<u64>,
        operation: impl FnOnce(&mut Disk) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.counted.operations += 1;
        if !self.is_on || life.is_some_and(|life| life != self.life) {
            return Err(Errno::IO);
        }
        operation(&mut self.disk)
    }

    /// Write to what was opened in `life`; says how many bytes fitted.
    ///
    /// # Errors
    /// As [`Disk::write`] and [`Self::serve`], and what it was told to give.
    pub fn write(&mut self, life: u64, ino: Ino, at: u64, bytes: &[u8]) -> Result<usize, Errno> {
        match &mut self.write_fault {
            Some((1, errno)) => {
                let errno = *errno;
                self.write_fault = None;
                self.counted.failed_writes += 1;
                return Err(errno);
            }
            Some((left, _)) => *left = left.saturating_sub(1),
            None => {}
        }
        let written = self.serve(Some(life), |disk| disk.write(ino, at, bytes))?;
        self.counted.writes += 1;
        self.counted.written_bytes += written as u64;
        Ok(written)
    }

    /// Begin to sync a file or directory that was opened in `life`.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub fn begin_sync(&mut self, life: u64, ino: Ino) -> Result<Sync, Errno> {
        let covers = self.serve(Some(life), |disk| disk.begin_sync(ino))?;
        let is_failing = match &mut self.sync_fault {
            SyncFault::None => false,
            SyncFault::All => true,
            SyncFault::Nth(left) if *left > 1 => {
                *left -= 1;
                false
            }
            SyncFault::Nth(_) => {
                self.sync_fault = SyncFault::None;
                true
            }
        };
        Ok(Sync { ino, covers, life, is_failing })
    }

    /// The sync is through: only now is anything durable.
    ///
    /// # Errors
    /// EIO when it was told to fail, or when the power went in between.
    pub fn end_sync(&mut self, sync: Sync) -> Result<(), Errno> {
        if !self.is_on || sync.life != self.life {
            return Err(Errno::IO);
        }
        // The file may have been removed and forgotten while it was synced; that is no error.
        self.disk.end_sync(sync.ino, sync.covers, sync.is_failing).ok();
        if sync.is_failing {
            self.counted.failed_syncs += 1;
            return Err(Errno::IO);
        }
        self.counted.syncs += 1;
        Ok(())
    }

    /// Cut the power: everything fails with EIO until [`Self::heal`].
    pub fn cut(&mut self, mode: Mode, seed: u64) {
        if !self.is_on {
            return;
        }
        self.is_on = false;
        self.life += 1;
        self.counted.cuts += 1;
        self.disk.cut(mode, seed);
    }

    /// Power again, on a disk without faults that holds what the cut has left.
    pub fn heal(&mut self) {
        self.is_on = true;
        self.sync_fault = SyncFault::None;
        self.write_fault = None;
    }

    /// Which syncs shall fail, files' and directories' alike.
    pub fn fail_sync(&mut self, fault: SyncFault) {
        self.sync_fault = fault;
    }

    /// Make the n-th write from now fail, once; 1 is the next.
    pub fn fail_write(&mut self, nth: u64, errno: Errno) {
        self.write_fault = Some((nth.max(1), errno));
    }

    /// The disk, to set its size and to look at it.
    pub fn disk(&mut self) -> &mut Disk {
        &mut self.disk
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let (unsynced_bytes, unsynced_names) = self.disk.unsynced();
        Stats { used_bytes: self.disk.used_bytes(), unsynced_bytes, unsynced_names, ..self.counted }
    }
}
