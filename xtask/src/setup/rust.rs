//! The program over tokio-nsq. Not a member of the workspace, so that its old dependencies stay out of our lock file;
//! built once per content and version of Rust.

use std::path::PathBuf;

use anyhow::Result;

use super::{succeed, version_of};
use crate::cache::{self, Inputs};
use crate::step::{cargo, root};

/// The binary.
pub(super) fn client() -> Result<PathBuf> {
    let sources = root()?.join("tests/clients/rust");
    let mut inputs = Inputs::default();
    inputs.text(&version_of("rustc", "--version")?);
    inputs.files(&sources)?;
    inputs.files(&sources.join("src"))?;
    let place = cache::entry("rust-client", &inputs, |place| {
        let mut build = cargo(&["build", "--quiet", "--locked"])?;
        build.current_dir(&sources).arg("--target-dir").arg(place.join("target"));
        succeed(build, "building the program over tokio-nsq")?;
        let built = place.join("target/debug/rust-client");
        std::fs::copy(&built, place.join("rust-client"))?;
        // Hundreds of megabytes that nobody needs again.
        std::fs::remove_dir_all(place.join("target"))?;
        Ok(())
    })?;
    Ok(place.join("rust-client"))
}
