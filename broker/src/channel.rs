//! A channel at work: a lock around the rules of `queue::Channel`, the chunks of the log it has at hand, the
//! outlet through which the rules fetch and deliver, and its alarm.
//! Lock order: a topic's journal, then a channel, then the topic's log, then an outbox.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use protocol::ChannelName;
use queue::{
    Age, ConsumerId, Deadlines, Dispatched, Fetched, InFlightError, Left, Now, Outlet, Position, Progress,
    Room, Subscription,
};
use storage::{Bug, Chunk, Read, is_planted};

use crate::context::Context;
use crate::durability::Durability;
use crate::figures::ChannelFigures;
use crate::outbox::{OUTBOX_BYTES_MAX, Outbox};
use crate::record;
use crate::topic::Topic;
use crate::traces::{Delivered, OpenDeliveries, Outcome, Tracing};

/// A deferral is judged by the wall clock, which may be set: look again at least this often.
const WALL_CHECK: Duration = Duration::from_secs(5);

/// Bytes read from disk at a time: enough to feed a consumer for a turn, one quick read.
const READ_BYTES: usize = 256 * 1024;

/// Turns one dispatch takes before it lets its thread serve others.
const TURNS_MAX: usize = 4;

/// How often one dispatch saves what others requeue meanwhile.
const SAVES_MAX: usize = 8;

/// A channel of a topic.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Its name.
    pub name: ChannelName,
    /// Its number in the topic's journal; none for an ephemeral channel, which is not kept.
    pub cursor: Option<u32>,
    /// The topic, unless it is gone.
    pub topic: Weak<Topic>,
    state: Mutex<ChannelState>,
    is_deleted: AtomicBool,
    /// At `fsync`, how often news of requeues and timeouts were given to the journal: they go out again when it is synced.
    held: AtomicU64,
    /// Up to which of them the journal is synced.
    released: AtomicU64,
    /// The earliest alarm that is set, in ns of the monotonic clock.
    armed: AtomicU64,
}

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct ChannelState {
    /// The rules.
    pub queue: queue::Channel<Arc<Outbox>>,
    /// What is counted of it.
    pub figures: ChannelFigures,
    loaded: Loaded,
    /// Of deliveries that are part of a trace.
    spans: OpenDeliveries,
}

impl ChannelState {
    /// FIN.
    pub(crate) fn finish(
        &mut self,
        consumer: ConsumerId,
        seq: u64,
        now: queue::Instant,
    ) -> Result<(), InFlightError> {
        let took = self.queue.finish_at(consumer, seq, now)?;
        self.figures.finish(took, now);
        self.spans.end(seq, Outcome::Finished);
        Ok(())
    }

    /// Timeouts and deferrals that are due.
    fn expire(&mut self, now: Now) {
        if self.queue.expire(now).timed_out > 0 {
            self.spans.end_landed(&self.queue, Outcome::TimedOut);
        }
    }

    /// Throw away everything.
    pub(crate) fn empty(&mut self) {
        self.queue.empty();
        self.spans.end_landed(&self.queue, Outcome::Emptied);
    }

    /// Would nothing be lost with it?
    pub(crate) fn owes_nothing(&self) -> bool {
        self.queue.depth() + self.queue.in_flight_count() + self.queue.deferred_count() == 0
    }
}

/// Why nobody can subscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SubscribeError {
    /// The channel is being deleted: look it up again.
    Exiting,
    /// It has as many consumers as it may have.
    LimitReached(usize),
}

