//! The nsqd under load: started on loopback with its data in a temporary folder, or running already. Its CPU time and
//! memory are read from /proc.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::floor;
use super::layers::{Certificate, Layer};
use super::options::{Options, Place, Subject};
use super::workload::Workload;

/// A start takes milliseconds; recovering a backlog may take longer.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// An nsqd that does not stop by then is killed.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// Between the end of its connections and that of the process.
const ENDED_WITHIN: Duration = Duration::from_secs(1);

/// An nsqd that answers.
#[derive(Debug)]
pub(super) struct Target {
    /// For clients.
    pub tcp: String,
    /// For HTTP; empty when it is not known.
    pub http: String,
    /// To read /proc; none when it runs elsewhere.
    process: Option<u32>,
    /// What connections to it are to ask for.
    pub layer: Layer,
    /// What it shows when it speaks TLS.
    pub certificate: Option<Certificate>,
    started: Option<Started>,
}

/// An nsqd of ours.
#[derive(Debug)]
struct Started {
    child: Child,
    folder: TempDir,
    binary: PathBuf,
    arguments: Vec<String>,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// Memory it holds now, in bytes.
    pub resident: u64,
}

impl Target {
    /// Start, or find, the nsqd of `subject` for `workload`.
    pub(super) async fn start(options: &Options, workload: &Workload, subject: &Subject) -> Result<Self> {
        match &subject.place {
            Place::Binary(binary) => {
                let mut flags = options.nsqd_flags.clone();
                flags.extend(workload.flags.iter().map(|flag| (*flag).to_owned()));
                flags.extend(known(binary, workload.flags_if_known).await?);
                let certificate = if workload.layer == Layer::Tls { Some(Certificate::new()?) } else { None };
                flags.extend(certificate.iter().flat_map(Certificate::flags));
                let folder = folder(options.data_path.as_deref())?;
                flags.push(format!("--data-path={}", folder.path().display()));
                flags.extend(["tcp", "http"].map(|kind| format!("--{kind}-address=127.0.0.1:0")));
                let launched = Self::launch(binary, flags, folder).await?;
                Ok(Self { layer: workload.layer, certificate, ..launched })
            }
            Place::Floor => {
                let folder = folder(options.data_path.as_deref())?;
                let arguments = vec![floor::FLAG.to_owned(), folder.path().display().to_string()];
                let this = std::env::current_exe().context("where is nsq_bench?")?;
                Self::launch(&this, arguments, folder).await
            }
            Place::Running { tcp, http } => {
                ensure!(
                    workload.flags.is_empty() && !workload.restarts && workload.layer != Layer::Tls,
                    "this work needs an nsqd that nsq_bench starts itself: give --nsqd=PATH"
                );
                let process = owner_of(tcp);
                let (tcp, http, layer) = (tcp.clone(), http.clone(), workload.layer);
                Ok(Self { tcp, http, process, layer, certificate: None, started: None })
            }
        }
    }

    /// Stop it in order and start it again on the same data, which may be dropped from the page cache in between; how
    /// long it was until it served.
    pub(super) async fn restart(&mut self, drops_cache: bool) -> Result<Duration> {
        let Some(started) = self.started.take() else { bail!("only an nsqd of our own can be restarted") };
        let Started { mut child, folder, binary, arguments } = started;
        stop(&mut child).await?;
        if drops_cache {
            let path = folder.path().to_owned();
            let dropped = tokio::task::spawn_blocking(move || drop_cache(&path)).await?;
            dropped.context("cannot drop the backlog from the page cache")?;
        }
        let since = std::time::Instant::now();
        let certificate = self.certificate.take();
        *self = Self { layer: self.layer, certificate, ..Self::launch(&binary, arguments, folder).await? };
        Ok(since.elapsed())
    }

    /// Stop it, if it is ours. Its data go with it.
    pub(super) async fn stop(mut self) -> Result<()> {
        match &mut self.started {
            Some(started) => stop(&mut started.child).await,
            None => Ok(()),
        }
    }

    /// Why it is not running any more, if it is ours and ended. One that broke its connections may be about to.
    pub(super) async fn death(&mut self, is_suspect: bool) -> Option<String> {
        let child = &mut self.started.as_mut()?.child;
        let wait = if is_suspect { ENDED_WITHIN } else { Duration::ZERO };
        match timeout(wait, child.wait()).await {
            Err(_) => None,
            Ok(Ok(status)) => Some(status.to_string()),
            Ok(Err(error)) => Some(error.to_string()),
        }
    }

    /// What it has used until now; none when it cannot be told.
    pub(super) fn usage(&self) -> Option<Usage> {
        let process = self.process?;
        Some(Usage { cpu: cpu(process)?, resident: resident(process)? })
    }

