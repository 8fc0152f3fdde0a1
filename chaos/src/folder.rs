//! The folder of a run: nsqd's data, its log, and what is kept of a failure. It disappears with the driver, even if that
//! is killed, unless it is kept.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// A folder that is there as long as this value.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_kept: bool,
    /// Removes the folder when its standard input ends without a word: the kernel ends it with this process.
    janitor: Child,
}

impl Folder {
    /// A new folder in `parent`, or where the system keeps temporary files.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(parent: Option<&Path>) -> Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let nanos = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let path = parent.join(format!("chaos-{}-{nanos}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("could not create {}", path.display()))?;
        // A group of its own: Ctrl-C in the terminal must not end it before it has cleaned up. nsqd ends by its own
        // means a moment later than we do, so the folder is removed until it stays away.
        let script =
            r#"read -r word; [ "$word" = keep ] || for i in 1 2 3 4 5; do rm -rf "$1"; sleep 0.2; done"#;
        let janitor = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("could not start sh, which removes the folder if this process is killed")?;
        Ok(Self { path, is_kept: false, janitor })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It stays when this value goes: something in it must be looked at.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is left is left to the system's own cleaning of temporary files.
            let _ = std::fs::remove_dir_all(&self.path);
        }
        if let Some(mut stdin) = self.janitor.stdin.take() {
            let _ = stdin.write_all(b"keep\n");
        }
        let _ = self.janitor.wait();
    }
}
