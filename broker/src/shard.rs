//! A shard: one thread that serves some of the connections. Sessions only read, parse and append; one tick
//! after them commits, dispatches and sends for all of them together. That batching is where the speed is:
//! one write per topic and one send per connection and tick, however many commands came in.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use queue::ConsumerId;
use tokio::sync::{Notify, mpsc};

use crate::broker::Broker;
use crate::channel::Channel;
use crate::figures::ShardFigures;
use crate::listener::Arrival;
use crate::session::Session;
use crate::topic::Topic;

/// How often deadlines of connections are looked at: heartbeats may be a second apart, so a tenth of that.
const SWEEP: Duration = Duration::from_millis(100);

/// Read buffers kept for reuse, each of [`READ_BUFFER_BYTES`].
const SPARE_BUFFERS: usize = 4;

/// What one read takes from a connection at most. All sessions of a shard share a few such buffers, so that
/// an idle connection holds none.
pub(crate) const READ_BUFFER_BYTES: usize = 256 * 1024;

/// How other threads reach a shard.
#[derive(Debug, Default)]
pub(crate) struct ShardSignal {
    dirty: Mutex<Vec<ConsumerId>>,
    is_armed: AtomicBool,
    tick: Notify,
    /// What the shard counts.
    pub figures: Arc<ShardFigures>,
}

/// What the acceptor knows of a shard.
#[derive(Debug, Clone)]
pub(crate) struct ShardHandle {
    /// To put connections on its list.
    pub signal: Arc<ShardSignal>,
    /// Connections it serves.
    pub connections: Arc<AtomicUsize>,
    inbox: mpsc::UnboundedSender<Arrival>,
}

/// The shard itself; lives on its own thread.
#[derive(Debug)]
pub(crate) struct Shard {
    /// The broker it belongs to.
    pub broker: Arc<Broker>,
    /// Its side of the signal.
    pub signal: Arc<ShardSignal>,
    sessions: RefCell<HashMap<u64, Rc<Session>>>,
    topics: RefCell<Vec<Arc<Topic>>>,
    channels: RefCell<Vec<Arc<Channel>>>,
    buffers: RefCell<Vec<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
}

impl ShardSignal {
    /// Put a connection on the list and have the shard tick.
    pub(crate) fn enlist(&self, id: ConsumerId) {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        self.arm();
    }

    /// Have the shard tick once all sessions that are ready have run.
    pub(crate) fn arm(&self) {
        if !self.is_armed.swap(true, Ordering::AcqRel) {
            self.tick.notify_one();
        }
    }

    fn take_dirty(&self, into: &mut Vec<ConsumerId>) {
        std::mem::swap(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner), into);
    }
}

