//! A crash after every call: the process is killed, or the power is cut and of what was not synced nothing, some, or
//! torn pieces survive. Whatever was promised must be there.

use super::look::{self, End};
use super::world::World;
use super::{each_seed, is_long, seeds};
use crate::fake_disk::{Dice, FakeDisk, Moment};

const STEPS: usize = 60;
/// Random power cuts at each moment in a long run.
const CUTS: u64 = 8;
/// In the gate one moment of so many is looked at.
const GATE_SHARE: usize = 12;

#[test]
fn a_crash_after_any_call_keeps_every_promise() {
    let recoveries = each_seed(seeds(200), "a_crash_after_any_call", |seed| {
        let world = lived(seed);
        let mut dice = Dice(!seed);
        let mut recoveries = 0;
        for moment in world.disk.moments() {
            if is_long() || dice.below(GATE_SHARE) == 0 {
                recoveries += crash(&world, &moment, &mut dice);
            }
        }
        recoveries
    });
    println!("{recoveries} recoveries");
}

/// A life that began with the ruins of another, with everything remembered.
fn lived(seed: u64) -> World {
    let mut world = World::new(seed);
    (0..STEPS / 2).for_each(|_| world.step().unwrap());
    let is_killed = seed.is_multiple_of(4);
    let survivor = if is_killed { world.disk.crash() } else { world.disk.power_cut(seed) };
    let opened = look::open(&survivor, world.clock()).unwrap();
    opened.check(&world.model, if is_killed { End::Kill } else { End::Cut });
    let mut world = world.adopt(survivor, opened);
    world.disk.record();
    (0..STEPS).for_each(|_| world.step().unwrap());
    world
}

fn crash(world: &World, moment: &Moment, dice: &mut Dice) -> u64 {
    let model = world.model_at(moment.call);
    let torn = dice.below(moment.write_bytes() + 1);
    let look = |disk: FakeDisk, end: End, text: &str| {
        let opened = look::open(&disk, world.clock()).unwrap();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            opened.check(model, end);
            opened.check_survives(&disk, world.clock() + 1);
        }));
        if checked.is_err() {
            panic!("call {} {text}", moment.call);
        }
    };
    look(moment.disk(0), End::Kill, "killed before");
    look(moment.disk(torn), End::Kill, "killed while writing");
    look(moment.disk(0).power_cut_losing_all(), End::Cut, "cut, nothing unsynced left");
    let cuts = if is_long() { CUTS } else { 2 };
    for cut in 0..cuts {
        let bytes = if cut % 2 == 0 { torn } else { 0 };
        look(moment.disk(bytes).power_cut(moment.call * 100 + cut), End::Cut, "cut");
    }
    3 + cuts
}
