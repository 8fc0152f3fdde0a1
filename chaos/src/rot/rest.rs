//! A data folder at rest, and all that is known of it: which messages are in it, where each of them lies, and to which
//! channel it is owed. FINs count by the CLOSE_WAIT behind them, so that nothing is left to a guess.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use protocol::{CLOSE_WAIT, ChannelName, Command, Frame, HEARTBEAT, Messages, OK, TopicName};

use super::damage::files;
use super::harvest::{CHANNELS, Delivery, TOPICS, channels};
use crate::body;
use crate::chance::Chance;
use crate::diary::Clock;
use crate::history::key;
use crate::http;
use crate::nsqd::Nsqd;
use crate::wire::{Came, Connection};

/// Part of every key, and rare in other bytes: messages are found in the files by it.
pub(super) const ROUND: u16 = 0xc7a5;
/// Messages of each topic, before the burst that a kill follows.
const MESSAGES: u64 = 1600;
const BURST: u64 = 700;
/// Fewer than fill 32 KiB: a torn batch must not cost more than the reach of a damage.
const BATCH_MAX: u64 = 16;
/// Left without an answer by each consumer: fewer than RDY lets through.
const IN_FLIGHT_MAX: usize = 20;
const UNANSWERED_MAX: usize = 32;
const PATIENCE: Duration = Duration::from_secs(20);
/// Everything is synced by then, and what was deferred is due.
const SETTLED_AFTER: Duration = Duration::from_millis(400);

/// Where a message lies: in a file, relative to the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// The folder.
#[derive(Debug)]
pub(super) struct Rest {
    folder: PathBuf,
    is_killed: bool,
    /// The topic of each message.
    pub(super) messages: BTreeMap<u64, u8>,
    pub(super) places: HashMap<u64, Place>,
    /// What was published last before a kill, and may not have been synced.
    pub(super) unsynced: BTreeSet<u64>,
    /// What is not finished, for each of [`channels`].
    pub(super) owed: Vec<BTreeSet<u64>>,
    /// Id and timestamp of what was delivered before.
    pub(super) identities: HashMap<u64, (u64, u64)>,
}

