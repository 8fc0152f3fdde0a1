//! One connection: read what is there, decode, execute; replies and messages are sent by the shard's tick.
//! What each verb does is in `session/execute.rs`, sending in `session/send.rs`, TLS and compression in
//! `session/layers.rs`.

mod authorize;
mod deadlines;
mod execute;
mod intake;
mod layers;
mod negotiate;
mod replies;
mod send;
mod upgrade;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ChannelName, TopicName};
use protocol::{Code, Error};
use protocol::{DecodeError, Decoder, FINISH_BYTES, Phase, Stage};
use protocol::{MAGIC_V2, encode_error};
use queue::{ConsumerId, Now};
use tokio::sync::Notify;

use crate::admission::Admitted;
use crate::channel::Channel;
use crate::listener::Arrival;
use crate::outbox::Outbox;
use crate::session::authorize::Licence;
use crate::session::deadlines::Pace;
use crate::session::intake::{Intake, is_large};
use crate::session::layers::Layers;
use crate::session::replies::{Replies, Verb};
use crate::session::send::Unsent;
use crate::session::upgrade::{Taken, Upgrade};
use crate::shard::Shard;
use crate::socket::Socket;
use crate::topic::Topic;

/// Replies a client may leave unread before nothing more is read from it.
const UNREAD_REPLIES_MAX: usize = 1024 * 1024;

/// Commands, and bytes of one read, after which others get their turn.
const TURN_COMMANDS: usize = 4096;
const TURN_BYTES: usize = 128 * 1024;

/// A command tries this often to find the topic it just had made: another client may delete it meanwhile.
const OPEN_TRIES_MAX: u32 = 3;

/// A connection at work.
#[derive(Debug)]
pub(crate) struct Session {
    /// The way in for messages from other threads.
    pub outbox: Arc<Outbox>,
    socket: Socket,
    /// None: everything is in the clear.
    layers: RefCell<Option<Box<Layers>>>,
    _place: Admitted,
    unsent: RefCell<Unsent>,
    replies: RefCell<Replies>,
    state: RefCell<State>,
    /// Tells the reading task to end, or that there is room for replies again.
    changed: Notify,
    /// Nothing is read until the client has read some of its replies.
    is_held: Cell<bool>,
    is_over: Cell<bool>,
    /// Part of a large body is here and keeps memory from others.
    holds_room: Cell<bool>,
    /// Nothing is read from it now, so that it cannot be heard.
    waits_for_room: Cell<bool>,
    /// Ends whatever still waits for the socket.
    ended: Notify,
    /// What the client is allowed, where that is asked: most brokers do not, and it is large.
    licence: OnceCell<Box<RefCell<Licence>>>,
    /// Layers are being put on: nothing may be said that is not part of that.
    is_upgrading: Cell<bool>,
    /// Nothing but IDENTIFY is heard before TLS.
    needs_tls: Cell<bool>,
    /// Its first command is done.
    is_open: Cell<bool>,
    came_at: u64,
    /// The command that is not whole yet.
    pace: Cell<Pace>,
    heard_at: Cell<u64>,
    heartbeat_at: Cell<u64>,
}

/// What the session has been through.
#[derive(Debug)]
struct State {
    has_magic: bool,
    phase: Phase,
    /// None: heartbeats are off.
    heartbeat: Option<Duration>,
    consumes: Option<Consumes>,
    /// The topic of the last publish: clients rarely alternate.
    last_topic: Option<Arc<Topic>>,
}

/// What the session is subscribed to.
#[derive(Debug, Clone)]
struct Consumes {
    topic: Arc<Topic>,
    channel: Arc<Channel>,
}

/// What comes after a command.
#[derive(Debug)]
enum Step {
    /// The next command.
    Next,
    /// Make something, then the same command again.
    Open(Opening),
    /// Put layers on the connection, then the next command.
    Upgrade(Upgrade),
    /// Nothing more is read from this client.
    Close,
}

