//! One child process and the task that keeps it running: start, notice that it serves, start again when it
//! ends, stop it when told to. Which children there are and what they are told is decided elsewhere.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::backoff::{Backoff, Telling};
use super::console::Console;
use super::journal::Journal;
use super::layout::{Addresses, Launch, Name};
use crate::daemons::hidden_argument;

/// A broker writes its last checkpoints within this; after it the child is killed, as Kubernetes would.
const STOP_LIMIT: Duration = Duration::from_secs(15);
const PING_LIMIT: Duration = Duration::from_secs(1);
const PING_PAUSE: Duration = Duration::from_millis(20);
/// A full disk may stay full for hours.
const UNWELL_PAUSE: Duration = Duration::from_millis(250);

/// News of a child.
#[derive(Debug)]
pub(crate) enum Event {
    /// It answers `/ping` with OK now. `launch` tells this life from an earlier one with other flags.
    Serving { launch: Launch, addresses: Addresses, after: Duration },
    /// It ended though it should run; it will be started again.
    Ended(Ended),
}

/// An end that nobody asked for.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: Name,
    /// `exit code 1`, `killed by signal 9`, `cannot be started: ...`.
    pub(crate) how: String,
    pub(crate) last_lines: Vec<String>,
    pub(crate) retry_in: Duration,
    pub(crate) telling: Telling,
}

/// What a child should do; the latest wish counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    Run(Launch),
    /// SIGTERM, and SIGKILL after a while.
    Stop,
    /// SIGKILL at once.
    Kill,
}

/// What all children of one `nsq up` share.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// This binary.
    pub(crate) program: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) console: Console,
    pub(crate) events: mpsc::Sender<Event>,
}

/// A child under supervision.
#[derive(Debug)]
pub(crate) struct Child {
    wish: watch::Sender<Wish>,
    supervision: JoinHandle<Farewell>,
}

/// How a child ended that was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    InOrder,
    Killed,
}

impl Child {
    /// Starts it, and again whenever it ends, until `wish` says otherwise.
    pub(crate) fn start(launch: Launch, surroundings: Surroundings) -> Self {
        let name = launch.name;
        let (wish, wishes) = watch::channel(Wish::Run(launch));
        let supervisor = Supervisor { name, surroundings, wishes, kept: None, farewell: Farewell::InOrder };
        Self { wish, supervision: tokio::spawn(supervisor.run()) }
    }

    /// Tells it what to do from now on.
    pub(crate) fn wish(&self, wish: Wish) {
        self.wish.send_replace(wish);
    }

    /// Waits for the end that `Stop` or `Kill` asked for. Safe to drop and call again until it has answered.
    pub(crate) async fn ended(&mut self) -> Farewell {
        (&mut self.supervision).await.unwrap_or(Farewell::Killed)
    }
}

struct Supervisor {
    name: Name,
    surroundings: Surroundings,
    wishes: watch::Receiver<Wish>,
    /// The ports of the first start: clients and brokers know them by now.
    kept: Option<Addresses>,
    farewell: Farewell,
}

/// How one life of the process went.
enum Life {
    Ended {
        how: String,
        last_lines: Vec<String>,
        served: Option<Duration>,
    },
    /// It was ended because something else is wished.
    Over,
}

impl Supervisor {
    async fn run(mut self) -> Farewell {
        let mut backoff = Backoff::default();
        loop {
            let Wish::Run(launch) = self.wishes.borrow_and_update().clone() else { return self.farewell };
            let Life::Ended { how, last_lines, served } = self.live(&launch).await else {
                backoff = Backoff::default();
                continue;
            };
            let (retry_in, telling) = backoff.ended(served);
            self.tell(Event::Ended(Ended { name: self.name, how, last_lines, retry_in, telling })).await;
            tokio::select! {
                () = tokio::time::sleep(retry_in) => {}
                _ = self.wishes.changed() => {}
            }
        }
    }

