//! Each message's life on each channel against the rules. A message is a small automaton: delivered, then finished, given
//! back, timed out or dropped with its connection; what comes next must follow from that.

mod group;

use std::collections::HashMap;
use std::time::Duration;

use super::facts::{Batch, Facts};
use super::order::{First, inversions};
use super::verdict::{Rule, Verdict};
use super::{Past, Rules, nanos};
use crate::history::{Event, Op, key_text, round_of};

/// The work of judging one round.
pub(super) struct Judge<'a> {
    facts: &'a Facts<'a>,
    rules: &'a Rules,
    past: &'a mut Past,
    verdict: Verdict,
    /// Which message has an id in a topic.
    ids: HashMap<(u8, u64), u64>,
    firsts: Vec<Vec<First>>,
}

/// What is known of one message over all channels.
#[derive(Debug, Default, Clone)]
struct Seen {
    /// Id and timestamp.
    identity: Option<(u64, u64)>,
    first_delivery: Option<u64>,
    channels: Vec<u8>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(facts: &'a Facts<'a>, rules: &'a Rules, past: &'a mut Past) -> Self {
        let firsts = vec![Vec::new(); facts.history.channels.len()];
        Self { facts, rules, past, verdict: Verdict::default(), ids: HashMap::new(), firsts }
    }

    pub(super) fn judge(mut self) -> Verdict {
        self.verdict.counts.events = self.facts.history.events.len() as u64;
        let facts = self.facts;
        let mut items = facts.items.as_slice();
        for batch in &facts.batches {
            items = self.invented_before(items, batch.first);
            items = self.batch(batch, items);
        }
        self.invented_before(items, u64::MAX);
        self.order();
        self.past.remember(self.ids.keys().copied());
        self.verdict
    }

