//! What waits to be sent to one connection, and who the connection is. Any thread may put messages in;
//! only the connection's own shard takes them out and sends them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use queue::ConsumerId;

use crate::client::Client;
use crate::shard::ShardSignal;
use crate::socket::Peer;

/// Message bytes that may wait for one connection; with more its consumer is offered nothing new.
/// One turn's worth for a socket: larger buffers gained nothing and cost memory per slow consumer.
pub(crate) const OUTBOX_BYTES_MAX: usize = 64 * 1024;

/// The way to a connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Number of the connection, unique while the broker runs; also its number as a consumer.
    pub id: ConsumerId,
    /// Who is at the other end, as far as it told us.
    pub client: Client,
    waiting: Mutex<Waiting>,
    /// Taken out and not yet accepted by the socket.
    on_the_way: AtomicUsize,
    is_enlisted: AtomicBool,
    is_closed: AtomicBool,
    shard: Arc<ShardSignal>,
}

/// Bytes on their way out.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// A delivery was turned away for want of room: look at the channel again after sending.
    is_starved: bool,
    /// How many of the bytes are replies and heartbeats, which the client's own commands caused.
    reply_bytes: usize,
}

impl Outbox {
    /// The outbox of a new connection that is served by `shard`.
    pub(crate) fn new(id: ConsumerId, peer: Peer, since: i64, shard: Arc<ShardSignal>) -> Arc<Self> {
        Arc::new(Self {
            id,
            client: Client::new(peer, since),
            waiting: Mutex::default(),
            on_the_way: AtomicUsize::new(0),
            is_enlisted: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            shard,
        })
    }

    /// Put bytes in and have the shard send them in its next tick.
    pub(crate) fn put(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.lock();
        let before = waiting.bytes.len();
        write(&mut waiting.bytes);
        waiting.reply_bytes += waiting.bytes.len() - before;
        drop(waiting);
        self.enlist();
    }

    /// Take what waits out, to put messages behind it and give it back.
    pub(crate) fn borrow_bytes(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().bytes)
    }

    /// Give back what was taken, with messages put behind it, and have the shard send it. What came meanwhile goes
    /// behind it: replies and messages have no order among each other.
    pub(crate) fn give_back(&self, mut bytes: Vec<u8>) {
        let mut waiting = self.lock();
        bytes.append(&mut waiting.bytes);
        waiting.is_starved |= bytes.len() >= OUTBOX_BYTES_MAX;
        waiting.bytes = bytes;
        drop(waiting);
        self.enlist();
    }

    /// May a message be put in now? If not, the channel is looked at again after the next send.
    pub(crate) fn has_room(&self) -> bool {
        let mut waiting = self.lock();
        let has_room = waiting.bytes.len() < OUTBOX_BYTES_MAX;
        waiting.is_starved |= !has_room;
        has_room && !self.is_closed()
    }

    /// The client is sent an error of this kind.
    pub(crate) fn count_error(&self, code: protocol::Code) {
        self.shard.figures.count_error(code);
    }

    /// Take what waits, leaving `empty` in its place. True beside it: a delivery was turned away.
    pub(crate) fn take(&self, empty: Vec<u8>) -> (Vec<u8>, bool) {
        let mut waiting = self.lock();
        let is_starved = std::mem::take(&mut waiting.is_starved);
        waiting.reply_bytes = 0;
        (std::mem::replace(&mut waiting.bytes, empty), is_starved)
    }

    /// Bytes of replies that wait to be sent.
    pub(crate) fn reply_bytes(&self) -> usize {
        self.lock().reply_bytes
    }

    /// What waits to be sent and what the socket has not taken yet, in bytes of memory.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.lock().bytes.len() + self.on_the_way.load(Ordering::Relaxed)
    }

    /// So much was taken out and is still to be accepted by the socket.
    pub(crate) fn set_on_the_way(&self, bytes: usize) {
        self.on_the_way.store(bytes, Ordering::Relaxed);
    }

    /// Have the shard close the connection.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.enlist();
    }

    /// Was the connection told to close?
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Put the connection on its shard's list for the next tick.
    pub(crate) fn enlist(&self) {
        if !self.is_enlisted.swap(true, Ordering::AcqRel) {
            self.shard.enlist(self.id);
        }
    }

    /// The shard has taken the connection off its list. Called before the bytes are taken, so that
    /// bytes put in meanwhile enlist it again.
    pub(crate) fn delist(&self) {
        self.is_enlisted.swap(false, Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
