//! Damage at rest: a folder is filled under load and nsqd ended; then, again and again, a copy of it is damaged and nsqd
//! started on that. It serves what the damage left, or refuses and names the file. What may be lost is here; what the
//! folder holds is in `rot/rest.rs`, the kinds of damage in `rot/damage.rs`, and the drain in `rot/harvest.rs`.

mod damage;
mod harvest;
mod judge;
mod rest;
mod tally;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

pub use tally::Tally;

use crate::chance::Chance;
use crate::check::{Rule, Verdict};
use crate::diary::Clock;
use crate::folder::Folder;
use crate::nsqd::{Launch, Nsqd};
use crate::place;
use crate::run::{Outcome, Plan};
use damage::Damage;
use harvest::Harvest;
use judge::Judge;
use rest::Rest;

/// Small segments, so that a folder of some MiB has several.
const SEGMENT: &str = "--max-bytes-per-file=131072";
/// G14.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Every so many damages nsqd is started once more: what it made of the damage must last.
const AGAIN_EVERY: u64 = 4;

/// Strike `plan.cycles` damages, `plan.cycles_per_round` to each folder that is filled. `say` is told what goes on, a line
/// at a time. Stops at the first round that is not good.
///
/// # Errors
/// The driver itself could not go on, or nsqd does not work on a folder without damage. The folder is kept then.
pub fn run(plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<(Outcome, Tally)> {
    let mut folder = Folder::create(plan.folder.as_deref())?;
    let result = Run::new(plan, folder.path()).all(say);
    match result {
        Ok((mut outcome, tally)) => {
            if !outcome.verdict.is_good() {
                folder.keep();
                outcome.kept = Some(folder.path().to_path_buf());
            }
            Ok((outcome, tally))
        }
        Err(error) => {
            folder.keep();
            Err(error
                .context(format!("the run ended early; its folder is kept: {}", folder.path().display())))
        }
    }
}

struct Run<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    clock: Clock,
    outcome: Outcome,
    tally: Tally,
}

