//! Gate sizes of the faults that need a disk of their own, against the nsqd this test's cargo builds. They run in a process
//! with mounts of its own. Skipped with the reason where there is no FUSE or no right to mount; that fails on CI.

use std::process::Command;

/// The minimum load is lower than that of `cargo xtask chaos`, as nsqd is not optimised here, but it is not zero.
const LOAD: [&str; 4] = ["--rate=4000", "--load-min=500", "--ready-max-ms=10000", "--seed=1"];

/// Other tests run at the same time.
const SLACK: &str = "--slack-ms=500";

#[track_caller]
fn check(fault: &str, flags: &[&str]) {
    if let Err(reason) = crashfs::availability() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI skips no test: {reason}");
        eprintln!("SKIPPED {fault}: {reason}");
        return;
    }
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_chaos"));
    chaos.arg(fault).arg("--nsqd").arg(harness::nsqd_binary()).args(LOAD).args(flags);
    let output = chaos.output().unwrap_or_else(|error| panic!("{chaos:?}: {error}"));
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{fault} {flags:?}: {}\n{said}{complained}", output.status);
}

#[test]
fn power_cuts_take_only_what_is_younger_than_the_sync_behind() {
    check("cut", &["--cuts=5", "--cycles-per-round=5", SLACK]);
}

#[test]
fn at_fsync_power_cuts_take_nothing_that_was_acknowledged() {
    check("cut", &["--cuts=5", "--cycles-per-round=5", SLACK, "--durability=fsync", "--sync-delay-ms=2"]);
}

#[test]
fn after_a_failed_sync_nothing_it_should_have_covered_is_acknowledged() {
    check("sync-errors", &["--runs=3", "--cycles-per-round=3", SLACK, "--durability=fsync"]);
}

#[test]
fn a_full_disk_refuses_publishes_and_stops_nothing_else() {
    check("fill", &["--fills=2"]);
}
