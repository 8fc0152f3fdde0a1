//! A run: rounds of cycles. A cycle is load, fault, restart; a round ends with empty channels and the checker's verdict,
//! after which its history is forgotten, so that a run of any length takes the memory of one round.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::chance::Chance;
use crate::check::{Past, Rule, Verdict, check};
use crate::diary::Clock;
use crate::drain;
use crate::fault::{Fault, Struck};
use crate::folder::Folder;
use crate::history::{Channel, Event, History, Op, save};
use crate::http;
use crate::load::{Load, Size, TOPICS, channels, is_late};
use crate::nsqd::{Launch, Nsqd};
use crate::stage::Stage;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary.
    pub nsqd: PathBuf,
    /// Faults.
    pub cycles: u64,
    /// Cycles between two checks.
    pub cycles_per_round: u64,
    /// The schedule.
    pub seed: u64,
    /// The load.
    pub size: Size,
    /// Acknowledged messages per second of nsqd's time, below which the run shows nothing.
    pub load_min: u64,
    /// The longest restart allowed.
    pub ready_max: Duration,
    /// Instead of the fault's own [`crate::check::Rules::finish_window`]: a busy machine fires timers late.
    pub finish_window: Option<Duration>,
    /// Passed to nsqd as `--durability`.
    pub durability: Option<String>,
    /// More flags for nsqd.
    pub flags: Vec<String>,
    /// More variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Where the folder of the run is made.
    pub folder: Option<PathBuf>,
}

/// What it came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Of all rounds.
    pub verdict: Verdict,
    /// Faults that were struck.
    pub cycles: u64,
    /// How long it took.
    pub time: Duration,
    /// How long nsqd was up under load.
    pub up: Duration,
    /// How long each restart took.
    pub ready: Vec<Duration>,
    /// What was kept of a failure.
    pub kept: Option<PathBuf>,
}

impl Outcome {
    /// Acknowledged messages per second while nsqd was up.
    pub fn rate(&self) -> u64 {
        let up = self.up.as_millis().max(1);
        u64::try_from(u128::from(self.verdict.counts.acked) * 1000 / up).unwrap_or(u64::MAX)
    }

    /// The longest restart.
    pub fn ready_max(&self) -> Duration {
        self.ready.iter().max().copied().unwrap_or_default()
    }

    /// Half of the restarts were faster.
    pub fn ready_median(&self) -> Duration {
        let mut ready = self.ready.clone();
        ready.sort_unstable();
        ready.get(ready.len() / 2).copied().unwrap_or_default()
    }
}

/// Run the plan with this fault. `say` is told what goes on, a line at a time. Stops at the first round that is not good.
///
/// # Errors
/// The driver itself could not go on; nsqd not starting is one of the reasons. The folder is kept then.
pub fn run(plan: &Plan, fault: &mut dyn Fault, say: &mut dyn FnMut(&str)) -> Result<Outcome> {
    let mut folder = Folder::create(plan.folder.as_deref())?;
    let outcome = Run::start(plan, fault, &folder, say).and_then(Run::rounds);
    match outcome {
        Ok(mut outcome) => {
            if !outcome.verdict.is_good() {
                folder.keep();
                outcome.kept = Some(folder.path().to_path_buf());
            }
            Ok(outcome)
        }
        Err(error) => {
            folder.keep();
            Err(error
                .context(format!("the run ended early; its folder is kept: {}", folder.path().display())))
        }
    }
}