impl Channel {
    /// A channel that works by `queue`.
    pub(crate) fn new(
        name: ChannelName,
        cursor: Option<u32>,
        topic: Weak<Topic>,
        queue: queue::Channel<Arc<Outbox>>,
        figures: ChannelFigures,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            cursor,
            topic,
            state: Mutex::new(ChannelState {
                queue,
                figures,
                loaded: Loaded::default(),
                spans: OpenDeliveries::default(),
            }),
            is_deleted: AtomicBool::new(false),
            held: AtomicU64::new(0),
            released: AtomicU64::new(0),
            armed: AtomicU64::new(u64::MAX),
        })
    }

    /// More of the topic's log may be delivered.
    pub(crate) fn extend(&self, visible: Position) {
        self.lock().queue.extend(visible);
    }

    /// Hand out what can be handed out, reading from disk where the tail cache no longer reaches. True:
    /// there is more to do than one turn may take.
    pub(crate) fn dispatch(self: &Arc<Self>, now: Now) -> bool {
        let Some(topic) = self.topic.upgrade() else { return false };
        // A message handed to a consumer that is being closed would only cost it an attempt.
        if topic.context.shutdown.is_triggered() {
            return false;
        }
        let mut loaded_at = None;
        for _ in 0..TURNS_MAX {
            match self.dispatch_loaded(&topic, now) {
                Dispatched::Idle => return false,
                Dispatched::Budget => {}
                // What was just read and is missing still will not come by reading it again.
                Dispatched::Missing { offset } if loaded_at == Some(offset) => {
                    tracing::error!(topic = %topic.name, channel = %self.name, offset, "a record cannot be read");
                    return false;
                }
                Dispatched::Missing { offset } => {
                    loaded_at = Some(offset);
                    if !self.load(&topic, offset) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// `dispatch`, for threads that must not be kept by a long backlog: what one turn leaves is handed on.
    pub(crate) fn dispatch_once(self: &Arc<Self>, now: Now) {
        if self.dispatch(now)
            && let Some(topic) = self.topic.upgrade()
        {
            let _stopping = topic.context.unserved.send(Arc::clone(self));
        }
    }

    /// The alarm set for `at` rings. One that an earlier alarm has overtaken is ignored: were it to set the next
    /// alarm too, alarms would multiply with every earlier deadline.
    pub(crate) fn ring(self: &Arc<Self>, at: queue::Instant) {
        if self.armed.compare_exchange(at.0, u64::MAX, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.expire();
        }
    }

    /// Timeouts and deferrals that are due.
    pub(crate) fn expire(self: &Arc<Self>) {
        let Some(topic) = self.topic.upgrade() else { return };
        let now = topic.context.clock.now();
        self.lock().expire(now);
        self.dispatch_once(now);
        self.arm(&topic.context, self.lock().queue.next_deadline(), now);
    }

    /// Give a connection the right to this channel's messages.
    pub(crate) fn subscribe(&self, outbox: &Arc<Outbox>, asked: Subscription) -> Result<(), SubscribeError> {
        let mut state = self.lock();
        if self.is_deleted() {
            return Err(SubscribeError::Exiting);
        }
        state.queue.subscribe(outbox.id, Arc::clone(outbox), asked).map_err(|error| match error {
            queue::SubscribeError::LimitReached(limit) => SubscribeError::LimitReached(limit),
            // A session subscribes once; its number is its own.
            queue::SubscribeError::Duplicate(_) => SubscribeError::Exiting,
        })
    }

    /// A consumer's connection ended. nsqd leaves its messages in flight until they time out; here they
    /// are ready again at once.
    pub(crate) fn unsubscribe(&self, id: ConsumerId) -> Option<Left> {
        let mut state = self.lock();
        let ChannelState { queue, figures, spans, .. } = &mut *state;
        let left = queue.unsubscribe(id)?;
        figures.disconnected += left.requeued;
        spans.end_landed(queue, Outcome::Disconnected);
        Some(left)
    }

    /// RDY.
    pub(crate) fn ready(&self, id: ConsumerId, count: u64) {
        self.lock().queue.set_ready(id, count);
    }

    /// CLS.
    pub(crate) fn close(&self, id: ConsumerId) {
        self.lock().queue.close(id);
    }

    /// REQ.
    pub(crate) fn requeue(
        self: &Arc<Self>,
        id: ConsumerId,
        seq: u64,
        delay: Duration,
        now: Now,
    ) -> Result<(), InFlightError> {
        let mut state = self.lock();
        state.queue.requeue(id, seq, delay, now)?;
        state.spans.end(seq, Outcome::Requeued);
        Ok(())
    }

    /// TOUCH.
    pub(crate) fn touch(&self, id: ConsumerId, seq: u64, now: Now) -> Result<(), InFlightError> {
        self.lock().queue.touch(id, seq, now.instant)
    }

    /// Stop delivering, or go on.
    pub(crate) fn set_paused(&self, is_paused: bool) {
        let mut state = self.lock();
        if is_paused { state.queue.pause() } else { state.queue.unpause() }
    }

    /// Messages the topic threw away before this channel read them.
    pub(crate) fn skip(&self, from: Position, to: Position) {
        self.lock().queue.skip(from, to);
    }

    /// What the journal does not know yet; none when nothing happened.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let mut state = self.lock();
        let progress = state.queue.has_progress().then(|| state.queue.progress())?;
        let is_fsync = || self.topic.upgrade().is_some_and(|topic| topic.durability() == Durability::Fsync);
        if progress.is_urgent && is_fsync() {
            self.held.fetch_add(1, Ordering::AcqRel);
        }
        Some(progress)
    }

    /// Does it wait for a sync of the journal?
    pub(crate) fn is_held(&self) -> bool {
        self.held() > self.released.load(Ordering::Acquire)
    }

    /// Up to where it waits.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Acquire)
    }

    /// The journal is synced up to there.
    pub(crate) fn release(&self, held: u64) {
        self.released.fetch_max(held, Ordering::AcqRel);
    }

    /// Where the log may begin, for all this channel cares.
    pub(crate) fn floor_offset(&self) -> u64 {
        self.lock().queue.floor().1
    }

    /// What it has read of the log and keeps at hand, in bytes.
    pub(crate) fn loaded_bytes(&self) -> usize {
        let state = self.lock();
        [&state.loaded.ahead, &state.loaded.behind].into_iter().flatten().map(Chunk::bytes).sum()
    }

    /// Let go of what can be read again.
    pub(crate) fn unload(&self) {
        self.lock().loaded.clear();
    }

    /// Refuse new consumers and close the connections of the present ones.
    pub(crate) fn delete(&self) {
        let state = self.lock();
        self.is_deleted.store(true, Ordering::Release);
        for (_, outbox, _) in state.queue.consumers() {
            outbox.close();
        }
    }

    /// Refuse new consumers if there are none now; false if there are.
    pub(crate) fn delete_if_unused(&self) -> bool {
        let state = self.lock();
        let is_unused = state.queue.consumer_count() == 0;
        if is_unused {
            self.is_deleted.store(true, Ordering::Release);
        }
        is_unused
    }

    /// Refuse new consumers if no message is owed now; false if one is. What comes later comes after its end.
    pub(crate) fn delete_if_empty(&self) -> bool {
        let state = self.lock();
        let is_empty = state.owes_nothing();
        if is_empty {
            self.is_deleted.store(true, Ordering::Release);
        }
        is_empty
    }

    /// Close the connections of the present consumers; others may come.
    pub(crate) fn close_consumers(&self) {
        for (_, outbox, _) in self.lock().queue.consumers() {
            outbox.close();
        }
    }

    /// Is it being deleted?
    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Acquire)
    }

    /// Look at the state, for statistics.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch_loaded(self: &Arc<Self>, topic: &Arc<Topic>, now: Now) -> Dispatched {
        let mut state = self.lock();
        // What was requeued or timed out must be in the journal before it goes out again, or a kill would forget
        // the attempt. The journal's lock comes before the channel's; a channel that is deleted meanwhile is no
        // longer saved, so this does not go on for ever.
        for _ in 0..SAVES_MAX {
            if !state.queue.is_urgent() {
                break;
            }
            drop(state);
            topic.save_progress();
            state = self.lock();
        }
        let ChannelState { queue, figures, loaded, spans } = &mut *state;
        let lost_before = queue.lost_count();
        let result = if self.is_held() {
            Dispatched::Idle
        } else {
            let waited = Age::default();
            let traced = topic.traced.is_any().then_some(Tracing { channel: &self.name, spans });
            let mut delivery =
                Delivery { topic, loaded, figures, traced, now, fetched: u64::MAX, waited, turn: None };
            let result = queue.dispatch(now, &mut delivery);
            delivery.end_turn();
            result
        };
        if matches!(result, Dispatched::Idle) && queue.depth() == 0 {
            loaded.clear();
        }
        let lost = queue.lost_count() - lost_before;
        let deadlines = queue.next_deadline();
        let has_progress = queue.has_progress();
        drop(state);
        if lost > 0 {
            topic.context.figures.corrupt.add(lost);
            tracing::error!(topic = %topic.name, channel = %self.name, lost, "messages are lost: their records are damaged");
        }
        self.arm(&topic.context, deadlines, now);
        // A channel that is not kept has nothing to save, but what it has passed can be let go.
        if has_progress || self.cursor.is_none() {
            topic.note_progress();
        }
        result
    }

    /// Read from disk without holding the lock. False: it cannot be read now.
    fn load(&self, topic: &Topic, offset: u64) -> bool {
        let read = match topic.disk_reader(offset) {
            None => return false,
            Some(reader) => reader.read(READ_BYTES),
        };
        match read {
            Ok(chunk) => {
                self.lock().loaded.keep(chunk);
                true
            }
            // The segment went between looking it up and opening it: an emptied channel or a deleted topic has
            // moved on, and an ephemeral channel is moved by the trim that removed it.
            Err(error) if error.is_missing() => !topic.is_deleted(),
            Err(error) => {
                tracing::error!(topic = %topic.name, channel = %self.name, %error, "cannot read the backlog");
                topic.context.refused(&error);
                false
            }
        }
    }

    /// Set the alarm, if it must ring earlier than the one that is set.
    fn arm(self: &Arc<Self>, context: &Context, deadlines: Deadlines, now: Now) {
        let deferred = deadlines.deferred.map(|due| {
            let wait = Duration::from_nanos(u64::try_from(due.0.saturating_sub(now.wall.0)).unwrap_or(0));
            queue::Instant(now.instant.0 + u64::try_from(wait.min(WALL_CHECK).as_nanos()).unwrap_or(0))
        });
        let Some(at) = deadlines.in_flight.into_iter().chain(deferred).min() else { return };
        if self.armed.fetch_min(at.0, Ordering::AcqRel) > at.0 {
            context.timers.arm(at, Arc::downgrade(self));
        }
    }
}

