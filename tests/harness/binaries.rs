//! Where the daemons' binaries are. Cargo does not build other packages' binaries for a test, so the first test that
//! needs one builds them, into the target folder this test itself was built in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The nsqd under test. `NSQD=/path/to/nsqd` puts another one, such as a stock nsqd, in its place.
pub fn nsqd() -> PathBuf {
    binary("NSQD", "nsqd")
}

/// The nsqlookupd under test; `NSQLOOKUPD` replaces it.
pub fn nsqlookupd() -> PathBuf {
    binary("NSQLOOKUPD", "nsqlookupd")
}

/// The load generator; `NSQ_BENCH` replaces it.
pub fn nsq_bench() -> PathBuf {
    binary("NSQ_BENCH", "nsq_bench")
}

/// The operator; `NSQ_OPERATOR` replaces it.
pub fn nsq_operator() -> PathBuf {
    binary("NSQ_OPERATOR", "nsq-operator")
}

/// The checkout. Asked of the cargo that runs the test: the one that built it may have done so for another checkout
/// with the same target folder.
pub fn root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// The cargo that runs this test.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

fn binary(variable: &str, name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => BUILT.get_or_init(build).join(name),
    }
}

/// A no-op of a fraction of a second when nothing changed, so it is not worth guessing whether it is needed.
fn build() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_else(|error| panic!("where is this test? {error}"));
    // target/debug/deps/it-0123456789abcdef
    let Some((profile, target)) = exe.ancestors().nth(2).zip(exe.ancestors().nth(3)) else {
        panic!("{} is not in a target folder", exe.display());
    };
    let mut command = cargo();
    command.args([
        "build",
        "--quiet",
        "--package",
        "broker",
        "--package",
        "lookupd",
        "--package",
        "tools",
        "--package",
        "controller",
    ]);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let status = command.env("CARGO_TARGET_DIR", target).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{command:?}: {status:?}");
    profile.to_path_buf()
}
