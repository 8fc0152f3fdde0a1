//! Programs in Go, built once per content of their folder and version of Go.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{succeed, version_of};
use crate::cache::{self, Inputs};
use crate::step::root;

/// The program over go-nsq.
pub(super) fn client() -> Result<PathBuf> {
    program("go-client", "tests/clients/go")
}

/// The program over go-diskqueue, which writes and reads the files of a stock nsqd.
pub(super) fn diskqueue() -> Result<PathBuf> {
    program("diskqueue", "tests/clients/diskqueue")
}

/// Publishers and consumers over go-nsq, for inside a cluster.
pub(super) fn traffic() -> Result<PathBuf> {
    program("traffic", "tests/clients/traffic")
}

/// Runs health scripts of Argo CD as it does.
pub(super) fn lua() -> Result<PathBuf> {
    program("lua", "tests/clients/lua")
}

fn program(name: &str, folder: &str) -> Result<PathBuf> {
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