impl Rest {
    /// Publish, finish a part, and end nsqd: by SIGTERM, or by kill -9 behind a burst whose end is not synced yet.
    pub(super) fn fill(mut nsqd: Nsqd, clock: Clock, chance: &mut Chance, is_killed: bool) -> Result<Self> {
        make_channels(&nsqd)?;
        let folder = nsqd.launch().data.clone();
        let mut rest = Self {
            folder,
            is_killed,
            messages: BTreeMap::new(),
            places: HashMap::new(),
            unsynced: BTreeSet::new(),
            owed: Vec::new(),
            identities: HashMap::new(),
        };
        rest.publish(&nsqd, clock, chance, MESSAGES, UNANSWERED_MAX)?;
        let mut finished = Vec::new();
        for (topic, channel) in channels() {
            let count = chance.between(100, MESSAGES - 100);
            finished.push(rest.consume(&nsqd, clock, (topic, channel), count, chance)?);
        }
        std::thread::sleep(SETTLED_AFTER);
        if is_killed {
            let before = rest.messages.clone();
            // All at once: syncs are 100 ms behind.
            rest.publish(&nsqd, clock, chance, BURST, usize::MAX)?;
            rest.unsynced = rest.messages.keys().copied().filter(|key| !before.contains_key(key)).collect();
            nsqd.kill();
        } else {
            nsqd.terminate()?;
            nsqd.ended_within(PATIENCE)?.context("nsqd still runs after SIGTERM")?;
        }
        for ((topic, _), finished) in channels().zip(finished) {
            let of_topic = rest.messages.iter().filter(|(_, other)| usize::from(**other) == topic);
            rest.owed.push(of_topic.map(|(key, _)| *key).filter(|key| !finished.contains(key)).collect());
        }
        rest.find_places()?;
        Ok(rest)
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// For a line of the run.
    pub(super) fn about(&self) -> String {
        let end = if self.is_killed { "killed" } else { "stopped" };
        let owed: usize = self.owed.iter().map(BTreeSet::len).sum();
        format!("folder of {} messages, {owed} owed, {end}", self.messages.len())
    }

    /// So many messages to each topic, `unanswered_max` publishes on their way at once.
    fn publish(
        &mut self,
        nsqd: &Nsqd,
        clock: Clock,
        chance: &mut Chance,
        count: u64,
        unanswered_max: usize,
    ) -> Result<()> {
        let mut connection = Connection::open(nsqd.tcp(), clock, None)?;
        let mut unanswered = 0;
        let mut out = Vec::new();
        let until = self.messages.len() as u64 + count * TOPICS.len() as u64;
        while (self.messages.len() as u64) < until {
            for (topic, name) in (0_u8..).zip(TOPICS) {
                self.command(topic, name, chance, &mut out);
                unanswered += 1;
            }
            if unanswered > unanswered_max {
                connection.send(&out)?;
                out.clear();
                answers(&mut connection, &mut unanswered, unanswered_max)?;
            }
        }
        connection.send(&out)?;
        answers(&mut connection, &mut unanswered, 0)
    }

    /// A PUB, a DPUB that is due long before the folder is opened again, or an MPUB.
    fn command(&mut self, topic: u8, name: &str, chance: &mut Chance, out: &mut Vec<u8>) {
        let count = if chance.happens(250) { chance.between(2, BATCH_MAX) } else { 1 };
        let bodies: Vec<Vec<u8>> = (0..count).map(|_| self.body(topic, chance)).collect();
        match bodies.as_slice() {
            [body] if chance.happens(100) => {
                let delay = Duration::from_millis(chance.between(1, 300));
                Command::DeferredPublish { topic: name, delay, body }.encode(out);
            }
            [body] => Command::Publish { topic: name, body }.encode(out),
            bodies => {
                let mut packed = Vec::new();
                Command::MultiPublish { topic: name, messages: Messages::pack(&mut packed, bodies) }
                    .encode(out);
            }
        }
    }

    fn body(&mut self, topic: u8, chance: &mut Chance) -> Vec<u8> {
        let number = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let key = key(ROUND, topic.into(), number);
        self.messages.insert(key, topic);
        let length = match chance.between(0, 300) {
            0 => chance.between(5_000, 20_000),
            1..60 => chance.between(300, 900),
            _ => chance.between(20, 250),
        };
        let mut out = Vec::new();
        body::write(&mut out, key, 0, usize::try_from(length).unwrap_or(0), chance.happens(50));
        out
    }

    /// Take some messages of a channel: finish most, give a few back, leave the others. Gives what is finished for good.
    fn consume(
        &mut self,
        nsqd: &Nsqd,
        clock: Clock,
        (topic, channel): (usize, usize),
        count: u64,
        chance: &mut Chance,
    ) -> Result<BTreeSet<u64>> {
        let mut connection = subscribe(nsqd, clock, topic, channel)?;
        let mut finished = BTreeSet::new();
        let mut out = Vec::new();
        Command::Ready { count: 50 }.encode(&mut out);
        let mut in_flight = 0;
        let mut left = count;
        let limit = Instant::now() + PATIENCE;
        while left > 0 && Instant::now() < limit {
            connection.send(&out)?;
            out.clear();
            for delivery in receive(&mut connection, &mut out)? {
                left = left.saturating_sub(1);
                let key = delivery.key.context("a corrupt message, before anything was damaged")?;
                self.identities.insert(key, (delivery.id, delivery.timestamp));
                let id = delivery.message_id;
                match chance.between(0, 100) {
                    0..4 => Command::Requeue { id, delay: Duration::ZERO }.encode(&mut out),
                    4..7 if in_flight < IN_FLIGHT_MAX => in_flight += 1,
                    _ => {
                        finished.insert(key);
                        Command::Finish { id }.encode(&mut out);
                    }
                }
            }
        }
        Command::Close.encode(&mut out);
        connection.send(&out)?;
        close_wait(&mut connection)?;
        Ok(finished)
    }

    /// Where each message lies, by its key and checksum.
    fn find_places(&mut self) -> Result<()> {
        for file in files(&self.folder)? {
            let bytes = std::fs::read(self.folder.join(&file))?;
            let mark = ROUND.to_be_bytes();
            let mut at = 0;
            while let Some(found) =
                bytes.get(at..).and_then(|rest| rest.windows(2).position(|two| two == mark))
            {
                at += found;
                let place = bytes.get(at..).and_then(length_of).map(|length| (at, length));
                if let Some((key, length)) = place.and_then(|(at, length)| {
                    let body = bytes.get(at..at + length)?;
                    body::read(body).map(|key| (key, length))
                }) {
                    let place = Place { file: file.clone(), at: at as u64, bytes: length as u64 };
                    self.places.insert(key, place);
                    at += length;
                } else {
                    at += 1;
                }
            }
        }
        let lost = self.owed.iter().flatten().find(|key| !self.places.contains_key(key));
        if let Some(key) = lost {
            bail!("message {key:016x} is owed and in no file, though nothing was damaged");
        }
        Ok(())
    }
}

/// Subscribed, and nothing asked for yet.
pub(super) fn subscribe(nsqd: &Nsqd, clock: Clock, topic: usize, channel: usize) -> Result<Connection> {
    let name = |names: &[&'static str], index: usize| names.get(index).copied().unwrap_or_default();
    let (topic, channel) =
        (TopicName::new(name(&TOPICS, topic))?, ChannelName::new(name(&CHANNELS, channel))?);
    let mut connection = Connection::open(nsqd.tcp(), clock, Some(Duration::from_secs(60)))?;
    let mut out = Vec::new();
    Command::Subscribe { topic, channel }.encode(&mut out);
    connection.send(&out)?;
    connection.expect_ok()?;
    Ok(connection)
}

/// What came within a moment; answers to heartbeats go to `out`.
pub(super) fn receive(connection: &mut Connection, out: &mut Vec<u8>) -> Result<Vec<Delivery>> {
    let came = connection.read();
    let mut deliveries = Vec::new();
    while let Some((frame, _)) = connection.frame()? {
        match frame {
            Frame::Message { head, body } => deliveries.push(Delivery::of(&head, body)),
            Frame::Response(HEARTBEAT) => Command::Nop.encode(out),
            Frame::Response(_) => {}
            Frame::Error(error) => bail!("a consumer was told {}", String::from_utf8_lossy(error)),
        }
    }
    if came == Came::End && deliveries.is_empty() {
        bail!("nsqd closed the connection of a consumer");
    }
    Ok(deliveries)
}

/// Read answers until at most `most` are missing.
pub(super) fn answers(connection: &mut Connection, unanswered: &mut usize, most: usize) -> Result<()> {
    let limit = Instant::now() + PATIENCE;
    while *unanswered > most {
        let came = connection.read();
        while let Some((frame, _)) = connection.frame()? {
            match frame {
                Frame::Response(OK) => *unanswered -= 1,
                Frame::Response(_) => {}
                other => bail!("a publish was answered with {other:?}"),
            }
        }
        if came == Came::End || Instant::now() > limit {
            bail!("{unanswered} publishes were not answered");
        }
    }
    Ok(())
}

fn close_wait(connection: &mut Connection) -> Result<()> {
    let limit = Instant::now() + PATIENCE;
    while Instant::now() < limit {
        while let Some((frame, _)) = connection.frame()? {
            if matches!(frame, Frame::Response(CLOSE_WAIT)) {
                return Ok(());
            }
        }
        if connection.read() == Came::End {
            break;
        }
    }
    bail!("no CLOSE_WAIT came")
}

fn make_channels(nsqd: &Nsqd) -> Result<()> {
    for topic in TOPICS {
        http::post(nsqd.http(), &format!("/topic/create?topic={topic}"))?;
        for channel in CHANNELS {
            http::post(nsqd.http(), &format!("/channel/create?topic={topic}&channel={channel}"))?;
        }
    }
    Ok(())
}

/// The length that a body claims.
fn length_of(body: &[u8]) -> Option<usize> {
    let bytes = body.get(12..16)?.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*bytes)).ok().filter(|length| *length >= body::HEAD_BYTES)
}
