//! A temporary folder with a declaration, `nsq up` on it as a child, and HTTP to what it started. Everything
//! is stopped when dropped, also when a test fails.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

/// Far more than anything needs: machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// One broker, one nsqlookupd, no topic.
pub(crate) const BARE: &str = "\
apiVersion: nsqube.io/v1alpha1
kind: NsqCluster
metadata:
  name: quickstart
spec:
  brokers: {replicas: 1}
  lookupds: {replicas: 1}
";

/// Two brokers, one nsqlookupd, two topics, three channels.
pub(crate) const QUICKSTART: &str = "\
apiVersion: nsqube.io/v1alpha1
kind: NsqCluster
metadata:
  name: quickstart
spec:
  brokers: {replicas: 2}
  lookupds: {replicas: 1}
---
apiVersion: nsqube.io/v1alpha1
kind: NsqTopic
metadata:
  name: orders
spec: {clusterRef: {name: quickstart}}
---
apiVersion: nsqube.io/v1alpha1
kind: NsqTopic
metadata:
  name: events
spec: {clusterRef: {name: quickstart}}
---
apiVersion: nsqube.io/v1alpha1
kind: NsqChannel
metadata:
  name: billing
spec: {topicRef: {name: orders}}
---
apiVersion: nsqube.io/v1alpha1
kind: NsqChannel
metadata:
  name: shipping
spec: {topicRef: {name: orders}}
---
apiVersion: nsqube.io/v1alpha1
kind: NsqChannel
metadata:
  name: archive
spec: {topicRef: {name: events}}
";

/// A folder of its own for one test.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("cluster.yaml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Saves the declaration.
    pub(crate) fn declare(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    /// Saves the declaration and runs it on ports of its own.
    pub(crate) fn up(&self, text: &str) -> Up {
        self.declare(text);
        Up::start(self, &["--ports=auto"])
    }

    /// A broker that nobody supervises, serving `data`; it ends when dropped.
    pub(crate) fn stray_broker(&self, data: &Path) -> Up {
        let mut command = nsq();
        command.arg("@nsqd").args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
        command.arg(format!("--data-path={}", data.display()));
        let up = Up::run(command);
        up.expect_trouble("HTTP: listening on");
        up
    }
}

/// A running `nsq`.
pub(crate) struct Up {
    child: RefCell<Child>,
    id: u32,
    news: Lines,
    trouble: Lines,
}

impl Up {
    pub(crate) fn start(world: &World, flags: &[&str]) -> Self {
        let mut command = nsq();
        command.arg("up").args(flags).arg("--data-dir").arg(world.data()).arg(world.file());
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        // A group of its own, as a shell gives every command line.
        command.process_group(0);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (news, trouble) =
            (Lines::read(child.stdout.take().unwrap()), Lines::read(child.stderr.take().unwrap()));
        Self { id: child.id(), child: RefCell::new(child), news, trouble }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The next line of standard output with `text` in it.
    #[track_caller]
    pub(crate) fn expect(&self, text: &str) -> String {
        self.news.until(text, &self.trouble).pop().unwrap()
    }

    /// The next line of standard error with `text` in it.
    #[track_caller]
    pub(crate) fn expect_trouble(&self, text: &str) -> String {
        self.trouble.until(text, &self.news).pop().unwrap()
    }

    /// Waits until it is ready; what it said until then.
    #[track_caller]
    pub(crate) fn ready(&self) -> Ready {
        Ready { lines: self.news.until("stop: ", &self.trouble) }
    }

    /// Starts and stops in order.
    #[track_caller]
    pub(crate) fn ready_and_stopped(self) -> Ready {
        let ready = self.ready();
        self.signal(Signal::TERM);
        assert_eq!(self.end().0, Some(0));
        ready
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.id, signal);
    }

    /// Waits for its end: exit code and all of standard error.
    #[track_caller]
    pub(crate) fn end(self) -> (Option<i32>, String) {
        eventually("it ends", || self.child.borrow_mut().try_wait().unwrap().is_some());
        (self.child.borrow_mut().wait().unwrap().code(), self.trouble.rest())
    }

    /// Process ids of its children.
    pub(crate) fn children(&self) -> Vec<u32> {
        processes().filter(|(_, parent, _)| *parent == self.id).map(|(pid, ..)| pid).collect()
    }

    /// What the terminal does on Ctrl-C: SIGINT to everybody in the group.
    pub(crate) fn ctrl_c(&self) {
        kill_process_group(process(self.id), Signal::INT).unwrap();
    }

