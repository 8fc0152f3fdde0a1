//! Real clients in other languages, as `cargo xtask setup` prepares them. Where one cannot be had, its tests say so
//! loudly and pass; on CI (CI=true) they fail. What is said between a client program and a test is in `dialogue.rs`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::binaries::{cargo, root};
use crate::cluster::Cluster;
use crate::dialogue::{Dialogue, converse};

/// A prepared client program.
#[derive(Debug)]
pub struct Client {
    program: PathBuf,
    first: Vec<String>,
}

/// go-nsq, or `None` after a notice.
///
/// # Panics
/// On CI, when it cannot be had.
#[track_caller]
pub fn go_client() -> Option<Client> {
    client("go-nsq")
}

/// pynsq, or `None` after a notice.
///
/// # Panics
/// On CI, when it cannot be had.
#[track_caller]
pub fn python_client() -> Option<Client> {
    client("pynsq")
}

/// The client of this name, or `None` after a notice.
///
/// # Panics
/// On CI, when it cannot be had; everywhere, when no client is named so.
#[track_caller]
pub fn client(name: &str) -> Option<Client> {
    let script = |file: &str| root().join("tests/clients/python").join(file).display().to_string();
    let (program, first) = match name {
        "go-nsq" => (prepared("go-client")?, Vec::new()),
        "tokio-nsq" => (prepared("rust-client")?, Vec::new()),
        "pynsq" => (prepared("python")?, vec![script("scenarios.py")]),
        "pynsq, tornado 6.0" => (prepared("python-compression")?, vec![script("scenarios.py")]),
        "nsqjs" => ("node".into(), vec![prepared("node")?.join("scenarios.js").display().to_string()]),
        "ansq" | "gnsq" | "asyncnsq" | "nsq-py" => (
            prepared("python-long-run")?,
            vec![script("long_run.py"), "--client".to_owned(), name.to_owned()],
        ),
        "nsq-j" | "brainlag" => ("java".into(), java(&prepared("java")?, name)),
        _ => panic!("no client is named {name}"),
    };
    Some(Client { program, first })
}

/// A virtual machine that is to start quickly and live for seconds.
fn java(place: &std::path::Path, name: &str) -> Vec<String> {
    let classes = format!("{0}/classes:{0}/lib/*", place.display());
    ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &classes, "Main", "--client", name]
        .map(str::to_owned)
        .to_vec()
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
        self.run_against(&mut Cluster::start(), &[], &[scenario], |_, _| {});
    }

    /// Run scenarios against this cluster. `answer` does what the program asks for with a word of its own on a line,
    /// such as RESTART; the program goes on when it returns.
    ///
    /// # Panics
    /// When it does not print `PASS scenario` for each; with what it printed instead.
    #[track_caller]
    pub fn run_against(
        &self,
        cluster: &mut Cluster,
        flags: &[String],
        scenarios: &[&str],
        mut answer: impl FnMut(&str, &mut Cluster),
    ) -> Dialogue {
        let command = self.command(cluster, flags, scenarios);
        let dialogue = converse(command, |word| answer(word, cluster));
        for scenario in scenarios {
            assert!(dialogue.has_line(&format!("PASS {scenario}")), "{scenario}: {dialogue}");
        }
        assert!(dialogue.status.success(), "{dialogue}");
        dialogue
    }

    fn command(&self, cluster: &Cluster, flags: &[String], scenarios: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.first);
        command.arg("--lookupd").arg(cluster.lookupd.http().to_string());
        for nsqd in &cluster.nsqds {
            command.arg("--nsqd").arg(nsqd.tcp().to_string());
            command.arg("--nsqd-http").arg(nsqd.http().to_string());
        }
        command.args(flags).args(scenarios);
        command
    }
}

/// A program that `cargo xtask setup` prepares, by its name there; `None` after a notice where it cannot be had.
///
/// # Panics
/// On CI, when it cannot be had.
#[track_caller]
pub fn prepared(name: &str) -> Option<PathBuf> {
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
    let mut setup = cargo();
    setup.args(["run", "--quiet", "--package", "xtask", "--", "setup"]);
    if cfg!(feature = "all-clients") {
        setup.arg("--all");
    }
    let output = setup.output();
    match output {
        Ok(output) => (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ),
        Err(error) => (String::new(), format!("cargo xtask setup does not start: {error}")),
    }
}
