//! A publisher: PUB and DPUB in pipelined bursts, or MPUB, at its rate, and a note of each answer. Keys rise with each
//! message, so that order can be seen.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use protocol::{Command, Frame, HEARTBEAT, Messages, OK};

use super::Shared;
use crate::body;
use crate::chance::Chance;
use crate::diary::Diary;
use crate::history::{Event, Op, key};
use crate::stage::Phase;
use crate::wire::{Came, Connection};

/// Publishes on their way at once, so that a kill always meets some.
const UNANSWERED_MAX: usize = 64;
/// What is behind its rate by more than this is not made up for.
const CATCH_UP_MAX: Duration = Duration::from_millis(200);
/// At the end, answers are waited for this long.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Which commands it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Single,
    Batch,
}

pub(crate) struct Publisher {
    shared: Arc<Shared>,
    kind: Kind,
    number: u16,
    topic: u8,
    topic_name: &'static str,
    is_plain: bool,
    chance: Chance,
    diary: Diary,
    pace: Pace,
    next: u32,
    out: Vec<u8>,
    body: Vec<u8>,
    /// First key and count of what was not answered yet.
    unanswered: VecDeque<(u64, u64)>,
}

impl Publisher {
    #[allow(clippy::too_many_arguments, reason = "a list of facts, used once")]
    pub(crate) fn new(
        shared: Arc<Shared>,
        kind: Kind,
        number: u16,
        topic: u8,
        topic_name: &'static str,
        rate: u64,
        is_plain: bool,
        chance: Chance,
    ) -> Self {
        let diary = Diary::new(shared.clock);
        let pace = Pace::new(rate);
        let (out, body) = (Vec::new(), Vec::new());
        let unanswered = VecDeque::new();
        Self {
            shared,
            kind,
            number,
            topic,
            topic_name,
            is_plain,
            chance,
            diary,
            pace,
            next: 0,
            out,
            body,
            unanswered,
        }
    }

    pub(crate) fn run(mut self) -> Vec<Event> {
        let shared = Arc::clone(&self.shared);
        while let Some((address, life)) = shared.stage.wait(Phase::Load) {
            let opened = Connection::open(address, shared.clock, None);
            let Some(mut connection) = opened.ok().filter(|_| shared.stage.is_in(life)) else {
                shared.stage.rest(Duration::from_millis(5), Phase::Load);
                continue;
            };
            let conn = shared.conn();
            self.diary.note(Op::Opened, |event| (event.conn, event.key) = (conn, life));
            self.unanswered.clear();
            self.pace.restart();
            let by_broker = self.publish(&mut connection, conn).is_err();
            let since = self.diary.tick();
            drop(connection);
            self.diary.note(Op::Ended, |event| {
                (event.conn, event.since, event.arg) = (conn, since, by_broker.into());
            });
        }
        self.diary.into_events()
    }

    /// Publishes until the connection or the phase ends.
    fn publish(&mut self, connection: &mut Connection, conn: u32) -> io::Result<()> {
        while self.shared.stage.phase() == Phase::Load {
            let due = self.pace.due();
            if due > 0 && self.unanswered.len() < UNANSWERED_MAX {
                self.fill(conn, due);
                let sent = connection.send(&self.out);
                if sent.is_err() {
                    // Answers that came before the end still count.
                    while self.answers(connection, conn)? {}
                    return sent;
                }
            }
            self.answers(connection, conn)?;
        }
        let limit = Instant::now() + LAST_ANSWERS;
        while !self.unanswered.is_empty() && Instant::now() < limit {
            self.answers(connection, conn)?;
        }
        Ok(())
    }

    /// Commands for about `due` messages.
    fn fill(&mut self, conn: u32, due: u64) {
        self.out.clear();
        match self.kind {
            Kind::Single => {
                for _ in 0..due.min(16) {
                    self.single(conn);
                }
            }
            Kind::Batch => {
                let most = due.clamp(2, 100);
                let count = self.chance.between(1, most + 1);
                self.batch(conn, count);
            }
        }
    }

