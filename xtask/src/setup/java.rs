//! The program over nsq-j and brainlag's nsq-client: classes and jars, once per content and version of Java.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{succeed, version_of};
use crate::cache::{self, Inputs};
use crate::step::root;

/// The folder with `classes` and `lib`.
pub(super) fn client() -> Result<PathBuf> {
    let sources = root()?.join("tests/clients/java");
    let wanted = "the Java client tests need a JDK of Java 17 or newer and Maven: install Debian's packages \
                  default-jdk-headless and maven";
    let version = version_of("javac", "--version").context(wanted)?;
    let mut inputs = Inputs::default();
    inputs.text(&version);
    inputs.files(&sources)?;
    inputs.files(&sources.join("src"))?;
    cache::entry("java", &inputs, |place| {
        let mut build = Command::new("mvn");
        build.args(["--quiet", "--batch-mode"]);
        build.arg(format!("-Dplace={}", place.display()));
        // Beside the entries: another content of the sources needs the same downloads.
        build.arg(format!("-Dmaven.repo.local={}", cache::folder()?.join("maven").display()));
        build.args(["compile", "dependency:copy-dependencies"]).current_dir(&sources);
        succeed(build, wanted)
    })
}
