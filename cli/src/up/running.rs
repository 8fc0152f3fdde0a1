//! The cluster while it runs: start it, make it what is declared, follow changes, stop it. Decisions are in
//! `next`, `converge` and `report`, by value; this file asks, does and tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use operator::Plan;
use operator::plan::ClusterPlan;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::child::{Child, Event, Farewell, Surroundings, Wish};
use super::console::Console;
use super::converge::{Stats, Step};
use super::failure::Failure;
use super::layout::{Layout, Name, Role};
use super::next::{Action, State, all_serve, next};
use super::watch::{Reading, Watch};
use super::{Prepared, StopSignals, brokers, declared, preflight, report};

/// Children send few events; this only has to outlast one round of requests.
const EVENTS_MAX: usize = 256;
/// A start that takes longer says what it waits for.
const PATIENCE: Duration = Duration::from_secs(10);
const REGISTRATION_PAUSE: Duration = Duration::from_millis(25);
/// A broker that serves but could not be given its topics is asked again after this.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// All children and what is declared for them.
pub(super) struct Running {
    plan: ClusterPlan,
    layout: Layout,
    program: PathBuf,
    console: Console,
    states: BTreeMap<Name, State>,
    children: BTreeMap<Name, Child>,
    /// Brokers that may lack something declared.
    unsettled: BTreeSet<Name>,
    /// Brokers whose last refusal has been told.
    complained: BTreeSet<Name>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    started: Instant,
    is_ready: bool,
}

