//! From a stock nsqd's data folder, written through go-diskqueue, into our nsqd and back to one that go-diskqueue reads:
//! nothing is lost on either way, also when the import is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use harness::{Nsqd, Process, diskqueue, eventually, nsqd_binary};
use tempfile::TempDir;

/// What a queue holds, in any order and whatever the ids: messages, a sum over bodies and times, attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    messages: u64,
    sum: u64,
    attempts: u64,
}

impl Held {
    fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            sum: self.sum.wrapping_add(other.sum),
            attempts: self.attempts + other.attempts,
        }
    }
}

type Queues = BTreeMap<String, Held>;

/// Three channels at different places, one of them paused, with some messages that were in flight, and a backlog that
/// only the topic has; many small files.
fn usual(stock: &Stock, folder: &Path) -> Queues {
    let shape = ["--topic=t", "--messages=3000", "--late=40", "--backlog=200", "--max-bytes-per-file=30000"];
    let channels = ["--channel=ahead:3000", "--channel=behind", "--channel=between:1200:paused"];
    stock.write(folder, &[&shape[..], &channels[..]].concat())
}

/// The topic's own backlog goes to every channel, as a stock nsqd would do after its start.
fn after_start(before: &Queues) -> Queues {
    let backlog = before["t"];
    let mut after: Queues = before.iter().map(|(name, held)| (name.clone(), held.and(backlog))).collect();
    after.insert("t".to_owned(), Held::default());
    after
}

#[test]
fn what_a_stock_nsqd_left_is_delivered_finished_and_exported_to_the_last_message() {
    let Some(stock) = Stock::new() else { return };
    let folder = TempDir::new().unwrap();
    let mut expected = after_start(&usual(&stock, folder.path()));
    let mut nsqd = Nsqd::on(folder, &[]);
    nsqd.process().wait_for_line("imported: 5000 messages of 1 topics and 3 channels");
    for (channel, depth) in [("ahead", 200), ("behind", 3200), ("between", 2000)] {
        assert_eq!(nsqd.channel("t", channel)["depth"], depth, "{channel}");
        assert_eq!(nsqd.channel("t", channel)["paused"], channel == "between");
    }

    let mut consumer = nsqd.consumer("t", "behind", 500);
    let mut bodies = BTreeSet::new();
    for _ in 0..3200 {
        let message = consumer.expect_message();
        let number: i64 = message.text().split('-').nth(1).unwrap().parse().unwrap();
        assert_eq!(message.timestamp, 1_700_000_000_000_000_000 + number * 1_000_000, "published then");
        assert_eq!(
            message.attempts,
            if number < 40 { 2 } else { 1 },
            "{number} was delivered before, or was not"
        );
        assert!(bodies.insert(number), "{number} came twice");
        consumer.finish(&message);
    }
    consumer.close();
    nsqd.eventually_channel("t", "behind", &[("depth", 0), ("in_flight_count", 0)]);
    expected.insert("t:behind".to_owned(), Held::default());

    assert!(nsqd.terminate_and_restart().success());
    nsqd.eventually_channel("t", "behind", &[("depth", 0)]);
    nsqd.process().terminate();
    let home = TempDir::new().unwrap();
    ok(&command("export", nsqd.data_path(), &[&flag("to", home.path()), "--max-bytes-per-file=30000"]));
    assert_eq!(stock.read(home.path()), expected);
}

#[test]
fn an_import_killed_at_any_step_loses_and_repeats_nothing() {
    let Some(stock) = Stock::new() else { return };
    let original = TempDir::new().unwrap();
    let before =
        stock.write(original.path(), &["--topic=t", "--messages=60000", "--channel=a", "--channel=b:20000"]);
    for (step, is_reached) in STEPS {
        let folder = copy(original.path());
        let mut process =
            Process::start(&nsqd_binary(), &["import".to_owned(), flag("data-path", folder.path())]);
        eventually(step, || is_reached(folder.path()) || folder.path().join("nsqube").exists());
        process.kill();
        ok(&command("import", folder.path(), &[]));
        let home = TempDir::new().unwrap();
        ok(&command("export", folder.path(), &[&flag("to", home.path())]));
        assert_eq!(stock.read(home.path()), before, "killed when {step}");
        let names = names(folder.path());
        assert!(!names.iter().any(|name| name.starts_with("import.")), "{names:?}");
    }
}

