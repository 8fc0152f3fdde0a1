//! `nsq up`: check everything, start the children, wait until they are what the files declare, keep them so,
//! stop them in order. The first half is here; `running` has what happens while children run.

mod backoff;
mod brokers;
mod child;
mod console;
mod converge;
mod declared;
mod failure;
mod journal;
pub(crate) mod layout;
mod log_line;
mod next;
mod preflight;
mod report;
mod running;
mod watch;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use operator::plan::ClusterPlan;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::UpArguments;
use console::Console;
use declared::Texts;
use failure::Failure;
use layout::Layout;
use running::Running;

/// Runs the declared cluster until it is told to stop. Exit code 0 after an orderly stop, else 1.
pub(crate) fn up(arguments: &UpArguments) -> ExitCode {
    let console = Console::new(arguments.verbose);
    let done = prepare(arguments).and_then(|prepared| {
        // One thread is plenty for a supervisor: the work is done in the children.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(system("cannot start"))?.block_on(run(prepared, console))
    });
    match done {
        Ok(code) => code,
        Err(failure) => {
            console.complain(&failure);
            console.note("nothing was started");
            ExitCode::FAILURE
        }
    }
}

/// All that is needed to start; nothing runs yet.
struct Prepared {
    plan: ClusterPlan,
    layout: Layout,
    program: PathBuf,
    files: Vec<PathBuf>,
    texts: Texts,
    /// Keeps a second `nsq up` away from the data folder as long as it is open.
    _lock: File,
}

fn prepare(arguments: &UpArguments) -> Result<Prepared, Failure> {
    let files = arguments.files.clone();
    let texts = declared::read(&files)?;
    let plan = declared::cluster(&texts, arguments.ports)?;
    let layout = Layout { data_dir: arguments.data_dir.clone(), ports: arguments.ports };
    let program = std::env::current_exe().map_err(system("cannot find this program's own file"))?;
    // The lock first: who runs `nsq up` twice wants to hear that, not which ports the first one has.
    let lock = preflight::take_data_folder(&layout)?;
    preflight::check_ports(&layout, &plan)?;
    preflight::make_broker_folders(&layout, &plan)?;
    Ok(Prepared { plan, layout, program, files, texts, _lock: lock })
}

/// Starts everything, follows changes, and stops everything however that ended.
///
/// # Errors
/// Only what fails before the first child is started.
async fn run(prepared: Prepared, console: Console) -> Result<ExitCode, Failure> {
    let mut stop = StopSignals::new().map_err(system("cannot listen for signals"))?;
    let hangup = signal(SignalKind::hangup()).map_err(system("cannot listen for signals"))?;
    let mut running = Running::new(&prepared, console);
    let outcome = tokio::select! {
        outcome = running.serve(&prepared, hangup) => outcome,
        () = stop.asked() => Ok(()),
    };
    if let Err(failure) = &outcome {
        console.complain(failure);
    }
    let is_orderly = running.stop(&mut stop).await;
    Ok(if outcome.is_ok() && is_orderly { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Ctrl-C and SIGTERM mean the same.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next time somebody asks to stop. Safe to drop and call again.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |source| Failure::System { what, source }
}
