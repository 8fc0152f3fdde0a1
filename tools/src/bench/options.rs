//! What `nsq_bench` is asked for, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use daemon::options::{Kind, Opt, Values};

use super::growth;
use super::workload::{ALL, Workload};

pub(super) const ABOUT: &str = "Measures what a message costs nsqd: CPU time of the server per message, rates, latencies and memory.\n\n\
    examples:\n  \
    nsq_bench --nsqd=target/release/nsqd\n  \
    nsq_bench --nsqd=old=./nsqd-1.0 --nsqd=new=./nsqd --workload=pub-16,mpub-100B --rounds=3\n  \
    nsq_bench --nsqd-tcp-address=127.0.0.1:4150 --nsqd-http-address=127.0.0.1:4151 --workload=pub-16";

pub(super) const TABLE: &[Opt] = &[
    row(
        "nsqd",
        Kind::List,
        "",
        "binary to start on loopback, as PATH or NAME=PATH; several are measured in turn",
        WHAT,
    ),
    row(
        "against",
        Kind::Text,
        "",
        "binary of an nsqd, as PATH or NAME=PATH, that the others are compared with: it is measured first in each turn",
        WHAT,
    ),
    row(
        "floor",
        Kind::Bool,
        "false",
        "also measure a server that only reads, writes a file and answers OK: what the kernel alone takes of pub-* and mpub-*",
        WHAT,
    ),
    row("nsqd-flag", Kind::List, "", "flag for the started nsqds, such as --durability=fsync", WHAT),
    row("nsqd-tcp-address", Kind::Text, "", "running nsqd to measure instead", WHAT),
    row("nsqd-http-address", Kind::Text, "", "its HTTP, for works that need it", WHAT),
    row(
        "data-path",
        Kind::Text,
        "",
        "where the started nsqds keep their data; empty means the system's temporary folder",
        WHAT,
    ),
    row("workload", Kind::List, "", "works by name; empty means all (--list-workloads lists them)", WORK),
    row("list-workloads", Kind::Bool, "false", "list the works and exit", WORK),
    row("seconds", Kind::Duration, "3s", "how long each work is measured", WORK),
    row("rounds", Kind::Int, "2", "how often all of it is repeated", WORK),
    row("backlog", Kind::Int, "1000000", "messages of the works that begin with a backlog", WORK),
    row("idle", Kind::Int, "2000", "connections, topics and channels of the works about memory", WORK),
    row(
        "growth",
        Kind::Bool,
        "false",
        "measure how cost grows with connections, channels, topics, backlog and size; works only if --workload names some",
        WORK,
    ),
    row("growth-folder", Kind::Text, "growth", "where the pictures of --growth are written, as SVG", WORK),
    row("json", Kind::Text, "", "file for one line of JSON per measurement; - means standard output", WORK),
];

const WHAT: &str = "What is measured";
const WORK: &str = "How";

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
    heading: &'static str,
) -> Opt {
    Opt::new(name, kind, default, help, heading)
}

/// An nsqd to be measured.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Its name in the report.
    pub label: String,
    /// How to reach it.
    pub place: Place,
}

impl Subject {
    /// Is it the floor, not an nsqd?
    pub(super) fn is_floor(&self) -> bool {
        matches!(self.place, Place::Floor)
    }
}

/// Where an nsqd is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// To be started.
    Binary(PathBuf),
    /// No nsqd: see `floor`.
    Floor,
    /// Running already; `process` when it is on this machine and its port tells.
    Running {
        /// Of the clients.
        tcp: String,
        /// Empty: unknown.
        http: String,
    },
}

/// The command line, checked.
#[derive(Debug)]
#[allow(missing_docs, reason = "each field is the option of that name; the table explains it")]
pub(super) struct Options {
    pub subjects: Vec<Subject>,
    pub nsqd_flags: Vec<String>,
    pub data_path: Option<PathBuf>,
    pub workloads: Vec<Workload>,
    pub growth: Option<PathBuf>,
    pub seconds: Duration,
    pub rounds: u32,
    pub backlog: u64,
    pub idle: usize,
    pub json: Option<PathBuf>,
    pub lists_only: bool,
}

