//! `cargo xtask bench [--against COMMIT] [FLAG ...]`: builds nsqd of this checkout and of another commit, and has
//! `nsq_bench` measure both in turn: A B A B. It reports and fails for no figure: time on a shared machine is no test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::{self, Inputs};
use crate::{chaos, step};

const BUILD_OTHER: [&str; 7] = ["build", "--release", "--locked", "--package", "broker", "--bin", "nsqd"];

/// Measure. What `words` hold beside `--against` is for `nsq_bench`.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let (against, flags) = match words {
        ["--against", commit, flags @ ..] => (Some(*commit), flags),
        [first, flags @ ..] if first.starts_with("--against=") => (first.strip_prefix("--against="), flags),
        flags => (None, flags),
    };
    let commit = commit(against)?;
    let short = commit.get(..12).unwrap_or(&commit);
    let other = other_nsqd(&commit)?;
    step::run("build", &["build", "--release", "--package", "broker", "--package", "tools", "--bins"], &[])?;
    let binaries = chaos::binaries()?;
    let mut command = Command::new(binaries.join("nsq_bench"));
    command.arg(format!("--against={short}={}", other.display()));
    command.arg(format!("--nsqd=this={}", binaries.join("nsqd").display()));
    let status = command.args(flags).status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("the benchmark did not come to its end ({status}); the table above says why");
    }
    Ok(())
}

/// The commit that was named; else the last release; else the one before this.
fn commit(named: Option<&str>) -> Result<String> {
    let revision = match named {
        Some(named) => named.to_owned(),
        None => git(&["describe", "--tags", "--abbrev=0"]).unwrap_or_else(|_| "HEAD~1".to_owned()),
    };
    let commit = format!("{revision}^{{commit}}");
    git(&["rev-parse", "--verify", "--quiet", &commit])
        .with_context(|| format!("there is no commit {revision}; --against takes whatever git does"))
}

/// nsqd as that commit builds it: once, in the cache.
fn other_nsqd(commit: &str) -> Result<PathBuf> {
    let mut inputs = Inputs::default();
    inputs.text(commit);
    let place = cache::entry("nsqd", &inputs, |place| {
        let (source, target) = (place.join("source"), place.join("target"));
        let built = check_out(commit, &source).and_then(|()| build(&source, &target, place));
        let cleaned = clean(&source, &target);
        built.and(cleaned)
    })?;
    Ok(place.join("nsqd"))
}

/// Outside the checkout, so that neither tree sees the other's files.
fn check_out(commit: &str, source: &Path) -> Result<()> {
    // Left by a run that was interrupted.
    forget(source)?;
    git(&["worktree", "add", "--detach", &source.display().to_string(), commit]).map(|_| ())
}

fn build(source: &Path, target: &Path, place: &Path) -> Result<()> {
    let mut command = step::cargo(&BUILD_OTHER)?;
    command.arg("--target-dir").arg(target).current_dir(source);
    let line = format!("cargo {} (in {})", BUILD_OTHER.join(" "), source.display());
    step::timed("build the other nsqd", &line, || {
        let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
        if !status.success() {
            bail!("the other commit does not build ({status})");
        }
        let built = target.join("release").join("nsqd");
        fs::copy(&built, place.join("nsqd")).with_context(|| format!("cannot copy {}", built.display()))?;
        Ok(())
    })
}

/// Only the binary stays: a target folder is a gigabyte.
fn clean(source: &Path, target: &Path) -> Result<()> {
    forget(source)?;
    remove(target)
}

fn forget(source: &Path) -> Result<()> {
    remove(source)?;
    git(&["worktree", "prune"]).map(|_| ())
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// What git prints, without the end of the line.
fn git(args: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command.args(args).current_dir(step::root()?);
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