impl ShardHandle {
    /// Start a shard's thread. It ends when the broker's shutdown is triggered and its sessions are closed.
    pub(crate) fn start(
        broker: &Arc<Broker>,
        index: usize,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (inbox, arrivals) = mpsc::unbounded_channel();
        let handle = Self { signal: Arc::<ShardSignal>::default(), connections: Arc::default(), inbox };
        broker.context.figures.join(&handle.signal.figures);
        // Every 31 tasks the runtime looks for new input: with the default 61 a busy shard read too late.
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().event_interval(31);
        let (broker, signal, connections) =
            (Arc::clone(broker), Arc::clone(&handle.signal), Arc::clone(&handle.connections));
        let thread =
            std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
                match builder.build_local(tokio::runtime::LocalOptions::default()) {
                    Ok(runtime) => runtime.block_on(Shard::new(broker, signal, connections).run(arrivals)),
                    Err(error) => {
                        broker.context.shutdown.fail(format!("cannot start a shard's event loop: {error}"))
                    }
                }
            })?;
        Ok((handle, thread))
    }

    /// Give the shard a connection to serve.
    pub(crate) fn serve(&self, arrival: Arrival) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        if self.inbox.send(arrival).is_err() {
            self.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Shard {
    fn new(broker: Arc<Broker>, signal: Arc<ShardSignal>, connections: Arc<AtomicUsize>) -> Rc<Self> {
        Rc::new(Self {
            broker,
            signal,
            sessions: RefCell::default(),
            topics: RefCell::default(),
            channels: RefCell::default(),
            buffers: RefCell::default(),
            connections,
        })
    }

    /// A topic has appends that the next tick commits.
    pub(crate) fn topic_is_dirty(&self, topic: &Arc<Topic>) {
        push_once(&mut self.topics.borrow_mut(), topic);
        self.signal.arm();
    }

    /// A channel can perhaps deliver something: the next tick tries.
    pub(crate) fn channel_is_dirty(&self, channel: &Arc<Channel>) {
        push_once(&mut self.channels.borrow_mut(), channel);
        self.signal.arm();
    }

    /// A buffer to read into.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(READ_BUFFER_BYTES))
    }

    /// Give a buffer back.
    pub(crate) fn recycle(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        // One that grew for a large message, or was cut to fit, is not worth keeping.
        if buffers.len() < SPARE_BUFFERS && buffer.capacity() == READ_BUFFER_BYTES {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    async fn run(self: Rc<Self>, mut arrivals: mpsc::UnboundedReceiver<Arrival>) {
        let mut ticker = tokio::task::spawn_local(Rc::clone(&self).tick_for_ever());
        let mut sweeper = tokio::task::spawn_local(Rc::clone(&self).sweep_for_ever());
        let stop = self.broker.context.shutdown.clone();
        loop {
            tokio::select! {
                Some(arrival) = arrivals.recv() => self.accept(arrival),
                () = stop.wait() => break,
                // Without its tick a shard would take publishes and never answer: better the process ends.
                _ended = &mut ticker => stop.fail("the tick of a shard ended in a panic".to_owned()),
                _ended = &mut sweeper => stop.fail("the sweep of a shard ended in a panic".to_owned()),
            }
        }
        self.stop().await;
        ticker.abort();
        sweeper.abort();
    }

    fn accept(self: &Rc<Self>, arrival: Arrival) {
        match Session::new(self, arrival) {
            Ok(session) => {
                self.sessions.borrow_mut().insert(session.id().0, Rc::clone(&session));
                tokio::task::spawn_local(Rc::clone(self).serve(session));
            }
            Err(error) => {
                self.connections.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(%error, "a connection was lost before it was served");
            }
        }
    }

    async fn serve(self: Rc<Self>, session: Rc<Session>) {
        // A session that panics must not take the others with it: its task ends alone, and this guard
        // gives its messages back.
        let _leaving = Leaving { shard: Rc::clone(&self), session: Rc::clone(&session) };
        session.run(&self).await;
    }

    async fn tick_for_ever(self: Rc<Self>) {
        let mut dirty = Vec::new();
        loop {
            self.signal.tick.notified().await;
            self.signal.is_armed.store(false, Ordering::Release);
            self.tick(&mut dirty);
        }
    }

    /// Commit, dispatch, send: in this order, so that OKs and messages leave in one send.
    fn tick(self: &Rc<Self>, dirty: &mut Vec<ConsumerId>) {
        let now = self.broker.context.clock.now();
        for topic in self.topics.take() {
            topic.commit(now);
        }
        for channel in self.channels.take() {
            if channel.dispatch(now) {
                self.channel_is_dirty(&channel);
            }
        }
        self.signal.take_dirty(dirty);
        // Consumers come last into the list and are sent to first: a send takes as long as it takes the kernel to bring
        // the bytes to the other end, and a message that waits for OKs would be later by all of theirs.
        for id in dirty.drain(..).rev() {
            let session = self.sessions.borrow().get(&id.0).cloned();
            if let Some(session) = session {
                session.flush(self);
            }
        }
    }

    async fn sweep_for_ever(self: Rc<Self>) {
        let mut every = tokio::time::interval(SWEEP);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let now = self.broker.context.clock.now().instant;
            for session in self.sessions.borrow().values() {
                session.sweep(now);
                session.recheck(&self, now);
            }
        }
    }

    /// Close every connection after what waits for it was sent.
    async fn stop(self: &Rc<Self>) {
        self.tick(&mut Vec::new());
        for session in self.sessions.borrow().values() {
            session.close();
        }
        while !self.sessions.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

/// Takes a session off its shard when its task ends, however it ends.
struct Leaving {
    shard: Rc<Shard>,
    session: Rc<Session>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.session.leave(&self.shard);
        self.shard.sessions.borrow_mut().remove(&self.session.id().0);
        self.shard.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The lists are short, and the newest entry is the likeliest.
fn push_once<T>(list: &mut Vec<Arc<T>>, item: &Arc<T>) {
    if !list.iter().rev().any(|known| Arc::ptr_eq(known, item)) {
        list.push(Arc::clone(item));
    }
}

#[cfg(test)]
pub(crate) mod tests;
