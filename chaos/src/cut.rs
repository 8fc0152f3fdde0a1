//! Power cuts: nsqd on a file system that forgets, tears and reorders what was not synced. What may be lost hangs on the
//! level: nothing at fsync; at buffered what is younger than the sync that runs behind.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use crashfs::{Mode, Mounted, NameRule, Options};

use crate::chance::Chance;
use crate::check::Rules;
use crate::diary::Clock;
use crate::fault::{Fault, Struck};
use crate::nsqd::Nsqd;
use crate::place;

/// The contract at buffered: how far syncs are behind.
const SYNC_BEHIND: Duration = Duration::from_millis(200);
/// The contract at fsync: how far syncs of FINs are behind.
const FINISH_BEHIND: Duration = Duration::from_millis(50);
/// The power goes.
#[derive(Debug)]
pub struct Cut {
    is_fsync: bool,
    options: Options,
    slack: Duration,
    disk: Option<Mounted>,
    /// From the cut until nsqd was dead.
    dying_max: Duration,
}

impl Cut {
    /// For nsqd at this level, which is buffered unless said otherwise. `slack` is how late timers and threads of a busy
    /// machine may be; at fsync it excuses nothing that was acknowledged.
    pub fn new(durability: Option<&str>, options: Options, slack: Duration) -> Self {
        Self { is_fsync: durability == Some("fsync"), options, slack, disk: None, dying_max: Duration::ZERO }
    }

    /// The disk.
    ///
    /// # Errors
    /// It is not mounted yet.
    pub fn disk(&self) -> Result<&Mounted> {
        self.disk.as_ref().context("the disk is not mounted")
    }

    /// Save what is on the disk, after a failure. Gives where.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn keep(&self) -> Result<PathBuf> {
        let disk = self.disk()?;
        disk.heal();
        place::keep(disk.path())
    }

    /// Cut the power in this way.
    ///
    /// # Errors
    /// The disk is not mounted.
    pub fn cut(&mut self, nsqd: &mut Nsqd, clock: Clock, mode: Mode, seed: u64) -> Result<Struck> {
        let began = Instant::now();
        self.disk()?.cut(mode, seed);
        nsqd.kill();
        self.dying_max = self.dying_max.max(began.elapsed());
        // Not the cut's own time: answers that were on their way may be noted until the process is dead.
        Ok(Struck::Crashed { at: clock.now() })
    }

    /// Whether names need the sync of their directory.
    pub fn is_strict(&self) -> bool {
        self.options.names == NameRule::Strict
    }

    fn sync_max(&self) -> Duration {
        self.disk.as_ref().map(Mounted::longest_sync).unwrap_or_default()
    }
}

impl Fault for Cut {
    fn name(&self) -> &'static str {
        if self.is_strict() { "cut" } else { "cut --journal" }
    }

    fn rules(&self) -> Rules {
        let late = self.sync_max() + self.dying_max + self.slack;
        let (loss_window, finish_window, barrier_window) = if self.is_fsync {
            (Duration::ZERO, FINISH_BEHIND + late, Duration::ZERO)
        } else {
            (SYNC_BEHIND + late, SYNC_BEHIND + late, SYNC_BEHIND + late)
        };
        // At fsync nothing is delivered before it is synced, and nothing again before the journal says so. At buffered
        // counted attempts are in the journal with the FINs, and as far behind; and a consumer may have seen what the cut
        // then takes.
        let is_fsync = loss_window.is_zero();
        let requeue_window = if is_fsync { Duration::ZERO } else { finish_window };
        let unacked_window = if is_fsync { Duration::ZERO } else { late };
        Rules {
            loss_window,
            unacked_window,
            finish_window,
            requeue_window,
            barrier_window,
            ..Rules::default()
        }
    }

    fn prepare(&mut self, _folder: &Path) -> Result<PathBuf> {
        let place = place::to_mount_on()?;
        self.disk = Some(Mounted::start(&place, self.options)?);
        Ok(place)
    }

    fn strike(&mut self, nsqd: &mut Nsqd, clock: Clock, chance: &mut Chance) -> Result<Struck> {
        let mode = match chance.between(0, 10) {
            0..3 => Mode::None,
            3..7 => Mode::Random,
            7..9 => Mode::Ordered,
            _ => Mode::All,
        };
        let seed = chance.next();
        self.cut(nsqd, clock, mode, seed)
    }

    fn heal(&mut self) -> Result<()> {
        self.disk()?.heal();
        Ok(())
    }

    fn settled_after(&self) -> Duration {
        self.rules().finish_window
    }
}
