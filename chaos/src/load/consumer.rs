//! A consumer: subscribes, answers every message as its temper says, and proves by fences what nsqd has processed. Bodies
//! are checked here, all else by the checker.
//!
//! A fence is a TOUCH of an id that cannot be: its error comes back after everything sent before it was processed, which
//! FIN and REQ, having no answer, do not tell by themselves.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use protocol::{CLOSE_WAIT, ChannelName, Command, Frame, HEARTBEAT, MessageHead, MessageId, TopicName};

use super::temper::{Leaving, Temper, Wish};
use super::{Shared, TOPICS};
use crate::body;
use crate::chance::Chance;
use crate::diary::Diary;
use crate::history::{Channel, Event, Op};
use crate::stage::Phase;
use crate::wire::{Came, Connection};

const FENCE: MessageId = MessageId::new(*b"fence-no-message");
/// Fences follow each other no faster.
const FENCE_EVERY: Duration = Duration::from_millis(10);
/// CLOSE_WAIT must come within this.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct Consumer {
    shared: Arc<Shared>,
    channel: u8,
    topic: TopicName,
    name: ChannelName,
    temper: Temper,
    begin: Duration,
    chance: Chance,
    diary: Diary,
    is_made: bool,
    conn: u32,
    held: Vec<Held>,
    out: Vec<u8>,
    /// When the fence on its way was sent.
    fence: Option<u64>,
    fence_after: Instant,
    has_unfenced: bool,
}

/// A message that is not answered yet.
struct Held {
    key: u64,
    id: MessageId,
    attempts: u16,
    until: Instant,
    touch_at: Instant,
}

/// What reading came to.
#[derive(PartialEq, Eq)]
enum Heard {
    Frames,
    CloseWait,
}

