//! The steps of the test language: words to calls, and expectations to comparisons.

use std::time::Duration;

use super::world::World;
use crate::{ChannelRules, InFlightError, SubscribeError, Subscription, Topic};

type Outcome = Result<(), String>;

impl World {
    /// One step, then a dispatch.
    pub(super) fn step(&mut self, step: &str) -> Outcome {
        let words: Vec<&str> = step.split_whitespace().collect();
        match words.as_slice() {
            ["topic#ephemeral"] => self.topic = Some(Topic::new(true, self.log.tail())),
            ["limit", rest @ ..] => self.limit(rest)?,
            ["pub", names @ ..] => self.publish(names, None)?,
            ["dpub", delay, names @ ..] => self.publish(names, Some(duration(delay)?))?,
            ["chan", name] => self.add_channel(name)?,
            ["delete", name] => self.delete_channel(name)?,
            ["pause", name] => self.pause(name)?,
            ["unpause", name] => self.unpause(name)?,
            ["empty", name] => self.empty(name)?,
            ["save"] => self.save(),
            ["crash"] => self.crash()?,
            ["jump", seqs] => self.log.next_seq += number(seqs)?,
            ["drop", "below", name] => self.drop_below(name)?,
            ["cold", name] => self.log.record(name)?.is_cold = true,
            ["load", name] => self.log.record(name)?.is_cold = false,
            ["damage", name] => self.log.record(name)?.is_damaged = true,
            ["c", "misses", name] => return self.misses(name),
            ["topic", rest @ ..] => return self.topic_counts(rest),
            ["no", "topic"] => return same("topic", self.topic.is_some(), false),
            ["no", "channel", name] => return same("channel", self.channels.contains_key(*name), false),
            [wait] if wait.starts_with('+') => self.advance(duration(&wait[1..])?),
            [name, rest @ ..] if is_channel(name) => return self.channel_counts(name, rest),
            [consumer, verb @ ..] => return self.consumer_step(consumer, verb),
            [] => return Err("an empty step".to_owned()),
        }
        self.dispatch();
        Ok(())
    }

    fn consumer_step(&mut self, consumer: &str, verb: &[&str]) -> Outcome {
        match verb {
            ["gets", expected @ ..] => return self.gets(consumer, expected),
            ["has", rest @ ..] => return self.consumer_counts(consumer, rest),
            ["sub", rest @ ..] => self.subscribe(consumer, rest)?,
            ["rdy", count] => {
                let count = number(count)?;
                self.of(consumer, |channel, id, _| {
                    channel.set_ready(id, count);
                    Ok(())
                })?;
            }
            ["cls"] => self.of(consumer, |channel, id, _| {
                channel.close(id);
                Ok(())
            })?,
            ["gone"] => self.gone(consumer)?,
            ["blocked"] => drop(self.log.blocked.insert(consumer.to_owned())),
            ["unblocked"] => drop(self.log.blocked.remove(consumer)),
            ["room", count] => drop(self.log.room.insert(consumer.to_owned(), number(count)?)),
            ["fin", name, failure @ ..] => {
                self.answer(consumer, name, failure, |c, id, seq, _| c.finish(id, seq))?
            }
            ["touch", name, failure @ ..] => {
                self.answer(consumer, name, failure, |c, id, seq, now| c.touch(id, seq, now.instant))?;
            }
            ["req", name, delay, failure @ ..] => {
                let delay = duration(delay)?;
                self.answer(consumer, name, failure, |c, id, seq, now| c.requeue(id, seq, delay, now))?;
            }
            _ => return Err("not a step".to_owned()),
        }
        self.dispatch();
        Ok(())
    }

    fn of<T>(
        &mut self,
        consumer: &str,
        act: impl FnOnce(&mut crate::Channel<String>, crate::ConsumerId, crate::Now) -> Result<T, String>,
    ) -> Result<T, String> {
        let (channel, id) = self.consumers.get(consumer).cloned().ok_or("it is not subscribed")?;
        let now = self.now;
        act(self.channel(&channel)?, id, now)
    }

