//! What was measured: a table for people, a line of JSON per measurement for programs.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::options::Options;
use super::summary;
use super::target::Usage;

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
    /// Which point it is of a series that grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// The nsqd.
    pub nsqd: String,
    /// The figures.
    #[serde(flatten)]
    pub sample: Sample,
}

impl Row {
    /// Is it of this work?
    pub(super) fn is_of(&self, workload: &str, at: Option<u64>) -> bool {
        self.workload == workload && self.at == at
    }

    /// The work's name for people.
    pub(super) fn title(workload: &str, at: Option<u64>) -> String {
        at.map_or_else(|| workload.to_owned(), |at| format!("{workload}={at}"))
    }
}

/// The one in the middle; of an even number the mean of both.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let high = values.get(values.len() / 2)?;
    let low = values.get((values.len() - 1) / 2)?;
    Some((low + high) / 2.0)
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
        let mut lines = lines.context("cannot write JSON")?;
        if let Some(why) = &self.is_partial {
            lines += &format!("{}\n", serde_json::json!({ "partial": why }));
        }
        if path.as_os_str() == "-" {
            return out.write_all(lines.as_bytes()).context("cannot write the JSON");
        }
        std::fs::write(path, lines).with_context(|| format!("cannot write {}", path.display()))
    }

    fn table(&self, options: &Options) -> String {
        let mut text = format!(
            "{:<26} {:<12} {:>5} {:>12} {:>12} {:>7} {:>9}  more\n",
            "work", "nsqd", "round", "each/s", "CPU us each", "ratio", "peak MiB"
        );
        for work in &options.workloads {
            for row in self.rows.iter().filter(|row| row.is_of(work.name, work.at)) {
                text.push_str(&self.line(row, options));
            }
        }
        text.push_str(&summary::lines(self, options));
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
            "{:<26} {:<12} {:>5} {:>12.0} {:>12} {:>7} {:>9.1}  {}\n",
            Row::title(row.workload, row.at),
            row.nsqd,
            row.round,
            sample.per_second(),
            cpu,
            ratio,
            sample.peak_bytes as f64 / f64::from(1 << 20),
            more.join(", ")
        )
    }

    /// CPU per message over that of the first that was given this work in this round.
    fn ratio(&self, row: &Row, options: &Options) -> Option<f64> {
        let was_measured = |label: &str| self.same(row, label).is_some();
        let base = options.subjects.iter().find(|subject| was_measured(&subject.label))?;
        if base.label == row.nsqd {
            return None;
        }
        self.ratio_to(row, &base.label)
    }

    /// CPU per message over that of the nsqd `base` in the same round.
    pub(super) fn ratio_to(&self, row: &Row, base: &str) -> Option<f64> {
        let base = self.same(row, base)?.sample.cpu_us_each.filter(|cpu| *cpu > 0.0)?;
        row.sample.cpu_us_each.map(|cpu| cpu / base)
    }

    fn same(&self, row: &Row, label: &str) -> Option<&Row> {
        let is_same = |other: &&Row| {
            other.nsqd == label && other.round == row.round && other.is_of(row.workload, row.at)
        };
        self.rows.iter().find(is_same)
    }
}
