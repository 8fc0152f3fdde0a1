//! What each command does: one function per verb of the protocol. The decoder has checked syntax, names,
//! ranges and the session's phase; what is left depends on topics, channels and messages.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::Error;
use protocol::MessageId;
use protocol::{CLOSE_WAIT, OK, encode_response};
use protocol::{ChannelName, TopicName};
use protocol::{Command, Decoder, FINISH_BYTES, Phase};
use queue::{InFlightError, Locality, Now, Subscription, WallTime};

use super::authorize::Wish;
use super::replies::Verb;
use super::{Consumes, Opening, Session, Step};
use crate::channel::{ChannelState, SubscribeError};
use crate::client::{self, About};
use crate::fence::DRAINING;
use crate::options::Options;
use crate::receipt::PublishError;
use crate::record;
use crate::shard::Shard;
use crate::topic::Topic;

/// FINs for which the channel is held at a time: 10 us or so, for which others wait.
const RUN_MAX: usize = 256;

impl Session {
    /// Do one command. Nothing here waits: what must wait is returned as a step, and the command is done again after it,
    /// though not counted again.
    pub(super) fn execute(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        command: Command<'_>,
        now: Now,
        is_counted: &mut bool,
    ) -> Step {
        if !std::mem::replace(is_counted, true) {
            shard.signal.figures.count_command(&command);
        }
        match command {
            Command::Publish { topic, body } => {
                self.publish(shard, Verb::Pub, topic, std::iter::once(body), None, now)
            }
            Command::MultiPublish { topic, messages } => {
                self.publish(shard, Verb::Mpub, topic, messages, None, now)
            }
            Command::DeferredPublish { topic, delay, body } => {
                let due = (!delay.is_zero()).then(|| after(now.wall, delay));
                self.publish(shard, Verb::Dpub, topic, std::iter::once(body), due, now)
            }
            Command::Finish { id } => self.finish(shard, &id, now.instant),
            Command::Requeue { id, delay } => self.requeue(shard, &id, delay, now),
            Command::Touch { id } => self.touch(&id, now),
            Command::Ready { count } => self.ready(shard, count),
            Command::Subscribe { topic, channel } => self.subscribe(shard, topic, channel, now.instant),
            Command::Close => self.close_wait(),
            Command::Identify { body } => self.identify(shard, body),
            Command::Auth { secret } => self.auth(shard, secret),
            Command::Nop => Step::Next,
        }
    }

