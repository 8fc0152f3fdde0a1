//! The program over nsqjs: its folder with the packages of package-lock.json, once per content and version of Node.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{succeed, version_of};
use crate::cache::{self, Inputs};
use crate::step::root;

const FILES: [&str; 3] = ["package.json", "package-lock.json", "scenarios.js"];

/// The folder with `scenarios.js` and `node_modules`.
pub(super) fn client() -> Result<PathBuf> {
    let sources = root()?.join("tests/clients/node");
    let version = version_of("node", "--version").context(
        "the Node client tests need Node 20 or newer and npm: install them and have `node` and `npm` in PATH",
    )?;
    let mut inputs = Inputs::default();
    inputs.text(&version);
    inputs.files(&sources)?;
    cache::entry("node", &inputs, |place| {
        for name in FILES {
            let (from, to) = (sources.join(name), place.join(name));
            std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        let mut install = Command::new("npm");
        // No package's scripts: what is native comes as a package for its platform, not by a download of its own.
        install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        install.current_dir(place);
        succeed(install, "installing the packages of tests/clients/node/package-lock.json")
    })
}