    async fn launch(binary: &Path, arguments: Vec<String>, folder: TempDir) -> Result<Self> {
        let mut command = Command::new(binary);
        command
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let stderr = child.stderr.take().context("nsqd's stderr is not ours")?;
        let mut log = BufReader::new(stderr).lines();
        let found = timeout(READY_WITHIN, addresses(&mut log)).await;
        let (tcp, http) = found
            .with_context(|| format!("{} did not start listening within 30 s", binary.display()))?
            .with_context(|| format!("{} did not start", binary.display()))?;
        // A pipe that nobody reads would stop it in the middle of a log line.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let process = child.id();
        let started = Started { child, folder, binary: binary.to_owned(), arguments };
        Ok(Self { tcp, http, process, layer: Layer::Plain, certificate: None, started: Some(started) })
    }
}

/// Those of `flags` that this nsqd has: an old or a stock nsqd without a limit needs no flag that lifts it.
async fn known(binary: &Path, flags: &[&str]) -> Result<Vec<String>> {
    if flags.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = Command::new(binary);
    command.arg("--help").stdin(Stdio::null()).kill_on_drop(true);
    let help = timeout(READY_WITHIN, command.output()).await;
    let help = help.context("timed out").and_then(|ended| Ok(ended?));
    let help = help.with_context(|| format!("cannot ask {} for its flags", binary.display()))?;
    let text = [help.stdout, help.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let name = |flag: &str| flag.split('=').next().unwrap_or_default().trim_start_matches('-').to_owned();
    Ok(flags.iter().filter(|flag| text.contains(&name(flag))).map(|flag| (*flag).to_owned()).collect())
}

fn folder(parent: Option<&Path>) -> Result<TempDir> {
    let made = match parent {
        Some(parent) => TempDir::with_prefix_in("nsq_bench-", parent),
        None => TempDir::with_prefix("nsq_bench-"),
    };
    made.context("cannot make a folder for nsqd's data")
}

/// Read the log until both addresses are told; what was logged instead is the error.
async fn addresses(log: &mut Lines<BufReader<ChildStderr>>) -> Result<(String, String)> {
    let (mut tcp, mut http, mut told) = (None, None, Vec::new());
    while let Some(line) = log.next_line().await.context("cannot read its log")? {
        let after = |mark: &str| line.split_once(mark).map(|(_, address)| address.trim().to_owned());
        tcp = after("TCP: listening on ").or(tcp);
        http = after(" HTTP: listening on ").or(http);
        if let (Some(tcp), Some(http)) = (&tcp, &http) {
            return Ok((tcp.clone(), http.clone()));
        }
        told.push(line);
    }
    bail!("it ended; its last words: {}", told.split_off(told.len().saturating_sub(5)).join(" | "))
}

/// Only what is clean can be dropped, hence the sync.
fn drop_cache(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            drop_cache(&path)?;
        } else if path.is_file() {
            let file = std::fs::File::open(&path)?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

async fn stop(child: &mut Child) -> Result<()> {
    if let Some(id) =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    {
        // It may have ended by itself; waiting tells.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
    if timeout(STOPPED_WITHIN, child.wait()).await.is_err() {
        child.kill().await.context("nsqd does not stop and cannot be killed")?;
        bail!("nsqd did not stop within 30 s of SIGTERM");
    }
    Ok(())
}

/// The sum over its threads: a process has no such file of its own. Threads that ended meanwhile are missed, so that
/// figures of an nsqd that keeps making threads would be too good.
fn cpu(process: u32) -> Option<Duration> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let times = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    Some(Duration::from_nanos(times.sum()))
}

fn resident(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The process that listens on a local port: found by the inode of its socket. None when it is not on this machine or
/// belongs to somebody else.
fn owner_of(address: &str) -> Option<u32> {
    let port: u16 = address.rsplit_once(':')?.1.parse().ok()?;
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().find_map(|line| listener_inode(line, port))
    })?;
    let socket = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let id: u32 = process.file_name().to_str()?.parse().ok()?;
        let files = std::fs::read_dir(process.path().join("fd")).ok()?;
        let holds = |file: std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == socket.as_str())
        };
        files.flatten().any(holds).then_some(id)
    })
}

/// `sl local_address rem_address st ... inode`; state 0A is LISTEN.
fn listener_inode(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let local = fields.get(1)?.rsplit_once(':')?.1;
    let is_ours = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == "0A";
    is_ours.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
}

#[cfg(test)]
mod tests {
    use super::listener_inode;

    #[test]
    fn the_listener_of_a_port_is_found_in_the_kernels_table() {
        let line = "   0: 0100007F:1036 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1";
        assert_eq!(listener_inode(line, 0x1036).as_deref(), Some("4711"));
        assert_eq!(listener_inode(line, 1), None);
        assert_eq!(listener_inode(&line.replace(" 0A ", " 01 "), 0x1036), None, "connected, not listening");
        assert_eq!(listener_inode("  sl  local_address", 1), None);
    }
}
