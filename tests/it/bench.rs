//! `nsq_bench` with tiny input: every work runs, and what is wrong is said. Its figures are not looked at: a benchmark
//! is no test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::{Nsqd, Process, Signal, eventually, nsq_bench_binary, nsqd_binary, root};
use serde_json::Value;
use tempfile::TempDir;

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(nsq_bench_binary());
    command.args(args);
    command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_work_of_the_benchmark_runs_and_counts_its_messages() {
    let nsqd = format!("--nsqd={}", nsqd_binary().display());
    let output = bench(&[&nsqd, "--seconds=50ms", "--rounds=1", "--backlog=1000", "--idle=10", "--json=-"]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    let rows: Vec<Value> =
        printed.lines().filter(|line| line.starts_with('{')).map(|line| line.parse().unwrap()).collect();
    let works = text(&bench(&["--list-workloads"]).stdout);
    assert_eq!(rows.len(), works.lines().count(), "{printed}");
    for row in rows {
        let name = &row["workload"];
        assert!(row["count"].as_u64().is_some_and(|count| count > 0), "{name}: {row}");
        assert!(row["cpu_us_each"].as_f64().is_some_and(|cpu| cpu > 0.0), "{name}: {row}");
    }
}

#[test]
fn a_running_nsqd_is_measured_by_its_address() {
    let nsqd = Nsqd::start();
    let tcp = format!("--nsqd-tcp-address={}", nsqd.tcp());
    let output = bench(&[&tcp, "--workload=pub-16", "--seconds=100ms", "--rounds=1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("pub-16"), "{}", text(&output.stdout));
}

#[test]
fn what_cannot_be_measured_is_said_and_what_was_is_kept() {
    for (args, expected) in [
        (&["--nsqd-tcp-address=127.0.0.1:1", "--workload=pub-16"][..], "cannot connect to 127.0.0.1:1"),
        (&["--nsqd=/bin/false", "--workload=pub-16"], "did not start"),
        (&["--nsqd=/bin/false", "--workload=pub-16,fly"], "--workload=fly is unknown"),
        (&["--nsqd-tcp-address=127.0.0.1:1", "--workload=fsync-16"], "give --nsqd=PATH"),
        (&[], "nothing to measure"),
    ] {
        let output = bench(args);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn growth_is_drawn_and_the_floor_and_another_nsqd_are_compared_with() {
    let folder = TempDir::new().unwrap();
    let nsqd = nsqd_binary().display().to_string();
    let output = bench(&[
        &format!("--nsqd=new={nsqd}"),
        &format!("--against=old={nsqd}"),
        "--floor",
        "--growth",
        &format!("--growth-folder={}", folder.path().display()),
        "--workload=mpub-100B,stream-mpub",
        "--seconds=20ms",
        "--rounds=1",
        "--backlog=1000",
    ]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    let measured = |work: &str| -> Vec<String> {
        let lines = printed.lines().take_while(|line| !line.is_empty());
        let words = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        words.filter(|words| words[0] == work).map(|words| words[1].clone()).collect()
    };
    assert_eq!(measured("mpub-100B"), ["floor", "old", "new"], "{printed}");
    assert_eq!(measured("stream-mpub"), ["old", "new"], "there is no floor for consumers: {printed}");
    assert!(printed.contains("CPU for each over that of old, median"), "{printed}");
    for (series, points) in [("connections", 5), ("channels", 5), ("topics", 4), ("backlog", 3), ("size", 4)]
    {
        let name = format!("growth-{series}");
        let svg = std::fs::read_to_string(folder.path().join(format!("{name}.svg"))).unwrap();
        assert!(svg.contains("polyline") && svg.ends_with("</svg>\n"), "{name}: {svg}");
        let json = std::fs::read_to_string(folder.path().join("growth.jsonl")).unwrap();
        let rows = json.lines().map(|line| line.parse::<Value>().unwrap());
        let of_new = rows.filter(|row| row["series"] == name.as_str() && row["nsqd"] == "new");
        assert_eq!(of_new.count(), points, "{name}: {json}");
    }
}

#[test]
fn every_work_has_its_place_in_the_document() {
    let document = std::fs::read_to_string(root().join("docs/performance.md")).unwrap();
    let works = text(&bench(&["--list-workloads"]).stdout);
    let names = works.lines().filter_map(|line| line.split_whitespace().next());
    let missing: Vec<&str> = names.filter(|name| !document.contains(&format!("### `{name}`\n"))).collect();
    assert!(works.contains("pub-16") && missing.is_empty(), "docs/performance.md lacks {missing:?}");
}

/// nsqd behind a script that leaves its process id.
struct Followed {
    folder: TempDir,
}

impl Followed {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let script = format!(
            "#!/bin/sh\necho $$ >{}/pid\nexec {} \"$@\"\n",
            folder.path().display(),
            nsqd_binary().display()
        );
        let path = folder.path().join("nsqd");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn json(&self) -> PathBuf {
        self.folder.path().join("json")
    }

    /// `nsq_bench` with this nsqd, as soon as nsqd has the 200 connections of the work `pub-200`.
    fn under_load(&self) -> (Process, PathBuf) {
        let args = [
            format!("--nsqd={}/nsqd", self.folder.path().display()),
            "--workload=mpub-100B,pub-200".to_owned(),
            "--seconds=1s".to_owned(),
            "--rounds=20".to_owned(),
            format!("--json={}", self.json().display()),
        ];
        let bench = Process::start(&nsq_bench_binary(), &args);
        let mut nsqd = PathBuf::new();
        eventually("nsqd has the connections of pub-200", || {
            let id = std::fs::read_to_string(self.folder.path().join("pid")).unwrap_or_default();
            nsqd = Path::new("/proc").join(id.trim());
            !id.is_empty() && std::fs::read_dir(nsqd.join("fd")).is_ok_and(|files| files.count() > 200)
        });
        (bench, nsqd)
    }

    /// The measurements that were made before the end, and why there are no more.
    fn partial(&self) -> (usize, String) {
        let json = std::fs::read_to_string(self.json()).unwrap();
        let rows: Vec<Value> = json.lines().map(|line| line.parse().unwrap()).collect();
        let why = rows.last().unwrap()["partial"].as_str().unwrap_or_default().to_owned();
        (rows.len() - 1, why)
    }
}

#[test]
fn an_nsqd_that_dies_under_load_is_named_and_what_was_measured_before_is_kept() {
    let nsqd = Followed::new();
    let (mut bench, process) = nsqd.under_load();
    let id: i32 = process.file_name().unwrap().to_str().unwrap().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    assert_eq!(bench.ended().code(), Some(1));
    let (measurements, why) = nsqd.partial();
    assert_eq!(measurements, 1, "{why}");
    assert!(why.contains("pub-200 on nsqd 1: nsqd ended while it was measured: signal: 9"), "{why}");
    assert!(bench.log().contains("stopped after 1 measurements: pub-200"), "{}", bench.log());
}

#[test]
fn a_benchmark_that_is_interrupted_leaves_a_partial_report_and_no_nsqd() {
    for (signal, code, expected) in [(Signal::INT, 130, "interrupted"), (Signal::TERM, 143, "terminated")] {
        let nsqd = Followed::new();
        let (mut bench, process) = nsqd.under_load();
        bench.signal(signal);
        assert_eq!(bench.ended().code(), Some(code), "{}", bench.log());
        assert_eq!(nsqd.partial(), (1, expected.to_owned()));
        eventually("nsqd is gone", || !process.exists());
    }
}

#[test]
fn a_running_nsqd_that_dies_ends_the_benchmark() {
    let mut nsqd = Nsqd::start();
    let tcp = format!("--nsqd-tcp-address={}", nsqd.tcp());
    let args = [&tcp, "--workload=pub-200", "--seconds=1m"].map(str::to_owned);
    let mut bench = Process::start(&nsq_bench_binary(), &args);
    eventually("nsqd has the connections", || nsqd.process().open_files() > 200);
    nsqd.process().kill();
    assert_eq!(bench.ended().code(), Some(1));
    assert!(bench.log().contains("stopped after 0 measurements: pub-200"), "{}", bench.log());
}

#[test]
fn too_few_descriptors_are_said_to_be_too_few() {
    let nsqd = Nsqd::start();
    let tcp = format!("--nsqd-tcp-address={}", nsqd.tcp());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$@\"", "sh"]).arg(nsq_bench_binary());
    let output = command.args([&tcp, "--workload=pub-200,idle-connections"]).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("PARTIAL: 0 measurements") && said.contains("too few file descriptors"), "{said}");
}
