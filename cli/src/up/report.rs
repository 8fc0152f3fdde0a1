//! What people read while it runs: the table at the start, what a change of the file means, what was done.
//! Texts only; `console` prints them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use operator::Change;
use operator::plan::{ClusterPlan, TopicPlan};

use super::backoff::Telling;
use super::child::Ended;
use super::converge::{Stats, Step, Verb, escaped};
use super::layout::{Addresses, Name, Role};
use super::log_line::is_grave;

/// More topics than this are counted instead of named.
const NAMED_TOPICS_MAX: usize = 12;
/// More children than this are counted instead of named.
const NAMED_MAX: usize = 4;
/// More steps than this are counted instead of told one by one.
const TOLD_STEPS_MAX: usize = 12;

/// One child of the table: where it listens and, for a broker, where its data are.
pub(crate) fn row(name: Name, Addresses { tcp, http }: Addresses, data: Option<&Path>) -> String {
    let (name, tcp, http) = (name.to_string(), tcp.to_string(), http.to_string());
    match data {
        Some(data) => format!("{name:<15}tcp {tcp:<17}http {http:<17}data {}", data.display()),
        None => format!("{name:<15}tcp {tcp:<17}http {http}"),
    }
}

/// The declared topics with their channels, on one line.
pub(crate) fn topics(topics: &[TopicPlan]) -> String {
    if topics.is_empty() {
        return "topics         none declared; the first message to a topic creates it".to_owned();
    }
    let mut texts: Vec<String> = topics.iter().take(NAMED_TOPICS_MAX).map(topic).collect();
    if topics.len() > NAMED_TOPICS_MAX {
        texts.push(format!("and {} more", topics.len() - NAMED_TOPICS_MAX));
    }
    format!("topics         {}", texts.join(", "))
}

/// What to do next, ready to be copied. `http`: the first broker, if there is one.
pub(crate) fn hints(plan: &ClusterPlan, http: Option<SocketAddr>, data: &Path, files: &str) -> String {
    let mut text = String::new();
    match http {
        None => text += "publish:  no broker is declared (spec.brokers.replicas is 0)\n",
        Some(http) => {
            let running = plan.topics.iter().find(|topic| topic.is_paused != Some(true));
            let topic = running.or(plan.topics.first()).map_or("test", |topic| &topic.name);
            let _ = writeln!(text, "publish:  curl -d 'hello' 'http://{http}/pub?topic={}'", escaped(topic));
            let _ = writeln!(text, "look:     curl 'http://{http}/stats'");
        }
    }
    let _ = writeln!(text, "change:   edit {files} and save");
    let _ = write!(text, "stop:     Ctrl-C (data stay in {})", data.display());
    text
}

/// What a changed file means for what it no longer declares, or declares though it was there already.
/// `seen`: what each serving broker had before.
pub(crate) fn changes(
    changes: &[Change],
    seen: &BTreeMap<Name, Stats>,
    http: Option<SocketAddr>,
) -> Vec<String> {
    changes.iter().filter_map(|change| changed(change, seen, http)).collect()
}

/// Pauses and levels that the file no longer mentions, as that changes nothing.
pub(crate) fn forgotten(old: &ClusterPlan, new: &ClusterPlan) -> Vec<String> {
    let mut lines = Vec::new();
    let mut forget = |what: &str, field: &str, state: &str| {
        lines.push(format!("{what}: {field} is no longer declared, so it stays as it is ({state})"));
    };
    let pause = |is_paused: bool| if is_paused { "paused" } else { "not paused" };
    for topic in &new.topics {
        let Some(old) = old.topics.iter().find(|old| old.name == topic.name) else { continue };
        let what = format!("topic {}", topic.name);
        if let (Some(was), None) = (old.durability, topic.durability) {
            forget(&what, "durability", was.name());
        }
        if let (Some(was), None) = (old.is_paused, topic.is_paused) {
            forget(&what, "paused", pause(was));
        }
        for channel in &topic.channels {
            let Some(old) = old.channels.iter().find(|old| old.name == channel.name) else { continue };
            if let (Some(was), None) = (old.is_paused, channel.is_paused) {
                forget(&format!("channel {}/{}", topic.name, channel.name), "paused", pause(was));
            }
        }
    }
    lines
}

/// Who did which steps: a line per step, or one line if there are many.
pub(crate) fn steps(done: &[(Step, Vec<Name>)]) -> Vec<String> {
    if done.len() <= TOLD_STEPS_MAX {
        return done.iter().map(|(step, on)| format!("{step} on {}", names(on))).collect();
    }
    let count =
        |is_counted: fn(&Verb) -> bool| done.iter().filter(|(step, _)| is_counted(&step.verb)).count();
    let created = count(|verb| matches!(verb, Verb::Create(_)));
    let changed = count(|verb| matches!(verb, Verb::SetDurability(_)));
    let paused = count(|verb| *verb == Verb::Pause);
    let unpaused = count(|verb| *verb == Verb::Unpause);
    let mut on: Vec<Name> = done.iter().flat_map(|(_, on)| on).copied().collect();
    on.sort_unstable();
    on.dedup();
    vec![format!(
        "topics and channels: {created} created, {changed} with another durability, {paused} paused, \
         {unpaused} unpaused on {}",
        names(&on)
    )]
}