/// How a start on damaged data went: it serves after that time, or refuses with these words.
type Started = std::result::Result<(Nsqd, Duration), String>;

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, folder: &'a Path) -> Self {
        Self { plan, folder, clock: Clock::start(), outcome: Outcome::default(), tally: Tally::default() }
    }

    fn all(mut self, say: &mut dyn FnMut(&str)) -> Result<(Outcome, Tally)> {
        let began = Instant::now();
        let mut round = 0;
        while self.outcome.cycles < self.plan.cycles && self.outcome.verdict.is_good() {
            let mut chance = Chance::of_part(self.plan.seed, round);
            let rest = self.fill(&mut chance, round % 2 == 0)?;
            let damages = self.plan.cycles_per_round.min(self.plan.cycles - self.outcome.cycles);
            for _ in 0..damages {
                let verdict = self.strike(&rest, &mut chance)?;
                let is_good = verdict.is_good();
                self.outcome.verdict.add(verdict);
                if !is_good {
                    break;
                }
            }
            round += 1;
            let is_good = self.outcome.verdict.is_good();
            say(&format!(
                "{:>5} damages {:>6.1} s  {}  {}  {}",
                self.outcome.cycles,
                began.elapsed().as_secs_f64(),
                rest.about(),
                self.tally.line(),
                if is_good { "good" } else { "BAD" },
            ));
        }
        self.outcome.time = began.elapsed();
        Ok((self.outcome, self.tally))
    }

    fn fill(&mut self, chance: &mut Chance, is_killed: bool) -> Result<Rest> {
        let data = self.folder.join("rest");
        let log = self.folder.join("rest.log");
        place::clear(&data)?;
        place::clear(&log)?;
        let nsqd = Nsqd::start(self.launch(&data, &log), self.clock)?;
        Rest::fill(nsqd, self.clock, chance, is_killed).context("filling the folder that is damaged later")
    }

    /// One damage to a copy of the folder, nsqd on it, and what came of that.
    fn strike(&mut self, rest: &Rest, chance: &mut Chance) -> Result<Verdict> {
        let began = Instant::now();
        let data = self.copied(rest)?;
        let damage = Damage::choose(rest.folder(), chance)?;
        damage.strike(&data)?;
        let mut judge = Judge::new(rest, &damage);
        let log = self.folder.join("nsqd.log");
        let mut harvest = None;
        match self.start(&data, &log)? {
            Ok((nsqd, ready)) => {
                self.outcome.ready.push(ready);
                harvest = self.harvest(nsqd, &log, &mut judge, true)?;
            }
            Err(text) => {
                judge.refused(&text, &data);
                damage.mend(&data, rest.folder())?;
                match self.start(&data, &log)? {
                    Ok((nsqd, _)) => {
                        harvest = self.harvest(nsqd, &log, &mut judge, false)?;
                    }
                    Err(text) => judge.report(Rule::Crashed, || {
                        format!("refused again, though the file was put back: {text}")
                    }),
                }
            }
        }
        if self.outcome.cycles.is_multiple_of(AGAIN_EVERY) && harvest.is_some() && judge.is_good() {
            self.again(&data, &log, &mut judge)?;
        }
        self.outcome.cycles += 1;
        self.outcome.up += began.elapsed();
        Ok(judge.verdict(&mut self.tally))
    }

    /// Everything that nsqd has, and its end in order. None: it did not come to that, and the judge knows.
    fn harvest(
        &self,
        mut nsqd: Nsqd,
        log: &Path,
        judge: &mut Judge<'_>,
        is_damaged: bool,
    ) -> Result<Option<()>> {
        let gathered = Harvest::gather(&nsqd, self.clock);
        let (ended, told) = (nsqd.ended_within(Duration::ZERO)?, std::fs::read_to_string(log)?);
        let harvest = match gathered {
            Ok(harvest) => harvest,
            Err(error) => {
                let end = ended.map_or_else(|| "it still runs".to_owned(), |status| status.to_string());
                judge.report(Rule::Crashed, || format!("{error:#}; {end}\n{}", nsqd.log_tail()));
                return Ok(None);
            }
        };
        nsqd.terminate()?;
        match nsqd.ended_within(STOP_LIMIT)? {
            Some(status) if status.success() => {}
            end => judge.report(Rule::Crashed, || format!("SIGTERM: {end:?}\n{}", nsqd.log_tail())),
        }
        judge.harvested(&harvest, &told, is_damaged);
        Ok(Some(()))
    }

    /// A second start finds nothing left, and nothing that comes back.
    fn again(&self, data: &Path, log: &Path, judge: &mut Judge<'_>) -> Result<()> {
        let nsqd = match self.start(data, log)? {
            Ok((nsqd, _)) => nsqd,
            Err(text) => {
                judge.report(Rule::Crashed, || format!("the second start refuses: {text}"));
                return Ok(());
            }
        };
        match Harvest::look(&nsqd, self.clock) {
            Ok(harvest) => judge.came_back(&harvest),
            Err(error) => judge.report(Rule::Crashed, || format!("after a second start: {error:#}")),
        }
        Ok(())
    }

    fn copied(&self, rest: &Rest) -> Result<PathBuf> {
        let data = self.folder.join("data");
        place::clear(&data)?;
        place::run(Command::new("cp").arg("-r").arg(rest.folder()).arg(&data))?;
        Ok(data)
    }

    /// On data that may be damaged. A panic is a refusal here; the judge tells them apart.
    fn start(&self, data: &Path, log: &Path) -> Result<Started> {
        place::clear(log)?;
        let began = Instant::now();
        Ok(match Nsqd::start(self.launch(data, log), self.clock) {
            Ok(nsqd) => Ok((nsqd, began.elapsed())),
            Err(error) => Err(format!("{error:#}")),
        })
    }

    fn launch(&self, data: &Path, log: &Path) -> Launch {
        let mut flags = vec![SEGMENT.to_owned()];
        flags.extend(self.plan.durability.iter().map(|level| format!("--durability={level}")));
        flags.extend(self.plan.flags.iter().cloned());
        Launch {
            program: self.plan.nsqd.clone(),
            data: data.to_path_buf(),
            flags,
            environment: self.plan.environment.clone(),
            log: log.to_path_buf(),
        }
    }
}
