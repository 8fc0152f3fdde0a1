//! The seam: what a fault is. The rounds, the load and the checker are the same for all of them. Here are the two that
//! need nothing but the process: kill -9 and SIGTERM.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::chance::Chance;
use crate::check::Rules;
use crate::diary::Clock;
use crate::nsqd::Nsqd;

/// G14: SIGTERM to the end of the process.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A kind of fault, struck once in each cycle while nsqd serves under load.
pub trait Fault {
    /// As the ledger names it.
    fn name(&self) -> &'static str;

    /// What the contract allows around it.
    fn rules(&self) -> Rules {
        Rules::default()
    }

    /// Prepare nsqd's data folder; gives where it is. `folder` is the run's own and empty.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    fn prepare(&mut self, folder: &Path) -> Result<PathBuf> {
        Ok(folder.join("data"))
    }

    /// Flags nsqd starts with, beside addresses and data path.
    fn flags(&self) -> Vec<String> {
        Vec::new()
    }

    /// How long the load runs before the fault strikes.
    fn instant(&self, chance: &mut Chance) -> Duration {
        Duration::from_micros(chance.between(0, 2_000_000))
    }

    /// Before a cycle's load is let run.
    ///
    /// # Errors
    /// The run ends.
    fn before(&mut self, _nsqd: &mut Nsqd, _chance: &mut Chance) -> Result<()> {
        Ok(())
    }

    /// Do it.
    ///
    /// # Errors
    /// The run ends.
    fn strike(&mut self, nsqd: &mut Nsqd, clock: Clock, chance: &mut Chance) -> Result<Struck>;

    /// Undo it, before nsqd is started again if it ended.
    ///
    /// # Errors
    /// The run ends.
    fn heal(&mut self) -> Result<()> {
        Ok(())
    }

    /// After nsqd serves again.
    ///
    /// # Errors
    /// The run ends.
    fn after(&mut self, _nsqd: &mut Nsqd) -> Result<()> {
        Ok(())
    }

    /// How long after the last FIN of a round nothing of it can come back any more.
    fn settled_after(&self) -> Duration {
        Duration::ZERO
    }
}

/// What a fault came to. The process has ended and is reaped, unless it is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Struck {
    /// It was killed or the power went, at this time of the clock: nothing after it was done.
    Crashed {
        /// When.
        at: u64,
    },
    /// It was asked to end at this time, and did in order.
    Stopped {
        /// When.
        at: u64,
    },
    /// It goes on.
    Alive,
}

/// kill -9.
#[derive(Debug, Default)]
pub struct Kill;

impl Fault for Kill {
    fn name(&self) -> &'static str {
        "kill"
    }

    fn strike(&mut self, nsqd: &mut Nsqd, clock: Clock, _chance: &mut Chance) -> Result<Struck> {
        let at = clock.now();
        nsqd.kill();
        Ok(Struck::Crashed { at })
    }
}

/// SIGTERM: nothing processed may be undone, and it must not take long.
#[derive(Debug, Default)]
pub struct Stop;

impl Fault for Stop {
    fn name(&self) -> &'static str {
        "stop"
    }

    fn strike(&mut self, nsqd: &mut Nsqd, clock: Clock, _chance: &mut Chance) -> Result<Struck> {
        let at = clock.now();
        nsqd.terminate()?;
        match nsqd.ended_within(STOP_LIMIT)? {
            Some(status) if status.success() => Ok(Struck::Stopped { at }),
            Some(status) => bail!("nsqd ended with {status} after SIGTERM:\n{}", nsqd.log_tail()),
            None => bail!("nsqd still runs {} s after SIGTERM:\n{}", STOP_LIMIT.as_secs(), nsqd.log_tail()),
        }
    }
}

/// No fault at all: what is delivered twice then has no excuse.
#[derive(Debug, Default)]
pub struct Calm;

impl Fault for Calm {
    fn name(&self) -> &'static str {
        "calm"
    }

    fn strike(&mut self, _nsqd: &mut Nsqd, _clock: Clock, _chance: &mut Chance) -> Result<Struck> {
        Ok(Struck::Alive)
    }
}
