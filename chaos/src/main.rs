//! The command line of `chaos`: which fault, how often, under which load. `cargo xtask chaos` builds nsqd and this in
//! release and runs it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chaos::check::{Past, Rules, check};
use chaos::cut::Cut;
use chaos::fault::{Calm, Fault, Kill, Stop};
use chaos::fill::{Fill, Volume};
use chaos::history;
use chaos::load::Size;
use chaos::made::Made;
use chaos::report::{Judgement, enter_in_ledger, table};
use chaos::rot;
use chaos::run::{Plan, run};
use chaos::seeded::{self, Found};
use chaos::sync_errors::SyncErrors;
use clap::{Args, Parser, Subcommand};

/// Faults against a real nsqd under load, and a check of everything that happened.
///
/// Three topics with three channels each are published to and consumed from in every way the protocol has, while the
/// fault strikes again and again. At the end of each round the channels are drained and the whole history is checked:
/// nothing acknowledged may be lost, nothing may be invented, corrupt, out of order or early, and whatever came twice
/// needs a cause that the contract allows.
///
/// Exit codes: 0 good, 1 a promise was broken, 2 wrong usage or nsqd did not start, 3 void: too little load to tell.
#[derive(Parser)]
#[command(name = "chaos")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// kill -9 at random instants: nothing acknowledged is lost, and FINs of the last milliseconds at most are undone.
    Kill(Load),
    /// SIGTERM at random instants: nothing is lost, no processed FIN is undone, and it takes 10 s at most.
    Stop(Load),
    /// No fault, and consumers that only finish: nothing at all may come twice.
    Calm(Load),
    /// Power cuts: nsqd's disk is a FUSE file system that forgets or tears what was not synced.
    Cut(Powered),
    /// Syncs that fail: nothing they should have covered is acknowledged, and nsqd ends within 2 s.
    SyncErrors(Powered),
    /// A full disk, 64 MiB large: publishes are refused, consumers go on, and with space publishers are back within 1 s.
    Fill(Filled),
    /// Damage at rest: bits, blocks and files of a stopped nsqd. It serves the rest and tells, or refuses and names the file.
    Rot(Load),
    /// kill -9 right behind the answer that a channel was made: it is there after the start.
    Made(Load),
    /// The harness on trial: an nsqd built with `--features seeded-bugs`, one planted bug after the other.
    SeededBugs(Seeded),
    /// Judge again a history that a failed run kept.
    Check {
        /// The file `history` in the folder that was kept.
        history: PathBuf,
        /// FINs and REQs that a crash may undo, in milliseconds before it.
        #[arg(long, default_value_t = 100)]
        finish_window_ms: u64,
        /// Messages that a crash may take, in milliseconds before it.
        #[arg(long, default_value_t = 0)]
        loss_window_ms: u64,
    },
}

#[derive(Args)]
struct Load {
    /// The nsqd to run, unless the variable NSQD names it; a stock nsqd will do too.
    #[arg(long, value_name = "PATH")]
    nsqd: Option<PathBuf>,
    /// How often the fault strikes.
    #[arg(long, visible_aliases = ["cuts", "runs", "fills", "damages"], default_value_t = 50)]
    cycles: u64,
    /// Cycles between two checks. More need more memory, about 70 MiB for ten.
    #[arg(long, default_value_t = 10)]
    cycles_per_round: u64,
    /// Reproduces the schedule of faults and the choices of all clients, as well as real processes allow.
    #[arg(long)]
    seed: Option<u64>,
    /// Messages published per second, aimed for.
    #[arg(long, default_value_t = 12_000)]
    rate: u64,
    /// Acknowledged messages per second, while nsqd is up, below which the run is void.
    #[arg(long, default_value_t = 3_000)]
    load_min: u64,
    /// The longest that nsqd may take from its start until it answers.
    #[arg(long, default_value_t = 1_000)]
    ready_max_ms: u64,
    /// FINs and REQs that a crash may undo, in milliseconds before it; the default depends on the fault.
    #[arg(long)]
    finish_window_ms: Option<u64>,
    /// Passed to nsqd as --durability; without it nsqd's own default holds.
    #[arg(long, value_name = "LEVEL")]
    durability: Option<String>,
    /// One more flag for nsqd, such as --flag=--max-bytes-per-file=1000000. May be given several times.
    #[arg(long = "flag", value_name = "FLAG", allow_hyphen_values = true)]
    flags: Vec<String>,
    /// Where the folder with nsqd's data is made; kept there if something is wrong.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Append a line about this run to a file, chaos/ledger.csv unless another is named.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "chaos/ledger.csv")]
    ledger: Option<PathBuf>,
}

