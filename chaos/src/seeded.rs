//! The harness on trial: nsqd with one planted bug at a time, under the fault that must find it. A bug counts as found only
//! by a rule that it breaks; anything else that goes wrong meanwhile proves nothing.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use crashfs::Options;
use storage::Bug;

use crate::check::Rule;
use crate::cut::Cut;
use crate::fault::Kill;
use crate::folder::Folder;
use crate::made::Made;
use crate::rot;
use crate::run::{Outcome, Plan, run};
use crate::sync_errors::SyncErrors;

/// The variable that wakes a bug, in an nsqd built with the feature `seeded-bugs`.
const VARIABLE: &str = "NSQUBE_SEEDED_BUG";
/// What a sync takes on a disk; at none at all, what is synced too late is hardly ever late.
const SYNC_DELAY: Duration = Duration::from_millis(5);
/// Timers of a busy machine.
const SLACK: Duration = Duration::from_millis(200);

/// A bug, and what must find it.
struct Trial {
    bug: Bug,
    fault: Under,
    rules: &'static [Rule],
}

/// Faults, with the load that lets the bug show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    Kill,
    Made,
    /// Power cuts, at this level, with segments of so many bytes.
    Cut(&'static str, u64),
    SyncErrors,
    Rot,
}

/// How one trial ended.
#[derive(Debug, Clone)]
pub struct Found {
    bug: Bug,
    fault: String,
    cycles: u64,
    time: Duration,
    /// Which rules told; none: it was not found.
    by: Vec<String>,
    /// Why it was not looked for.
    skipped: Option<String>,
}

impl Found {
    /// Some rule told.
    pub fn is_found(&self) -> bool {
        !self.by.is_empty()
    }

    /// It needs what this machine does not have.
    pub fn is_skipped(&self) -> bool {
        self.skipped.is_some()
    }
}

