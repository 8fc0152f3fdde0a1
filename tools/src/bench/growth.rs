//! How the cost of a message grows: series of one work made larger step by step, and a picture of each. The drawing
//! itself is `picture`'s.

mod picture;

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::options::Options;
use super::report::{Report, median};
use super::workload::{self, Workload};
use picture::{Line, Picture};

/// One figure of a work that grows.
#[derive(Debug)]
struct Series {
    /// Of the work in the table, and of the file.
    name: &'static str,
    /// Above the picture.
    title: &'static str,
    /// Below it.
    axis: &'static str,
    points: &'static [u64],
    /// What the points are multiplied with: the backlog is as large as it was asked for.
    unit: fn(&Options) -> f64,
    work: fn(&'static str, u64) -> Workload,
}

const ONE: fn(&Options) -> f64 = |_| 1.0;

const ALL: &[Series] = &[
    Series {
        name: "growth-connections",
        title: "PUB of 100 B, each connection waits for its OK",
        axis: "connections",
        points: &[1, 4, 16, 64, 200],
        unit: ONE,
        work: |name, at| workload::growing_publish(name, at, (at, 1), 100, 1),
    },
    Series {
        name: "growth-channels",
        title: "MPUB of 200 x 100 B to a consumer in each channel, per delivery",
        axis: "channels",
        points: &[1, 2, 4, 8, 16],
        unit: ONE,
        work: workload::growing_stream,
    },
    Series {
        name: "growth-topics",
        title: "PUB of 100 B on 16 connections, to the topics in turn",
        axis: "topics",
        points: &[1, 10, 100, 1000],
        unit: ONE,
        work: |name, at| workload::growing_publish(name, at, (16, 1), 100, at),
    },
    Series {
        name: "growth-backlog",
        title: "SUB and FIN of a backlog of 100 B messages",
        axis: "messages in the backlog",
        points: &[1, 10, 100],
        unit: |options| options.backlog as f64 / 100.0,
        work: workload::growing_backlog,
    },
    Series {
        name: "growth-size",
        title: "PUB on 4 connections, 16 unanswered each",
        axis: "bytes of a message",
        points: &[100, 1000, 10_000, 100_000],
        unit: ONE,
        work: |name, at| workload::growing_publish(name, at, (4, 16), at, 1),
    },
];

impl Series {
    fn points(&self, options: &Options) -> Vec<u64> {
        let unit = (self.unit)(options);
        self.points.iter().map(|point| ((*point as f64 * unit) as u64).max(1)).collect()
    }
}

/// The works of all series.
pub(super) fn works(options: &Options) -> Vec<Workload> {
    let of = |series: &Series| {
        let points = series.points(options).into_iter();
        points.map(|at| (series.work)(series.name, at)).collect::<Vec<_>>()
    };
    ALL.iter().flat_map(of).collect()
}

/// A point of a picture, for programs.
#[derive(Debug, Serialize)]
struct Point<'a> {
    series: &'a str,
    axis: &'a str,
    at: u64,
    nsqd: &'a str,
    /// The median over the rounds.
    cpu_us_each: f64,
}

/// Write a picture of each series that was measured, and all points as lines of JSON.
pub(super) fn write(report: &Report, options: &Options) -> Result<()> {
    let Some(folder) = &options.growth else { return Ok(()) };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut json = String::new();
    for series in ALL {
        let lines = lines(series, report, options);
        for line in &lines {
            for (at, cpu) in &line.points {
                let (nsqd, axis) = (line.label.as_str(), series.axis);
                let point = Point { series: series.name, axis, at: *at, nsqd, cpu_us_each: *cpu };
                json += &(serde_json::to_string(&point).context("cannot write JSON")? + "\n");
            }
        }
        if !lines.is_empty() {
            let picture = Picture { title: series.title, axis: series.axis, lines };
            save(&folder.join(format!("{}.svg", series.name)), &picture.svg())?;
        }
    }
    save(&folder.join("growth.jsonl"), &json)
}

fn lines(series: &Series, report: &Report, options: &Options) -> Vec<Line> {
    let line = |label: &String| {
        let value = |at: u64| {
            let is_meant = |row: &&super::report::Row| row.is_of(series.name, Some(at)) && row.nsqd == *label;
            let values = report.rows.iter().filter(is_meant).filter_map(|row| row.sample.cpu_us_each);
            median(values.collect()).map(|cpu| (at, cpu))
        };
        let points: Vec<_> = series.points(options).into_iter().filter_map(value).collect();
        (!points.is_empty()).then(|| Line { label: label.clone(), points })
    };
    options.subjects.iter().filter_map(|subject| line(&subject.label)).collect()
}

fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