    fn single(&mut self, conn: u32) {
        let is_deferred = !self.is_plain && self.chance.happens(60);
        let delay_ms = if is_deferred { self.chance.between(1, 1500) } else { 0 };
        let delay = Duration::from_millis(delay_ms);
        let key = self.sending(conn, 1, delay);
        self.body.clear();
        self.write_body(key, delay_ms);
        let (topic, body) = (self.topic_name, self.body.as_slice());
        let command = match is_deferred {
            true => Command::DeferredPublish { topic, delay, body },
            false => Command::Publish { topic, body },
        };
        command.encode(&mut self.out);
        self.pace.sent(1);
    }

    fn batch(&mut self, conn: u32, count: u64) {
        let first = self.sending(conn, count, Duration::ZERO);
        self.body.clear();
        let mut ends = Vec::new();
        for key in first..first + count {
            self.write_body(key, 0);
            ends.push(self.body.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let bodies = starts.zip(&ends).map(|(start, end)| self.body.get(start..*end).unwrap_or_default());
        let mut packed = Vec::new();
        let messages = Messages::pack(&mut packed, bodies);
        Command::MultiPublish { topic: self.topic_name, messages }.encode(&mut self.out);
        self.pace.sent(count);
    }

    /// Notes that these messages are about to be sent; gives the key of the first.
    fn sending(&mut self, conn: u32, count: u64, delay: Duration) -> u64 {
        let first = key(self.shared.round, self.number, self.next);
        self.next += u32::try_from(count).unwrap_or(1);
        self.diary.note(Op::Publish, |event| {
            event.key = first;
            event.arg = count;
            event.id = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
            event.conn = conn;
            event.channel = self.topic;
        });
        self.unanswered.push_back((first, count));
        first
    }

    fn write_body(&mut self, key: u64, delay_ms: u64) {
        let length = match self.chance.between(0, 2000) {
            // Larger than any buffer on the way.
            0 => self.chance.between(65_000, 100_000),
            1..400 => self.chance.between(200, 2000),
            _ => self.chance.between(0, 200),
        };
        let zeros = self.chance.happens(50);
        let delay_ms = u32::try_from(delay_ms).unwrap_or(u32::MAX);
        body::write(&mut self.body, key, delay_ms, usize::try_from(length).unwrap_or(0), zeros);
    }

    /// Reads answers for a moment. Says whether anything came.
    fn answers(&mut self, connection: &mut Connection, conn: u32) -> io::Result<bool> {
        let came = connection.read();
        let (mut any, mut is_asked) = (false, false);
        while let Some((frame, _)) = connection.frame()? {
            any = true;
            let op = match frame {
                Frame::Response(HEARTBEAT) => {
                    is_asked = true;
                    continue;
                }
                Frame::Response(OK) => Op::Acked,
                _ => Op::Refused,
            };
            let Some((key, count)) = self.unanswered.pop_front() else { continue };
            if op == Op::Acked {
                self.shared.acked.fetch_add(count, Ordering::Relaxed);
            }
            self.diary.note(op, |event| {
                (event.key, event.arg, event.conn, event.channel) = (key, count, conn, self.topic);
            });
        }
        if came == Came::End {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if is_asked {
            let mut nop = Vec::new();
            Command::Nop.encode(&mut nop);
            connection.send(&nop)?;
        }
        Ok(any)
    }
}

/// How much is due at a rate.
struct Pace {
    each: Duration,
    next: Instant,
}

impl Pace {
    fn new(rate: u64) -> Self {
        Self {
            each: Duration::from_secs(1) / u32::try_from(rate.max(1)).unwrap_or(u32::MAX),
            next: Instant::now(),
        }
    }

    fn restart(&mut self) {
        self.next = Instant::now();
    }

    fn due(&mut self) -> u64 {
        let now = Instant::now();
        let behind = now.saturating_duration_since(self.next);
        if behind > CATCH_UP_MAX {
            self.next = now.checked_sub(CATCH_UP_MAX).unwrap_or(now);
        }
        let behind = now.saturating_duration_since(self.next);
        u64::try_from(behind.as_nanos() / self.each.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    fn sent(&mut self, count: u64) {
        self.next += self.each * u32::try_from(count).unwrap_or(1);
    }
}
