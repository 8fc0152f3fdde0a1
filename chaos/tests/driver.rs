//! The driver itself: it leaves nothing behind however it ends, and says so when a run shows nothing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chaos::fault::Calm;
use chaos::load::Size;
use chaos::report::Judgement;
use chaos::run::{Plan, run};
use harness::eventually;

#[test]
fn a_driver_that_is_killed_leaves_no_process_and_no_folder() {
    let parent = Parent::create("killed");
    let mut driver = parent.driver(&["kill", "--cycles=1000", "--rate=300"]);
    eventually("nsqd runs", || !processes_in(&parent.0).is_empty());
    let _ = driver.kill();
    let _ = driver.wait();
    eventually("nsqd is gone", || processes_in(&parent.0).is_empty());
    eventually("the folder is gone", || folders_in(&parent.0).is_empty());
}

#[test]
fn a_good_run_leaves_no_folder() {
    let parent = Parent::create("good");
    let mut driver = parent.driver(&["calm", "--cycles=1", "--rate=900", "--load-min=1"]);
    let status = driver.wait();
    assert_eq!(status.map(|status| status.code()).ok(), Some(Some(0)));
    assert_eq!(folders_in(&parent.0), [""; 0]);
}

#[test]
fn a_run_below_its_minimum_load_is_void() {
    let plan = Plan {
        nsqd: harness::nsqd_binary(),
        cycles: 1,
        cycles_per_round: 1,
        seed: 1,
        size: Size { rate: 300, is_plain: true },
        load_min: 1_000_000,
        ready_max: Duration::from_secs(10),
        finish_window: None,
        durability: None,
        flags: Vec::new(),
        environment: Vec::new(),
        folder: None,
    };
    let outcome = run(&plan, &mut Calm, &mut |_| ()).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(Judgement::of(&plan, &outcome), Judgement::Void);
    assert_eq!(Judgement::Void.exit_code(), 3);
}

/// A folder for one test, in which the driver makes its own.
struct Parent(PathBuf);

impl Parent {
    fn create(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("driver-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    fn driver(&self, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command.args(args).arg("--folder").arg(&self.0).arg("--nsqd").arg(harness::nsqd_binary());
        command.stdout(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Processes whose data path is in this folder, by their command lines.
fn processes_in(parent: &Path) -> Vec<String> {
    let mark = format!("--data-path={}", parent.display());
    let all = std::fs::read_dir("/proc").unwrap_or_else(|error| panic!("/proc: {error}"));
    let lines = all.flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(&mark)).collect()
}

fn folders_in(parent: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(parent).unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
