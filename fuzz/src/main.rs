//! `fuzz TARGET|all [--seconds N] [--seed N]`, `fuzz TARGET --replay FILE`. Prints one line for each target; a crash
//! makes the exit status 1.

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fuzz::targets::TARGETS;
use fuzz::{Budget, Campaign, Report, Target, peak_resident_bytes};

const USAGE: &str = "\
usage: fuzz TARGET|all [--seconds N] [--seed N]
       fuzz TARGET --replay FILE";

/// Targets at a time.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// False: something broke.
fn run(args: &[String]) -> Result<bool> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (name, mut rest) = match words.as_slice() {
        [name, "--replay", file] => return replay(named(name)?, file),
        [name, rest @ ..] => (*name, rest),
        [] => bail!("{USAGE}"),
    };
    let (mut seconds, mut seed) = (30, 1);
    while let [option, value, more @ ..] = rest {
        let number: u64 = value.parse().with_context(|| format!("{option} takes a number, not {value}"))?;
        match *option {
            "--seconds" => seconds = number,
            "--seed" => seed = number,
            _ => bail!("{option} is not known\n{USAGE}"),
        }
        rest = more;
    }
    if !rest.is_empty() {
        bail!("{USAGE}");
    }
    let targets: Vec<&'static Target> =
        if name == "all" { TARGETS.iter().collect() } else { vec![named(name)?] };
    Ok(campaigns(&targets, Budget::Time(Duration::from_secs(seconds)), seed))
}

fn named(name: &str) -> Result<&'static Target> {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    Target::named(name).with_context(|| format!("no target {name}; there are {}\n{USAGE}", names.join(", ")))
}

fn replay(target: &Target, file: &str) -> Result<bool> {
    let input = std::fs::read(file).with_context(|| format!("reading {file}"))?;
    let outcome = target.replay(&input);
    eprintln!("{}: {} bytes: {outcome:?}", target.name, input.len());
    Ok(outcome.is_ok())
}

fn campaigns(targets: &[&'static Target], budget: Budget, seed: u64) -> bool {
    // A crash is reported once, with its file; mutation finds the same one many times.
    std::panic::set_hook(Box::new(|_| {}));
    let queue = Mutex::new(targets.iter());
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let work = || {
            let mut reports = Vec::new();
            while let Some(target) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                let report = Campaign::new(target, seed).run(budget);
                eprintln!("{}", report.line());
                reports.push(report);
            }
            reports
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    });
    let crashes: usize = reports.iter().map(|report| report.crashes.len()).sum();
    let executions: u64 = reports.iter().map(|report| report.executions).sum();
    let peak = peak_resident_bytes().unwrap_or_default() >> 20;
    eprintln!(
        "{executions} executions of {} targets, seed {seed}: {crashes} crashes; peak {peak} MiB",
        reports.len()
    );
    crashes == 0 && reports.len() == targets.len()
}
