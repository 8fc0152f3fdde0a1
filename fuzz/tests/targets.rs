//! Every input that ever broke a target, then a bounded number of new ones from a fixed seed.

use fuzz::targets::TARGETS;
use fuzz::{Budget, Campaign, peak_resident_bytes};

/// A few seconds in a debug build, all targets together. `cargo xtask fuzz` is for more.
const EXECUTIONS: u64 = 10_000;

/// Far more than the seeds and what is kept of them; a size field that is believed asks for gigabytes.
const RESIDENT_BYTES_MAX: u64 = 256 << 20;

#[test]
fn seeds_and_regressions_break_nothing() {
    for target in TARGETS {
        let inputs = target.inputs();
        assert!(inputs.len() > 5, "{}: only {} inputs", target.name, inputs.len());
        for input in inputs {
            let outcome = target.replay(&input);
            assert!(outcome.is_ok(), "{}: {outcome:?} for {}", target.name, input.escape_ascii());
        }
    }
}

#[test]
fn mutated_input_breaks_nothing_and_takes_no_memory() {
    for target in TARGETS {
        let report = Campaign::new(target, 1).run(Budget::Executions(EXECUTIONS));
        eprintln!("{}", report.line());
        assert!(report.crashes.is_empty(), "{:?}", report.crashes);
        assert!(report.shapes >= 5, "{}: everything looks alike: {} shapes", target.name, report.shapes);
    }
    let peak = peak_resident_bytes().unwrap_or_default();
    assert!(peak < RESIDENT_BYTES_MAX, "{} MiB", peak >> 20);
}
