//! Bringing topics and channels to what is declared: making what is missing, and setting back what may be set back. Only
//! ever adds: what nobody declares any more is deleted by who asks for it, never by its absence.

use std::sync::Arc;

use futures::StreamExt as _;
use protocol::control::{DeclaredTopic, Drift, Topology};
use protocol::{ChannelName, TopicName};

use super::made::{Made, ended};
use crate::broker::Broker;
use crate::durability::Durability;
use crate::topic::Topic;

/// Topics that are made at a time: each waits for the disk.
const AT_ONCE: usize = 16;

/// What is the occasion.
#[derive(Debug, Clone)]
pub(super) enum Pass {
    /// The broker starts: whatever is missing is made.
    Start,
    /// A new topology, and the one before: what is declared differently is set, also where it is not enforced.
    New(Option<Arc<Topology>>),
    /// Nothing happened: only what is enforced is touched.
    Again,
}

impl Pass {
    /// What was declared before of the topic that is now declared as `topic`; itself if nothing changed.
    fn before<'a>(&'a self, topic: &'a DeclaredTopic) -> Option<&'a DeclaredTopic> {
        match self {
            Self::Start | Self::Again => Some(topic),
            Self::New(before) => before.as_ref()?.topics.iter().find(|before| before.name == topic.name),
        }
    }

    fn makes(&self, is_enforced: bool) -> bool {
        is_enforced || !matches!(self, Self::Again)
    }
}

/// What is different from what is declared of one topic.
pub(super) fn differences(broker: &Broker, declared: &DeclaredTopic) -> Vec<Drift> {
    let drift = |channel: Option<&str>, what: String| Drift {
        topic: declared.name.clone(),
        channel: channel.map(str::to_owned),
        what,
    };
    let Some(topic) = broker.topic(&declared.name) else {
        return vec![drift(None, "is missing".to_owned())];
    };
    let mut found = Vec::new();
    let is_paused = topic.counts().is_paused;
    if declared.paused.is_some_and(|wanted| wanted != is_paused) {
        found.push(drift(None, pause(is_paused).to_owned()));
    }
    if let Some(level) = level(declared)
        && topic.durability() != level
    {
        let what = format!("has durability {} instead of {}", topic.durability().name(), level.name());
        found.push(drift(None, what));
    }
    let channels = topic.channels();
    for channel in &declared.channels {
        match channels.iter().find(|found| found.name.as_str() == channel.name) {
            None => found.push(drift(Some(&channel.name), "is missing".to_owned())),
            Some(there) => {
                let is_paused = there.lock().queue.is_paused();
                if channel.paused.is_some_and(|wanted| wanted != is_paused) {
                    found.push(drift(Some(&channel.name), pause(is_paused).to_owned()));
                }
            }
        }
    }
    found
}

fn pause(is_paused: bool) -> &'static str {
    if is_paused { "is paused" } else { "is not paused" }
}

/// `None`: nobody declared it, and what was set by hand is left alone.
fn level(declared: &DeclaredTopic) -> Option<Durability> {
    declared.durability.as_deref().and_then(Durability::from_name)
}

/// Make and set what `pass` says; what could not be done is given back.
pub(super) async fn apply(
    broker: &Arc<Broker>,
    topology: &Arc<Topology>,
    pass: Pass,
    made: &Arc<Made>,
) -> Vec<Drift> {
    let different = |topic: &&DeclaredTopic| !differences(broker, topic).is_empty();
    let topics: Vec<_> = topology.topics.iter().filter(different).cloned().collect();
    let work = topics.into_iter().map(|topic| {
        let (broker, pass, made) = (Arc::clone(broker), pass.clone(), Arc::clone(made));
        tokio::spawn(async move {
            let before = pass.before(&topic);
            let one = One { broker: &broker, declared: &topic, before, pass: &pass, made: &made };
            one.apply().await
        })
    });
    let done: Vec<_> = futures::stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
    done.into_iter().flatten().flatten().collect()
}

/// One topic.
struct One<'a> {
    broker: &'a Arc<Broker>,
    declared: &'a DeclaredTopic,
    before: Option<&'a DeclaredTopic>,
    pass: &'a Pass,
    made: &'a Made,
}

