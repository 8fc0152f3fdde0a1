//! The loop: take an input that was worth keeping, change it, run the target, keep it if the target went a new way.
//! What panics is written to a file, which is an input for `replay` from then on.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::mutate::{INPUT_BYTES_MAX, mutated};
use crate::random::Random;
use crate::{Shape, Target};

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// After this time.
    Time(Duration),
    /// After this many executions.
    Executions(u64),
}

/// What a campaign came to.
#[derive(Debug)]
pub struct Report {
    /// The target's name.
    pub target: &'static str,
    /// Times the target ran.
    pub executions: u64,
    /// Ways the target went, as far as they can be told apart.
    pub shapes: usize,
    /// How long it took.
    pub time: Duration,
    /// What panicked, once for each place.
    pub crashes: Vec<Crash>,
}

/// An input that broke a target.
#[derive(Debug)]
pub struct Crash {
    /// Where the input lies now.
    pub path: PathBuf,
    /// What the panic said.
    pub message: String,
}

impl Report {
    /// One line for people.
    pub fn line(&self) -> String {
        let rate = self.executions as f64 / self.time.as_secs_f64().max(0.001);
        format!(
            "{:<10} {:>10} executions {:>8.0}/s {:>6} shapes   crashes: {}",
            self.target,
            self.executions,
            rate,
            self.shapes,
            self.crashes.len()
        )
    }
}

/// Inputs kept at most. Beyond that a new one takes an old one's place.
const KEPT_MAX: usize = 4096;

/// One target under way.
#[derive(Debug)]
pub struct Campaign {
    target: &'static Target,
    random: Random,
    kept: Vec<Vec<u8>>,
    shapes: HashSet<Shape>,
    report: Report,
    started: Instant,
}

impl Campaign {
    /// From the target's seeds and all regressions; `seed` decides every mutation.
    pub fn new(target: &'static Target, seed: u64) -> Self {
        let report = Report {
            target: target.name,
            executions: 0,
            shapes: 0,
            time: Duration::ZERO,
            crashes: Vec::new(),
        };
        let mut campaign = Self {
            target,
            random: Random::new(seed),
            kept: Vec::new(),
            shapes: HashSet::new(),
            report,
            started: Instant::now(),
        };
        for mut input in target.inputs() {
            input.truncate(INPUT_BYTES_MAX);
            campaign.execute(input);
        }
        campaign
    }

    /// Mutate until the budget is used.
    pub fn run(mut self, budget: Budget) -> Report {
        let seeds = self.report.executions;
        while !self.is_spent(budget, seeds) {
            let input = self.random.of(&self.kept).cloned().unwrap_or_default();
            let input = mutated(&input, &self.kept, self.target.words, &mut self.random);
            self.execute(input);
        }
        self.report.shapes = self.shapes.len();
        self.report.time = self.started.elapsed();
        self.report
    }

    fn is_spent(&self, budget: Budget, seeds: u64) -> bool {
        match budget {
            Budget::Executions(count) => self.report.executions >= seeds + count,
            // A look at the clock costs as much as a short execution.
            Budget::Time(time) => self.report.executions.is_multiple_of(64) && self.started.elapsed() >= time,
        }
    }

    fn execute(&mut self, input: Vec<u8>) {
        self.report.executions += 1;
        match outcome(self.target, &input) {
            Ok(shape) if self.shapes.insert(shape) => self.keep(input),
            Ok(_) => {}
            Err(message) => self.crash(&input, message),
        }
    }

    fn keep(&mut self, input: Vec<u8>) {
        if self.kept.len() < KEPT_MAX {
            return self.kept.push(input);
        }
        let at = self.random.below(KEPT_MAX);
        if let Some(old) = self.kept.get_mut(at) {
            *old = input;
        }
    }

    fn crash(&mut self, input: &[u8], message: String) {
        if self.report.crashes.iter().any(|crash| crash.message == message) {
            return;
        }
        let folder = self.target.regressions();
        let path = folder.join(format!("{:016x}", crate::targets::hash(input)));
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input));
        let shown = path.display();
        eprintln!("{}: {message}\n  input written to {shown} ({written:?})", self.target.name);
        eprintln!("  again: cargo run -p fuzz -- {} --replay {shown}", self.target.name);
        self.report.crashes.push(Crash { path, message });
    }
}

/// What the target did, or what its panic said.
pub(crate) fn outcome(target: &Target, input: &[u8]) -> Result<Shape, String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        // The first line names the place; the rest may hold the input, and would make each crash a new one.
        let text = text.unwrap_or_else(|| "a panic without words".to_owned());
        text.lines().next().unwrap_or_default().to_owned()
    })
}

/// Mutated inputs of a target without an end, each from a seed: for a daemon that runs, which tells no shapes.
pub fn garbage(target: &Target, seed: u64) -> impl Iterator<Item = Vec<u8>> {
    let (mut random, seeds, words) = (Random::new(seed), target.inputs(), target.words);
    std::iter::repeat_with(move || {
        let input = random.of(&seeds).cloned().unwrap_or_default();
        mutated(&input, &seeds, words, &mut random)
    })
}

/// The most memory this process ever held.
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}