type Step = (&'static str, fn(&Path) -> bool);

/// What can be seen of an import from outside, in its order.
const STEPS: &[Step] = &[
    ("it begins", |folder| folder.join("import.tmp").exists()),
    ("the log is begun", |folder| log_bytes(folder) > 0),
    ("the log is half done", |folder| log_bytes(folder) > 4 << 20),
    ("all is written", |folder| folder.join("import.tmp/files").exists()),
    ("it has happened", |folder| folder.join("import.done").exists()),
    ("topics are in their place", |folder| folder.join("topics").exists()),
    ("it is over", |folder| folder.join("nsqube").exists() && !folder.join("import.done").exists()),
];

fn log_bytes(folder: &Path) -> u64 {
    let log = folder.join("import.tmp/topics/t/00000000000000000000.log");
    log.metadata().map_or(0, |metadata| metadata.len())
}

#[test]
fn a_dry_run_tells_what_would_be_imported_and_changes_nothing() {
    let Some(stock) = Stock::new() else { return };
    let folder = TempDir::new().unwrap();
    usual(&stock, folder.path());
    let before = contents(folder.path());
    let text = ok(&command("import", folder.path(), &["--dry-run"]));
    assert!(text.contains("t:between          1800 messages          180000 bytes"), "{text}");
    assert!(text.contains("would be imported: 5000 messages of 1 topics and 3 channels"), "{text}");
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_folder_in_use_is_neither_imported_nor_exported() {
    let nsqd = Nsqd::start();
    let home = TempDir::new().unwrap();
    let path = nsqd.data_path();
    for output in [command("import", path, &[]), command("export", path, &[&flag("to", home.path())])] {
        let text = refused(&output);
        assert!(
            text.contains("another nsqd is running") && text.contains(&path.display().to_string()),
            "{text}"
        );
    }
    assert_eq!(names(home.path()), BTreeSet::new());
}

#[test]
fn the_commands_say_what_is_wrong_with_their_arguments() {
    let empty = TempDir::new().unwrap();
    let nowhere = empty.path().join("nowhere");
    let text = ok(&command("import", empty.path(), &[]));
    assert!(text.contains("there is nothing to import"), "{text}");
    for (output, part) in [
        (command("import", &nowhere, &[]), "there is no folder"),
        (command("export", &nowhere, &["--to=x"]), "there is no folder"),
        (command("export", empty.path(), &[]), "--to is missing"),
        (command("export", empty.path(), &["--to=x"]), "holds no messages of this nsqd"),
        (command("import", empty.path(), &["--dry-rum"]), "did you mean --dry-run"),
    ] {
        let text = refused(&output);
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(names(empty.path()), BTreeSet::new());
    let help = Command::new(nsqd_binary()).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.contains("nsqd import") && help.contains("nsqd export"), "{help}");
}

/// go-diskqueue's program.
struct Stock {
    program: std::path::PathBuf,
}

impl Stock {
    fn new() -> Option<Self> {
        diskqueue().map(|program| Self { program })
    }

    fn write(&self, folder: &Path, args: &[&str]) -> Queues {
        self.run("write", folder, args)
    }

    /// Drains the folder.
    fn read(&self, folder: &Path) -> Queues {
        self.run("read", folder, &["--max-bytes-per-file=30000"])
    }

    fn run(&self, mode: &str, folder: &Path, args: &[&str]) -> Queues {
        let mut command = Command::new(&self.program);
        let output = command.arg(mode).arg(flag("data-path", folder)).args(args).output().unwrap();
        ok(&output).lines().map(held).collect()
    }
}

/// `QUEUE messages=N sum=HEX attempts=N`.
fn held(line: &str) -> (String, Held) {
    let mut words = line.split(' ');
    let name = words.next().unwrap().to_owned();
    let mut next = |key: &str| words.next().unwrap().strip_prefix(key).unwrap().to_owned();
    let messages = next("messages=").parse().unwrap();
    let sum = u64::from_str_radix(&next("sum="), 16).unwrap();
    (name, Held { messages, sum, attempts: next("attempts=").parse().unwrap() })
}

fn command(name: &str, data_path: &Path, args: &[&str]) -> Output {
    Command::new(nsqd_binary()).arg(name).arg(flag("data-path", data_path)).args(args).output().unwrap()
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

#[track_caller]
fn ok(output: &Output) -> String {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {text}{errors}", output.status);
    text.into_owned()
}

#[track_caller]
fn refused(output: &Output) -> String {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.code() == Some(1), "{}: {text}{errors}", output.status);
    errors.into_owned()
}

fn copy(folder: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    for name in names(folder) {
        std::fs::copy(folder.join(&name), to.path().join(&name)).unwrap();
    }
    to
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    names(folder).into_iter().map(|name| (name.clone(), std::fs::read(folder.join(&name)).unwrap())).collect()
}
