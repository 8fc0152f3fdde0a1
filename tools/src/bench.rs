//! `nsq_bench`: loads one or several nsqds with the same work in turn and tells what each message cost the server.
//! The figure that counts is CPU time per message: rates depend on the machine and on the generator beside it.
//!
//! `options` what is asked for, `target` the nsqd under load, `connection` the wire and `layers` what lies below it,
//! `bodies` what is published, `floor` the server that nsqd is compared with, `workload` the list of works, `publish`,
//! `consume`, `latency`, `idle` their doing, `growth` the series and their pictures, `report` and `summary` what is
//! printed.

mod bodies;
mod connection;
mod consume;
mod floor;
mod growth;
mod idle;
mod latency;
mod layers;
mod options;
mod publish;
mod report;
mod summary;
mod target;
mod workload;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use daemon::options::{Parsed, Values, parse, print};
use tokio::signal::unix::{SignalKind, signal};

use options::{ABOUT, Options, TABLE};
use report::{Report, Row};
use target::Target;
use workload::Workload;

/// 128 and the signal's number, as shells have it.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// The program with its command line, `args[0]` being its own name.
pub fn main_with_args(args: Vec<String>) -> ExitCode {
    if let [_, flag, folder] = args.as_slice()
        && flag == floor::FLAG
    {
        let served = floor::serve(Path::new(folder));
        return served.map_or_else(|error| refuse(&format!("{error:#}")), |()| ExitCode::SUCCESS);
    }
    match parse("nsq_bench", ABOUT, TABLE, args.into_iter().skip(1)) {
        Ok(Parsed::Run(values)) => start(&values),
        Ok(Parsed::Exit { code, text }) => print(code, &text),
        Err(error) => refuse(&error.to_string()),
    }
}

fn start(values: &Values) -> ExitCode {
    let outcome = Options::from_values(values).and_then(|options| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.context("cannot start the generator's threads")?.block_on(run(&options))
    });
    match outcome {
        Ok(code) => code,
        Err(error) => refuse(&format!("{error:#}")),
    }
}

fn refuse(why: &str) -> ExitCode {
    // stderr closed is no reason to panic while saying why.
    let _ = writeln!(std::io::stderr(), "nsq_bench: {why}");
    ExitCode::FAILURE
}

async fn run(options: &Options) -> Result<ExitCode> {
    if options.lists_only {
        let lines = workload::ALL.iter().map(|work| format!("{:<20} {}\n", work.name, work.about));
        std::io::stdout().write_all(lines.collect::<String>().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    raise_file_limit();
    let mut report = Report::default();
    // From here on, not from when somebody first looks: a signal in between would leave nsqd running.
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let (ended, code) = tokio::select! {
        ended = measure_all(options, &mut report) => (ended, ExitCode::FAILURE),
        _ = interrupt.recv() => (Err(anyhow!("interrupted")), ExitCode::from(INTERRUPTED)),
        _ = terminate.recv() => (Err(anyhow!("terminated")), ExitCode::from(TERMINATED)),
    };
    if let Err(error) = &ended {
        // On stderr too, where somebody sees it whose table goes to a file.
        progress(&format!("nsq_bench: stopped after {} measurements: {error:#}", report.rows.len()));
        report.is_partial = Some(format!("{error:#}"));
    }
    report.print(options)?;
    growth::write(&report, options)?;
    Ok(if ended.is_ok() { ExitCode::SUCCESS } else { code })
}

/// Round by round, work by work, nsqd by nsqd: what disturbs the machine for a while then disturbs all of them.
async fn measure_all(options: &Options, report: &mut Report) -> Result<()> {
    for round in 1..=options.rounds {
        for workload in &options.workloads {
            for subject in &options.subjects {
                if subject.is_floor() && !workload.has_floor() {
                    continue;
                }
                let name = Row::title(workload.name, workload.at);
                progress(&format!("round {round}/{}: {name} on {}", options.rounds, subject.label));
                let sample = measure(options, workload, subject).await;
                let sample = sample.with_context(|| format!("{name} on {}", subject.label))?;
                let (workload, at, nsqd) = (workload.name, workload.at, subject.label.clone());
                report.rows.push(Row { round, workload, at, nsqd, sample });
            }
        }
    }
    Ok(())
}

async fn measure(
    options: &Options,
    workload: &Workload,
    subject: &options::Subject,
) -> Result<report::Sample> {
    // What the work before has left to be written would otherwise be written during this one.
    tokio::task::spawn_blocking(rustix::fs::sync).await.context("sync")?;
    let mut target = Target::start(options, workload, subject).await?;
    let sample = workload.run(options, &mut target).await;
    if let Some(why) = target.death(sample.is_err()).await {
        bail!("nsqd ended while it was measured: {why}");
    }
    let stopped = target.stop().await;
    let sample = sample?;
    stopped.map(|()| sample)
}

fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Thousands of connections need descriptors. Too few are reported by the workload that runs out.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
