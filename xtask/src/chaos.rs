//! `cargo xtask chaos FAULT ...`: builds nsqd and the driver as users get them, optimised, and runs the driver with that
//! nsqd. What the faults are and which flags they take is the driver's matter: `cargo xtask chaos --help`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::step::{self, is_ci};

/// The gate's size; the driver and nsqd are not optimised there.
const SEEDED_GATE: [&str; 6] = ["--cycles", "30", "--rate", "4000", "--seed", "1"];

/// Run the driver; its exit code is ours, as 3 (too little load to tell) must not look like 1 (a promise was broken).
pub(crate) fn run(words: &[&str]) -> ExitCode {
    match try_run(words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn try_run(words: &[&str]) -> Result<u8> {
    step::run("build", &["build", "--release", "--package", "broker", "--package", "chaos"], &[])?;
    let binaries = binaries()?;
    let mut command = Command::new(binaries.join("chaos"));
    command.args(words).current_dir(step::root()?);
    if words.first() == Some(&"seeded-bugs") {
        let target = binaries.parent().context("profiles lie in a target folder")?;
        command.env("NSQD", build_seeded(target, &[])?);
    } else if std::env::var_os("NSQD").is_none() {
        command.env("NSQD", binaries.join("nsqd"));
    }
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    match status.code() {
        Some(code) => Ok(u8::try_from(code).unwrap_or(1)),
        None => bail!("the driver was killed: {status}"),
    }
}

/// The harness on trial, as a step of CI: `binaries` holds a driver that is built already. Where this machine can have no
/// disk of its own, what needs one is skipped, loudly; not so on CI.
pub(crate) fn find_planted(binaries: &Path, environment: &[(&str, &str)]) -> Result<()> {
    let target = binaries.parent().context("profiles lie in a target folder")?;
    let nsqd = build_seeded(target, environment)?;
    let mut command = Command::new(binaries.join("chaos"));
    command.arg("seeded-bugs").args(SEEDED_GATE).env("NSQD", nsqd).current_dir(step::root()?);
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(3) if !is_ci() => {
            eprintln!("SKIPPED: some planted bugs were not looked for; the table above says why");
            Ok(())
        }
        _ => bail!(
            "not all planted bugs were found ({status}). To run it alone: cargo xtask chaos seeded-bugs"
        ),
    }
}

/// nsqd with the planted bugs, in a target folder of its own: the ordinary one stays what it is.
fn build_seeded(target: &Path, environment: &[(&str, &str)]) -> Result<PathBuf> {
    let folder = target.join("seeded");
    let place = folder.display().to_string();
    let features = ["--features", "broker/seeded-bugs", "--target-dir", &place];
    let build = [&["build", "--package", "broker", "--bin", "nsqd"][..], &features].concat();
    step::run("build with planted bugs", &build, environment)?;
    Ok(folder.join("debug").join("nsqd"))
}

/// Where optimised binaries are: beside the profile this xtask was built in.
pub(crate) fn binaries() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("where is xtask?")?;
    let target = exe.ancestors().nth(2).context("xtask lies in a target folder")?;
    Ok(target.join("release"))
}