    fn answer(
        &mut self,
        consumer: &str,
        name: &str,
        failure: &[&str],
        act: impl FnOnce(
            &mut crate::Channel<String>,
            crate::ConsumerId,
            u64,
            crate::Now,
        ) -> Result<(), InFlightError>,
    ) -> Outcome {
        let seq = self.log.record(name)?.seq;
        let answer = self.of(consumer, |channel, id, now| Ok(act(channel, id, seq, now)))?;
        expect_failure(answer.err().map(|why| why.to_string()), failure)
    }

    fn subscribe(&mut self, consumer: &str, options: &[&str]) -> Outcome {
        let mut channel = "c";
        let mut subscription = Subscription {
            msg_timeout: Duration::from_secs(60),
            sample_rate: 0,
            locality: None,
            in_flight_bytes_max: u64::MAX,
        };
        let mut failure: &[&str] = &[];
        let mut rest = options;
        while let [word, value, after @ ..] = rest {
            match *word {
                "to" => channel = value,
                "timeout" => subscription.msg_timeout = duration(value)?,
                "sample" => subscription.sample_rate = number(value)? as u8,
                _ => {
                    failure = rest;
                    break;
                }
            }
            rest = after;
        }
        self.add_channel(channel)?;
        let id = self.new_id();
        let answer = self.channel(channel)?.subscribe(id, consumer.to_owned(), subscription);
        if answer.is_ok() {
            self.consumers.insert(consumer.to_owned(), (channel.to_owned(), id));
        }
        let refusal = |why| match why {
            SubscribeError::LimitReached(limit) => format!("limit of {limit}"),
            SubscribeError::Duplicate(id) => format!("duplicate {}", id.0),
        };
        expect_failure(answer.err().map(refusal), failure)
    }

    fn gone(&mut self, consumer: &str) -> Outcome {
        let left = self.of(consumer, |channel, id, _| channel.unsubscribe(id).ok_or("unknown".to_owned()))?;
        let channel = self.consumers.remove(consumer).map(|(channel, _)| channel).unwrap_or_default();
        if left.is_last && channel.ends_with("#ephemeral") {
            self.delete_channel(&channel)?;
        }
        Ok(())
    }

    fn gets(&mut self, consumer: &str, expected: &[&str]) -> Outcome {
        let got: Vec<String> = self.log.inboxes.remove(consumer).unwrap_or_default().into_iter().fold(
            Vec::new(),
            |mut texts, (name, attempts)| {
                texts.push(name);
                texts.extend((attempts != 1).then(|| attempts.to_string()));
                texts
            },
        );
        let expected = if expected == ["nothing"] { &[] } else { expected };
        same("deliveries", got.join(" "), expected.join(" "))
    }

    fn limit(&mut self, words: &[&str]) -> Outcome {
        match words {
            ["consumers", count] => self.rules.consumers_max = number(count)? as usize,
            ["timeout", limit] => self.rules.msg_timeout_max = duration(limit)?,
            ["ephemeral", depth] => {
                self.rules = ChannelRules { ephemeral_depth_max: number(depth)?, ..self.rules };
            }
            _ => return Err("not a limit".to_owned()),
        }
        Ok(())
    }

    fn pause(&mut self, name: &str) -> Outcome {
        match name {
            "topic" => self.topic()?.pause(),
            channel => self.channel(channel)?.pause(),
        }
        Ok(())
    }

    fn unpause(&mut self, name: &str) -> Outcome {
        if name != "topic" {
            self.channel(name)?.unpause();
            return Ok(());
        }
        let visible = self.topic()?.unpause();
        self.extend(visible);
        Ok(())
    }

    fn empty(&mut self, name: &str) -> Outcome {
        if name != "topic" {
            self.channel(name)?.empty();
            return Ok(());
        }
        if let Some((from, to)) = self.topic()?.empty() {
            self.channels.values_mut().for_each(|channel| channel.skip(from, to));
        }
        Ok(())
    }