struct Run<'a> {
    plan: &'a Plan,
    fault: &'a mut dyn Fault,
    folder: &'a Folder,
    say: &'a mut dyn FnMut(&str),
    clock: Clock,
    began: Instant,
    nsqd: Nsqd,
    life: u64,
    next_conn: Arc<AtomicU32>,
    past: Past,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    fn start(
        plan: &'a Plan,
        fault: &'a mut dyn Fault,
        folder: &'a Folder,
        say: &'a mut dyn FnMut(&str),
    ) -> Result<Self> {
        let clock = Clock::start();
        let data = fault.prepare(folder.path())?;
        let mut flags = fault.flags();
        flags.extend(plan.durability.iter().map(|level| format!("--durability={level}")));
        flags.extend(plan.flags.iter().cloned());
        let log = folder.path().join("nsqd.log");
        let (program, environment) = (plan.nsqd.clone(), plan.environment.clone());
        let nsqd = Nsqd::start(Launch { program, data, flags, environment, log }, clock)?;
        let outcome = Outcome::default();
        let (began, past, next_conn) = (Instant::now(), Past::default(), Arc::new(AtomicU32::new(1)));
        Ok(Self { plan, fault, folder, say, clock, began, nsqd, life: 1, next_conn, past, outcome })
    }

    fn rounds(mut self) -> Result<Outcome> {
        let mut round = 0;
        while self.outcome.cycles < self.plan.cycles && self.outcome.verdict.is_good() {
            let cycles = self.plan.cycles_per_round.min(self.plan.cycles - self.outcome.cycles);
            self.round(round, cycles)?;
            round += 1;
        }
        self.outcome.time = self.began.elapsed();
        Ok(self.outcome)
    }

    fn round(&mut self, round: u16, cycles: u64) -> Result<()> {
        let mut chance = Chance::of_part(self.plan.seed, round.into());
        let channels = channels(round);
        let mut events = self.make_channels(&channels)?;
        let stage = Stage::new(self.nsqd.tcp(), self.life);
        let (clock, next_conn) = (self.clock, Arc::clone(&self.next_conn));
        let about = Duration::from_secs(cycles);
        let mut load = Load::start(stage, clock, round, next_conn, self.plan.size, &mut chance, about)?;
        for _ in 0..cycles {
            self.cycle(&load, &mut chance, &mut events)?;
        }
        events.extend(load.stop_publishing());
        let stuck = drain::until_empty(self.nsqd.http(), &names(&channels, false), &names(&channels, true))?;
        events.extend(load.finish());
        std::thread::sleep(self.fault.settled_after());
        let topics = TOPICS.map(str::to_owned).to_vec();
        let history = History { round, topics, channels, events };
        self.judge(&history, stuck)?;
        for channel in history.channels.iter().filter(|channel| is_late(channel)) {
            self.delete(channel)?;
        }
        Ok(())
    }

    fn exists(&self, channel: &Channel) -> bool {
        let target = format!("/stats?format=json&topic={}&channel={}", topic_name(channel), channel.name);
        let stats = http::get_json(self.nsqd.http(), &target);
        stats.is_ok_and(|stats| {
            let channels = stats.pointer("/topics/0/channels").and_then(|channels| channels.as_array());
            channels.is_some_and(|channels| !channels.is_empty())
        })
    }

    fn make_channels(&self, channels: &[Channel]) -> Result<Vec<Event>> {
        let http = self.nsqd.http();
        for topic in TOPICS {
            http::post(http, &format!("/topic/create?topic={topic}"))?;
        }
        let mut events = vec![self.event(Op::Ready)];
        for (index, channel) in (0_u8..).zip(channels).filter(|(_, channel)| !is_late(channel)) {
            let topic = topic_name(channel);
            http::post(http, &format!("/channel/create?topic={topic}&channel={}", channel.name))?;
            events.push(Event { channel: index, ..self.event(Op::ChannelMade) });
        }
        Ok(events)
    }

    /// The channel that only this round had: what was in it must not come back in a later one.
    fn delete(&self, channel: &Channel) -> Result<()> {
        if !self.exists(channel) {
            return Ok(());
        }
        let topic = topic_name(channel);
        http::post(self.nsqd.http(), &format!("/channel/delete?topic={topic}&channel={}", channel.name))
    }

    fn event(&self, op: Op) -> Event {
        Event { key: self.life, ..Event::new(op, self.clock.now()) }
    }

    fn cycle(&mut self, load: &Load, chance: &mut Chance, events: &mut Vec<Event>) -> Result<()> {
        self.fault.before(&mut self.nsqd, chance)?;
        let up_since = Instant::now();
        std::thread::sleep(self.fault.instant(chance));
        if let Some(status) = self.nsqd.ended_within(Duration::ZERO)? {
            anyhow::bail!("nsqd ended by itself ({status}):\n{}", self.nsqd.log_tail());
        }
        let struck = self.fault.strike(&mut self.nsqd, self.clock, chance)?;
        self.outcome.up += up_since.elapsed();
        self.outcome.cycles += 1;
        let (op, at) = match struck {
            Struck::Crashed { at } => (Op::Crash, at),
            Struck::Stopped { at } => (Op::Stop, at),
            Struck::Alive => {
                self.fault.heal()?;
                return self.fault.after(&mut self.nsqd);
            }
        };
        load.stage().down();
        events.push(Event { at, ..self.event(op) });
        self.fault.heal()?;
        let ready = self.nsqd.restart(self.clock)?;
        self.life += 1;
        self.outcome.ready.push(ready);
        events.push(self.event(Op::Ready));
        load.stage().up(self.nsqd.tcp(), self.life);
        self.fault.after(&mut self.nsqd)
    }

    fn judge(&mut self, history: &History, stuck: Option<String>) -> Result<()> {
        let began = Instant::now();
        let mut rules = self.fault.rules();
        rules.finish_window = self.plan.finish_window.unwrap_or(rules.finish_window);
        let mut verdict = check(history, &rules, &mut self.past);
        if let Some(text) = stuck {
            verdict.report(Rule::Stuck, || text);
        }
        let counts = verdict.counts;
        (self.say)(&format!(
            "{:>5} cycles {:>6.1} s  acked {:>8}  delivered {:>8}  again {:>6}  ready max {:>4} ms  checked {:>7} events in {:>4} ms  {}",
            self.outcome.cycles,
            self.began.elapsed().as_secs_f64(),
            counts.acked,
            counts.delivered,
            counts.allowed_duplicates(),
            self.outcome.ready_max().as_millis(),
            counts.events,
            began.elapsed().as_millis(),
            if verdict.is_good() { "good" } else { "BAD" },
        ));
        if !verdict.is_good() {
            save(history, &self.folder.path().join("history")).context("the history of the bad round")?;
        }
        self.outcome.verdict.add(verdict);
        Ok(())
    }
}

fn topic_name(channel: &Channel) -> &'static str {
    TOPICS.get(usize::from(channel.topic)).copied().unwrap_or_default()
}

/// `topic/channel`: those that must be there or, with the late ones, those that may. A late one is made by its first SUB,
/// which a short round may not come to.
fn names(channels: &[Channel], with_late: bool) -> BTreeSet<String> {
    let named = channels.iter().filter(|channel| with_late || !is_late(channel));
    named.map(|channel| format!("{}/{}", topic_name(channel), channel.name)).collect()
}
