//! `cargo xtask docs`: docs/reference/nsqd.md and nsqlookupd.md are what the daemons print of their own option tables.
//! Nobody edits the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::step::{cargo, root};

/// Binary and package.
const DAEMONS: [(&str, &str); 2] = [("nsqd", "broker"), ("nsqlookupd", "lookupd")];

/// Rewrite the pages.
pub(crate) fn write() -> Result<()> {
    for (binary, package) in DAEMONS {
        let page = page_of(binary)?;
        let text = printed(binary, package, None)?;
        fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
    }
    Ok(())
}

/// Compare without writing, with what the daemons in folder `built`, or else fresh builds of them, print.
///
/// # Errors
/// Names every page that is missing or stale.
pub(crate) fn check(built: Option<&Path>) -> Result<()> {
    let mut stale = Vec::new();
    for (binary, package) in DAEMONS {
        let found = fs::read_to_string(page_of(binary)?).unwrap_or_default();
        if found != printed(binary, package, built)? {
            stale.push(format!("docs/reference/{binary}.md"));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    bail!("{} is not what the option tables say. Run `cargo xtask docs`", stale.join(", "))
}

fn page_of(binary: &str) -> Result<PathBuf> {
    Ok(root()?.join("docs").join("reference").join(format!("{binary}.md")))
}

fn printed(binary: &str, package: &str, built: Option<&Path>) -> Result<String> {
    let mut command = match built {
        Some(folder) => Command::new(folder.join(binary)),
        None => cargo(&["run", "--quiet", "--package", package, "--bin", binary, "--"])?,
    };
    command.arg("--help=markdown").stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{binary} printed something that is not UTF-8"))
}
