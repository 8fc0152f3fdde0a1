//! nsqd as a child process on the same ports and data through all its lives. It ends with the driver: `setpriv` asks the
//! kernel for that, where it is installed.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::diary::Clock;
use crate::wire::Connection;

/// nsqd that does not serve by then has failed to start.
const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How nsqd is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The binary.
    pub program: PathBuf,
    /// Its data folder.
    pub data: PathBuf,
    /// More flags, such as `--durability=fsync`.
    pub flags: Vec<String>,
    /// More variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Where its log goes, life after life.
    pub log: PathBuf,
}

/// A process that was started, dead or alive.
#[derive(Debug)]
pub struct Nsqd {
    launch: Launch,
    child: Child,
    tcp: SocketAddr,
    http: SocketAddr,
}

impl Nsqd {
    /// Start it for the first time, on ports the system chooses, and wait until it serves.
    ///
    /// # Errors
    /// It does not start; with the end of its log.
    pub fn start(launch: Launch, clock: Clock) -> Result<Self> {
        std::fs::create_dir_all(&launch.data)?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let child = spawn(&launch, any, any)?;
        let mut nsqd = Self { launch, child, tcp: any, http: any };
        let limit = Instant::now() + START_LIMIT;
        loop {
            if let (Some(tcp), Some(http)) = (nsqd.listening("TCP"), nsqd.listening("HTTP")) {
                (nsqd.tcp, nsqd.http) = (tcp, http);
                nsqd.serving(clock)?;
                return Ok(nsqd);
            }
            nsqd.still_starting(limit)?;
        }
    }

    /// Start it again with the same data and ports; gives how long it took until it answered.
    ///
    /// # Errors
    /// It does not start; with the end of its log.
    pub fn restart(&mut self, clock: Clock) -> Result<Duration> {
        let began = Instant::now();
        self.child = spawn(&self.launch, self.tcp, self.http)?;
        self.serving(clock)?;
        Ok(began.elapsed())
    }

    /// Where it speaks the wire protocol.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where it serves HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// How it was started.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// kill -9, and the end of it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM.
    ///
    /// # Errors
    /// It is gone already.
    pub fn terminate(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("could not send SIGTERM to nsqd")
    }

    /// How it ended, if it does within `limit`.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn ended_within(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let limit = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= limit {
                return Ok(None);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.launch.log)
    }

    fn serving(&mut self, clock: Clock) -> Result<()> {
        let limit = Instant::now() + START_LIMIT;
        while Connection::open(self.tcp, clock, None).is_err() {
            self.still_starting(limit)?;
        }
        Ok(())
    }

    fn still_starting(&mut self, limit: Instant) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("nsqd ended while it started ({status}):\n{}", self.log_tail());
        }
        if Instant::now() >= limit {
            bail!("nsqd does not serve after {} s:\n{}", START_LIMIT.as_secs(), self.log_tail());
        }
        std::thread::sleep(LOOK_EVERY);
        Ok(())
    }

    /// From the log line `PROTOCOL: listening on IP:PORT`.
    fn listening(&self, protocol: &str) -> Option<SocketAddr> {
        let log = std::fs::read_to_string(&self.launch.log).ok()?;
        let mark = format!("{protocol}: listening on ");
        let line = log.lines().rev().find(|line| line.contains(&mark))?;
        line.split(&mark).last()?.trim().parse().ok()
    }
}

impl Drop for Nsqd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(launch: &Launch, tcp: SocketAddr, http: SocketAddr) -> Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(&launch.log);
    let log: File = log.with_context(|| format!("could not open {}", launch.log.display()))?;
    let mut command = Command::new(&launch.program);
    if is_installed("setpriv") {
        command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&launch.program);
    }
    command
        .arg(format!("--tcp-address={tcp}"))
        .arg(format!("--http-address={http}"))
        .arg(format!("--data-path={}", launch.data.display()))
        .arg("--broadcast-address=127.0.0.1")
        .args(&launch.flags)
        .envs(launch.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().with_context(|| format!("could not start {}", launch.program.display()))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn tail(log: &Path) -> String {
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
