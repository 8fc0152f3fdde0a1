//! Python with what one file of requirements names: a virtual environment made once per content of that file and
//! version of Python. The programs themselves are run from the checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{succeed, version_of};
use crate::cache::{self, Inputs};
use crate::step::root;

/// The interpreter of the environment.
pub(super) fn venv(requirements: &str) -> Result<PathBuf> {
    let version = version_of("python3", "--version").context(
        "the Python client tests need Python 3.9 or newer with venv: install Debian's packages python3 and python3-venv",
    )?;
    let file = root()?.join("tests/clients/python").join(requirements);
    let pinned = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut inputs = Inputs::default();
    inputs.text(&version);
    inputs.text(&pinned);
    let place = cache::entry("python", &inputs, |place| make(place, &file))?;
    Ok(interpreter(&place))
}

fn interpreter(place: &Path) -> PathBuf {
    place.join("venv").join("bin").join("python")
}

fn make(place: &Path, requirements: &Path) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(place.join("venv"));
    succeed(venv, "making a virtual environment (on Debian this needs the package python3-venv)")?;
    let mut install = Command::new(interpreter(place));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(requirements);
    succeed(install, &format!("installing the packages of {}", requirements.display()))
}
