//! What was measured: a table for people, a line of JSON per measurement for programs.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::options::Options;
use super::target::Usage;
use super::workload::ALL;

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    /// Messages, deliveries or things made.
    pub count: u64,
    /// How long it took.
    pub seconds: f64,
    /// CPU time of the server for each; none when its process is not known.
    pub cpu_us_each: Option<f64>,
    /// The most memory seen, in bytes; 0 when it is not known.
    pub peak_bytes: u64,
    /// Figures that only this work has.
    pub more: Vec<(&'static str, f64)>,
}

impl Sample {
    /// From what was counted and used.
    pub(super) fn of(count: u64, elapsed: Duration, usage: Option<(Usage, Usage)>, peak_bytes: u64) -> Self {
        let cpu = usage.map(|(before, after)| after.cpu.saturating_sub(before.cpu));
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count.max(1) as f64;
        Self {
            count,
            seconds: elapsed.as_secs_f64(),
            cpu_us_each: cpu.map(each),
            peak_bytes,
            more: Vec::new(),
        }
    }

    /// Add a figure of its own.
    pub(super) fn add(&mut self, name: &'static str, value: f64) {
        self.more.push((name, value));
    }

    fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds.max(1e-9)
    }
}

/// A measurement and what it is of.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// From 1.
    pub round: u32,
    /// The work.
    pub workload: &'static str,
    /// The nsqd.
    pub nsqd: String,
    /// The figures.
    #[serde(flatten)]
    pub sample: Sample,
}

/// All measurements so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// In the order they were made.
    pub rows: Vec<Row>,
    /// Why there are not all of them.
    pub is_partial: Option<String>,
}

impl Report {
    /// Print the table, and write the JSON where it is wanted.
    pub(super) fn print(&self, options: &Options) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(self.table(options).as_bytes()).context("cannot write the table")?;
        let Some(path) = &options.json else { return Ok(()) };
        let lines: Result<String, _> =
            self.rows.iter().map(|row| serde_json::to_string(row).map(|line| line + "\n")).collect();
        let lines = lines.context("cannot write JSON")?;
        if path.as_os_str() == "-" {
            return out.write_all(lines.as_bytes()).context("cannot write the JSON");
        }
        std::fs::write(path, lines).with_context(|| format!("cannot write {}", path.display()))
    }

    fn table(&self, options: &Options) -> String {
        let mut text = format!(
            "{:<20} {:<12} {:>5} {:>12} {:>12} {:>7} {:>9}  more\n",
            "work", "nsqd", "round", "each/s", "CPU us each", "ratio", "peak MiB"
        );
        for workload in ALL {
            for row in self.rows.iter().filter(|row| row.workload == workload.name) {
                text.push_str(&self.line(row, options));
            }
        }
        if let Some(why) = &self.is_partial {
            text.push_str(&format!("PARTIAL: {} measurements, then: {why}\n", self.rows.len()));
        }
        text
    }

    fn line(&self, row: &Row, options: &Options) -> String {
        let sample = &row.sample;
        let cpu = sample.cpu_us_each.map_or("-".to_owned(), |cpu| format!("{cpu:.3}"));
        let ratio = self.ratio(row, options).map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let more: Vec<String> =
            sample.more.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        format!(
            "{:<20} {:<12} {:>5} {:>12.0} {:>12} {:>7} {:>9.1}  {}\n",
            row.workload,
            row.nsqd,
            row.round,
            sample.per_second(),
            cpu,
            ratio,
            sample.peak_bytes as f64 / f64::from(1 << 20),
            more.join(", ")
        )
    }

    /// CPU per message over that of the first nsqd in the same round.
    fn ratio(&self, row: &Row, options: &Options) -> Option<f64> {
        let first = options.subjects.first().filter(|first| first.label != row.nsqd)?;
        let is_base = |base: &&Row| {
            base.nsqd == first.label && base.round == row.round && base.workload == row.workload
        };
        let base = self.rows.iter().find(is_base)?.sample.cpu_us_each?;
        row.sample.cpu_us_each.map(|cpu| cpu / base)
    }
}
