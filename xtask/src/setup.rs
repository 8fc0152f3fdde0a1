//! `cargo xtask setup`: the client programs that the tests run against our daemons, go-nsq's and pynsq's, ready in the
//! cache. Prints `NAME=PATH` per client on stdout, which is how the tests ask for them. Toolchains are never
//! installed, only asked for: a missing one skips its client with a notice, or fails on CI.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::{self, Inputs};
use crate::step::{is_ci, root};

/// Prepare every client.
///
/// # Errors
/// On CI when one is missing; elsewhere a missing one is only announced.
pub(crate) fn run() -> Result<()> {
    let mut missing = Vec::new();
    for (name, client) in
        [("go-client", go_client as fn() -> Result<PathBuf>), ("diskqueue", diskqueue), ("python", python)]
    {
        match client() {
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

/// The Go program over go-nsq.
fn go_client() -> Result<PathBuf> {
    go_program("go-client", "tests/clients/go")
}

/// The Go program over go-diskqueue, which writes and reads the files of a stock nsqd.
fn diskqueue() -> Result<PathBuf> {
    go_program("diskqueue", "tests/clients/diskqueue")
}

/// A Go program, built once per content of its folder and version of Go.
fn go_program(name: &str, folder: &str) -> Result<PathBuf> {
    let sources = root()?.join(folder);
    let version = version_of("go", "version").context(
        "the Go client tests need Go 1.22 or newer: install Debian's package golang-go or a release of Go, and have \
         `go` in PATH",
    )?;
    let mut inputs = Inputs::default();
    inputs.text(&version);
    inputs.files(&sources)?;
    let place = cache::entry(name, &inputs, |place| {
        let mut build = Command::new("go");
        build.args(["build", "-trimpath", "-o"]).arg(place.join(name)).arg(".");
        build.current_dir(&sources).env("CGO_ENABLED", "0");
        succeed(build, "building the Go client (it downloads its Go modules when they are not cached)")
    })?;
    Ok(place.join(name))
}

/// A Python with pynsq: a virtual environment made once per content of requirements.txt and version of Python.
fn python() -> Result<PathBuf> {
    let sources = root()?.join("tests/clients/python");
    let version = version_of("python3", "--version").context(
        "the Python client tests need Python 3.9 or newer with venv: install Debian's packages python3 and python3-venv",
    )?;
    let requirements = sources.join("requirements.txt");
    let pinned = std::fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let mut inputs = Inputs::default();
    inputs.text(&version);
    inputs.text(&pinned);
    let place = cache::entry("python", &inputs, |place| make_venv(place, &requirements))?;
    Ok(python_in(&place))
}

fn python_in(place: &Path) -> PathBuf {
    place.join("venv").join("bin").join("python")
}

fn make_venv(place: &Path, requirements: &Path) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(place.join("venv"));
    succeed(venv, "making a virtual environment (on Debian this needs the package python3-venv)")?;
    let mut install = Command::new(python_in(place));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(requirements);
    succeed(install, "installing the packages of tests/clients/python/requirements.txt")
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
