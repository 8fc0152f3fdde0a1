//! What a broker lacks of the declared topics, channels, levels and pauses. Values only: `brokers` asks and does.
//! Nothing is ever removed, and a pause or a level that no resource mentions is left as it is.

use std::fmt;

use operator::plan::TopicPlan;
use operator::resources::Durability;
use serde::Deserialize;

/// The part of `/stats?format=json` that matters here. Go nsqd writes `null` for empty lists at places.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Stats {
    topics: Option<Vec<TopicStats>>,
}

#[derive(Debug, Deserialize)]
struct TopicStats {
    topic_name: String,
    #[serde(default)]
    depth: i64,
    paused: bool,
    /// Absent where the broker knows no levels. Text, as a later broker may know more of them.
    durability: Option<String>,
    channels: Option<Vec<ChannelStats>>,
}

#[derive(Debug, Deserialize)]
struct ChannelStats {
    channel_name: String,
    #[serde(default)]
    depth: i64,
    #[serde(default)]
    in_flight_count: i64,
    #[serde(default)]
    deferred_count: i64,
    paused: bool,
}

impl Stats {
    /// Messages somebody still waits for: of one topic or of all, each channel's copy counted.
    pub(crate) fn messages(&self, topic: Option<&str>) -> u64 {
        let wanted = |name: &str| topic.is_none_or(|topic| topic == name);
        let topics = self.topics.iter().flatten().filter(|seen| wanted(&seen.topic_name));
        topics.map(|seen| count(seen.depth) + seen.channels().map(ChannelStats::messages).sum::<u64>()).sum()
    }

    /// Messages that one channel still has.
    pub(crate) fn channel_messages(&self, topic: &str, channel: &str) -> u64 {
        self.topic(topic).and_then(|seen| seen.channel(channel)).map_or(0, ChannelStats::messages)
    }

    /// Whether the broker has the topic, declared or not.
    pub(crate) fn has_topic(&self, name: &str) -> bool {
        self.topic(name).is_some()
    }

    /// Whether the broker has the channel, declared or not.
    pub(crate) fn has_channel(&self, topic: &str, channel: &str) -> bool {
        self.topic(topic).is_some_and(|seen| seen.channel(channel).is_some())
    }

    fn topic(&self, name: &str) -> Option<&TopicStats> {
        self.topics.iter().flatten().find(|seen| seen.topic_name == name)
    }
}

impl TopicStats {
    fn channels(&self) -> impl Iterator<Item = &ChannelStats> {
        self.channels.iter().flatten()
    }

    fn channel(&self, name: &str) -> Option<&ChannelStats> {
        self.channels().find(|seen| seen.channel_name == name)
    }
}

impl ChannelStats {
    fn messages(&self) -> u64 {
        count(self.depth) + count(self.in_flight_count) + count(self.deferred_count)
    }
}

/// One request to one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) verb: Verb,
    pub(crate) topic: String,
    /// None: the step is about the topic itself.
    pub(crate) channel: Option<String>,
}

/// What is done to a topic or channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// A topic with its level if one is declared, so that no publish comes before it. Channels have none.
    Create(Option<Durability>),
    SetDurability(Durability),
    Pause,
    Unpause,
}

impl Step {
    /// Path and query of the POST request.
    pub(crate) fn path(&self) -> String {
        let (verb, durability) = match self.verb {
            Verb::Create(level) => ("create", level),
            // An existing topic is left as it is, but for its level.
            Verb::SetDurability(level) => ("create", Some(level)),
            Verb::Pause => ("pause", None),
            Verb::Unpause => ("unpause", None),
        };
        let topic = escaped(&self.topic);
        let mut path = match &self.channel {
            None => format!("/topic/{verb}?topic={topic}"),
            Some(channel) => format!("/channel/{verb}?topic={topic}&channel={}", escaped(channel)),
        };
        if let Some(level) = durability {
            path += &format!("&durability={}", level.name());
        }
        path
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.verb {
            Verb::Create(None) => "created".to_owned(),
            Verb::Create(Some(level)) => format!("created as {}", level.name()),
            Verb::SetDurability(level) => format!("is now {}", level.name()),
            Verb::Pause => "paused".to_owned(),
            Verb::Unpause => "unpaused".to_owned(),
        };
        match &self.channel {
            None => write!(f, "topic {} {verb}", self.topic),
            Some(channel) => write!(f, "channel {}/{channel} {verb}", self.topic),
        }
    }
}

/// A legal name as it stands in a query: `#` of `#ephemeral` is the only character that means something there.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('#', "%23")
}

/// The steps that give a broker with `seen` all of `wanted`, in the order to take them.
pub(crate) fn steps(wanted: &[TopicPlan], seen: &Stats) -> Vec<Step> {
    let mut steps = Vec::new();
    for topic in wanted {
        let seen = seen.topic(&topic.name);
        let step = |verb, channel: Option<&str>| Step {
            verb,
            topic: topic.name.clone(),
            channel: channel.map(str::to_owned),
        };
        steps.extend(level(topic.durability, seen).map(|verb| step(verb, None)));
        steps.extend(pause(topic.is_paused, seen.map(|seen| seen.paused)).map(|verb| step(verb, None)));
        for channel in &topic.channels {
            let seen = seen.and_then(|seen| seen.channel(&channel.name));
            if seen.is_none() {
                steps.push(step(Verb::Create(None), Some(&channel.name)));
            }
            let verb = pause(channel.is_paused, seen.map(|seen| seen.paused));
            steps.extend(verb.map(|verb| step(verb, Some(&channel.name))));
        }
    }
    steps
}

/// What to do about a topic and its level.
fn level(wanted: Option<Durability>, seen: Option<&TopicStats>) -> Option<Verb> {
    let Some(seen) = seen else { return Some(Verb::Create(wanted)) };
    // nsqd: Go nsqd has no levels and would take the request again and again without effect.
    let seen = seen.durability.as_deref()?;
    wanted.filter(|wanted| wanted.name() != seen).map(Verb::SetDurability)
}

/// What to do about a pause: `seen` is None for what is created now, which runs.
fn pause(wanted: Option<bool>, seen: Option<bool>) -> Option<Verb> {
    match (wanted?, seen.unwrap_or(false)) {
        (true, false) => Some(Verb::Pause),
        (false, true) => Some(Verb::Unpause),
        _ => None,
    }
}

/// nsqd: after a crash Go nsqd may report a negative depth; nobody waits for those.
fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests;
