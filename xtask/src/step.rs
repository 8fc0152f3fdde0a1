//! One step of a task: a command with a header, its time, and on failure the line to run it alone.
//! Which steps there are is `ci.rs`'s matter.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// True where a missing tool must fail the run instead of being skipped with a notice.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// The checkout this xtask was built from.
pub(crate) fn root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("start this as `cargo xtask`")?;
    let root = PathBuf::from(manifest).parent().context("xtask lies in the checkout")?.to_path_buf();
    Ok(root)
}

/// Where cargo builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let set = std::env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty());
    set.map_or_else(|| Ok(root()?.join("target")), |folder| Ok(PathBuf::from(folder)))
}

/// A command of the toolchain that runs xtask itself, started in the checkout.
pub(crate) fn cargo(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()?);
    Ok(command)
}

/// Run one cargo command as a named step, its output unfiltered.
///
/// # Errors
/// When it cannot start or fails; the text holds the command line to repeat it alone.
pub(crate) fn run(name: &str, args: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut command = cargo(args)?;
    let mut line = String::new();
    for (key, value) in environment {
        command.env(key, value);
        if *key == "RUSTDOCFLAGS" {
            line = format!("{key}='{value}' ");
        }
    }
    line.push_str("cargo ");
    line.push_str(&args.join(" "));
    timed(name, &line, || {
        let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
        if status.success() {
            return Ok(());
        }
        bail!("step `{name}` failed ({status}). To run it alone: {line}")
    })
}

/// Print a header, do `work`, print how long it took.
pub(crate) fn timed(name: &str, line: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("\n== {name}: {line}");
    let start = Instant::now();
    let outcome = work();
    let verdict = if outcome.is_ok() { "done" } else { "FAILED" };
    eprintln!("== {name}: {verdict} in {:.1} s", start.elapsed().as_secs_f64());
    outcome
}
