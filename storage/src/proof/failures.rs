//! The n-th call fails, for every n: with an error of the device, no space, an interruption, a write done in part;
//! once, or for ever. What was committed stays, nothing hangs, nothing panics, and what waits can go on.

use super::look::{self, End};
use super::world::World;
use super::{is_long, seeds};
use crate::fake_disk::Fault;

const STEPS: usize = 40;

fn faults() -> Vec<(Fault, bool)> {
    let once = [
        Fault::io(),
        Fault::full(),
        Fault::interrupted(),
        Fault::io().keeping(1),
        Fault::io().keeping(300),
        Fault::full().keeping(30),
        Fault::full().keeping(4300),
    ];
    let lasting = once.map(|fault| (fault.lasting(), true));
    once.into_iter().map(|fault| (fault, false)).chain(lasting).collect()
}

#[test]
fn whichever_call_fails_what_was_committed_stays() {
    let mut failed = 0;
    for seed in seeds(20) {
        let calls = World::new(seed).calls_of(STEPS);
        // In the gate a sample, another for each scenario; in a long run every call.
        let stride = if is_long() { 1 } else { 11 };
        for (index, (fault, is_lasting)) in faults().into_iter().enumerate() {
            let first = 1 + (seed + index as u64) % stride;
            for call in (first..=calls).step_by(stride as usize) {
                fail(seed, call, fault, is_lasting);
                failed += 1;
            }
        }
    }
    println!("{failed} failures");
}

/// What was being tried, told when a panic passes.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0);
        }
    }
}

fn fail(seed: u64, call: u64, fault: Fault, is_lasting: bool) {
    let told = Told(format!("seed {seed}, {fault:?} at call {call}"));
    let context = &told.0;
    let mut world = World::new(seed);
    world.disk.fail_at(world.disk.calls() + call, fault);
    let mut is_stopped = false;
    for _ in 0..STEPS {
        match world.step() {
            Ok(()) => {}
            // A full disk is waited for; what else fails ends the process.
            Err(error) if error.is_full() => {}
            Err(_) => {
                is_stopped = true;
                break;
            }
        }
    }
    if is_lasting && !is_stopped {
        world.check_readable();
    }
    world.disk.heal();
    for (survivor, end) in [
        (world.disk.crash(), End::Kill),
        (world.disk.power_cut(seed), End::Cut),
        (world.disk.power_cut_losing_all(), End::Cut),
    ] {
        let opened =
            look::open(&survivor, world.clock()).unwrap_or_else(|error| panic!("{context}: {error}"));
        opened.check(&world.model, end);
        opened.check_survives(&survivor, world.clock() + 1);
    }
    if !is_stopped {
        for _ in 0..10 {
            world.step().unwrap_or_else(|error| panic!("{context}: does not go on: {error}"));
        }
    }
}