/// Try the bugs, or only that of this name; each for at most `plan.cycles` faults. `without_disk`: why there can be no
/// disk of our own; what needs one is skipped then.
///
/// # Errors
/// There is no such bug, or the driver itself could not go on.
pub fn try_all(
    plan: &Plan,
    only: Option<&str>,
    without_disk: Option<&str>,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Found>> {
    let folder = Folder::create(plan.folder.as_deref())?;
    let mut found = Vec::new();
    for bug in Bug::ALL.into_iter().filter(|bug| only.is_none_or(|only| only == bug.name())) {
        let trial = trial(bug);
        let mut flags = plan.flags.clone();
        if let Under::Cut(_, bytes) = trial.fault {
            flags.push(format!("--max-bytes-per-file={bytes}"));
        }
        let plan = Plan {
            cycles_per_round: trial.fault.cycles_per_round(),
            durability: trial.fault.durability().map(str::to_owned),
            environment: vec![(VARIABLE.to_owned(), bug.name().to_owned())],
            flags,
            folder: Some(folder.path().to_path_buf()),
            ..plan.clone()
        };
        let row = match without_disk.filter(|_| trial.fault.needs_disk()) {
            Some(why) => Found { skipped: Some(why.to_owned()), ..trial.nothing_found() },
            None => trial.hunt(&plan)?,
        };
        say(&line(&row));
        found.push(row);
    }
    found.first().context("there is no planted bug of that name")?;
    Ok(found)
}

/// A row for each bug.
pub fn table(found: &[Found]) -> String {
    let mut text = format!("  {:<20} {:<22} {:>6} {:>8}  found by\n", "bug", "fault", "cycles", "seconds");
    for row in found {
        let _ = writeln!(text, "{}", line(row));
    }
    let count = found.iter().filter(|row| row.is_found()).count();
    let _ = write!(text, "  {count} of {} planted bugs were found", found.len());
    text
}

fn line(row: &Found) -> String {
    let by = match &row.skipped {
        Some(why) => format!("SKIPPED: {why}"),
        None if row.is_found() => row.by.join(", "),
        None => "NOT FOUND".to_owned(),
    };
    let seconds = row.time.as_secs_f64();
    format!("  {:<20} {:<22} {:>6} {seconds:>8.1}  {by}", row.bug.name(), row.fault, row.cycles)
}

fn trial(bug: Bug) -> Trial {
    let (fault, rules): (Under, &'static [Rule]) = match bug {
        Bug::AckBeforeSync => (Under::Cut("fsync", 2_000_000), &[Rule::Lost]),
        Bug::SkipDirectorySync => (Under::Cut("fsync", 100_000), &[Rule::Lost]),
        Bug::SkipChecksum => (Under::Rot, &[Rule::Corrupt]),
        Bug::RetrySync => (Under::SyncErrors, &[Rule::Lost]),
        Bug::DropInFlight => (Under::Kill, &[Rule::Lost]),
        Bug::LoseDeferral => (Under::Kill, &[Rule::Early]),
        Bug::ForgetChannel => (Under::Made, &[Rule::Lost]),
        Bug::TruncateAtDamage => (Under::Rot, &[Rule::Lost]),
        Bug::FinishTwo => (Under::Kill, &[Rule::Lost]),
        // What the journal calls finished is another message's number then: it is lost.
        Bug::ReuseNumbers => (Under::Cut("buffered", 2_000_000), &[Rule::IdReused, Rule::Lost]),
        Bug::TearBatches => (Under::Cut("fsync", 2_000_000), &[Rule::TornBatch]),
        Bug::ResetAttempts => (Under::Kill, &[Rule::Attempts]),
    };
    Trial { bug, fault, rules }
}

impl Under {
    fn name(self) -> String {
        match self {
            Self::Kill => "kill".to_owned(),
            Self::Made => "made, then kill".to_owned(),
            Self::Cut(level, _) => format!("cut at {level}"),
            Self::SyncErrors => "sync-errors at fsync".to_owned(),
            Self::Rot => "rot".to_owned(),
        }
    }

    fn durability(self) -> Option<&'static str> {
        match self {
            Self::Cut(level, _) => Some(level),
            Self::SyncErrors => Some("fsync"),
            _ => None,
        }
    }

    fn needs_disk(self) -> bool {
        matches!(self, Self::Cut(..) | Self::SyncErrors)
    }

    /// A check after each few: most bugs show at once, and a check takes longer than a fault.
    fn cycles_per_round(self) -> u64 {
        if self == Self::Rot { 10 } else { 2 }
    }

    /// What nsqd does wrong so that the driver cannot even go on.
    fn ends_with(self) -> Option<&'static str> {
        match self {
            Self::SyncErrors => Some("after a failed sync"),
            Self::Made => Some("and a kill undid it"),
            _ => None,
        }
    }

    fn run(self, plan: &Plan) -> Result<Outcome> {
        let options = Options { sync_delay: SYNC_DELAY, ..Options::default() };
        let quiet = &mut |_: &str| ();
        match self {
            Self::Kill => run(plan, &mut Kill, quiet),
            Self::Made => run(plan, &mut Made::default(), quiet),
            Self::Cut(level, _) => run(plan, &mut Cut::new(Some(level), options, SLACK), quiet),
            Self::SyncErrors => run(plan, &mut SyncErrors::new(Some("fsync"), options, SLACK), quiet),
            Self::Rot => rot::run(plan, quiet).map(|(outcome, _)| outcome),
        }
    }
}

impl Trial {
    /// Fault after fault, until a rule tells or there were enough of them.
    fn hunt(&self, plan: &Plan) -> Result<Found> {
        let began = Instant::now();
        let mut found = self.nothing_found();
        let cycles_max = if self.fault == Under::Rot { plan.cycles * 10 } else { plan.cycles };
        for attempt in 0..cycles_max {
            if found.cycles >= cycles_max || found.is_found() {
                break;
            }
            let plan = Plan { seed: plan.seed + attempt, cycles: cycles_max - found.cycles, ..plan.clone() };
            match self.fault.run(&plan) {
                Ok(outcome) => {
                    found.cycles += outcome.cycles;
                    found.by = self.told(&outcome);
                }
                Err(error) => {
                    // The run ended in its first round, as far as is known.
                    found.cycles += 1;
                    let text = format!("{error:#}");
                    let words = self.fault.ends_with().filter(|words| text.contains(words));
                    let Some(words) = words else { return Err(error.context(self.bug.name())) };
                    found.by = vec![format!("the driver: {words}")];
                }
            }
        }
        found.time = began.elapsed();
        Ok(found)
    }

    fn nothing_found(&self) -> Found {
        let (bug, fault) = (self.bug, self.fault.name());
        Found { bug, fault, cycles: 0, time: Duration::ZERO, by: Vec::new(), skipped: None }
    }

    fn told(&self, outcome: &Outcome) -> Vec<String> {
        let totals = &outcome.verdict.totals;
        let rules = self.rules.iter().filter_map(|rule| Some((rule, totals.get(rule)?)));
        rules.map(|(rule, total)| format!("{} ({total})", rule.name())).collect()
    }
}
