//! `cargo xtask fuzz TARGET|all [--seconds N] [--seed N]`: mutated input for whatever reads bytes of strangers. Which
//! targets there are, and how a crash is played again, is the matter of crate `fuzz`.

use anyhow::Result;

use crate::step;

/// Of each target in CI; two run at a time.
const CI_SECONDS: &str = "30";

/// By hand, for as long as is asked for.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    step::run("fuzz", &[&["run", "--quiet", "--package", "fuzz", "--"], words].concat(), &[])
}

/// As a step of CI: every target for a while, from a seed that stays the same.
pub(crate) fn all(environment: &[(&str, &str)]) -> Result<()> {
    let line = ["run", "--quiet", "--package", "fuzz", "--", "all", "--seconds", CI_SECONDS];
    step::run("fuzz", &line, environment)
}