/// What a channel has read of its topic's log: around its cursor, and around a message it delivers again.
#[derive(Debug, Default)]
struct Loaded {
    ahead: Option<Chunk>,
    behind: Option<Chunk>,
}

impl Loaded {
    /// Keep a chunk; it takes the place of the one on its side of the cursor.
    fn keep(&mut self, chunk: Chunk) {
        let is_ahead = self.ahead.as_ref().is_none_or(|ahead| chunk.start() >= ahead.start());
        *(if is_ahead { &mut self.ahead } else { &mut self.behind }) = Some(chunk);
    }

    /// Nothing is left to deliver: do not hold memory for an idle channel.
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn chunk_with(&self, offset: u64) -> Option<&Chunk> {
        [&self.ahead, &self.behind].into_iter().flatten().find(|chunk| chunk.contains(offset))
    }
}

/// Delivers one channel's messages for the length of one dispatch.
#[derive(Debug)]
struct Delivery<'a> {
    /// The topic whose log is read.
    pub topic: &'a Topic,
    /// What the channel has at hand of it.
    pub loaded: &'a mut Loaded,
    /// What is counted of the channel.
    pub figures: &'a mut ChannelFigures,
    /// Where spans are begun, if a message of the topic is part of a trace.
    pub traced: Option<Tracing<'a>>,
    /// When this dispatch began.
    pub now: Now,
    /// Where the message last fetched lies.
    pub fetched: u64,
    /// How long after its publish the message last delivered went out.
    pub waited: Age,
    /// Whose turn it is, and what waits for it. Its outbox is locked twice in a turn, not for every message.
    pub turn: Option<(Arc<Outbox>, Vec<u8>)>,
}

