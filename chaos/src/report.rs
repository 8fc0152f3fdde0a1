//! What a run came to, for people and for the ledger.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::check::Rule;
use crate::run::{Outcome, Plan};

/// Good, bad, or too little load to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Every promise was kept.
    Good,
    /// Some was not.
    Bad,
    /// Every promise was kept, under a load that shows nothing.
    Void,
}

impl Judgement {
    /// Of a run.
    pub fn of(plan: &Plan, outcome: &Outcome) -> Self {
        if !outcome.verdict.is_good() || outcome.ready_max() > plan.ready_max {
            Self::Bad
        } else if outcome.rate() < plan.load_min || outcome.cycles < plan.cycles {
            Self::Void
        } else {
            Self::Good
        }
    }

    /// 0, 1 or 3; 2 is for wrong usage.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Bad => 1,
            Self::Void => 3,
        }
    }

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "BAD",
            Self::Void => "VOID",
        }
    }
}

/// The table at the end of a run, with everything that is wrong and the command that does it again.
pub fn table(fault: &str, plan: &Plan, outcome: &Outcome) -> String {
    let counts = &outcome.verdict.counts;
    let judgement = Judgement::of(plan, outcome);
    let ms = |ns: u64| format!("{} ms", ns / 1_000_000);
    let rows: [(&str, String); 19] = [
        ("fault", fault.to_owned()),
        ("level", plan.durability.clone().unwrap_or_else(|| "as nsqd starts".to_owned())),
        ("seed", plan.seed.to_string()),
        ("cycles", outcome.cycles.to_string()),
        (
            "time",
            format!(
                "{:.1} s, {:.1} s of it under load",
                outcome.time.as_secs_f64(),
                outcome.up.as_secs_f64()
            ),
        ),
        ("acked", format!("{} of {} published, {} refused", counts.acked, counts.published, counts.refused)),
        ("load", format!("{} acked/s (at least {})", outcome.rate(), plan.load_min)),
        ("delivered", counts.delivered.to_string()),
        ("again after a crash or stop", counts.again_after_crash.to_string()),
        ("again after a timeout", counts.again_after_timeout.to_string()),
        ("again after its connection ended", counts.again_after_connection.to_string()),
        ("again after REQ", counts.again_after_requeue.to_string()),
        ("lost within the window", counts.lost_in_window.to_string()),
        ("oldest FIN undone by a crash", ms(counts.undone_max)),
        ("deferred, latest after its time", format!("{}, {}", counts.deferred, ms(counts.late_max))),
        ("deliveries checked for order", counts.ordered.to_string()),
        (
            "ready after a restart",
            format!(
                "half within {} ms, all within {} ms (at most {})",
                outcome.ready_median().as_millis(),
                outcome.ready_max().as_millis(),
                plan.ready_max.as_millis()
            ),
        ),
        ("lost, invented, corrupt, illegal duplicates", {
            let [lost, invented, corrupt, duplicates] = wrongs(outcome);
            format!("{lost}, {invented}, {corrupt}, {duplicates}")
        }),
        ("verdict", judgement.name().to_owned()),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:<44} {value}");
    }
    if judgement != Judgement::Good {
        complain(&mut text, fault, plan, outcome);
    }
    text
}

fn complain(text: &mut String, fault: &str, plan: &Plan, outcome: &Outcome) {
    for (rule, total) in &outcome.verdict.totals {
        let _ = writeln!(text, "\n{}: {total}", rule.name());
        for violation in outcome.verdict.violations.iter().filter(|violation| violation.rule == *rule).take(5)
        {
            let _ = writeln!(text, "  {violation}");
        }
    }
    if outcome.ready_max() > plan.ready_max {
        let _ = writeln!(text, "\na restart took {} ms", outcome.ready_max().as_millis());
    }
    if outcome.rate() < plan.load_min {
        let (rate, min) = (outcome.rate(), plan.load_min);
        let _ = writeln!(text, "\nonly {rate} acked/s where {min} are needed: such a run shows nothing");
    }
    if let Some(kept) = &outcome.kept {
        let _ = writeln!(text, "\nkept: {} (data, nsqd.log, history for `chaos check`)", kept.display());
    }
    let _ = writeln!(text, "again: {}", command(fault, plan, outcome));
}

/// The command that does it again, as well as a real process allows.
fn command(fault: &str, plan: &Plan, outcome: &Outcome) -> String {
    let level = plan.durability.as_ref().map(|level| format!(" --durability {level}")).unwrap_or_default();
    let (cycles, per_round) = (outcome.cycles, plan.cycles_per_round);
    let (seed, rate) = (plan.seed, plan.size.rate);
    format!(
        "cargo xtask chaos {fault} --cycles {cycles} --cycles-per-round {per_round} --seed {seed} --rate {rate}{level}"
    )
}

/// Lost, invented, corrupt, illegal duplicates.
fn wrongs(outcome: &Outcome) -> [u64; 4] {
    let total = |rule| outcome.verdict.total(rule);
    [
        total(Rule::Lost) + total(Rule::Partial),
        total(Rule::Invented),
        total(Rule::Corrupt),
        total(Rule::Duplicate) + total(Rule::Barrier),
    ]
}

const LEDGER_HEAD: &str = "date,commit,kind,level,seed,cycles,seconds,acked,delivered,lost,invented,corrupt,\
                           illegal duplicates,allowed duplicates,other violations,ready p50 ms,ready max ms,verdict";

/// Append a line about a run.
///
/// # Errors
/// The file cannot be written.
pub fn enter_in_ledger(path: &Path, fault: &str, plan: &Plan, outcome: &Outcome) -> Result<()> {
    let about = || format!("could not write {}", path.display());
    let is_new = !path.exists();
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).with_context(about)?;
    let counts = &outcome.verdict.counts;
    let [lost, invented, corrupt, duplicates] = wrongs(outcome);
    let others = outcome.verdict.totals.values().sum::<u64>() - lost - invented - corrupt - duplicates;
    let fields = [
        jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        commit(),
        fault.to_owned(),
        plan.durability.clone().unwrap_or_else(|| "default".to_owned()),
        plan.seed.to_string(),
        outcome.cycles.to_string(),
        outcome.time.as_secs().to_string(),
        counts.acked.to_string(),
        counts.delivered.to_string(),
        lost.to_string(),
        invented.to_string(),
        corrupt.to_string(),
        duplicates.to_string(),
        counts.allowed_duplicates().to_string(),
        others.to_string(),
        outcome.ready_median().as_millis().to_string(),
        outcome.ready_max().as_millis().to_string(),
        Judgement::of(plan, outcome).name().to_owned(),
    ];
    let head = if is_new { format!("{LEDGER_HEAD}\n") } else { String::new() };
    file.write_all(format!("{head}{}\n", fields.join(",")).as_bytes()).with_context(about)
}

/// The checkout's commit, with a `+` when it was changed since.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    format!("{commit}{}", if changed { "+" } else { "" })
}
