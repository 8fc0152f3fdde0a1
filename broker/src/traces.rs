//! Spans of messages: a publish, and each delivery of what it published until that is finished. Which messages are part of
//! a trace is kept in memory, beside the log and not in it: nothing on disk or on the wire knows of traces, and what is
//! forgotten costs a span. Without a collector a message costs a look at a flag.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use daemon::metrics::Exposition;
use daemon::traces::{Exporter, Kind, Settings, Span, TraceContext, Tracer};
use protocol::ChannelName;
use queue::Instant;

use crate::context::Context;
use crate::options::Options;
use crate::outbox::Outbox;
use crate::topic::Topic;

/// Messages of all topics that are known to be part of a trace; the oldest are forgotten for newer ones.
const MESSAGES_MAX: usize = 16_384;

/// Of one publish. A trace of more deliveries shows nothing more.
const BATCH_MAX: u64 = 100;

/// A message that is delivered later than this is no longer part of its publish's trace.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// Deliveries of one channel that are under way at a time.
const OPEN_MAX: usize = 1024;

/// What is traced, and where to.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    tracer: Tracer,
    /// Which messages are kept, oldest first.
    kept: Mutex<VecDeque<(Weak<Traced>, u64)>>,
}

impl Traces {
    /// What the options ask for, and the task that hands spans to the collector, if there is one.
    ///
    /// # Errors
    /// What is wrong with the endpoint.
    pub(crate) fn new(options: &Options) -> Result<(Self, Option<Exporter>), String> {
        let settings = Settings {
            endpoint: &options.otel_endpoint,
            ratio: options.otel_sampling_ratio,
            service: "nsqd",
            instance: options.identity.as_deref().unwrap_or(&options.broadcast_address),
        };
        let (tracer, exporter) = Tracer::new(settings)?;
        Ok((Self { tracer, kept: Mutex::default() }, exporter))
    }

    /// Is anything traced?
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.tracer.is_on()
    }

    /// Where spans are begun.
    pub(crate) fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// The span of a publish; none unless it is sampled.
    #[inline]
    pub(crate) fn publish(&self, topic: &str, parent: Option<TraceContext>) -> Option<Span> {
        if !self.is_on() {
            return None;
        }
        let mut span = self.tracer.begin(Kind::Server, parent, || format!("publish {topic}"));
        if !span.is_sampled() {
            return None;
        }
        describe(&mut span, topic, "publish", "send");
        Some(span)
    }

    /// What became of spans.
    pub(crate) fn expose(&self, page: &mut Exposition) {
        self.tracer.expose(page);
    }

    fn note(&self, topic: &Arc<Traced>, seqs: impl Iterator<Item = u64>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for seq in seqs {
            if kept.len() >= MESSAGES_MAX
                && let Some((oldest, seq)) = kept.pop_front()
                && let Some(oldest) = oldest.upgrade()
            {
                oldest.forget(seq);
            }
            kept.push_back((Arc::downgrade(topic), seq));
        }
    }
}

/// What all spans of messages say, by OpenTelemetry's conventions.
fn describe(span: &mut Span, topic: &str, name: &'static str, kind: &'static str) {
    span.set("messaging.system", "nsq");
    span.set("messaging.destination.name", topic);
    span.set("messaging.operation.name", name);
    span.set("messaging.operation.type", kind);
}

/// What a publish stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    /// Number of its last message.
    pub last: u64,
    /// How many they are.
    pub count: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// Those messages of a topic that are part of a trace.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    count: AtomicUsize,
    /// In order of their numbers.
    messages: Mutex<VecDeque<Message>>,
}

#[derive(Debug, Clone, Copy)]
struct Message {
    seq: u64,
    publish: TraceContext,
    at: Instant,
}