impl Consumer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        channel: u8,
        about: &Channel,
        temper: Temper,
        begin: Duration,
        chance: Chance,
    ) -> Result<Self> {
        let topic = TopicName::new(TOPICS.get(usize::from(about.topic)).copied().unwrap_or_default())?;
        let name = ChannelName::new(&about.name)?;
        let diary = Diary::new(shared.clock);
        Ok(Self {
            shared,
            channel,
            topic,
            name,
            temper,
            begin,
            chance,
            diary,
            is_made: false,
            conn: 0,
            held: Vec::new(),
            out: Vec::new(),
            fence: None,
            fence_after: Instant::now(),
            has_unfenced: false,
        })
    }

    pub(crate) fn run(mut self) -> Vec<Event> {
        let shared = Arc::clone(&self.shared);
        shared.stage.rest(self.begin, Phase::Load);
        while let Some((address, life)) = shared.stage.wait(Phase::Drain) {
            let opened = Connection::open(address, shared.clock, Some(self.temper.msg_timeout()));
            let subscribed = opened.and_then(|connection| self.subscribe(connection, life));
            let Ok(mut connection) = subscribed else {
                shared.stage.rest(Duration::from_millis(5), Phase::Drain);
                continue;
            };
            let by_broker = self.serve(&mut connection).is_err();
            let since = self.diary.tick();
            drop(connection);
            self.diary.note(Op::Ended, |event| {
                (event.conn, event.since, event.arg) = (self.conn, since, by_broker.into());
            });
        }
        self.diary.into_events()
    }

    fn subscribe(&mut self, mut connection: Connection, life: u64) -> io::Result<Connection> {
        self.out.clear();
        Command::Subscribe { topic: self.topic.clone(), channel: self.name.clone() }.encode(&mut self.out);
        connection.send(&self.out)?;
        connection.expect_ok()?;
        if !self.shared.stage.is_in(life) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.conn = self.shared.conn();
        if !self.is_made {
            self.is_made = true;
            self.diary.note(Op::ChannelMade, |event| event.channel = self.channel);
        }
        self.diary.note(Op::Opened, |event| {
            (event.conn, event.key, event.channel) = (self.conn, life, self.channel);
            event.arg = u64::try_from(self.temper.msg_timeout().as_nanos()).unwrap_or(u64::MAX);
        });
        self.held.clear();
        self.fence = None;
        self.has_unfenced = false;
        self.out.clear();
        Command::Ready { count: self.temper.ready() }.encode(&mut self.out);
        Ok(connection)
    }

    /// Until the connection ends, by either side.
    fn serve(&mut self, connection: &mut Connection) -> io::Result<()> {
        let leaving = self.temper.leaving(&mut self.chance);
        let began = Instant::now();
        let is_over = |ms| began.elapsed() >= Duration::from_millis(ms);
        loop {
            let phase = self.shared.stage.phase();
            match leaving {
                _ if phase == Phase::Over => return self.close(connection),
                Leaving::Close(ms) if phase == Phase::Load && is_over(ms) => return self.close(connection),
                Leaving::Drop(ms) if phase == Phase::Load && is_over(ms) => return Ok(()),
                _ => {}
            }
            self.settle_held(phase);
            self.put_fence();
            if !self.out.is_empty() {
                connection.send(&self.out)?;
                self.out.clear();
            }
            self.hear(connection, phase, true)?;
        }
    }

    /// Reads for a moment and decides about what came.
    fn hear(&mut self, connection: &mut Connection, phase: Phase, answers: bool) -> io::Result<Heard> {
        let came = connection.read();
        let mut heard = Heard::Frames;
        while let Some((frame, since)) = connection.frame()? {
            match frame {
                Frame::Message { head, body } => self.delivered(head, body, since, phase, answers),
                Frame::Response(HEARTBEAT) => Command::Nop.encode(&mut self.out),
                Frame::Response(CLOSE_WAIT) => heard = Heard::CloseWait,
                Frame::Response(_) => {}
                Frame::Error(text) => self.refused(text),
            }
        }
        if came == Came::End { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(heard) }
    }

    fn delivered(&mut self, head: MessageHead, body: &[u8], since: u64, phase: Phase, answers: bool) {
        let key = body::read(body);
        let op = if key.is_some() { Op::Delivered } else { Op::Corrupt };
        let claimed = || body.first_chunk().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes));
        let key = key.unwrap_or_else(claimed);
        self.diary.note(op, |event| {
            (event.since, event.key, event.id) = (since, key, number(&head.id));
            event.arg = head.timestamp_ns.cast_unsigned();
            (event.conn, event.channel, event.attempts) = (self.conn, self.channel, head.attempts);
        });
        if !answers {
            return;
        }
        let wish = if phase == Phase::Load { self.temper.wish(&mut self.chance) } else { Wish::Finish };
        let now = Instant::now();
        let hold = |ms| {
            let touch_at = now + self.temper.msg_timeout() / 3;
            Held {
                key,
                id: head.id,
                attempts: head.attempts,
                until: now + Duration::from_millis(ms),
                touch_at,
            }
        };
        match wish {
            Wish::Finish => self.finish(key, head.id, head.attempts),
            Wish::Hold(ms) => self.held.push(hold(ms)),
            Wish::Requeue(ms) => {
                let delay = Duration::from_millis(ms);
                self.answered(Op::Requeue, key, head.id, head.attempts, ms * 1_000_000);
                Command::Requeue { id: head.id, delay }.encode(&mut self.out);
            }
            Wish::Forget => {}
        }
    }

    fn finish(&mut self, key: u64, id: MessageId, attempts: u16) {
        self.answered(Op::Finish, key, id, attempts, 0);
        Command::Finish { id }.encode(&mut self.out);
    }

    fn answered(&mut self, op: Op, key: u64, id: MessageId, attempts: u16, arg: u64) {
        self.has_unfenced = true;
        self.diary.note(op, |event| {
            (event.key, event.id, event.arg) = (key, number(&id), arg);
            (event.conn, event.channel, event.attempts) = (self.conn, self.channel, attempts);
        });
    }

    /// Finish what was held long enough; touch what is held longer.
    fn settle_held(&mut self, phase: Phase) {
        let now = Instant::now();
        let is_done = |held: &mut Held| phase != Phase::Load || held.until <= now;
        let done: Vec<Held> = self.held.extract_if(.., is_done).collect();
        for held in done {
            self.finish(held.key, held.id, held.attempts);
        }
        let mut held = std::mem::take(&mut self.held);
        for held in held.iter_mut().filter(|held| held.touch_at <= now) {
            held.touch_at = now + self.temper.msg_timeout() / 3;
            self.answered(Op::Touch, held.key, held.id, held.attempts, 0);
            Command::Touch { id: held.id }.encode(&mut self.out);
        }
        self.held = held;
    }

    fn put_fence(&mut self) {
        let now = Instant::now();
        if self.fence.is_none() && self.has_unfenced && now >= self.fence_after {
            Command::Touch { id: FENCE }.encode(&mut self.out);
            self.fence = Some(self.diary.tick());
            self.fence_after = now + FENCE_EVERY;
            self.has_unfenced = false;
        }
    }

    /// `E_FIN_FAILED FIN 0123456789abcdef failed ...`, or the answer to a fence.
    fn refused(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        if text.contains(&FENCE.to_string()) {
            if let Some(since) = self.fence.take() {
                self.diary.note(Op::Fence, |event| (event.conn, event.since) = (self.conn, since));
            }
            return;
        }
        let op = match text.split(' ').next() {
            Some("E_FIN_FAILED") => Op::FinishFailed,
            Some("E_REQ_FAILED") => Op::RequeueFailed,
            Some("E_TOUCH_FAILED") => Op::TouchFailed,
            _ => return,
        };
        let Some(id) = text.split(' ').nth(2).and_then(|word| word.as_bytes().first_chunk::<16>()) else {
            return;
        };
        let id = number(&MessageId::new(*id));
        self.diary.note(op, |event| (event.conn, event.id, event.channel) = (self.conn, id, self.channel));
    }

    /// CLS: half of what is held is finished before it, which CLOSE_WAIT then makes safe; the rest is left to nsqd.
    fn close(&mut self, connection: &mut Connection) -> io::Result<()> {
        let is_final = self.shared.stage.phase() == Phase::Over;
        let keep = if is_final { 0 } else { self.held.len() / 2 };
        for held in self.held.split_off(keep) {
            self.finish(held.key, held.id, held.attempts);
        }
        Command::Close.encode(&mut self.out);
        let since = self.diary.tick();
        connection.send(&self.out)?;
        self.out.clear();
        let limit = Instant::now() + CLOSE_LIMIT;
        while Instant::now() < limit {
            // What was on its way is not answered: it comes again because of the end of the connection.
            if self.hear(connection, Phase::Load, false)? == Heard::CloseWait {
                self.diary.note(Op::CloseWait, |event| (event.conn, event.since) = (self.conn, since));
                return Ok(());
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Ids are opaque; those of nsqd are numbers, any other becomes one that is as good as unique.
fn number(id: &MessageId) -> u64 {
    id.to_bits().unwrap_or_else(|| {
        let (high, low) = id.as_bytes().split_at(8);
        u64::from(crc32c::crc32c(high)) << 32 | u64::from(crc32c::crc32c(low))
    })
}
