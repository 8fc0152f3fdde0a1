//! Gate sizes of the faults that need nothing but a process, against the nsqd this test's cargo builds. The minimum load is
//! lower than that of `cargo xtask chaos`, as nsqd is not optimised here, but it is not zero.

use std::time::Duration;

use chaos::fault::{Calm, Fault, Kill, Stop};
use chaos::load::Size;
use chaos::report::{Judgement, table};
use chaos::run::{Plan, run};

#[track_caller]
fn check(fault: &mut dyn Fault, cycles: u64, is_plain: bool) {
    let plan = Plan {
        nsqd: harness::nsqd_binary(),
        cycles,
        cycles_per_round: 6,
        seed: 1,
        size: Size { rate: 4000, is_plain },
        load_min: 800,
        // Other tests run at the same time.
        ready_max: Duration::from_secs(10),
        finish_window: Some(Duration::from_secs(1)),
        durability: None,
        flags: vec!["--max-bytes-per-file=2000000".to_owned()],
        folder: None,
    };
    let outcome = run(&plan, fault, &mut |line| eprintln!("{line}"));
    let outcome = outcome.unwrap_or_else(|error| panic!("{error:#}"));
    let table = table(fault.name(), &plan, &outcome);
    assert_eq!(Judgement::of(&plan, &outcome), Judgement::Good, "\n{table}");
}

#[test]
fn kills_lose_nothing_and_undo_only_the_last_fins() {
    check(&mut Kill, 12, false);
}

#[test]
fn stops_lose_nothing_and_undo_nothing() {
    check(&mut Stop, 4, false);
}

#[test]
fn without_a_fault_nothing_comes_twice() {
    check(&mut Calm, 2, true);
}
