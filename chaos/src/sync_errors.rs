//! Syncs that fail. nsqd must say OK to nothing that such a sync should have covered, and end: what the kernel does with
//! the pages is not known. Power cuts in between take what was only believed to be written.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use crashfs::{Mode, Options, SyncFault};

use crate::chance::Chance;
use crate::check::Rules;
use crate::cut::Cut;
use crate::diary::Clock;
use crate::fault::{Fault, Struck};
use crate::nsqd::Nsqd;

/// Under load, something is synced within this at any level.
const SYNC_LIMIT: Duration = Duration::from_secs(3);
/// R5: from the failed sync to the end of the process.
const END_LIMIT: Duration = Duration::from_secs(2);

/// EIO from fsync, once or from then on.
#[derive(Debug)]
pub struct SyncErrors {
    disk: Cut,
    is_fsync: bool,
    /// The next strike is a cut: it shows what the start after the last error has left to luck.
    cut_next: bool,
}

impl SyncErrors {
    /// As [`Cut::new`].
    pub fn new(durability: Option<&str>, options: Options, slack: Duration) -> Self {
        Self {
            disk: Cut::new(durability, options, slack),
            is_fsync: durability == Some("fsync"),
            cut_next: false,
        }
    }

    /// Save what is on the disk, after a failure. Gives where.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn keep(&self) -> Result<PathBuf> {
        self.disk.keep()
    }

    fn fail(&self, nsqd: &mut Nsqd, chance: &mut Chance) -> Result<()> {
        let fault = if chance.happens(500) { SyncFault::All } else { SyncFault::Nth(chance.between(1, 5)) };
        let disk = self.disk.disk()?;
        disk.fail_sync(fault);
        let Some(failed) = disk.failed_sync(SYNC_LIMIT) else {
            bail!("nsqd synced nothing within {} s under load", SYNC_LIMIT.as_secs());
        };
        let left = (failed + END_LIMIT).saturating_duration_since(Instant::now());
        match nsqd.ended_within(left)? {
            Some(status) if status.success() => {
                bail!("nsqd ended in order after a failed sync: its code must tell\n{}", nsqd.log_tail())
            }
            Some(_) => Ok(()),
            None => bail!(
                "nsqd still runs {} s after a failed sync ({fault:?})\n{}",
                END_LIMIT.as_secs(),
                nsqd.log_tail()
            ),
        }
    }
}

impl Fault for SyncErrors {
    fn name(&self) -> &'static str {
        if self.disk.is_strict() { "sync-errors" } else { "sync-errors --journal" }
    }

    fn rules(&self) -> Rules {
        self.disk.rules()
    }

    fn prepare(&mut self, folder: &Path) -> Result<PathBuf> {
        self.disk.prepare(folder)
    }

    fn instant(&self, chance: &mut Chance) -> Duration {
        Duration::from_micros(chance.between(200_000, 2_000_000))
    }

    fn strike(&mut self, nsqd: &mut Nsqd, clock: Clock, chance: &mut Chance) -> Result<Struck> {
        let seed = chance.next();
        if std::mem::take(&mut self.cut_next) {
            return self.disk.cut(nsqd, clock, Mode::None, seed);
        }
        self.fail(nsqd, chance)?;
        self.cut_next = chance.happens(500);
        if self.is_fsync && chance.happens(500) {
            // Whatever was answered with OK without a sync that worked is gone now.
            return self.disk.cut(nsqd, clock, Mode::None, seed);
        }
        Ok(Struck::Crashed { at: clock.now() })
    }

    fn heal(&mut self) -> Result<()> {
        self.disk.heal()
    }

    fn settled_after(&self) -> Duration {
        self.disk.settled_after()
    }
}