    fn publish<'a>(
        &self,
        shard: &Shard,
        verb: Verb,
        name: &str,
        bodies: impl ExactSizeIterator<Item = &'a [u8]>,
        due: Option<WallTime>,
        now: Now,
    ) -> Step {
        if let Some(instead) = self.forbids(shard, Wish::Publish { verb, topic: name }, now.instant) {
            return instead;
        }
        // Before a topic is made for it.
        if shard.broker.context.fence.is_up() {
            self.reply_error(&verb.failed(DRAINING));
            return Step::Close;
        }
        let Some(topic) = self.topic(shard, name) else { return open_topic(verb, name) };
        let messages = bodies.len() as u64;
        let mut span = shard.broker.context.traces.publish(name, None);
        match topic.append(bodies, due, now, span.as_mut()) {
            Ok(receipt) => {
                if let Some(span) = span {
                    receipt.trace(span);
                }
                shard.topic_is_dirty(&topic);
                self.replies.borrow_mut().add_commit(verb, &topic, receipt, messages);
                self.outbox.enlist();
                Step::Next
            }
            // Deleted since it was looked up: like nsqd, a publish to its name makes it anew.
            Err(PublishError::Exiting) if !shard.broker.is_stopping() => {
                self.state.borrow_mut().last_topic = None;
                open_topic(verb, name)
            }
            Err(why) => {
                self.reply_error(&verb.failed(&why));
                Step::Close
            }
        }
    }

    /// The topic of that name, if there is one.
    fn topic(&self, shard: &Shard, name: &str) -> Option<Arc<Topic>> {
        let mut state = self.state.borrow_mut();
        if let Some(last) = &state.last_topic
            && last.name.as_str() == name
            && !last.is_deleted()
        {
            return Some(Arc::clone(last));
        }
        let topic = shard.broker.topic(name)?;
        state.last_topic = Some(Arc::clone(&topic));
        Some(topic)
    }

    fn subscribe(
        self: &Rc<Self>,
        shard: &Shard,
        topic: TopicName,
        channel: ChannelName,
        now: queue::Instant,
    ) -> Step {
        let wish = Wish::Subscribe { topic: topic.as_str(), channel: channel.as_str() };
        if let Some(instead) = self.forbids(shard, wish, now) {
            return instead;
        }
        let found = shard.broker.topic(topic.as_str()).and_then(|found| {
            let channel = found.channel(&channel)?;
            Some(Consumes { topic: found, channel })
        });
        let Some(consumes) = found else { return Step::Open(Opening::Channel { topic, channel }) };
        let about = self.outbox.client.about();
        let asked = Subscription {
            msg_timeout: about.msg_timeout.unwrap_or(shard.broker.context.rules.msg_timeout),
            sample_rate: about.sample_rate,
            locality: shard.broker.options.is_topology_aware.then(|| locality(&shard.broker.options, &about)),
            in_flight_bytes_max: shard.broker.options.max_in_flight_bytes,
        };
        match consumes.channel.subscribe(&self.outbox, asked) {
            Ok(()) => {
                self.enter(Phase::Subscribed, client::State::Subscribed);
                self.state.borrow_mut().consumes = Some(consumes);
                self.reply(|out| encode_response(out, OK));
                Step::Next
            }
            Err(SubscribeError::Exiting) => Step::Open(Opening::Channel { topic, channel }),
            Err(SubscribeError::LimitReached(limit)) => {
                self.reply_error(&Error::sub_limit(&topic, &channel, limit));
                Step::Close
            }
        }
    }

    fn ready(&self, shard: &Shard, count: u64) -> Step {
        if let Some(Consumes { channel, .. }) = self.consumes() {
            channel.ready(self.id(), count);
            shard.channel_is_dirty(&channel);
        }
        Step::Next
    }

    fn finish(&self, shard: &Shard, id: &MessageId, now: queue::Instant) -> Step {
        let Some(Consumes { channel, .. }) = self.consumes() else { return Step::Next };
        let finished = self.finish_at(&mut channel.lock(), id, now);
        match finished {
            Ok(()) => shard.channel_is_dirty(&channel),
            Err(why) => self.reply_error(&Error::fin_failed(id, why)),
        }
        Step::Next
    }

    fn finish_at(
        &self,
        state: &mut ChannelState,
        id: &MessageId,
        now: queue::Instant,
    ) -> Result<(), InFlightError> {
        let seq = record::seq_of(id).ok_or(InFlightError::NotInFlight)?;
        state.finish(self.id(), seq, now)
    }

    /// FINs come many in a row: one look at the channel does for all of them. How many there were.
    pub(super) fn finish_run(
        &self,
        shard: &Shard,
        decoder: &mut Decoder,
        buffer: &[u8],
        now: queue::Instant,
    ) -> usize {
        let stage = self.stage();
        let Some(first) = decoder.finish(buffer, stage) else { return 0 };
        let Some(Consumes { channel, .. }) = self.consumes() else { return 0 };
        let mut state = channel.lock();
        let (mut next, mut count) = (Some(first), 0);
        let mut refused = None;
        while let Some(id) = next.take() {
            count += 1;
            if let Err(why) = self.finish_at(&mut state, &id, now) {
                refused = Some(Error::fin_failed(&id, why));
                break;
            }
            if count < RUN_MAX {
                next = buffer.get(count * FINISH_BYTES..).and_then(|rest| decoder.finish(rest, stage));
            }
        }
        drop(state);
        shard.signal.figures.count_finishes(count as u64);
        shard.channel_is_dirty(&channel);
        if let Some(error) = refused {
            self.reply_error(&error);
        }
        count
    }

    fn requeue(&self, shard: &Shard, id: &MessageId, delay: Duration, now: Now) -> Step {
        let Some(Consumes { channel, .. }) = self.consumes() else { return Step::Next };
        let outcome = match record::seq_of(id) {
            Some(seq) => channel.requeue(self.id(), seq, delay, now),
            None => Err(InFlightError::NotInFlight),
        };
        match outcome {
            Ok(()) => shard.channel_is_dirty(&channel),
            Err(why) => self.reply_error(&Error::req_failed(id, why)),
        }
        Step::Next
    }

    fn touch(&self, id: &MessageId, now: Now) -> Step {
        let Some(Consumes { channel, .. }) = self.consumes() else { return Step::Next };
        let outcome = match record::seq_of(id) {
            Some(seq) => channel.touch(self.id(), seq, now),
            None => Err(InFlightError::NotInFlight),
        };
        if let Err(why) = outcome {
            self.reply_error(&Error::touch_failed(id, why));
        }
        Step::Next
    }

    /// CLS. The answer is a barrier: every FIN before it is in the journal, and synced if the topic's level says so.
    fn close_wait(&self) -> Step {
        self.enter(Phase::Closing, client::State::Closing);
        let Some(Consumes { topic, channel }) = self.consumes() else {
            self.reply(|out| encode_response(out, CLOSE_WAIT));
            return Step::Next;
        };
        channel.close(self.id());
        if !topic.save_progress() {
            return Step::Close;
        }
        let receipt = topic.barrier();
        self.replies.borrow_mut().add_close_wait(receipt);
        self.outbox.enlist();
        Step::Next
    }

    fn enter(&self, phase: Phase, shown: client::State) {
        self.state.borrow_mut().phase = phase;
        self.outbox.client.enter(shown);
    }

    pub(super) fn consumes(&self) -> Option<Consumes> {
        self.state.borrow().consumes.clone()
    }
}

/// How near a client says it is.
fn locality(options: &Options, about: &About) -> Locality {
    let broker = (options.topology_zone.as_str(), options.topology_region.as_str());
    Locality::between(broker, (&about.topology_zone, &about.topology_region))
}

/// The name was checked by the decoder; were it not legal after all, nothing is made.
fn open_topic(verb: Verb, name: &str) -> Step {
    TopicName::new(name).map_or(Step::Close, |topic| Step::Open(Opening::Topic { verb, topic }))
}

fn after(wall: WallTime, delay: Duration) -> WallTime {
    WallTime(wall.0.saturating_add(i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX)))
}