/// `nsqd 0, nsqd 1`, or how many.
pub(crate) fn names(names: &[Name]) -> String {
    listed(names, "brokers")
}

/// An end nobody asked for; None if it has been told often enough.
pub(crate) fn ended(ended: &Ended, log: &Path) -> Option<String> {
    let Ended { name, how, last_lines, retry_in, telling } = ended;
    // News explains no end; a warning, an error or a usage message may.
    let last = last_lines.last().filter(|line| is_grave(line));
    let last = last.map(|line| format!("; its last line: {line}")).unwrap_or_default();
    let retry = match telling {
        Telling::Silent => return None,
        Telling::Tell => format!("it starts again in {}", seconds(*retry_in)),
        Telling::TellLast => format!("it is tried every few seconds from now on, see {}", log.display()),
    };
    Some(format!("{name} ended ({how}); {retry}{last}"))
}

/// What is being stopped, in that order.
pub(crate) fn stopping(children: impl Iterator<Item = Name>) -> String {
    let (brokers, lookupds): (Vec<Name>, Vec<Name>) = children.partition(|name| name.role == Role::Nsqd);
    let groups = [(brokers, "brokers"), (lookupds, "nsqlookupds")];
    let groups = groups.iter().filter(|(group, _)| !group.is_empty());
    let text: Vec<String> = groups.map(|(group, what)| listed(group, what)).collect();
    format!("stopping {}", text.join(", then "))
}

/// A duration as people say it: `0.4 s`, `27 ms`.
pub(crate) fn seconds(duration: Duration) -> String {
    if duration < Duration::from_millis(100) {
        return format!("{} ms", duration.as_millis());
    }
    format!("{:.1} s", duration.as_secs_f64())
}

fn listed(names: &[Name], what: &str) -> String {
    if names.len() > NAMED_MAX {
        return format!("{} {what}", names.len());
    }
    names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}

fn topic(topic: &TopicPlan) -> String {
    let paused = |is_paused: Option<bool>| if is_paused == Some(true) { " paused" } else { "" };
    let channel =
        |channel: &operator::plan::ChannelPlan| format!("{}{}", channel.name, paused(channel.is_paused));
    let channels: Vec<String> = topic.channels.iter().map(channel).collect();
    let level = topic.durability.map(|level| format!(" {}", level.name())).unwrap_or_default();
    let head = format!("{}{level}{}", topic.name, paused(topic.is_paused));
    if channels.is_empty() { head } else { format!("{head} ({})", channels.join(", ")) }
}

fn changed(change: &Change, seen: &BTreeMap<Name, Stats>, http: Option<SocketAddr>) -> Option<String> {
    let all = |count: &dyn Fn(&Stats) -> u64| seen.values().map(count).sum::<u64>();
    let everywhere = |has: &dyn Fn(&Stats) -> bool| !seen.is_empty() && seen.values().all(has);
    let there = |what: String| format!("{what} is declared now and was there already");
    Some(match change {
        Change::BrokerRemoved { ordinal, .. } => {
            let name = Name::nsqd(*ordinal);
            let messages = seen.get(&name).map(|stats| stats.messages(None).to_string());
            let messages = messages.unwrap_or_else(|| "unknown, it does not answer".to_owned());
            format!("{} its data stay in its folder; its messages: {messages}", retained(name))
        }
        Change::LookupdRemoved { ordinal, .. } => {
            format!("{} it has no data", retained(Name::nsqlookupd(*ordinal)))
        }
        Change::TopicRemoved { topic, .. } => {
            let messages = all(&|stats| stats.messages(Some(topic)));
            let path = format!("/topic/delete?topic={}", escaped(topic));
            kept(&format!("topic {topic}"), messages, &path, http)
        }
        Change::ChannelRemoved { topic, channel, .. } => {
            let messages = all(&|stats| stats.channel_messages(topic, channel));
            let path = format!("/channel/delete?topic={}&channel={}", escaped(topic), escaped(channel));
            kept(&format!("channel {topic}/{channel}"), messages, &path, http)
        }
        Change::CreateTopic { topic, .. } if everywhere(&|stats| stats.has_topic(topic)) => {
            there(format!("topic {topic}"))
        }
        Change::CreateChannel { topic, channel, .. }
            if everywhere(&|stats| stats.has_channel(topic, channel)) =>
        {
            there(format!("channel {topic}/{channel}"))
        }
        _ => return None,
    })
}

fn retained(name: Name) -> String {
    format!("{name} is no longer declared: it keeps running until you stop nsq up;")
}

fn kept(what: &str, messages: u64, path: &str, http: Option<SocketAddr>) -> String {
    let mut text =
        format!("{what} is no longer declared: it is kept, with all it has; its messages: {messages}");
    if let Some(http) = http {
        let _ = write!(text, "; to delete it, on each broker: curl -X POST 'http://{http}{path}'");
    }
    text
}

#[cfg(test)]
mod tests;
