//! `cargo xtask ci`: exactly what continuous integration runs, in one order on every machine. Quick steps first, so
//! that a formatting slip costs seconds; the tests last, so that their closing lines end the output.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::step::{self, is_ci};
use crate::{cache, chaos, crds, docs, fuzz, kube, setup};

/// All steps, stopping at the first that fails.
pub(crate) fn run() -> Result<()> {
    components_present()?;
    let surroundings = Surroundings::new()?;
    let environment = surroundings.environment();
    step::run("format", &["fmt", "--all", "--check"], &environment)?;
    step::run(
        "lint",
        &["clippy", "--workspace", "--all-targets", "--features", "tests/nodes", "--", "-D", "warnings"],
        &environment,
    )?;
    let strict = [&environment[..], &[("RUSTDOCFLAGS", "-D warnings")]].concat();
    step::run("docs", &["doc", "--no-deps", "--workspace"], &strict)?;
    // Everything at once, so that dependencies are compiled for one set of features. Asked for one package at a time,
    // as a developer's `cargo test -p tests` does for the daemons, cargo would compile most of them again.
    step::run("build", &["build", "--workspace", "--all-targets"], &environment)?;
    let operator = surroundings.binary("nsq-operator");
    step::timed("generated files", "cargo xtask crds --check", || crds::check(Some(operator.as_ref())))?;
    step::timed("reference pages", "cargo xtask docs --check", || docs::check(Some(&surroundings.binaries)))?;
    step::timed("clients for the tests", "cargo xtask setup", || setup::run(false))?;
    step::timed("planted bugs", "cargo xtask chaos seeded-bugs", || {
        chaos::find_planted(&surroundings.binaries, &environment)
    })?;
    fuzz::all(&environment)?;
    let (nsqd, nsqlookupd) = (surroundings.binary("nsqd"), surroundings.binary("nsqlookupd"));
    let nsq_bench = surroundings.binary("nsq_bench");
    let binaries = [
        ("NSQD", &*nsqd),
        ("NSQLOOKUPD", &nsqlookupd),
        ("NSQ_BENCH", &nsq_bench),
        ("NSQ_OPERATOR", &operator),
    ];
    let built = [&environment[..], &binaries].concat();
    step::run("tests", &["test", "--workspace"], &built)?;
    step::timed("tests on nodes", "cargo xtask kube test", kube::test_where_possible)
}

/// What this machine changes: on CI each run is a fresh clone, so its target folder is kept in the cache, and
/// incremental state, which is bound to a folder that will not come back, is not written.
struct Surroundings {
    /// The target folder, if it is not the one cargo would choose.
    target: Option<String>,
    /// Where binaries of the profile `dev` are.
    binaries: PathBuf,
}

impl Surroundings {
    fn new() -> Result<Self> {
        let exe = std::env::current_exe().context("where is xtask?")?;
        let own = exe.parent().context("xtask lies in a target folder")?.to_path_buf();
        if !is_ci() || std::env::var_os("CARGO_TARGET_DIR").is_some() {
            return Ok(Self { target: None, binaries: own });
        }
        let target = cache::folder()?.join("target");
        Ok(Self { binaries: target.join("debug"), target: Some(target.display().to_string()) })
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        let mut environment = Vec::new();
        if is_ci() {
            environment.push(("CARGO_INCREMENTAL", "0"));
        }
        if let Some(target) = &self.target {
            environment.push(("CARGO_TARGET_DIR", target));
        }
        environment
    }

    fn binary(&self, name: &str) -> String {
        self.binaries.join(name).display().to_string()
    }
}

/// rust-toolchain.toml brings both through rustup; without rustup cargo would only say "no such command".
fn components_present() -> Result<()> {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        let present =
            step::cargo(&[subcommand, "--version"])?.output().is_ok_and(|output| output.status.success());
        if !present {
            bail!(
                "{component} is missing, so `cargo {subcommand}` cannot run. With rustup: `rustup component add \
                 {component}` in this checkout. Without rustup: install {component} of the version that \
                 rust-toolchain.toml names."
            );
        }
    }
    Ok(())
}
