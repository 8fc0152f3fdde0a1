//! The topology this broker was given: checked, kept on disk, applied, and compared with what there is. The highest epoch
//! wins, wherever it came from. How a topic is brought to what was declared is in `apply`.

mod apply;
mod made;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::control::{TOPOLOGY_VERSION, Topology, TopologyReport};
use protocol::{ChannelName, TopicName};
use storage::{Disk, Kept, KeptFile, StorageError};

use super::Refusal;
use super::source::{Source, Stamp};
use crate::broker::Broker;
use crate::durability::Durability;
use crate::options::Options;

pub(super) use made::Made;

const FILE: &str = "topology";
const MAGIC: &[u8; 8] = b"NSQBEtpy";

/// How often the file of `--topology-file` is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often what is declared is compared with what there is.
const ENFORCE_EVERY: Duration = Duration::from_secs(3);

/// What a report names of what is different.
const DRIFT_MAX: usize = 100;

/// What there must be.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The last topology that was taken.
    kept: KeptFile,
    source: Option<Source>,
    /// Somebody may declare something.
    is_on: bool,
    state: Mutex<State>,
    /// Held while a topology is taken or enforced.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    topology: Option<Arc<Topology>>,
    /// What of it could not be made, and why.
    failures: Vec<protocol::control::Drift>,
    /// Why there is none.
    why_none: String,
}

impl Declared {
    /// With what was applied last, if there may be something.
    ///
    /// # Errors
    /// The file is of a later version or not ours, or the disk failed.
    pub(super) fn open(disk: Arc<dyn Disk>, folder: &Path, options: &Options) -> Result<Self, StorageError> {
        let source = Source::new(&options.control.topology_file);
        let is_on = source.is_some() || !options.control.control_address.is_empty();
        let kept = KeptFile::new(disk, folder.join(FILE), MAGIC);
        let topology = if is_on { remembered(&kept)? } else { None };
        let state = Mutex::new(State { topology, ..State::default() });
        Ok(Self { kept, source, is_on, state, turn: tokio::sync::Mutex::default() })
    }

    /// Why clients should not come yet, if so: what was promised to be there before the first message is not known.
    pub(crate) fn problem(&self) -> Option<String> {
        self.source.as_ref()?;
        let state = self.lock();
        state.topology.is_none().then(|| format!("no topology yet: {}", state.why_none))
    }

    /// Is this topic, or this channel of it, declared?
    pub(super) fn has(&self, topic: &str, channel: Option<&str>) -> bool {
        let Some(topology) = self.topology() else { return false };
        let found = topology.topics.iter().find(|declared| declared.name == topic);
        found.is_some_and(|found| {
            channel.is_none_or(|name| found.channels.iter().any(|declared| declared.name == name))
        })
    }

