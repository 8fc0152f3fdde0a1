//! A mount namespace of the process's own: what is mounted in it is seen by nobody else and is gone when its last
//! process is, however it ended.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Set in the environment of a process that was started again inside.
const INSIDE: &str = "CRASHFS_PRIVATE_MOUNTS";

/// Start this program again, with the same arguments and process id, where its mounts are its own. Returns when that is
/// so already. Call it first thing in `main`: nothing before it is kept.
///
/// # Errors
/// What is missing and what to do, in one sentence.
pub fn enter_private_mounts() -> Result<(), String> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let mut unshare = Command::new("unshare");
    unshare.args(flags()?).arg("--").arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    let error = unshare.exec();
    Err(format!("`unshare` does not start: {error}; install Debian's package util-linux"))
}

/// Whether, and how, this user may have a namespace.
pub(crate) fn flags() -> Result<&'static [&'static str], String> {
    const AS_IS: &[&str] = &["--mount", "--propagation", "private"];
    // Without root, mounting is allowed in a user namespace where one is root.
    const AS_USER: &[&str] = &["--user", "--map-root-user", "--mount", "--propagation", "private"];
    let works = |flags: &&[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(*flags).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
        unshare.status().is_ok_and(|status| status.success())
    };
    [AS_IS, AS_USER].into_iter().find(works).ok_or_else(|| {
        "no private mount namespace: `unshare --mount` is refused (not root, and user namespaces are off) or missing \
         (Debian's package util-linux); run as root, or in a container with CAP_SYS_ADMIN"
            .to_owned()
    })
}