#[derive(Args)]
struct Powered {
    #[command(flatten)]
    load: Load,
    /// Any sync keeps the names changed before it, as on ext4 and XFS. Otherwise only the sync of a directory does.
    #[arg(long)]
    journal: bool,
    /// How long each sync takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    sync_delay_ms: u64,
    /// How late nsqd's timers may be on this machine, in milliseconds; at fsync it excuses nothing that was acknowledged.
    #[arg(long, default_value_t = 60)]
    slack_ms: u64,
}

#[derive(Args)]
struct Seeded {
    #[command(flatten)]
    load: Load,
    /// Only the bug of this name.
    #[arg(long, value_name = "NAME")]
    bug: Option<String>,
}

#[derive(Args)]
struct Filled {
    #[command(flatten)]
    load: Load,
    /// What is filled: `tmpfs`, or `ext4` in an image on a loop device.
    #[arg(long, default_value = "tmpfs", value_parser = ["tmpfs", "ext4"])]
    volume: String,
}

impl Powered {
    fn options(&self) -> crashfs::Options {
        crashfs::Options {
            names: if self.journal { crashfs::NameRule::Journal } else { crashfs::NameRule::Strict },
            sync_delay: Duration::from_millis(self.sync_delay_ms),
            ..crashfs::Options::default()
        }
    }
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if matches!(command, Command::Cut(_) | Command::SyncErrors(_) | Command::Fill(_))
        && let Err(error) = crashfs::enter_private_mounts()
    {
        eprintln!("chaos: {error}");
        return ExitCode::from(2);
    }
    let outcome = match command {
        Command::Cut(cut) => {
            let mut fault =
                Cut::new(cut.load.durability.as_deref(), cut.options(), Duration::from_millis(cut.slack_ms));
            let outcome = strike(&cut.load, &mut fault, false);
            keep_unless_good(outcome, || fault.keep())
        }
        Command::SyncErrors(errors) => {
            let mut fault = SyncErrors::new(
                errors.load.durability.as_deref(),
                errors.options(),
                Duration::from_millis(errors.slack_ms),
            );
            let outcome = strike(&errors.load, &mut fault, false);
            keep_unless_good(outcome, || fault.keep())
        }
        Command::Fill(filled) => {
            let mut fault = Fill::new(if filled.volume == "ext4" { Volume::Ext4 } else { Volume::Tmpfs });
            let outcome = strike(&filled.load, &mut fault, false);
            say(&format!("publishing was back within {} ms of space", fault.back_max().as_millis()));
            keep_unless_good(outcome, || fault.keep())
        }
        Command::Kill(load) => strike(&load, &mut Kill, false),
        Command::Stop(load) => strike(&load, &mut Stop, false),
        Command::Calm(load) => strike(&load, &mut Calm, true),
        Command::Rot(load) => damage(&load),
        Command::Made(load) => strike(&load, &mut Made::default(), false),
        Command::SeededBugs(seeded) => find_bugs(&seeded),
        Command::Check { history, finish_window_ms, loss_window_ms } => {
            check_again(&history, finish_window_ms, loss_window_ms)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("chaos: {error:#}");
        ExitCode::from(2)
    })
}