impl Delivery<'_> {
    fn begin_turn(&mut self, to: &Arc<Outbox>) {
        if self.turn.as_ref().is_some_and(|(outbox, _)| !Arc::ptr_eq(outbox, to)) {
            self.end_turn();
        }
        self.turn.get_or_insert_with(|| (Arc::clone(to), to.borrow_bytes()));
    }

    fn end_turn(&mut self) {
        if let Some((outbox, bytes)) = self.turn.take() {
            outbox.give_back(bytes);
        }
    }
}

impl Outlet<Arc<Outbox>> for Delivery<'_> {
    fn fetch(&mut self, offset: u64) -> Fetched {
        self.fetched = offset;
        if let Some(found) = self.loaded.chunk_with(offset).and_then(|chunk| look(chunk, offset)) {
            return found;
        }
        let Some(chunk) = self.topic.cached(offset) else { return Fetched::Missing };
        let found = look(&chunk, offset);
        self.loaded.keep(chunk);
        found.unwrap_or(Fetched::Missing)
    }

    fn deliver(&mut self, to: &Arc<Outbox>, seq: u64, attempts: u16) -> Room {
        self.begin_turn(to);
        let stored =
            self.loaded.chunk_with(self.fetched).and_then(|chunk| match chunk.record_at(self.fetched) {
                Read::Record(found) => Some((found.seq, record::read(found.payload)?)),
                _ => None,
            });
        if let Some(traced) = &mut self.traced {
            traced.deliver(self.topic, to, Delivered { seq, attempts }, self.now.instant);
        }
        // A record that was fetched is there; were it not, the message would time out and come again.
        let (Some((seq, stored)), Some((_, bytes))) = (stored, &mut self.turn) else { return Room::Full };
        self.waited = self.figures.deliver(stored.timestamp_ns, attempts, self.now.wall);
        stored.encode(bytes, seq, attempts);
        if bytes.len() < OUTBOX_BYTES_MAX { Room::Left } else { Room::Full }
    }

    fn waited(&self) -> Age {
        self.waited
    }

    fn has_room(&mut self, to: &Arc<Outbox>) -> bool {
        self.end_turn();
        to.has_room()
    }
}

/// What lies at `offset` of a chunk; none if the chunk does not hold it whole.
fn look(chunk: &Chunk, offset: u64) -> Option<Fetched> {
    match chunk.record_at(offset) {
        Read::Record(found) => Some(match record::read(found.payload) {
            Some(stored) => Fetched::Message {
                seq: found.seq,
                next: found.next,
                due: stored.due.filter(|_| !is_planted(Bug::LoseDeferral)),
            },
            None => {
                Fetched::Lost { next: found.next, messages: 1, next_seq: Some(found.seq.saturating_add(1)) }
            }
        }),
        Read::Outside => None,
        Read::Damaged { next, next_seq } => Some(Fetched::Lost {
            next: next.unwrap_or(chunk.end()),
            messages: chunk.lost().max(1),
            next_seq: (next_seq > 0).then_some(next_seq),
        }),
    }
}