    async fn live(&mut self, launch: &Launch) -> Life {
        let started = Instant::now();
        let mut process = match self.spawn(launch) {
            Ok(process) => process,
            Err(error) => {
                let how = format!("cannot be started: {}", super::failure::plain(&error));
                return Life::Ended { how, last_lines: Vec::new(), served: None };
            }
        };
        let mut serving_since = None;
        loop {
            tokio::select! {
                status = process.child.wait() => {
                    let how = status.map_or_else(|error| error.to_string(), how_it_ended);
                    let served = serving_since.map(|since: Instant| since.elapsed());
                    return Life::Ended { how, last_lines: process.journal.last_lines().await, served };
                }
                addresses = serving(&mut process.journal, self.name, self.surroundings.console), if serving_since.is_none() => {
                    serving_since = Some(Instant::now());
                    self.kept = Some(addresses);
                    let after = started.elapsed();
                    self.tell(Event::Serving { launch: launch.clone(), addresses, after }).await;
                }
                changed = self.wishes.changed() => {
                    if changed.is_err() || *self.wishes.borrow() != Wish::Run(launch.clone()) {
                        self.end(process).await;
                        return Life::Over;
                    }
                }
            }
        }
    }

    fn spawn(&self, launch: &Launch) -> io::Result<Process> {
        let Surroundings { program, log, console, .. } = &self.surroundings;
        let mut child = Command::new(program)
            .arg(hidden_argument(self.name.role))
            .args(launch.arguments(self.kept))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C in the terminal reaches us alone, and we stop the children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        // Waiting for a child closes its standard input, which is its lifeline: keep it out of there.
        let lifeline = child.stdin.take();
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("standard error is not a pipe"))?;
        let journal = Journal::keep(self.name, stderr, log, *console);
        Ok(Process { child, journal, _lifeline: lifeline })
    }

    /// Ends the process as wished, and sooner if the wish becomes `Kill` meanwhile.
    async fn end(&mut self, mut process: Process) {
        process.signal(Signal::TERM);
        let limit = tokio::time::sleep(STOP_LIMIT);
        tokio::pin!(limit);
        loop {
            if *self.wishes.borrow_and_update() == Wish::Kill {
                break;
            }
            tokio::select! {
                _ = process.child.wait() => return,
                changed = self.wishes.changed() => if changed.is_err() { break },
                () = &mut limit => {
                    let limit = STOP_LIMIT.as_secs();
                    self.surroundings.console.complain(format_args!("{} did not stop in {limit} s: killed", self.name));
                    break;
                }
            }
        }
        self.farewell = Farewell::Killed;
        process.signal(Signal::KILL);
        let _ = process.child.wait().await;
    }

    async fn tell(&self, event: Event) {
        // Nobody listens any more once everything is being stopped.
        let _ = self.surroundings.events.send(event).await;
    }
}

struct Process {
    child: tokio::process::Child,
    journal: Journal,
    _lifeline: Option<tokio::process::ChildStdin>,
}

impl Process {
    fn signal(&self, signal: Signal) {
        // No id once it is reaped, so a recycled id is never hit.
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Waits until the child listens and is well. A broker without space says why it is not; it delivers meanwhile.
async fn serving(journal: &mut Journal, name: Name, console: Console) -> Addresses {
    let addresses = journal.listening().await;
    let http = addresses.http.to_string();
    let mut pause = PING_PAUSE;
    loop {
        match daemon::http_client::get(&http, "/ping", PING_LIMIT).await {
            Ok((200, _)) => return addresses,
            Ok((_, body)) if pause != UNWELL_PAUSE => {
                pause = UNWELL_PAUSE;
                let why = String::from_utf8_lossy(&body);
                console.complain(format_args!("{name} is not ready: {}", why.trim()));
            }
            _ => {}
        }
        tokio::time::sleep(pause).await;
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}