impl Traced {
    /// Is there any?
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Keep what `span` published. Called with the topic's log locked, so that numbers come in order.
    pub(crate) fn keep(self: &Arc<Self>, context: &Context, span: &mut Span, stored: Published, at: Instant) {
        let Published { last, count, bytes } = stored;
        span.set("messaging.message.body.size", bytes);
        match count {
            1 => span.set("messaging.message.id", context.node.message_id(last).to_string()),
            _ => span.set("messaging.batch.message_count", count),
        }
        let Some(publish) = span.context() else { return };
        let first = (last + 1).saturating_sub(count);
        let seqs = || (first..=last).take(BATCH_MAX as usize);
        {
            let mut messages = self.lock();
            // Numbers of a failed write are given again.
            while messages.back().is_some_and(|known| known.seq >= first) {
                messages.pop_back();
            }
            messages.extend(seqs().map(|seq| Message { seq, publish, at }));
            self.count.store(messages.len(), Ordering::Relaxed);
        }
        context.traces.note(self, seqs());
    }

    /// The publish of a message, if it is part of a trace.
    fn find(&self, seq: u64, now: Instant) -> Option<TraceContext> {
        let messages = self.lock();
        let place = messages.binary_search_by_key(&seq, |message| message.seq).ok()?;
        let found = messages.get(place)?;
        let age = Duration::from_nanos(now.0.saturating_sub(found.at.0));
        (age <= AGE_MAX).then_some(found.publish)
    }

    fn forget(&self, seq: u64) {
        let mut messages = self.lock();
        if let Ok(place) = messages.binary_search_by_key(&seq, |message| message.seq) {
            messages.remove(place);
        }
        if messages.is_empty() {
            *messages = VecDeque::new();
        }
        self.count.store(messages.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// FIN.
    Finished,
    /// REQ.
    Requeued,
    /// Nothing was heard in time.
    TimedOut,
    /// The consumer went.
    Disconnected,
    /// The channel was emptied.
    Emptied,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Requeued => "requeued",
            Self::TimedOut => "timed out",
            Self::Disconnected => "disconnected",
            Self::Emptied => "emptied",
        }
    }

    /// Somebody did not do what they had taken on.
    fn is_failure(self) -> bool {
        matches!(self, Self::TimedOut | Self::Disconnected)
    }
}

/// The spans of a channel's messages in flight that are part of a trace.
#[derive(Debug, Default)]
pub(crate) struct OpenDeliveries(BTreeMap<u64, Span>);

impl OpenDeliveries {
    /// One is over.
    #[inline]
    pub(crate) fn end(&mut self, seq: u64, outcome: Outcome) {
        if !self.0.is_empty()
            && let Some(span) = self.0.remove(&seq)
        {
            close(span, outcome);
        }
    }

    /// All that are no longer in flight are over.
    pub(crate) fn end_landed<H>(&mut self, queue: &queue::Channel<H>, outcome: Outcome) {
        for (_, span) in self.0.extract_if(.., |seq, _| !queue.is_in_flight(*seq)) {
            close(span, outcome);
        }
    }
}

fn close(mut span: Span, outcome: Outcome) {
    span.set("nsq.outcome", outcome.name());
    if outcome.is_failure() {
        span.fail(outcome.name());
    }
}

/// Begins the spans of one dispatch.
#[derive(Debug)]
pub(crate) struct Tracing<'a> {
    /// Whose messages are dispatched.
    pub channel: &'a ChannelName,
    /// Where its spans are kept until they end.
    pub spans: &'a mut OpenDeliveries,
}

/// What goes out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivered {
    /// The number of the message.
    pub seq: u64,
    /// The how many-th time.
    pub attempts: u16,
}

impl Tracing<'_> {
    /// A message goes out to a consumer.
    pub(crate) fn deliver(&mut self, topic: &Topic, to: &Outbox, what: Delivered, now: Instant) {
        let Delivered { seq, attempts } = what;
        let Some(publish) = topic.traced.find(seq, now) else { return };
        let open = &mut self.spans.0;
        if open.len() >= OPEN_MAX {
            return;
        }
        let (name, channel) = (topic.name.as_str(), self.channel.as_str());
        let tracer = &topic.context.traces.tracer;
        let mut span = tracer.begin(Kind::Producer, Some(publish), || format!("deliver {name} {channel}"));
        describe(&mut span, name, "deliver", "receive");
        span.set("messaging.destination.subscription.name", channel);
        span.set("messaging.message.id", topic.context.node.message_id(seq).to_string());
        span.set("nsq.attempts", u64::from(attempts));
        span.set("client.address", to.client.peer.to_string());
        open.insert(seq, span);
    }
}