impl One<'_> {
    async fn apply(&self) -> Vec<Drift> {
        // Checked before; were it not legal after all, nothing is made.
        let Ok(name) = TopicName::new(&self.declared.name) else { return Vec::new() };
        let found = self.broker.topic(name.as_str());
        let is_new = found.is_none();
        let topic = match found {
            Some(topic) => topic,
            None if !self.pass.makes(self.declared.enforce) => return Vec::new(),
            None => {
                let span = self.made.topic(name.as_str());
                match ended(span, self.broker.declare_topic(&name).await) {
                    Ok(topic) => topic,
                    Err(error) => return vec![self.failed(None, "is missing", &error)],
                }
            }
        };
        let mut failures = Vec::new();
        // Set before it is unpaused, and before its channels get anything.
        self.set_level(&topic, is_new, &mut failures);
        let is_changed = self.before.is_none_or(|before| before.paused != self.declared.paused);
        let may_pause = is_new || is_changed || self.declared.enforce;
        // A topic is paused first and unpaused last: channels that are made meanwhile miss nothing.
        let paused = self.declared.paused.filter(|_| may_pause);
        if paused == Some(true) {
            self.set_paused(&topic, true, &mut failures);
        }
        self.channels(&topic, &mut failures);
        if paused == Some(false) {
            self.set_paused(&topic, false, &mut failures);
        }
        failures
    }

    fn set_level(&self, topic: &Arc<Topic>, is_new: bool, failures: &mut Vec<Drift>) {
        let is_changed = self.before.is_none_or(|before| before.durability != self.declared.durability);
        let Some(wanted) = level(self.declared) else { return };
        if topic.durability() == wanted || !(is_new || is_changed || self.declared.enforce) {
            return;
        }
        if let Err(error) = topic.set_durability(wanted) {
            failures.push(self.failed(None, &format!("does not have durability {}", wanted.name()), &error));
        }
    }

    fn set_paused(&self, topic: &Arc<Topic>, is_paused: bool, failures: &mut Vec<Drift>) {
        if topic.counts().is_paused == is_paused {
            return;
        }
        match topic.set_paused(is_paused) {
            Ok(()) => tracing::info!(topic = %topic.name, is_paused, "set as declared"),
            Err(error) => failures.push(self.failed(None, pause(!is_paused), &error)),
        }
    }

    fn channels(&self, topic: &Arc<Topic>, failures: &mut Vec<Drift>) {
        for declared in &self.declared.channels {
            let Ok(name) = ChannelName::new(&declared.name) else { continue };
            let found = topic.channel(&name);
            let is_new = found.is_none();
            if is_new && !self.pass.makes(declared.enforce) {
                continue;
            }
            let made = || {
                let span = self.made.channel(topic.name.as_str(), name.as_str());
                ended(span, topic.declare_channel(&name))
            };
            let channel = match found.map_or_else(made, Ok) {
                Ok(channel) => channel,
                Err(error) => {
                    failures.push(self.failed(Some(&declared.name), "is missing", &error));
                    continue;
                }
            };
            if is_new {
                self.broker.changes.note(&topic.name);
            }
            let before =
                self.before.and_then(|topic| topic.channels.iter().find(|old| old.name == declared.name));
            let is_changed = before.is_none_or(|before| before.paused != declared.paused);
            let Some(is_paused) = declared.paused else { continue };
            let is_different = channel.lock().queue.is_paused() != is_paused;
            if is_different && (is_new || is_changed || declared.enforce) {
                match topic.set_channel_paused(&name, is_paused) {
                    Ok(()) => {
                        tracing::info!(topic = %topic.name, channel = %name, is_paused, "set as declared");
                    }
                    Err(error) => {
                        failures.push(self.failed(Some(&declared.name), pause(!is_paused), &error));
                    }
                }
            }
        }
    }

    fn failed(&self, channel: Option<&str>, what: &str, why: &dyn std::fmt::Display) -> Drift {
        Drift {
            topic: self.declared.name.clone(),
            channel: channel.map(str::to_owned),
            what: format!("{what}: {why}"),
        }
    }
}
