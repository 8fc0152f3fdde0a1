//! Gate sizes of the faults that need nothing but a process, against the nsqd this test's cargo builds. The minimum load is
//! lower than that of `cargo xtask chaos`, as nsqd is not optimised here, but it is not zero.

use std::time::Duration;

use chaos::fault::{Calm, Fault, Kill, Stop};
use chaos::load::Size;
use chaos::made::Made;
use chaos::report::{Judgement, table};
use chaos::rot;
use chaos::run::{Plan, run};

fn plan(cycles: u64, is_plain: bool) -> Plan {
    Plan {
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
        environment: Vec::new(),
        folder: None,
    }
}

#[track_caller]
fn check(fault: &mut dyn Fault, cycles: u64, is_plain: bool) {
    let plan = plan(cycles, is_plain);
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

#[test]
fn a_channel_that_was_made_is_there_after_a_kill() {
    check(&mut Made::default(), 3, false);
}

#[test]
fn damage_at_rest_costs_what_it_hit_and_is_told() {
    let plan = Plan { cycles_per_round: 10, load_min: 0, flags: Vec::new(), ..plan(20, false) };
    let struck = rot::run(&plan, &mut |line| eprintln!("{line}"));
    let (outcome, tally) = struck.unwrap_or_else(|error| panic!("{error:#}"));
    let told = format!("{}\n{}", table("rot", &plan, &outcome), tally.table());
    assert_eq!(Judgement::of(&plan, &outcome), Judgement::Good, "\n{told}");
}