    fn drop_below(&mut self, name: &str) -> Outcome {
        let start = self.log.position_of(name).ok_or("nobody published it")?;
        self.channels.values_mut().for_each(|channel| channel.truncate_front(start));
        Ok(())
    }

    fn misses(&mut self, name: &str) -> Outcome {
        let expected = self.log.position_of(name).map(|position| position.offset);
        same("missing offset", self.missing.get("c").copied(), expected)
    }

    fn topic_counts(&mut self, words: &[&str]) -> Outcome {
        let topic = self.topic()?;
        let of = |what: &str| match what {
            "depth" => Some(topic.depth()),
            "messages" => Some(topic.message_count()),
            "bytes" => Some(topic.message_bytes()),
            "channels" => Some(topic.channels().count() as u64),
            _ => None,
        };
        compare(words, of)
    }

    fn channel_counts(&mut self, name: &str, words: &[&str]) -> Outcome {
        let now = self.now;
        if let [counts @ .., "floor", message] = words {
            let tail = self.log.tail();
            let expected = self.log.position_of(message).unwrap_or(tail);
            same("floor", self.channel(name)?.floor(), (expected.seq, expected.offset))?;
            return self.channel_counts(name, counts);
        }
        if let ["next", wait] = words {
            let next = self.channel(name)?.next_deadline().in_flight;
            return same("next timeout", next, Some(now.instant.after(duration(wait)?)));
        }
        let channel = self.channel(name)?;
        compare(words, |what| match what {
            "depth" => Some(channel.depth()),
            "inflight" => Some(channel.in_flight_count()),
            "deferred" => Some(channel.deferred_count()),
            "messages" => Some(channel.message_count()),
            "requeued" => Some(channel.requeue_count()),
            "timeouts" => Some(channel.timeout_count()),
            "lost" => Some(channel.lost_count()),
            "consumers" => Some(channel.consumer_count() as u64),
            "paused" => Some(u64::from(channel.is_paused())),
            _ => None,
        })
    }

    fn consumer_counts(&mut self, consumer: &str, words: &[&str]) -> Outcome {
        let counts = self.of(consumer, |channel, id, _| {
            let mut counts =
                channel.consumers().filter(|(other, _, _)| **other == id).map(|(_, _, counts)| counts);
            counts.next().ok_or("it is not listed".to_owned())
        })?;
        compare(words, |what| match what {
            "ready" => Some(counts.ready),
            "inflight" => Some(counts.in_flight),
            "messages" => Some(counts.messages),
            "finished" => Some(counts.finished),
            "requeued" => Some(counts.requeued),
            "closing" => Some(u64::from(counts.is_closing)),
            _ => None,
        })
    }
}

/// Channels are called c, d and e, consumers c1, d1 and so on.
fn is_channel(name: &str) -> bool {
    matches!(name.trim_end_matches("#ephemeral"), "c" | "d" | "e")
}

/// Pairs of a word and a number.
fn compare(words: &[&str], of: impl Fn(&str) -> Option<u64>) -> Outcome {
    for pair in words.chunks(2) {
        let [what, expected] = pair else { return Err("a count without a number".to_owned()) };
        let got = of(what).ok_or_else(|| format!("{what} is not a count"))?;
        same(what, got, number(expected)?)?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Outcome {
    if got == expected { Ok(()) } else { Err(format!("{what} {got:?}, expected {expected:?}")) }
}

fn expect_failure(got: Option<String>, words: &[&str]) -> Outcome {
    let expected = match words {
        ["fails", why @ ..] => Some(why.join(" ")),
        [] => None,
        _ => return Err(format!("what is {words:?}?")),
    };
    same("failure", got, expected)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

/// `90s`, `250ms`, `5m`, or plain `0`.
fn duration(text: &str) -> Result<Duration, String> {
    if let Some(ms) = text.strip_suffix("ms") {
        return number(ms).map(Duration::from_millis);
    }
    match text.strip_suffix('m') {
        Some(minutes) => number(minutes).map(|minutes| Duration::from_secs(minutes * 60)),
        None => number(text.trim_end_matches('s')).map(Duration::from_secs),
    }
}