/// What a command needs and does not find.
#[derive(Debug, Clone)]
enum Opening {
    /// For a publish.
    Topic { verb: Verb, topic: TopicName },
    /// For SUB.
    Channel { topic: TopicName, channel: ChannelName },
    /// What the auth server says of the secret, for AUTH and for what comes after it has expired.
    Authorization { secret: Vec<u8> },
}

impl Opening {
    /// What the client is told when it cannot be had.
    fn failed(&self, why: impl std::fmt::Display) -> Error {
        match self {
            Self::Topic { verb, .. } => verb.failed(why),
            Self::Channel { .. } => Error::new(Code::SubFailed, format!("SUB failed {why}")),
            Self::Authorization { .. } => Error::auth_failed(),
        }
    }

    /// nsqd's words for something that is deleted as fast as it is made.
    fn keeps_going(&self) -> Error {
        match self {
            Self::Topic { verb, .. } => verb.failed("exiting"),
            Self::Channel { .. } => Error::sub_deleted(),
            Self::Authorization { .. } => Error::auth_failed(),
        }
    }
}

/// Why reading ends.
#[derive(Debug)]
struct Over;

impl Session {
    /// A session for a connection that was just accepted.
    pub(crate) fn new(shard: &Shard, arrival: Arrival) -> std::io::Result<Rc<Self>> {
        let broker = &shard.broker;
        let socket = arrival.stream.open()?;
        let now = broker.context.clock.now();
        let since = now.wall.0 / 1_000_000_000;
        let heartbeat = broker.options.client_timeout / 2;
        let state = State {
            has_magic: false,
            phase: Phase::Init,
            heartbeat: Some(heartbeat),
            consumes: None,
            last_topic: None,
        };
        let outbox = Outbox::new(broker.next_connection(), arrival.peer, since, Arc::clone(&shard.signal));
        broker.clients.add(&outbox);
        let session = Self {
            outbox,
            socket,
            layers: RefCell::default(),
            _place: arrival.place,
            unsent: RefCell::default(),
            replies: RefCell::default(),
            state: RefCell::new(state),
            changed: Notify::new(),
            is_held: Cell::new(false),
            is_over: Cell::new(false),
            holds_room: Cell::new(false),
            waits_for_room: Cell::new(false),
            ended: Notify::new(),
            licence: OnceCell::new(),
            is_upgrading: Cell::new(false),
            needs_tls: Cell::new(broker.guards.encryption.is_required_of_clients()),
            is_open: Cell::new(false),
            came_at: now.instant.0,
            pace: Cell::default(),
            heard_at: Cell::new(now.instant.0),
            heartbeat_at: Cell::new(now.instant.0 + nanos(heartbeat)),
        };
        Ok(Rc::new(session))
    }

    /// The connection's number.
    pub(crate) fn id(&self) -> ConsumerId {
        self.outbox.id
    }

    /// Serve the connection until it ends. What rarely happens is awaited in a box of its own: otherwise every idle
    /// connection would hold room for all of it, 600 bytes.
    pub(crate) async fn run(self: &Rc<Self>, shard: &Rc<Shard>) {
        let mut decoder = Decoder::new(shard.broker.options.limits());
        let mut rest = Vec::new();
        let mut intake = Intake::default();
        while !self.is_over.get() {
            if self.replies_are_unread() {
                self.is_held.set(true);
                self.changed.notified().await;
                self.is_held.set(false);
                continue;
            }
            if self.has_more() {
                tokio::task::yield_now().await;
            } else {
                tokio::select! {
                    biased;
                    () = self.changed.notified() => continue,
                    ready = self.socket.readable() => if ready.is_err() { break },
                }
            }
            let is_free = intake.is_free(&shard.broker.context.memory, &rest, self.only_publishes());
            if !is_free && !Box::pin(self.admit(shard, &mut intake, &mut rest)).await {
                continue;
            }
            let mut buffer = intake.buffer(shard, &mut rest);
            let before = buffer.len();
            let taken = self.take(&mut buffer);
            let is_much = buffer.len() - before >= TURN_BYTES;
            let mut upgrade = None;
            if taken != Taken::Nothing {
                let now = shard.broker.context.clock.now();
                self.heard_at.set(now.instant.0);
                let Ok((used, asked)) = self.process(shard, &mut decoder, &buffer, now).await else { break };
                upgrade = asked;
                intake.earn(used);
                buffer.drain(..used);
                Pace::note(&self.pace, buffer.len(), used > 0, now.instant);
            }
            if taken == Taken::Last {
                self.tell_truncated(&decoder, &buffer);
                break;
            }
            rest = keep_rest(shard, buffer);
            if let Some(upgrade) = upgrade
                && Box::pin(self.upgrade(shard, upgrade, std::mem::take(&mut rest))).await.is_err()
            {
                break;
            }
            // Whatever comes next may be a long time away: others must not wait for it.
            self.holds_room.set(intake.keep_for(&rest));
            if is_much {
                tokio::task::yield_now().await;
            }
        }
        Box::pin(self.finish_sending()).await;
    }