/// A disk of our own is gone with this process: copy it before.
fn keep_unless_good(outcome: Result<ExitCode>, keep: impl FnOnce() -> Result<PathBuf>) -> Result<ExitCode> {
    if outcome.as_ref().is_ok_and(|code| *code == ExitCode::SUCCESS) {
        return outcome;
    }
    match keep() {
        Ok(kept) => say(&format!("kept: {} (what is on the disk now)", kept.display())),
        Err(error) => eprintln!("chaos: what is on the disk could not be kept: {error:#}"),
    }
    outcome
}

fn plan(load: &Load, is_plain: bool) -> Result<Plan> {
    let named = load.nsqd.clone().or_else(|| std::env::var_os("NSQD").map(PathBuf::from));
    Ok(Plan {
        nsqd: named.context("which nsqd? Give --nsqd PATH")?,
        cycles: load.cycles,
        cycles_per_round: load.cycles_per_round.max(1),
        seed: load.seed.unwrap_or_else(|| std::process::id().into()),
        size: Size { rate: load.rate, is_plain },
        load_min: load.load_min,
        ready_max: Duration::from_millis(load.ready_max_ms),
        finish_window: load.finish_window_ms.map(Duration::from_millis),
        durability: load.durability.clone(),
        flags: load.flags.clone(),
        environment: Vec::new(),
        folder: load.folder.clone(),
    })
}

fn strike(load: &Load, fault: &mut dyn Fault, is_plain: bool) -> Result<ExitCode> {
    let plan = plan(load, is_plain)?;
    say(&format!("{} x {}, seed {}, {} messages/s", plan.cycles, fault.name(), plan.seed, plan.size.rate));
    let outcome = run(&plan, fault, &mut say)?;
    say(&table(fault.name(), &plan, &outcome));
    if let Some(ledger) = &load.ledger {
        enter_in_ledger(ledger, fault.name(), &plan, &outcome)?;
    }
    Ok(ExitCode::from(Judgement::of(&plan, &outcome).exit_code()))
}

fn damage(load: &Load) -> Result<ExitCode> {
    // Messages per second say nothing here.
    let plan = Plan { load_min: 0, ..plan(load, false)? };
    say(&format!("{} x rot, seed {}", plan.cycles, plan.seed));
    let (outcome, tally) = rot::run(&plan, &mut say)?;
    say(&table("rot", &plan, &outcome));
    say(&tally.table());
    if let Some(ledger) = &load.ledger {
        enter_in_ledger(ledger, "rot", &plan, &outcome)?;
    }
    Ok(ExitCode::from(Judgement::of(&plan, &outcome).exit_code()))
}

fn find_bugs(seeded: &Seeded) -> Result<ExitCode> {
    // First of all: the program is started again in it.
    let without_disk = crashfs::availability().and_then(|()| crashfs::enter_private_mounts()).err();
    let plan = plan(&seeded.load, false)?;
    say(&format!("planted bugs, at most {} faults each, seed {}", plan.cycles, plan.seed));
    let found = seeded::try_all(&plan, seeded.bug.as_deref(), without_disk.as_deref(), &mut say)?;
    say(&seeded::table(&found));
    Ok(if found.iter().all(Found::is_found) {
        ExitCode::SUCCESS
    } else if found.iter().all(|row| row.is_found() || row.is_skipped()) {
        // Too little to tell, as a run under its minimum load.
        ExitCode::from(3)
    } else {
        ExitCode::FAILURE
    })
}

fn check_again(path: &Path, finish_window_ms: u64, loss_window_ms: u64) -> Result<ExitCode> {
    let rules = Rules {
        finish_window: Duration::from_millis(finish_window_ms),
        loss_window: Duration::from_millis(loss_window_ms),
        ..Rules::default()
    };
    let history = history::load(path)?;
    let verdict = check(&history, &rules, &mut Past::default());
    for violation in &verdict.violations {
        say(&violation.to_string());
    }
    say(&format!("{:#?}", verdict.counts));
    for (rule, total) in &verdict.totals {
        say(&format!("{}: {total}", rule.name()));
    }
    Ok(if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(line: &str) {
    // Nobody reads any more: the run goes on, its exit code still tells.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