    /// Sends `signal` to the child that listens on `port`.
    #[track_caller]
    pub(crate) fn signal_child(&self, port: u16, signal: Signal) {
        let inode = listening_inode(port);
        let child = self.children().into_iter().find(|pid| sockets_of(*pid).contains(&inode));
        kill(child.expect("a child with that port"), signal);
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        if child.try_wait().unwrap().is_none() {
            // Whatever it started ends with it.
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// What `nsq up` said until it was ready.
#[derive(Debug)]
pub(crate) struct Ready {
    lines: Vec<String>,
}

impl Ready {
    /// The rows of the table for `role`.
    pub(crate) fn rows(&self, role: &str) -> Vec<String> {
        self.lines.iter().filter(|line| line.split(' ').next() == Some(role)).cloned().collect()
    }

    /// The line that starts with `head`.
    pub(crate) fn line(&self, head: &str) -> &str {
        self.lines.iter().find(|line| line.starts_with(head)).unwrap()
    }

    /// Where every child of `role` answers HTTP.
    pub(crate) fn http(&self, role: &str) -> Vec<Http> {
        let address = |row: &String| {
            row.split_whitespace().skip_while(|word| *word != "http").nth(1).map(str::to_owned)
        };
        self.rows(role)
            .iter()
            .filter_map(address)
            .map(|address| Http { address: address.parse().unwrap() })
            .collect()
    }
}

/// HTTP to one daemon.
#[derive(Debug)]
pub(crate) struct Http {
    address: SocketAddr,
}

impl Http {
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        block_on(daemon::http_client::get(&self.address.to_string(), path, PATIENCE))
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        block_on(daemon::http_client::post(&self.address.to_string(), path, body, PATIENCE))
    }

    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.get(path).1).unwrap()
    }

    pub(crate) fn topics(&self) -> Vec<String> {
        names(&self.json("/stats?format=json")["topics"], "topic_name")
    }

    pub(crate) fn channels(&self, topic: &str) -> Vec<String> {
        names(&self.topic(topic)["channels"], "channel_name")
    }

    pub(crate) fn is_paused(&self, topic: &str, channel: &str) -> bool {
        self.channel(topic, channel)["paused"].as_bool().unwrap()
    }

    pub(crate) fn durability(&self, topic: &str) -> String {
        self.topic(topic)["durability"].as_str().unwrap().to_owned()
    }

    pub(crate) fn depth(&self, topic: &str, channel: &str) -> i64 {
        self.channel(topic, channel)["depth"].as_i64().unwrap()
    }

    fn topic(&self, topic: &str) -> serde_json::Value {
        self.json(&format!("/stats?format=json&topic={topic}"))["topics"][0].clone()
    }

    fn channel(&self, topic: &str, channel: &str) -> serde_json::Value {
        self.json(&format!("/stats?format=json&topic={topic}&channel={channel}"))["topics"][0]["channels"][0]
            .clone()
    }
}

/// Returns as soon as `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "not within {} s: {what}", PATIENCE.as_secs());
        // Only between two looks; the condition decides, not the time.
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Whether the process still runs; one that ended and was not collected yet does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    processes().any(|(found, _, state)| found == pid && state != "Z")
}

/// The lines of a pipe, read by a thread so that the writer never blocks.
struct Lines {
    lines: Receiver<String>,
}

impl Lines {
    fn read(pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { lines }
    }

    /// All lines up to the first one with `text` in it.
    #[track_caller]
    fn until(&self, text: &str, other: &Self) -> Vec<String> {
        let limit = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let other: Vec<String> = other.lines.try_iter().collect();
                    panic!("{text:?} did not come; seen: {seen:#?}; elsewhere: {other:#?}")
                }
            }
            if seen.last().is_some_and(|line| line.contains(text)) {
                return seen;
            }
        }
    }

    /// Everything until the pipe closes.
    fn rest(&self) -> String {
        self.lines.iter().collect::<Vec<_>>().join("\n")
    }
}

fn nsq() -> Command {
    Command::new(env!("CARGO_BIN_EXE_nsq"))
}

fn names(list: &serde_json::Value, field: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

fn block_on<E: std::fmt::Debug>(
    answer: impl Future<Output = Result<(u16, bytes::Bytes), E>>,
) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (status, body) = runtime.block_on(answer).unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn kill(pid: u32, signal: Signal) {
    kill_process(process(pid), signal).unwrap();
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Every process: id, parent, state.
fn processes() -> impl Iterator<Item = (u32, u32, String)> {
    let stat = |entry: std::io::Result<std::fs::DirEntry>| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `pid (name) state parent ...`; a name may hold blanks and brackets.
        let mut words = text.rsplit_once(')')?.1.split_whitespace();
        let (state, parent) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some((pid, parent, state))
    };
    std::fs::read_dir("/proc").unwrap().filter_map(stat)
}

/// The inode of the socket that listens on 127.0.0.1:`port`, as /proc names it.
#[track_caller]
fn listening_inode(port: u16) -> String {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{port:04X}");
    let line = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(&local) && words.nth(1) == Some("0A")
    };
    let found = table.lines().find(line).expect("a listening socket");
    format!("socket:[{}]", found.split_whitespace().nth(9).unwrap())
}

fn sockets_of(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let target = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok();
    entries.filter_map(target).map(|target| target.display().to_string()).collect()
}
