//! The test language: one topic, its channels and consumers, driven by lines such as
//! `pub a | c1 sub | c1 rdy 1 | c1 gets a | +60s | c1 gets a 2`. Every step is followed by a dispatch of all channels.
//! What a step means is in script/world.rs; the rules themselves are in script/rules.rs and its siblings.

mod deferral;
mod delivery;
mod lifecycle;
mod restart;
mod steps;
mod world;

use world::World;

/// Run a script; a step that does not hold fails the test with the step's text.
fn check(script: &str) {
    let mut world = World::default();
    for step in script.split('|').map(str::trim).filter(|step| !step.is_empty()) {
        if let Err(why) = world.step(step) {
            panic!("`{step}`: {why}\nin: {script}");
        }
    }
    if let Err(why) = world.nothing_unexpected() {
        panic!("at the end: {why}\nin: {script}");
    }
}

/// Named scripts, one test each.
macro_rules! rules {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { super::check($script); })* };
}
use rules;