    fn topology(&self) -> Option<Arc<Topology>> {
        self.lock().topology.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The copy of the last run. One that is damaged is left out: the topics themselves are elsewhere.
fn remembered(kept: &KeptFile) -> Result<Option<Arc<Topology>>, StorageError> {
    let damaged = || {
        tracing::error!(
            file = %kept.path().display(),
            "the copy of the last topology is damaged and is not used; topics and messages are untouched, and the next \
             topology replaces it"
        );
    };
    Ok(match kept.read()? {
        Kept::Missing => None,
        Kept::Content(bytes) => {
            let parsed = serde_json::from_slice(&bytes).inspect_err(|_| damaged()).ok();
            parsed.map(Arc::new)
        }
        Kept::Damaged => {
            damaged();
            None
        }
    })
}

/// Before anything is served: make what the file declares, or else what the last run was told.
pub(crate) async fn begin(broker: &Arc<Broker>) {
    let declared = &broker.control_state.declared;
    if !declared.is_on {
        return;
    }
    let given = declared.source.as_ref().map(Source::read);
    let taken = match given {
        Some(Ok(topology)) => take(broker, topology).await,
        Some(Err(why)) => Err(Refusal::Missing(why)),
        None => Ok(false),
    };
    let known = declared.topology();
    if let Err(why) = &taken {
        let why = why.sentence();
        match &known {
            Some(last) => tracing::error!(epoch = last.epoch, "{why}; the topology of the last run is used"),
            None => tracing::error!("{why}; starting without a topology, /readyz says so until there is one"),
        }
        why.clone_into(&mut declared.lock().why_none);
    }
    let Some(topology) = known else { return };
    let from = if matches!(taken, Ok(true)) { "the file" } else { "the last run" };
    tracing::info!(epoch = topology.epoch, topics = topology.topics.len(), from, "topology");
    // Of what was applied before something may be missing by now.
    enforce(broker, &topology, apply::Pass::Start, &Arc::default()).await;
}

/// Look at the file, and set back what is to be enforced, until the broker stops.
pub(crate) async fn follow(broker: Arc<Broker>) {
    let declared = &broker.control_state.declared;
    let stamp = declared.source.as_ref().and_then(Source::stamp);
    let mut watched = Watched { stamp, told: declared.lock().why_none.clone() };
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut every = tokio::time::interval(ENFORCE_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    if declared.topology().is_none() {
        watched.stamp = None;
    }
    loop {
        tokio::select! {
            () = broker.context.shutdown.wait() => return,
            _tick = look.tick() => watched.look(&broker).await,
            _tick = every.tick() => {
                let _turn = declared.turn.lock().await;
                if let Some(topology) = declared.topology() {
                    enforce(&broker, &topology, apply::Pass::Again, &Arc::default()).await;
                }
            }
        }
    }
}

/// The file as it was seen last.
struct Watched {
    stamp: Option<Stamp>,
    told: String,
}

impl Watched {
    async fn look(&mut self, broker: &Arc<Broker>) {
        let Some(source) = &broker.control_state.declared.source else { return };
        let stamp = source.stamp();
        if stamp.is_some() && stamp == self.stamp {
            return;
        }
        let outcome = match crate::blocking::wait(|| source.read()) {
            Ok(topology) => take(broker, topology).await.map(drop),
            Err(why) => Err(Refusal::Missing(why)),
        };
        // What the disk refused is tried again.
        self.stamp = stamp.filter(|_| !matches!(outcome, Err(Refusal::Disk(_))));
        let told = outcome.err().map_or_else(String::new, |why| why.sentence().to_owned());
        if told != self.told {
            if !told.is_empty() {
                tracing::error!("{told}; nothing is changed by it");
            }
            self.told = told;
        }
    }
}

/// From the file. One that is older than what was pushed is late, not wrong: false.
async fn take(broker: &Arc<Broker>, topology: Topology) -> Result<bool, Refusal> {
    let known = broker.control_state.declared.topology();
    if known.is_some_and(|known| known.epoch > topology.epoch) {
        return Ok(false);
    }
    let told = |why: String| format!("--topology-file: {why}");
    match accept(broker, topology, &Arc::default()).await {
        Ok(()) => Ok(true),
        Err(Refusal::Disk(why)) => Err(Refusal::Disk(told(why))),
        Err(why) => Err(Refusal::Wrong(told(why.sentence().to_owned()))),
    }
}

/// Keep a topology and apply it. What could not be made is in the report, and tried again.
pub(super) async fn accept(
    broker: &Arc<Broker>,
    topology: Topology,
    made: &Arc<Made>,
) -> Result<(), Refusal> {
    check(&topology, broker.options.identity.as_deref()).map_err(Refusal::Wrong)?;
    let declared = &broker.control_state.declared;
    let _turn = declared.turn.lock().await;
    let before = declared.topology();
    match &before {
        Some(known) if known.epoch > topology.epoch => {
            return Err(Refusal::Conflict(format!(
                "epoch {} is older than {}, which this broker has",
                topology.epoch, known.epoch
            )));
        }
        Some(known) if known.epoch == topology.epoch && **known != topology => {
            return Err(Refusal::Conflict(format!(
                "epoch {} has another content here: a change needs a higher epoch",
                topology.epoch
            )));
        }
        _ => {}
    }
    if before.as_deref() != Some(&topology) {
        let bytes = serde_json::to_vec(&topology).map_err(|error| Refusal::Wrong(error.to_string()))?;
        let kept = crate::blocking::wait(|| declared.kept.write(&bytes));
        kept.map_err(|error| Refusal::Disk(error.to_string()))?;
        tracing::info!(epoch = topology.epoch, topics = topology.topics.len(), "new topology");
    }
    // Who sees its epoch, or that the broker is ready, sees what it declares.
    enforce(broker, &Arc::new(topology), apply::Pass::New(before), made).await;
    Ok(())
}

async fn enforce(broker: &Arc<Broker>, topology: &Arc<Topology>, pass: apply::Pass, made: &Arc<Made>) {
    let declared = &broker.control_state.declared;
    let failures = apply::apply(broker, topology, pass, made).await;
    let mut state = declared.lock();
    for failure in failures.iter().filter(|failure| !state.failures.contains(failure)) {
        let channel = failure.channel.as_deref().unwrap_or_default();
        tracing::error!(topic = failure.topic, channel, "what is declared cannot be had: {}", failure.what);
    }
    state.failures = failures;
    state.topology = Some(Arc::clone(topology));
}

/// What there is, compared with what is declared.
pub(super) fn report(broker: &Broker) -> TopologyReport {
    let topics = broker.topics();
    let channels = topics.iter().map(|topic| topic.channels().len() as u64).sum();
    let declared = &broker.control_state.declared;
    let Some(topology) = declared.topology() else {
        return TopologyReport { topics: topics.len() as u64, channels, ..TopologyReport::default() };
    };
    let names: HashSet<&str> = topology.topics.iter().map(|topic| topic.name.as_str()).collect();
    let is_unmanaged = |name: &TopicName| !name.is_ephemeral() && !names.contains(name.as_str());
    let failures = declared.lock().failures.clone();
    let drift = topology.topics.iter().flat_map(|topic| apply::differences(broker, topic));
    let mut drift: Vec<_> = drift
        .map(|found| {
            let is_it = |failure: &&protocol::control::Drift| {
                failure.topic == found.topic && failure.channel == found.channel
            };
            failures.iter().find(is_it).cloned().unwrap_or(found)
        })
        .collect();
    let in_sync = drift.is_empty();
    drift.truncate(DRIFT_MAX);
    TopologyReport {
        epoch: topology.epoch,
        hash: topology.hash.clone(),
        in_sync,
        topics: topics.len() as u64,
        channels,
        unmanaged: topics.iter().filter(|topic| is_unmanaged(&topic.name)).count() as u64,
        drift,
    }
}

/// Can this be had at all? Nothing of a topology that is wrong somewhere is applied.
fn check(topology: &Topology, identity: Option<&str>) -> Result<(), String> {
    let version = topology.version;
    if version == 0 || version > TOPOLOGY_VERSION {
        return Err(format!(
            "version {version} is unknown: this nsqd reads up to {TOPOLOGY_VERSION}; upgrade it"
        ));
    }
    // namespace/cluster/broker, as an operator names brokers.
    let own = identity.filter(|name| name.matches('/').count() == 2).and_then(|name| name.rsplit_once('/'));
    if let Some((own, _broker)) =
        own.filter(|(own, _)| !topology.cluster.is_empty() && *own != topology.cluster)
    {
        return Err(format!("it is for cluster {}, and this broker is of {own}", topology.cluster));
    }
    let mut topics = HashSet::new();
    for topic in &topology.topics {
        let name = &topic.name;
        TopicName::new(name)
            .ok()
            .filter(|name| !name.is_ephemeral())
            .ok_or_else(|| format!("{name:?} cannot be declared as a topic: 1 to 64 of . a-z A-Z 0-9 _ -"))?;
        if !topics.insert(name) {
            return Err(format!("topic {name} is declared twice"));
        }
        if let Some(level) =
            topic.durability.as_deref().filter(|level| Durability::from_name(level).is_none())
        {
            return Err(format!("topic {name}: durability {level:?} is unknown: memory, buffered or fsync"));
        }
        let mut channels = HashSet::new();
        for channel in topic.channels.iter().map(|channel| &channel.name) {
            ChannelName::new(channel).ok().filter(|name| !name.is_ephemeral()).ok_or_else(|| {
                format!(
                    "topic {name}: {channel:?} cannot be declared as a channel: 1 to 64 of . a-z A-Z 0-9 _ -"
                )
            })?;
            if !channels.insert(channel) {
                return Err(format!("topic {name}: channel {channel} is declared twice"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_that_is_wrong_somewhere_is_refused_with_what_is_wrong() {
        let long = "x".repeat(65);
        for (text, expected) in [
            (r#"{"version":0,"epoch":1}"#.to_owned(), "version 0 is unknown"),
            (r#"{"version":9,"epoch":1}"#.to_owned(), "version 9 is unknown"),
            (
                r#"{"version":1,"epoch":1,"cluster":"b/c"}"#.to_owned(),
                "it is for cluster b/c, and this broker is of a/c",
            ),
            (
                r#"{"version":1,"epoch":1,"topics":[{"name":"t"},{"name":"t"}]}"#.to_owned(),
                "topic t is declared twice",
            ),
            (
                r#"{"version":1,"epoch":1,"topics":[{"name":"t#ephemeral"}]}"#.to_owned(),
                "cannot be declared as a topic",
            ),
            (
                format!(r#"{{"version":1,"epoch":1,"topics":[{{"name":"{long}"}}]}}"#),
                "cannot be declared as a topic",
            ),
            (
                r#"{"version":1,"epoch":1,"topics":[{"name":"t","durability":"disk"}]}"#.to_owned(),
                "memory, buffered or fsync",
            ),
            (
                r#"{"version":1,"epoch":1,"topics":[{"name":"t","channels":[{"name":"a b"}]}]}"#.to_owned(),
                "cannot be declared as a channel",
            ),
            (
                r#"{"version":1,"epoch":1,"topics":[{"name":"t","channels":[{"name":"c"},{"name":"c"}]}]}"#
                    .to_owned(),
                "channel c is declared twice",
            ),
        ] {
            let topology: Topology = serde_json::from_str(&text).unwrap();
            let why = check(&topology, Some("a/c/0")).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
        let fine: Topology = serde_json::from_str(r#"{"version":1,"epoch":0,"cluster":"a/c"}"#).unwrap();
        for identity in [Some("a/c/0"), Some("anything"), None] {
            assert_eq!(check(&fine, identity), Ok(()));
        }
    }
}