    /// Who consumes too must be read, or its FINs would never make room.
    fn only_publishes(&self) -> bool {
        let state = self.state.borrow();
        state.last_topic.is_some() && state.consumes.is_none()
    }

    /// Wait for room in memory. False: something else changed meanwhile.
    async fn admit(&self, shard: &Shard, intake: &mut Intake, rest: &mut Vec<u8>) -> bool {
        let memory = &shard.broker.context.memory;
        if is_large(rest) && !self.holds_room.get() {
            // It may wait for long; the buffer it came in is several times its size.
            rest.shrink_to_fit();
        }
        self.waits_for_room.set(true);
        let is_admitted = tokio::select! {
            biased;
            () = intake.admit(memory, rest, self.only_publishes()) => true,
            () = self.changed.notified() => false,
        };
        self.waits_for_room.set(false);
        // Who was kept waiting has not been silent.
        self.heard_at.set(self.heard_at.get().max(self.now_at(shard).instant.0));
        self.holds_room.set(intake.holds_room());
        is_admitted
    }

    /// End the session after what waits was sent.
    pub(crate) fn close(&self) {
        self.is_over.set(true);
        self.changed.notify_one();
    }

    /// The session's task ends: its messages go back to the channel.
    pub(crate) fn leave(self: &Rc<Self>, shard: &Rc<Shard>) {
        self.abandon();
        shard.broker.clients.remove(self.id());
        let consumes = self.state.borrow_mut().consumes.take();
        let Some(Consumes { topic, channel }) = consumes else { return };
        let left = channel.unsubscribe(self.id());
        shard.channel_is_dirty(&channel);
        if channel.name.is_ephemeral() && left.is_some_and(|left| left.is_last) {
            shard.broker.delete_channel_soon(&topic, &channel);
        }
    }

    /// Execute every whole command of `buffer`, up to one that changes what the bytes behind it mean; how many bytes
    /// they took.
    async fn process(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        decoder: &mut Decoder,
        buffer: &[u8],
        now: Now,
    ) -> Result<(usize, Option<Upgrade>), Over> {
        let mut used = self.magic(buffer)?;
        let (mut tries, mut commands, mut is_counted) = (0, 0, false);
        while let Some(rest) = buffer.get(used..).filter(|rest| !rest.is_empty() && self.has_magic()) {
            let finishes = self.finish_run(shard, decoder, rest, now.instant);
            if finishes > 0 {
                used += finishes * FINISH_BYTES;
                self.take_turns(&mut commands, finishes).await;
                continue;
            }
            let early = self.forbids_batch(shard, rest, now.instant);
            let step = match decoder.decode(rest, self.stage()) {
                _ if early.is_some() => early.unwrap_or(Step::Close),
                Ok(None) => break,
                Ok(Some((command, bytes))) => match self.execute(shard, command, now, &mut is_counted) {
                    Step::Next => {
                        used += bytes;
                        self.is_open.set(true);
                        (tries, is_counted) = (0, false);
                        self.take_turns(&mut commands, 1).await;
                        continue;
                    }
                    Step::Upgrade(upgrade) => return Ok((used + bytes, Some(upgrade))),
                    step => step,
                },
                Err(DecodeError::Reply { error, consumed }) => {
                    used += consumed;
                    self.reply_error(&error);
                    if error.is_fatal() {
                        Step::Close
                    } else {
                        self.is_open.set(true);
                        continue;
                    }
                }
                // nsqd: the line does not fit its read buffer, so the connection ends without a frame.
                Err(DecodeError::LineTooLong) => Step::Close,
            };
            match step {
                Step::Open(opening) if tries < OPEN_TRIES_MAX => {
                    tries += 1;
                    Box::pin(self.open(shard, opening)).await?;
                }
                Step::Open(opening) => {
                    self.reply_error(&opening.keeps_going());
                    return Err(Over);
                }
                Step::Next | Step::Upgrade(_) | Step::Close => return Err(Over),
            }
        }
        Ok((used, None))
    }

