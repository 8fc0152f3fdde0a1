//! The harness proves itself on the real nsqd: damage that breaks a promise is done behind nsqd's back after a kill, and the
//! checker must say which promise. What nsqd itself may get wrong is seeded elsewhere; here it is the driver and the
//! checker that are on trial.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use chaos::chance::Chance;
use chaos::check::Rule;
use chaos::diary::Clock;
use chaos::fault::{Fault, Kill, Struck};
use chaos::load::Size;
use chaos::nsqd::Nsqd;
use chaos::report::{Judgement, table};
use chaos::run::{Plan, run};

/// kill -9, then something that no disk should do.
struct Sabotage {
    /// Given the folder of a topic, before the load and after the kill.
    before: fn(&Path) -> Result<()>,
    after: fn(&Path) -> Result<()>,
    topic: PathBuf,
}

impl Fault for Sabotage {
    fn name(&self) -> &'static str {
        "sabotage"
    }

    fn prepare(&mut self, folder: &Path) -> Result<PathBuf> {
        self.topic = folder.join("data/topics/orders");
        Ok(folder.join("data"))
    }

    fn instant(&self, _chance: &mut Chance) -> Duration {
        Duration::from_millis(1200)
    }

    fn before(&mut self, _nsqd: &mut Nsqd, _chance: &mut Chance) -> Result<()> {
        (self.before)(&self.topic)
    }

    fn strike(&mut self, nsqd: &mut Nsqd, clock: Clock, chance: &mut Chance) -> Result<Struck> {
        let struck = Kill.strike(nsqd, clock, chance)?;
        (self.after)(&self.topic)?;
        Ok(struck)
    }
}

#[track_caller]
fn check(before: fn(&Path) -> Result<()>, after: fn(&Path) -> Result<()>, expected: &[Rule]) {
    let plan = Plan {
        nsqd: harness::nsqd_binary(),
        cycles: 1,
        cycles_per_round: 1,
        seed: 5,
        size: Size { rate: 3000, is_plain: false },
        load_min: 1,
        ready_max: Duration::from_secs(10),
        finish_window: Some(Duration::from_millis(300)),
        durability: None,
        flags: Vec::new(),
        environment: Vec::new(),
        folder: None,
    };
    let mut fault = Sabotage { before, after, topic: PathBuf::new() };
    let outcome = run(&plan, &mut fault, &mut |line| eprintln!("{line}"));
    let outcome = outcome.unwrap_or_else(|error| panic!("{error:#}"));
    if let Some(kept) = &outcome.kept {
        let _ = std::fs::remove_dir_all(kept);
    }
    let found: Vec<Rule> = outcome.verdict.totals.keys().copied().collect();
    let is_found = expected.iter().any(|rule| found.contains(rule));
    assert!(is_found, "one of {expected:?} in {found:?}\n{}", table("sabotage", &plan, &outcome));
    assert_eq!(Judgement::of(&plan, &outcome), Judgement::Bad);
}

#[test]
fn a_log_that_lost_its_end_is_noticed() {
    check(|_| Ok(()), |topic| cut_newest(topic, 20_000), &[Rule::Lost]);
}

#[test]
fn a_journal_of_before_the_load_is_noticed() {
    // All FINs since then are forgotten: whatever was finished comes again.
    let keep = |topic: &Path| copy(&topic.join("journal"), &aside(topic));
    let restore = |topic: &Path| copy(&aside(topic), &topic.join("journal"));
    check(keep, restore, &[Rule::Duplicate, Rule::Barrier]);
}

#[test]
fn a_log_written_again_from_its_beginning_is_noticed() {
    check(|_| Ok(()), |topic| Ok(std::fs::remove_dir_all(topic)?), &[Rule::Lost, Rule::Stuck]);
}

/// Where a topic's journal is kept meanwhile: beside the data folder.
fn aside(topic: &Path) -> PathBuf {
    topic.join("../../../journal")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map(|_| ()).with_context(|| format!("{} to {}", from.display(), to.display()))
}

/// The segment with the highest offset loses its last bytes.
fn cut_newest(topic: &Path, bytes: u64) -> Result<()> {
    let logs = std::fs::read_dir(topic)?.flatten().map(|entry| entry.path());
    let newest = logs.filter(|path| path.extension().is_some_and(|end| end == "log")).max();
    let newest = newest.context("the topic has no log")?;
    let file = std::fs::OpenOptions::new().write(true).open(&newest)?;
    let written = written(&newest)?;
    file.set_len(written.saturating_sub(bytes))?;
    Ok(())
}

/// How much of a segment is written: it may have been given room in advance.
fn written(segment: &Path) -> Result<u64> {
    let content = std::fs::read(segment)?;
    let last = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Ok(u64::try_from(last)?)
}