    /// Everything with a key below `key` belongs to no publish of this round.
    fn invented_before(&mut self, items: &'a [Event], key: u64) -> &'a [Event] {
        let (unknown, rest) = items.split_at(items.partition_point(|item| item.key < key));
        for item in unknown.iter().filter(|item| is_delivery(item)) {
            self.verdict.counts.delivered += 1;
            let name = self.channel_name(item.channel);
            match item.op {
                Op::Corrupt => self.verdict.report(Rule::Corrupt, || format!("{name}: {}", line(item))),
                _ if round_of(item.key) < self.facts.history.round => {
                    self.verdict.report(Rule::Duplicate, || {
                        format!(
                            "{} on {name} is of a round that was finished\n{}",
                            key_text(item.key),
                            line(item)
                        )
                    })
                }
                _ => self.verdict.report(Rule::Invented, || {
                    format!("{} on {name} was never published\n{}", key_text(item.key), line(item))
                }),
            }
        }
        rest
    }

    /// One publish with everything that happened to its messages; gives what is left.
    fn batch(&mut self, batch: &Batch, mut items: &'a [Event]) -> &'a [Event] {
        let counts = &mut self.verdict.counts;
        counts.published += batch.count;
        counts.acked += if batch.acked.is_some() { batch.count } else { 0 };
        counts.refused += if batch.is_refused { batch.count } else { 0 };
        let mut first_delivery: Option<u64> = None;
        let mut present = 0;
        for key in batch.first..batch.first.saturating_add(batch.count) {
            let (own, rest) = items.split_at(items.partition_point(|item| item.key <= key));
            items = rest;
            let seen = self.message(batch, key, own);
            present += u64::from(!seen.channels.is_empty());
            first_delivery = earlier(first_delivery, seen.first_delivery);
            self.presence(batch, key, &seen, own);
        }
        if batch.acked.is_none() && present > 0 && present < batch.count {
            self.torn(batch, present, first_delivery);
        } else if batch.acked.is_some() && present > 0 && present < batch.count {
            // Without a window each missing message is reported as lost; within one, the whole batch may go, not a part.
            let excuse = self.excused(batch.acked, first_delivery);
            if excuse.is_some() {
                self.torn(batch, present, first_delivery);
            }
        }
        items
    }

    fn torn(&mut self, batch: &Batch, present: u64, first_delivery: Option<u64>) {
        let cut = self.excused(batch.acked, first_delivery);
        // What was delivered before the cut says nothing about what the cut left.
        if cut.is_some_and(|cut| first_delivery.is_some_and(|at| at <= cut)) {
            return;
        }
        let Batch { first, count, at, .. } = *batch;
        self.verdict.report(Rule::TornBatch, || {
            format!(
                "of the {count} messages of the MPUB {} sent at {} only {present} are there",
                key_text(first),
                ms(at)
            )
        });
    }

    /// One message on all channels.
    fn message(&mut self, batch: &Batch, key: u64, items: &'a [Event]) -> Seen {
        let mut seen = Seen::default();
        for own in items.chunk_by(|a, b| a.channel == b.channel) {
            let Some(channel) = own.first().map(|item| item.channel) else { continue };
            let deliveries = own.iter().filter(|item| is_delivery(item)).count() as u64;
            self.verdict.counts.delivered += deliveries;
            if deliveries == 0 {
                continue;
            }
            if self.facts.topic_of(channel) != Some(batch.topic) {
                let name = self.channel_name(channel);
                self.verdict.report(Rule::Invented, || {
                    format!("{} on {name} was published to another topic\n{}", key_text(key), lines(own))
                });
                continue;
            }
            seen.channels.push(channel);
            for item in own.iter().filter(|item| item.op == Op::Delivered) {
                seen.first_delivery = earlier(seen.first_delivery, Some(item.at));
                self.identity(batch.topic, key, &mut seen, item);
            }
            self.group(batch, channel, own);
        }
        seen
    }

    fn identity(&mut self, topic: u8, key: u64, seen: &mut Seen, item: &Event) {
        let identity = (item.id, item.arg);
        let known = *seen.identity.get_or_insert(identity);
        if known != identity {
            self.verdict.report(Rule::Identity, || {
                let [(id, timestamp), (other_id, other_timestamp)] = [known, identity];
                format!(
                    "{}: first id {id:016x} timestamp {timestamp}, then {other_id:016x} {other_timestamp}",
                    key_text(key)
                )
            });
            return;
        }
        let owner = *self.ids.entry((topic, item.id)).or_insert(key);
        if owner != key {
            self.verdict.report(Rule::IdReused, || {
                format!("{:016x} is the id of {} and of {}", item.id, key_text(owner), key_text(key))
            });
        } else if self.past.knows(topic, item.id) {
            self.verdict.report(Rule::IdReused, || {
                format!("{:016x} of {} was another message's in an earlier round", item.id, key_text(key))
            });
        }
    }

    /// Whether a message is on every channel it is owed to.
    fn presence(&mut self, batch: &Batch, key: u64, seen: &Seen, items: &[Event]) {
        if batch.acked.is_none() && seen.channels.is_empty() {
            return;
        }
        let facts = self.facts;
        for channel in facts.owed(batch.topic, batch.at).filter(|channel| !seen.channels.contains(channel)) {
            if self.excused(batch.acked, seen.first_delivery).is_some() {
                self.verdict.counts.lost_in_window += 1;
                continue;
            }
            let name = self.channel_name(channel);
            let rule = if batch.acked.is_some() { Rule::Lost } else { Rule::Partial };
            self.verdict.report(rule, || {
                let answer = match batch.acked {
                    Some(at) => format!("acknowledged at {}", ms(at)),
                    None => "not acknowledged".to_owned(),
                };
                let sent = ms(batch.at);
                format!("{} never came on {name}: sent at {sent}, {answer}\n{}", key_text(key), lines(items))
            });
        }
    }

    /// The last crash that may have taken what was acknowledged or seen then.
    fn excused(&self, acked: Option<u64>, delivered: Option<u64>) -> Option<u64> {
        let unacked = if acked.is_none() { self.rules.unacked_window } else { Duration::ZERO };
        let window = nanos(self.rules.loss_window.max(unacked));
        let written = earlier(acked, delivered)?;
        let crashes = self.facts.ends.values().filter(|end| end.is_crash);
        let taking = crashes.filter(|end| end.at >= written && end.at < written.saturating_add(window));
        taking.map(|end| end.at).max()
    }

    fn order(&mut self) {
        for (channel, mut firsts) in (0_u8..).zip(std::mem::take(&mut self.firsts)) {
            self.verdict.counts.ordered += firsts.len() as u64;
            for (late, newer) in inversions(&mut firsts) {
                let name = self.channel_name(channel);
                self.verdict.report(Rule::Order, || {
                    format!(
                        "{} came at {} on {name}, after {} at {}, though its publisher sent it before",
                        key_text(late.key),
                        ms(late.at),
                        key_text(newer.key),
                        ms(newer.at)
                    )
                });
            }
        }
    }

    fn channel_name(&self, channel: u8) -> String {
        let history = self.facts.history;
        let Some(found) = history.channels.get(usize::from(channel)) else {
            return format!("channel {channel}");
        };
        let topic = history.topics.get(usize::from(found.topic)).map_or("?", String::as_str);
        format!("{topic}/{}", found.name)
    }
}

fn is_delivery(item: &Event) -> bool {
    matches!(item.op, Op::Delivered | Op::Corrupt)
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// Time for people: milliseconds since the run began.
fn ms(at: u64) -> String {
    format!("{}.{:03} ms", at / 1_000_000, at / 1000 % 1000)
}

fn line(item: &Event) -> String {
    let Event { at, since, id, arg, conn, op, attempts, .. } = *item;
    match op {
        Op::Delivered | Op::Corrupt => format!(
            "    {:>14} {op:?} connection {conn} attempts {attempts} id {id:016x} timestamp {arg} (sent after {})",
            ms(at),
            ms(since)
        ),
        Op::Requeue => format!("    {:>14} {op:?} connection {conn} delay {}", ms(at), ms(arg)),
        _ => format!("    {:>14} {op:?} connection {conn}", ms(at)),
    }
}

fn lines(items: &[Event]) -> String {
    let lines: Vec<String> = items.iter().map(line).collect();
    lines.join("\n")
}
