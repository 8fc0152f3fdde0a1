//! `nsq_bench` with tiny input: every work runs, and what is wrong is said. Its figures are not looked at: a benchmark
//! is no test.

use std::process::{Command, Output};

use harness::{Nsqd, nsq_bench_binary, nsqd_binary};
use serde_json::Value;

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
