//! Sending: one write per tick. What the socket does not take waits here, and nothing more is taken from
//! the outbox until it is gone, so a client that does not read costs one turn's bytes.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use super::layers::LayerError;
use super::{Session, nanos};
use crate::outbox::OUTBOX_BYTES_MAX;
use crate::shard::Shard;

/// How long the last bytes of a closing session may take.
const LAST_BYTES_WITHIN: Duration = Duration::from_secs(1);

/// Bytes a write left over.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    start: usize,
    /// When the socket stopped taking bytes, in ns of the monotonic clock.
    since: Option<u64>,
    /// An empty buffer to swap with the outbox's, so that steady traffic allocates nothing.
    spare: Vec<u8>,
}

impl Unsent {
    /// Has the client not read for longer than a heartbeat? nsqd's write deadline.
    pub(super) fn is_stuck(&self, now: queue::Instant, limit: Duration) -> bool {
        self.since.is_some_and(|since| now.0.saturating_sub(since) > nanos(limit))
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }
}

impl Session {
    /// Send what waits; called by the tick.
    pub(crate) fn flush(self: &Rc<Self>, shard: &Rc<Shard>) {
        self.outbox.delist();
        if self.is_over.get() {
            // What ends a session waits for its last replies.
            self.changed.notify_one();
            return;
        }
        if self.unsent.borrow().is_empty() {
            self.fill(shard);
            if self.write().is_err() {
                return self.abandon();
            }
            if self.is_held.get() {
                self.changed.notify_one();
            }
            if !self.unsent.borrow().is_empty() {
                self.unsent.borrow_mut().since = Some(self.now_at(shard).instant.0);
                tokio::task::spawn_local(Rc::clone(self).send_rest());
            }
        }
        if self.outbox.is_closed() {
            self.close();
        }
    }

    /// Nothing more can be sent or is wanted: end at once.
    pub(super) fn abandon(&self) {
        *self.unsent.borrow_mut() = Unsent::default();
        let _dropped = self.outbox.take(Vec::new());
        self.outbox.close();
        self.close();
        self.ended.notify_waiters();
    }

    /// The session ends: give the client what it is still owed, but not for ever.
    pub(super) async fn finish_sending(self: &Rc<Self>) {
        self.is_over.set(true);
        // A session that ends is offered nothing more.
        self.outbox.close();
        // Replies wait for the commit of the tick that comes next.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        let all = async {
            self.send_all().await?;
            if let Some(layers) = self.layers.borrow_mut().as_deref_mut() {
                layers.close();
            }
            self.send_all().await
        };
        let _in_time = timeout(LAST_BYTES_WITHIN, all).await;
    }

    /// Wait until all that is owed to the client now was taken by the socket.
    pub(super) async fn send_all(self: &Rc<Self>) -> std::io::Result<()> {
        loop {
            if self.unsent.borrow().is_empty() && !self.take_outbox() {
                if self.replies.borrow().is_empty() {
                    return Ok(());
                }
                // A commit or a sync is under way for them.
                self.changed.notified().await;
                continue;
            }
            self.write()?;
            if !self.unsent.borrow().is_empty() {
                self.socket.writable().await?;
            }
        }
    }

    /// Take from the outbox, and have the channel looked at again if it was turned away there.
    fn fill(self: &Rc<Self>, shard: &Rc<Shard>) {
        let was_starved = self.take_waiting();
        if was_starved && let Some(consumes) = &self.state.borrow().consumes {
            shard.channel_is_dirty(&consumes.channel);
        }
    }

    fn take_waiting(&self) -> bool {
        let mut unsent = self.unsent.borrow_mut();
        let spare = std::mem::take(&mut unsent.spare);
        let (bytes, was_starved) = self.outbox.take(spare);
        unsent.bytes = bytes;
        unsent.start = 0;
        if self.replies.borrow_mut().settle(&mut unsent.bytes, &self.outbox) {
            self.outbox.close();
        }
        if let Some(layers) = self.layers.borrow_mut().as_deref_mut() {
            let plain = std::mem::take(&mut unsent.bytes);
            unsent.bytes = layers.seal(plain).unwrap_or_else(|error| {
                tracing::error!(client = %self.outbox.client.peer, %error, "cannot be sent");
                self.outbox.close();
                Vec::new()
            });
            if layers.is_worn_out() && !self.outbox.is_closed() {
                tracing::info!(client = %self.outbox.client.peer, "closed: {}", LayerError::KeysUsedUp);
                self.outbox.close();
            }
        }
        was_starved
    }

    /// True: there was something.
    fn take_outbox(&self) -> bool {
        self.take_waiting();
        !self.unsent.borrow().is_empty()
    }

    /// Write until all is gone or the socket takes no more.
    fn write(&self) -> std::io::Result<()> {
        let mut unsent = self.unsent.borrow_mut();
        while !unsent.is_empty() {
            match self.socket.try_write(unsent.rest()) {
                Ok(written) => unsent.start += written,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.outbox.set_on_the_way(unsent.rest().len());
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        unsent.since = None;
        self.outbox.set_on_the_way(0);
        unsent.start = 0;
        let mut done = std::mem::take(&mut unsent.bytes);
        // One large message must not pin its size for the connection's life.
        if done.capacity() <= 2 * OUTBOX_BYTES_MAX {
            done.clear();
            unsent.spare = done;
        }
        Ok(())
    }

    /// Wait for the socket and send what was left over; then the outbox is looked at again.
    async fn send_rest(self: Rc<Self>) {
        while !self.unsent.borrow().is_empty() && !self.is_over.get() {
            // This task holds the session, and with it the socket: it must not outlive the session's end.
            let is_writable = tokio::select! {
                writable = self.socket.writable() => writable.is_ok(),
                () = self.ended.notified() => return,
            };
            if !is_writable || self.write().is_err() {
                return self.abandon();
            }
        }
        self.outbox.enlist();
        self.changed.notify_one();
    }
}
