//! A daemon as a child process: its log is read as it comes, its ports are taken from it, and it never outlives the
//! value that stands for it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::waiting::{PATIENCE, eventually};

/// A running program. Dropping it kills it; if that happens in a failing test, the end of its log is printed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
}

impl Process {
    /// Start `program`.
    ///
    /// # Panics
    /// When it cannot be started at all; that it serves is known from [`Process::address`].
    pub fn start(program: &Path, args: &[String]) -> Self {
        Self::start_in(program, args, &[])
    }

    /// Start `program` with these variables in its environment too.
    ///
    /// # Panics
    /// As [`Process::start`].
    pub fn start_in(program: &Path, args: &[String], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command.envs(variables.iter().copied());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let log = Arc::new(Log::default());
        if let Some(stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || log.follow(stderr));
        }
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, child, log }
    }

    /// The address of a listener from the log line `PROTOCOL: listening on IP:PORT`.
    ///
    /// # Panics
    /// When the process ends or [`PATIENCE`] runs out before that line.
    #[track_caller]
    pub fn address(&self, protocol: &str) -> SocketAddr {
        let mark = format!("{protocol}: listening on ");
        let line = self.wait_for_line(&mark);
        let address = line.split(&mark).last().unwrap_or_default().trim();
        address.parse().unwrap_or_else(|error| panic!("{}: `{line}`: {error}", self.name))
    }

    /// The first line of the log that contains `text`, as soon as it is there.
    ///
    /// # Panics
    /// When the process ends or [`PATIENCE`] runs out before.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str) -> String {
        let limit = Instant::now() + PATIENCE;
        let mut lines = self.log.lock();
        loop {
            if let Some(line) = lines.text.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = limit.saturating_duration_since(Instant::now());
            let why = if lines.ended { "it ended" } else { "it is still running" };
            assert!(
                !lines.ended && !left.is_zero(),
                "{}: no line `{text}` ({why}):\n{}",
                self.name,
                lines.tail()
            );
            lines = self.log.grown.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The end of what it has said so far.
    pub fn log(&self) -> String {
        self.log.lock().tail()
    }

    /// Whether it has ended by now.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// kill -9.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then the end of the process.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Any signal.
    ///
    /// # Panics
    /// When it cannot be sent.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        assert!(sent.is_ok(), "cannot signal {}: {sent:?}", self.name);
    }

    /// How it ends, as soon as it does.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`].
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually(&format!("{} ends", self.name), || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        status.unwrap_or_default()
    }

    /// The memory it holds, as the kernel counts it.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        let kib: u64 = kib.unwrap_or_else(|| panic!("{} has no VmRSS: it ended", self.name));
        kib * 1024
    }

    /// How many files and sockets the process has open.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    pub fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}")).count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- end of the log of {} ---\n{}", self.name, self.log());
        }
    }
}

/// Lines a child has written so far; a thread follows the pipe so that the child never blocks on it.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    text: Vec<String>,
    ended: bool,
}

impl Log {
    fn follow(&self, stderr: ChildStderr) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        // Bytes, not text: stock daemons log what a client sent as it came, and closing the pipe would kill them.
        while stderr.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            self.lock().text.push(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            self.grown.notify_all();
            line.clear();
        }
        self.lock().ended = true;
        self.grown.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn tail(&self) -> String {
        let start = self.text.len().saturating_sub(30);
        self.text.get(start..).unwrap_or_default().join("\n")
    }
}