impl Options {
    /// Check the command line.
    pub(super) fn from_values(values: &Values) -> Result<Self> {
        let lists_only = values.is_on("list-workloads");
        let subjects = subjects(values)?;
        ensure!(
            lists_only || !subjects.is_empty(),
            "nothing to measure: give --nsqd=PATH of a binary, or --nsqd-tcp-address of a running nsqd"
        );
        let seconds = values.duration("seconds");
        ensure!(seconds >= Duration::from_millis(10), "--seconds is too short: at least 10ms");
        let grows = values.is_on("growth");
        let named = values.list("workload");
        let mut options = Self {
            subjects,
            nsqd_flags: values.list("nsqd-flag").to_vec(),
            data_path: path(values.text("data-path")),
            workloads: if grows && named.is_empty() { Vec::new() } else { workloads(named)? },
            growth: grows.then(|| PathBuf::from(values.text("growth-folder"))),
            seconds,
            rounds: number(values, "rounds")?,
            backlog: number(values, "backlog")?,
            idle: number(values, "idle")?,
            json: path(values.text("json")),
            lists_only,
        };
        if grows {
            options.workloads.extend(growth::works(&options));
        }
        Ok(options)
    }
}

fn subjects(values: &Values) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    let against = values.text("against");
    if !against.is_empty() {
        subjects.push(binary("against", "against", against)?);
    }
    for given in values.list("nsqd") {
        subjects.push(binary("nsqd", &format!("nsqd {}", subjects.len() + 1), given)?);
    }
    let tcp = values.text("nsqd-tcp-address").to_owned();
    if !tcp.is_empty() {
        let http = values.text("nsqd-http-address").to_owned();
        subjects.push(Subject { label: tcp.clone(), place: Place::Running { tcp, http } });
    }
    ensure!(against.is_empty() || subjects.len() > 1, "--against={against}: what is to be compared with it?");
    if values.is_on("floor") {
        subjects.insert(0, Subject { label: "floor".to_owned(), place: Place::Floor });
    }
    let labels: std::collections::BTreeSet<_> = subjects.iter().map(|subject| &subject.label).collect();
    ensure!(labels.len() == subjects.len(), "two nsqds have one name: give them others, as NAME=PATH");
    Ok(subjects)
}

/// `PATH` or `NAME=PATH`, of the flag of this name.
fn binary(flag: &str, label: &str, given: &str) -> Result<Subject> {
    let (label, path) = given.split_once('=').unwrap_or((label, given));
    let path = Path::new(path);
    ensure!(path.is_file(), "--{flag}={given}: there is no such file; build it first, or give its path");
    Ok(Subject { label: label.to_owned(), place: Place::Binary(path.to_owned()) })
}

fn workloads(names: &[String]) -> Result<Vec<Workload>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let mut found = Vec::new();
    for name in names {
        let Some(workload) = ALL.iter().find(|workload| workload.name == name) else {
            let known: Vec<_> = ALL.iter().map(|workload| workload.name).collect();
            bail!("--workload={name} is unknown; there are {}", known.join(", "));
        };
        found.push(*workload);
    }
    Ok(found)
}

fn number<T: TryFrom<i64>>(values: &Values, name: &str) -> Result<T> {
    let value = values.int(name);
    match T::try_from(value) {
        Ok(number) if value > 0 => Ok(number),
        _ => bail!("--{name}={value} is out of range: at least 1"),
    }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use daemon::options::{Parsed, parse, table_problems};

    use super::*;

    fn options(args: &[&str]) -> Result<Options> {
        match parse("nsq_bench", "", TABLE, args.iter().copied()) {
            Ok(Parsed::Run(values)) => Options::from_values(&values),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn every_row_of_the_table_is_sound() {
        assert_eq!(table_problems(TABLE), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_measured_is_refused_before_anything_starts() {
        for (args, expected) in [
            (&[][..], "nothing to measure"),
            (&["--nsqd=/no/such/file"], "there is no such file"),
            (&["--nsqd-tcp-address=127.0.0.1:1", "--workload=fly"], "--workload=fly is unknown"),
            (&["--nsqd-tcp-address=127.0.0.1:1", "--rounds=0"], "--rounds=0 is out of range"),
            (&["--nsqd-tcp-address=127.0.0.1:1", "--seconds=1ms"], "--seconds is too short"),
        ] {
            let error = options(args).unwrap_err().to_string();
            assert!(error.contains(expected), "{args:?}: {error}");
        }
    }
}