    /// So many more commands are done: let others have their turn when they are many.
    async fn take_turns(&self, commands: &mut usize, more: usize) {
        *commands += more;
        if *commands >= TURN_COMMANDS {
            *commands = 0;
            tokio::task::yield_now().await;
        }
    }

    /// Make what a command names, on the control runtime: disk and lookupds may take their time, and the
    /// shard's other sessions must not wait for them.
    async fn open(&self, shard: &Shard, opening: Opening) -> Result<(), Over> {
        let opening = match opening {
            Opening::Authorization { secret } => return self.ask_auth_server(shard, secret).await,
            opening => opening,
        };
        let broker = Arc::clone(&shard.broker);
        let wanted = opening.clone();
        let done = shard.broker.control.spawn(async move {
            match wanted {
                Opening::Topic { topic, .. } => broker.open_names(&topic, None).await,
                Opening::Channel { topic, channel } => broker.open_names(&topic, Some(&channel)).await,
                Opening::Authorization { .. } => Ok(()),
            }
        });
        let failure = match done.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "exiting".to_owned(),
        };
        self.reply_error(&opening.failed(failure));
        Err(Over)
    }

    /// The first four bytes name the protocol.
    fn magic(&self, buffer: &[u8]) -> Result<usize, Over> {
        let mut state = self.state.borrow_mut();
        if state.has_magic {
            return Ok(0);
        }
        let Some(magic) = buffer.get(..MAGIC_V2.len()) else { return Ok(0) };
        if magic != MAGIC_V2 {
            drop(state);
            self.reply_error(&Error::new(Code::BadProtocol, ""));
            return Err(Over);
        }
        state.has_magic = true;
        Ok(MAGIC_V2.len())
    }

    fn has_magic(&self) -> bool {
        self.state.borrow().has_magic
    }

    fn stage(&self) -> Stage {
        let state = self.state.borrow();
        Stage {
            phase: state.phase,
            heartbeats_off: state.heartbeat.is_none(),
            tls_pending: self.needs_tls.get(),
        }
    }

    /// The client closed its side in the middle of a command: nsqd says what it was still waiting for.
    fn tell_truncated(&self, decoder: &Decoder, buffer: &[u8]) {
        if let Some(error) = decoder.truncated(buffer, self.stage()) {
            self.reply_error(&error);
        }
    }

    fn replies_are_unread(&self) -> bool {
        self.replies.borrow().bytes() + self.outbox.reply_bytes() > UNREAD_REPLIES_MAX
    }

    fn reply_error(&self, error: &Error) {
        tracing::debug!(client = %self.outbox.client.peer, %error, "refused");
        self.outbox.count_error(error.code);
        self.reply(|out| encode_error(out, error));
    }

    /// Reply in turn: publishes answered before it may still wait for their commit.
    fn reply(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut replies = self.replies.borrow_mut();
        if replies.is_empty() {
            drop(replies);
            self.outbox.put(write);
        } else {
            replies.add_bytes(write);
            self.outbox.enlist();
        }
    }

    fn now_at(&self, shard: &Shard) -> Now {
        shard.broker.context.clock.now()
    }
}

/// Keep only the partial command; an idle connection holds no buffer.
fn keep_rest(shard: &Shard, buffer: Vec<u8>) -> Vec<u8> {
    if is_large(&buffer) {
        return buffer;
    }
    let rest = buffer.to_vec();
    shard.recycle(buffer);
    rest
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
