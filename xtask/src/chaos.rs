//! `cargo xtask chaos FAULT ...`: builds nsqd and the driver as users get them, optimised, and runs the driver with that
//! nsqd. What the faults are and which flags they take is the driver's matter: `cargo xtask chaos --help`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::step;

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
    if std::env::var_os("NSQD").is_none() {
        command.env("NSQD", binaries.join("nsqd"));
    }
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    match status.code() {
        Some(code) => Ok(u8::try_from(code).unwrap_or(1)),
        None => bail!("the driver was killed: {status}"),
    }
}

/// Beside the profile this xtask was built in.
fn binaries() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("where is xtask?")?;
    let target = exe.ancestors().nth(2).context("xtask lies in a target folder")?;
    Ok(target.join("release"))
}
