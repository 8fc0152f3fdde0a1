//! What `nsq_bench` is asked for, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use daemon::options::{Kind, Opt, Values};

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

/// Where an nsqd is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// To be started.
    Binary(PathBuf),
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
    pub workloads: Vec<&'static Workload>,
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
        Ok(Self {
            subjects,
            nsqd_flags: values.list("nsqd-flag").to_vec(),
            data_path: path(values.text("data-path")),
            workloads: workloads(values.list("workload"))?,
            seconds,
            rounds: number(values, "rounds")?,
            backlog: number(values, "backlog")?,
            idle: number(values, "idle")?,
            json: path(values.text("json")),
            lists_only,
        })
    }
}

fn subjects(values: &Values) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for given in values.list("nsqd") {
        let (label, binary) = match given.split_once('=') {
            Some((label, binary)) => (label.to_owned(), Path::new(binary)),
            None => (format!("nsqd {}", subjects.len() + 1), Path::new(given.as_str())),
        };
        ensure!(binary.is_file(), "--nsqd={given}: there is no such file; build it first, or give its path");
        subjects.push(Subject { label, place: Place::Binary(binary.to_owned()) });
    }
    let tcp = values.text("nsqd-tcp-address").to_owned();
    if !tcp.is_empty() {
        let http = values.text("nsqd-http-address").to_owned();
        subjects.push(Subject { label: tcp.clone(), place: Place::Running { tcp, http } });
    }
    Ok(subjects)
}

fn workloads(names: &[String]) -> Result<Vec<&'static Workload>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let mut found = Vec::new();
    for name in names {
        let Some(workload) = ALL.iter().find(|workload| workload.name == name) else {
            let known: Vec<_> = ALL.iter().map(|workload| workload.name).collect();
            bail!("--workload={name} is unknown; there are {}", known.join(", "));
        };
        found.push(workload);
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
