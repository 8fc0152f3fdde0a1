//! Real clients in other languages, as `cargo xtask setup` prepares them. Where one cannot be had, its tests say so
//! loudly and pass; on CI (CI=true) they fail.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::binaries::{cargo, root};
use crate::cluster::Cluster;

/// A prepared client program.
#[derive(Debug)]
pub struct Client {
    program: PathBuf,
    script: Option<PathBuf>,
}

/// go-nsq, or `None` after a notice.
///
/// # Panics
/// On CI, when it cannot be had.
#[track_caller]
pub fn go_client() -> Option<Client> {
    let program = prepared("go-client")?;
    Some(Client { program, script: None })
}

/// pynsq, or `None` after a notice.
///
/// # Panics
/// On CI, when it cannot be had.
#[track_caller]
pub fn python_client() -> Option<Client> {
    let program = prepared("python")?;
    Some(Client { program, script: Some(root().join("tests/clients/python/scenarios.py")) })
}

/// The program over go-diskqueue that writes and reads the data folder of a stock nsqd, or `None` after a notice.
///
/// # Panics
/// On CI, when it cannot be had.
#[track_caller]
pub fn diskqueue() -> Option<PathBuf> {
    prepared("diskqueue")
}

impl Client {
    /// Run one scenario against a cluster of its own.
    ///
    /// # Panics
    /// When it does not print `PASS scenario`; with what it printed instead.
    #[track_caller]
    pub fn run(&self, scenario: &str) {
        let cluster = Cluster::start();
        let mut command = Command::new(&self.program);
        command.args(&self.script);
        command.arg("--lookupd").arg(cluster.lookupd.http().to_string());
        for nsqd in &cluster.nsqds {
            command.arg("--nsqd").arg(nsqd.tcp().to_string());
            command.arg("--nsqd-http").arg(nsqd.http().to_string());
        }
        let output = command.arg(scenario).output();
        let output = output.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let printed = String::from_utf8_lossy(&output.stdout);
        let passed =
            output.status.success() && printed.lines().any(|line| line == format!("PASS {scenario}"));
        assert!(passed, "{}\n{printed}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
}

#[track_caller]
fn prepared(name: &str) -> Option<PathBuf> {
    static SETUP: OnceLock<(String, String)> = OnceLock::new();
    let (answers, notices) = SETUP.get_or_init(set_up);
    let found = answers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    if let Some(path) = found {
        return Some(PathBuf::from(path));
    }
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    assert!(!is_ci, "CI skips no test, and {name} is missing:\n{notices}");
    // Straight to stderr: what goes through the test runner's own capture is not shown for a test that passes.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED a test that needs {name}; `cargo xtask setup` says why:\n{notices}"
    );
    None
}

fn set_up() -> (String, String) {
    let output = cargo().args(["run", "--quiet", "--package", "xtask", "--", "setup"]).output();
    match output {
        Ok(output) => (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ),
        Err(error) => (String::new(), format!("cargo xtask setup does not start: {error}")),
    }
}
