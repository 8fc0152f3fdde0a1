//! `cargo xtask setup`: the programs that the tests run beside our daemons (clients, Kubernetes), ready in the cache. Prints
//! `NAME=PATH` per client on stdout, which is how the tests ask for them. Toolchains are never installed, only asked
//! for: a missing one skips its clients with a notice, or fails on CI. How each language builds is in its own file.

mod go;
mod java;
mod kube;
mod node;
mod python;
mod rust;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::is_ci;

type Make = fn() -> Result<PathBuf>;

/// Name and maker of each.
const CLIENTS: &[(&str, Make)] = &[
    ("go-client", go::client),
    ("diskqueue", go::diskqueue),
    ("traffic", go::traffic),
    ("lua", go::lua),
    ("python", || python::venv("requirements.txt")),
    ("python-compression", || python::venv("requirements-compression.txt")),
    ("node", node::client),
    ("java", java::client),
    ("rust-client", rust::client),
    ("kube", kube::programs),
];

/// Those that only the long run needs.
const LONG_RUN: &[(&str, Make)] = &[("python-long-run", || python::venv("requirements-long-run.txt"))];

/// Prepare the clients, all at once: most of the time goes into waiting for downloads. `is_long_run` adds those that
/// only the long run needs.
///
/// # Errors
/// On CI when one is missing; elsewhere a missing one is only announced.
pub(crate) fn run(is_long_run: bool) -> Result<()> {
    let wanted = CLIENTS.iter().chain(LONG_RUN.iter().filter(|_| is_long_run));
    let made = std::thread::scope(|scope| {
        let started: Vec<_> = wanted.map(|(name, make)| (*name, scope.spawn(make))).collect();
        let join = |(name, thread): (_, std::thread::ScopedJoinHandle<'_, _>)| (name, thread.join());
        started.into_iter().map(join).collect::<Vec<_>>()
    });
    let mut missing = Vec::new();
    for (name, outcome) in made {
        match outcome.unwrap_or_else(|_| bail!("its preparation panicked")) {
            Ok(path) => writeln!(std::io::stdout(), "{name}={}", path.display())?,
            Err(error) => {
                eprintln!("SKIPPED {name}: {error:#}");
                missing.push(name);
            }
        }
    }
    if is_ci() && !missing.is_empty() {
        bail!("CI=true and {} could not be prepared (reason above): CI skips no test", missing.join(", "));
    }
    Ok(())
}

/// The folder with the programs of a test cluster, made if nobody has yet.
///
/// # Errors
/// Go is missing, or the build fails.
pub(crate) fn kubernetes() -> Result<PathBuf> {
    kube::programs()
}

/// The program that publishes and consumes inside a cluster.
///
/// # Errors
/// Go is missing, or the build fails.
pub(crate) fn traffic() -> Result<PathBuf> {
    go::traffic()
}

fn version_of(program: &str, flag: &str) -> Result<String> {
    let output =
        Command::new(program).arg(flag).output().with_context(|| format!("`{program}` does not start"))?;
    if !output.status.success() {
        bail!("`{program} {flag}` failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Run to the end with its output on stderr, so that stdout holds only the answers of `setup`.
fn succeed(mut command: Command, what: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("{what}: cannot start {command:?}"))?;
    if output.status.success() {
        return Ok(());
    }
    eprint!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    bail!("{what} failed ({}): {command:?}", output.status)
}
