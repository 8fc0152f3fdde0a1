//! Where a disk of our own is mounted. The mount namespace is private by then, so any empty folder will do: nothing is seen
//! outside, and nothing is left behind, however this process ends.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Folders that every Linux has and nobody needs while a run lasts.
const CANDIDATES: [&str; 5] = ["/mnt", "/media", "/srv", "/opt", "/var/tmp"];

/// An empty folder to mount on.
///
/// # Errors
/// There is none.
pub fn to_mount_on() -> Result<PathBuf> {
    let is_empty = |path: &&&str| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let found = CANDIDATES.iter().find(is_empty);
    found.map(PathBuf::from).with_context(|| format!("none of {CANDIDATES:?} is an empty folder to mount on"))
}

/// Copy what is on a disk that is about to vanish, for whoever looks into a failure. Gives where to.
///
/// # Errors
/// It cannot be copied.
pub fn keep(disk: &Path) -> Result<PathBuf> {
    let kept = std::env::temp_dir().join(format!("chaos-disk-{}", std::process::id()));
    std::fs::create_dir_all(&kept)?;
    run(Command::new("cp").arg("-r").arg(disk.join(".")).arg(&kept))?;
    Ok(kept)
}

/// Remove a file or a folder with all in it, if it is there.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn clear(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Run a program of the system to its end.
///
/// # Errors
/// It is not installed, or fails; with what it said.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("could not start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