impl Running {
    pub(super) fn new(prepared: &Prepared, console: Console) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        Self {
            plan: prepared.plan.clone(),
            layout: prepared.layout.clone(),
            program: prepared.program.clone(),
            console,
            states: BTreeMap::new(),
            children: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            complained: BTreeSet::new(),
            sender,
            events,
            started: Instant::now(),
            is_ready: false,
        }
    }

    /// Starts everything and follows changes; returns when the terminal is gone. May be dropped at any await.
    ///
    /// # Errors
    /// A child that did not start, or a broker that refuses what is declared, before everything was ready.
    pub(super) async fn serve(&mut self, prepared: &Prepared, mut hangup: Signal) -> Result<(), Failure> {
        // Made first, so that a change saved during a long start is seen after it.
        let mut watch = Watch::new(prepared.files.clone(), prepared.texts.clone());
        self.start_everything().await?;
        self.declare_topics().await?;
        self.wait_until_registered().await?;
        self.say_ready(&prepared.files);
        loop {
            tokio::select! {
                Some(event) = self.events.recv() => self.on_event(event),
                reading = watch.changed() => self.reread(reading).await,
                _ = hangup.recv() => {
                    if self.console.has_lost_its_terminal() {
                        return Ok(());
                    }
                    self.reread(watch.now()).await;
                }
                () = tokio::time::sleep(RETRY_PAUSE), if !self.unsettled.is_empty() => {}
            }
            self.advance();
            self.settle().await;
        }
    }

    /// Brokers first, so that they can say goodbye to nsqlookupd. A second Ctrl-C kills what is left.
    /// Whether nothing had to be killed.
    pub(super) async fn stop(mut self, stop: &mut StopSignals) -> bool {
        // Children that end now are no news, and nobody reads news any more.
        self.events.close();
        let started = Instant::now();
        let (mut lookupds, mut brokers) = (Vec::new(), Vec::new());
        self.console.say(report::stopping(self.children.keys().copied()));
        for (name, child) in self.children {
            match name.role {
                Role::Nsqlookupd => lookupds.push(child),
                Role::Nsqd => brokers.push(child),
            }
        }
        let mut is_orderly = true;
        for children in [brokers, lookupds] {
            is_orderly &= stop_all(children, stop, self.console).await;
        }
        let data = self.layout.data_dir.display();
        self.console
            .say(format_args!("stopped in {}; data stay in {data}", report::seconds(started.elapsed())));
        is_orderly
    }

    async fn start_everything(&mut self) -> Result<(), Failure> {
        loop {
            self.advance();
            if all_serve(&self.plan, &self.states) {
                return Ok(());
            }
            match tokio::time::timeout(PATIENCE, self.events.recv()).await {
                Ok(Some(Event::Ended(ended))) => {
                    let log = self.layout.log_file(ended.name);
                    return Err(Failure::Child { ended, log });
                }
                Ok(Some(event)) => self.on_event(event),
                Ok(None) => {}
                Err(_) => self.note_slow_children(),
            }
        }
    }

    fn note_slow_children(&self) {
        for (name, _) in self.states.iter().filter(|(_, state)| !state.is_serving) {
            let log = self.layout.log_file(*name);
            self.console.note(format_args!("still waiting for {name} to serve; see {}", log.display()));
        }
    }

    async fn declare_topics(&mut self) -> Result<(), Failure> {
        for broker in &self.plan.brokers {
            let name = Name::nsqd(broker.ordinal);
            let Some(http) = self.http(name) else { continue };
            brokers::ensure(http, &self.plan.topics)
                .await
                .map_err(|reason| Failure::Broker { name, reason })?;
        }
        self.unsettled.clear();
        Ok(())
    }

    /// A consumer that asks nsqlookupd too early may ask again only after a minute: `ready` means it finds
    /// every declared topic at every broker.
    async fn wait_until_registered(&mut self) -> Result<(), Failure> {
        let mut noted = Instant::now();
        while let Some(missing) = self.missing_registration().await {
            if noted.elapsed() >= PATIENCE {
                noted = Instant::now();
                self.console.note(format_args!("still waiting: {missing}"));
            }
            if let Ok(Event::Ended(ended)) = self.events.try_recv() {
                let log = self.layout.log_file(ended.name);
                return Err(Failure::Child { ended, log });
            }
            tokio::time::sleep(REGISTRATION_PAUSE).await;
        }
        Ok(())
    }

    async fn missing_registration(&self) -> Option<String> {
        for lookupd in &self.plan.lookupds {
            let lookupd = Name::nsqlookupd(lookupd.ordinal);
            let registered = match brokers::registered(self.http(lookupd)?).await {
                Ok(registered) => registered,
                Err(reason) => return Some(reason),
            };
            for broker in &self.plan.brokers {
                let name = Name::nsqd(broker.ordinal);
                let tcp = self.states.get(&name)?.addresses?.tcp;
                if let Some(what) = brokers::missing(&registered, tcp, &self.plan.topics) {
                    return Some(format!("{lookupd} does not list {what} of {name}"));
                }
            }
        }
        None
    }

    fn say_ready(&mut self, files: &[PathBuf]) {
        for (name, state) in &self.states {
            let Some(addresses) = state.addresses else { continue };
            self.console.say(report::row(*name, addresses, self.data(*name).as_deref()));
        }
        // A folder that cannot be listed has no broker of ours to tell of.
        for ordinal in preflight::undeclared_brokers(&self.layout, &self.plan).unwrap_or_default() {
            let folder = self.layout.broker_folder(&self.plan.name, ordinal);
            let name = Name::nsqd(ordinal).to_string();
            self.console.say(format_args!(
                "{name:<15}not declared: not started, its data stay in {}",
                folder.display()
            ));
        }
        self.console.say(report::topics(&self.plan.topics));
        self.console.say(format_args!("ready in {}", report::seconds(self.started.elapsed())));
        let files = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ");
        self.console.say(report::hints(&self.plan, self.first_http(), &self.layout.data_dir, &files));
        self.is_ready = true;
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Ended(ended) => {
                if let Some(state) = self.states.get_mut(&ended.name) {
                    state.is_serving = false;
                }
                if let Some(text) = report::ended(&ended, &self.layout.log_file(ended.name)) {
                    self.console.tell(text);
                }
            }
            Event::Serving { launch, addresses, after } => {
                let name = launch.name;
                // News of a life that is being replaced says nothing about the next one.
                let Some(state) = self.states.get_mut(&name).filter(|state| state.launch == launch) else {
                    return;
                };
                let is_first = state.addresses.is_none();
                state.addresses = Some(addresses);
                state.is_serving = true;
                if name.role == Role::Nsqd {
                    self.unsettled.insert(name);
                }
                if !self.is_ready {
                    return;
                }
                if is_first {
                    self.console.tell(report::row(name, addresses, self.data(name).as_deref()));
                } else {
                    self.console.tell(format_args!("{name} serves again after {}", report::seconds(after)));
                }
            }
        }
    }

    /// Starts and restarts what is due.
    fn advance(&mut self) {
        for action in next(&self.plan, &self.layout, &self.states) {
            match action {
                Action::Start(launch) => {
                    let surroundings = Surroundings {
                        program: self.program.clone(),
                        log: self.layout.log_file(launch.name),
                        console: self.console,
                        events: self.sender.clone(),
                    };
                    let state = State { launch: launch.clone(), addresses: None, is_serving: false };
                    self.states.insert(launch.name, state);
                    self.children.insert(launch.name, Child::start(launch, surroundings));
                }
                Action::Restart(launch) => {
                    self.console.tell(format_args!("{} restarts with changed settings", launch.name));
                    if let Some(state) = self.states.get_mut(&launch.name) {
                        state.launch = launch.clone();
                        state.is_serving = false;
                    }
                    if let Some(child) = self.children.get(&launch.name) {
                        child.wish(Wish::Run(launch));
                    }
                }
            }
        }
    }

    /// Takes over a changed file, or says why not and leaves everything as it is.
    async fn reread(&mut self, reading: Reading) {
        let wanted = match reading {
            Err(reason) => Err(reason),
            Ok(texts) => declared::cluster(&texts, self.layout.ports).map_err(|failure| failure.to_string()),
        };
        let wanted = wanted.and_then(|plan| {
            if plan.id() == self.plan.id() {
                return Ok(plan);
            }
            let (old, new) = (self.plan.id(), plan.id());
            Err(format!("the cluster is {new} now and was {old}\nhelp: stop nsq up and start it again to change clusters"))
        });
        let wanted = wanted.and_then(|plan| {
            preflight::make_broker_folders(&self.layout, &plan).map_err(|failure| failure.to_string())?;
            Ok(plan)
        });
        match wanted {
            Ok(plan) => self.take_over(plan).await,
            Err(reason) => {
                self.console.complain(reason);
                self.console.note("nothing was changed; save the file again to try again");
            }
        }
    }

    async fn take_over(&mut self, plan: ClusterPlan) {
        let seen = self.seen().await;
        let old = std::mem::replace(&mut self.plan, plan);
        let whole = |plan: &ClusterPlan| Plan { clusters: vec![plan.clone()] };
        let changes = operator::changes(&whole(&old), &whole(&self.plan));
        let mut lines = report::changes(&changes, &seen, self.first_http());
        lines.extend(report::forgotten(&old, &self.plan));
        if changes.is_empty() && lines.is_empty() {
            lines.push("the file was read again: nothing to do".to_owned());
        }
        lines.iter().for_each(|line| self.console.tell(line));
        // All of them: whoever asks to read the file again also wants drift mended.
        self.unsettled.extend(self.plan.brokers.iter().map(|broker| Name::nsqd(broker.ordinal)));
    }

    /// Gives every unsettled broker that serves what it lacks. One that refuses is asked again later.
    async fn settle(&mut self) {
        let mut done: Vec<(Step, Vec<Name>)> = Vec::new();
        for name in self.unsettled.clone() {
            if !self.plan.brokers.iter().any(|broker| Name::nsqd(broker.ordinal) == name) {
                self.unsettled.remove(&name);
                continue;
            }
            let Some(http) = self.serving_http(name) else { continue };
            match brokers::ensure(http, &self.plan.topics).await {
                Ok(steps) => {
                    self.unsettled.remove(&name);
                    self.complained.remove(&name);
                    steps.into_iter().for_each(|step| note_step(&mut done, step, name));
                }
                Err(reason) if self.complained.insert(name) => {
                    self.console.complain(format_args!(
                        "{name} does not do as declared: {reason}\nit is asked again until it does"
                    ));
                }
                Err(_) => {}
            }
        }
        report::steps(&done).iter().for_each(|line| self.console.tell(line));
    }

    /// What every serving broker has now.
    async fn seen(&self) -> BTreeMap<Name, Stats> {
        let mut seen = BTreeMap::new();
        for name in self.states.keys().filter(|name| name.role == Role::Nsqd) {
            let Some(http) = self.serving_http(*name) else { continue };
            if let Ok(stats) = brokers::stats(http).await {
                seen.insert(*name, stats);
            }
        }
        seen
    }

    fn http(&self, name: Name) -> Option<SocketAddr> {
        self.states.get(&name)?.addresses.map(|addresses| addresses.http)
    }

    fn serving_http(&self, name: Name) -> Option<SocketAddr> {
        self.states.get(&name).filter(|state| state.is_serving)?;
        self.http(name)
    }

    fn first_http(&self) -> Option<SocketAddr> {
        self.plan.brokers.iter().find_map(|broker| self.http(Name::nsqd(broker.ordinal)))
    }

    fn data(&self, name: Name) -> Option<PathBuf> {
        (name.role == Role::Nsqd).then(|| self.layout.broker_folder(&self.plan.name, name.ordinal))
    }
}

async fn stop_all(mut children: Vec<Child>, stop: &mut StopSignals, console: Console) -> bool {
    children.iter().for_each(|child| child.wish(Wish::Stop));
    let mut is_orderly = true;
    let mut is_hurried = false;
    while let Some(child) = children.last_mut() {
        tokio::select! {
            farewell = child.ended() => {
                is_orderly &= farewell == Farewell::InOrder;
                children.pop();
            }
            () = stop.asked(), if !is_hurried => {
                is_hurried = true;
                console.say("asked again: killing what is left");
                children.iter().for_each(|child| child.wish(Wish::Kill));
            }
        }
    }
    is_orderly
}

fn note_step(done: &mut Vec<(Step, Vec<Name>)>, step: Step, name: Name) {
    match done.iter_mut().find(|(known, _)| *known == step) {
        Some((_, on)) => on.push(name),
        None => done.push((step, vec![name])),
    }
}
