//! What a script plays in: a topic, its channels, their consumers, a log in memory and a journal.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Channel, ChannelRules, ConsumerId, Dispatched, Fetched, Instant, Now, Outlet, Pending, Position,
    Progress, Room, Saved, SavedTopic, Topic, WallTime,
};
use std::time::Duration;

/// Bytes of every record of the log.
const RECORD: u64 = 100;

pub(super) struct World {
    pub(super) topic: Option<Topic>,
    pub(super) channels: BTreeMap<String, Channel<String>>,
    /// Which channel a consumer is subscribed to, and its id.
    pub(super) consumers: BTreeMap<String, (String, ConsumerId)>,
    pub(super) rules: ChannelRules,
    pub(super) log: Log,
    pub(super) now: Now,
    pub(super) journal: BTreeMap<String, Saved>,
    pub(super) missing: BTreeMap<String, u64>,
    next_id: u64,
}

#[derive(Default)]
pub(super) struct Log {
    pub(super) records: Vec<Record>,
    pub(super) next_seq: u64,
    pub(super) inboxes: BTreeMap<String, Vec<(String, u16)>>,
    /// Consumers whose sockets are blocked, and buffers that hold so many messages more.
    pub(super) blocked: BTreeSet<String>,
    pub(super) room: BTreeMap<String, u64>,
    pub(super) fetches: u64,
    fetched: Option<u64>,
}

pub(super) struct Record {
    pub(super) name: String,
    pub(super) seq: u64,
    pub(super) due: Option<WallTime>,
    pub(super) is_cold: bool,
    pub(super) is_damaged: bool,
}

impl Default for World {
    fn default() -> Self {
        let rules = ChannelRules {
            consumers_max: 0,
            msg_timeout_max: Duration::from_secs(900),
            is_ephemeral: false,
            ephemeral_depth_max: 10,
        };
        Self {
            topic: Some(Topic::new(false, Position::default())),
            channels: BTreeMap::new(),
            consumers: BTreeMap::new(),
            rules,
            log: Log::default(),
            now: Now { instant: Instant(1_000_000), wall: WallTime(1_700_000_000_000_000_000) },
            journal: BTreeMap::new(),
            missing: BTreeMap::new(),
            next_id: 0,
        }
    }
}

impl World {
    pub(super) fn topic(&mut self) -> Result<&mut Topic, String> {
        self.topic.as_mut().ok_or_else(|| "there is no topic".to_owned())
    }

    pub(super) fn channel(&mut self, name: &str) -> Result<&mut Channel<String>, String> {
        self.channels.get_mut(name).ok_or_else(|| format!("there is no channel {name}"))
    }

    pub(super) fn publish(&mut self, names: &[&str], delay: Option<Duration>) -> Result<(), String> {
        let due = delay.map(|delay| self.now.wall.after(delay));
        for name in names {
            self.log.append(name, due);
        }
        let (tail, bytes) = (self.log.tail(), names.iter().map(|name| name.len() as u64).sum());
        let visible = self.topic()?.publish(tail, bytes);
        self.extend(visible);
        Ok(())
    }

    pub(super) fn extend(&mut self, visible: Option<Position>) {
        let Some(visible) = visible else { return };
        for channel in self.channels.values_mut() {
            channel.extend(visible);
        }
    }

    pub(super) fn add_channel(&mut self, name: &str) -> Result<(), String> {
        if self.channels.contains_key(name) {
            return Ok(());
        }
        let is_ephemeral = name.ends_with("#ephemeral");
        let rules = ChannelRules { is_ephemeral, ..self.rules };
        let topic = self.topic()?;
        let start = topic.add_channel(name, is_ephemeral);
        let visible = topic.visible();
        self.channels.insert(name.to_owned(), Channel::new(rules, start, visible));
        self.journal
            .insert(name.to_owned(), Saved { floor: start, delivered: start.seq, ..Saved::default() });
        Ok(())
    }

    pub(super) fn delete_channel(&mut self, name: &str) -> Result<(), String> {
        self.channels.remove(name).ok_or_else(|| format!("there is no channel {name}"))?;
        self.journal.remove(name);
        self.consumers.retain(|_, (channel, _)| channel != name);
        if self.topic()?.remove_channel(name).delete_topic {
            self.topic = None;
        }
        Ok(())
    }

    pub(super) fn new_id(&mut self) -> ConsumerId {
        self.next_id += 1;
        ConsumerId(self.next_id)
    }

    /// Time passes from one deadline to the next, as it would for a daemon.
    pub(super) fn advance(&mut self, by: Duration) {
        let end = Now { instant: self.now.instant.after(by), wall: self.now.wall.after(by) };
        loop {
            self.dispatch();
            let waits = self.channels.values().filter_map(|channel| self.wait_of(channel));
            let wait = waits.min().unwrap_or(Duration::MAX);
            let next = self.now.instant.after(wait);
            if next > end.instant {
                break;
            }
            self.now = Now { instant: next, wall: self.now.wall.after(wait) };
            self.expire();
        }
        self.now = end;
        self.expire();
    }

    fn wait_of(&self, channel: &Channel<String>) -> Option<Duration> {
        let deadlines = channel.next_deadline();
        let in_flight = deadlines.in_flight.map(|at| at.0.saturating_sub(self.now.instant.0));
        let deferred = deadlines.deferred.map(|at| at.0.saturating_sub(self.now.wall.0).max(0) as u64);
        in_flight.into_iter().chain(deferred).min().map(Duration::from_nanos)
    }

    fn expire(&mut self) {
        for channel in self.channels.values_mut() {
            channel.expire(self.now);
        }
    }

    pub(super) fn dispatch(&mut self) {
        self.missing.clear();
        for (name, channel) in &mut self.channels {
            match channel.dispatch(self.now, &mut self.log) {
                Dispatched::Idle => {}
                Dispatched::Missing { offset } => {
                    self.missing.insert(name.clone(), offset);
                }
                Dispatched::Budget => panic!("scripts are too small to use up a dispatch's budget"),
            }
        }
    }

    /// What a journal does with the progress of every channel.
    pub(super) fn save(&mut self) {
        for (name, channel) in &mut self.channels {
            let Some(saved) = self.journal.get_mut(name) else { continue };
            saved.is_paused = channel.is_paused();
            if channel.has_progress() {
                merge(saved, channel.progress(), &self.log);
            }
        }
    }

    /// The process is killed and starts again: only the log and the journal are left.
    pub(super) fn crash(&mut self) -> Result<(), String> {
        let tail = self.log.tail();
        let topic = self.topic()?;
        let saved = SavedTopic {
            tail,
            visible: topic.visible(),
            is_paused: topic.is_paused(),
            is_ephemeral: topic.is_ephemeral(),
            channels: topic.channels().map(|(name, kind)| (name.to_owned(), kind)).collect(),
        };
        let restored = Topic::restore(saved);
        let visible = restored.visible();
        self.topic = Some(restored);
        self.consumers.clear();
        self.log.inboxes.clear();
        for (name, channel) in &mut self.channels {
            let mut saved = self.journal.get(name).cloned().unwrap_or_default();
            saved.landmarks.extend(self.log.landmarks());
            let is_ephemeral = name.ends_with("#ephemeral");
            *channel = Channel::restore(ChannelRules { is_ephemeral, ..self.rules }, saved, visible);
        }
        Ok(())
    }

    pub(super) fn nothing_unexpected(&self) -> Result<(), String> {
        match self.log.inboxes.iter().find(|(_, inbox)| !inbox.is_empty()) {
            Some((consumer, inbox)) => Err(format!("{consumer} also got {inbox:?}")),
            None => Ok(()),
        }
    }
}

impl Log {
    fn append(&mut self, name: &str, due: Option<WallTime>) {
        let record =
            Record { name: name.to_owned(), seq: self.next_seq, due, is_cold: false, is_damaged: false };
        self.records.push(record);
        self.next_seq += 1;
    }

    pub(super) fn tail(&self) -> Position {
        let ordinal = self.records.len() as u64;
        Position { seq: self.next_seq, offset: ordinal * RECORD, ordinal }
    }

    pub(super) fn position_of(&self, name: &str) -> Option<Position> {
        let ordinal = self.records.iter().position(|record| record.name == name)?;
        let seq = self.records[ordinal].seq;
        Some(Position { seq, offset: ordinal as u64 * RECORD, ordinal: ordinal as u64 })
    }

    pub(super) fn record(&mut self, name: &str) -> Result<&mut Record, String> {
        self.records
            .iter_mut()
            .find(|record| record.name == name)
            .ok_or_else(|| format!("nobody published {name}"))
    }

    /// Damage reaches to the next whole record, and a hole is not told from it.
    fn hole_at(&self, offset: u64) -> Fetched {
        let at = (offset / RECORD) as usize;
        let messages = self.records[at..].iter().take_while(|record| record.is_damaged).count();
        let next_seq = self.records.get(at + messages).map(|record| record.seq);
        Fetched::Lost { next: offset + messages as u64 * RECORD, messages: messages as u64, next_seq }
    }

    /// What a shell knows of its segments: here, where numbers jump and where the log ends.
    fn landmarks(&self) -> Vec<Position> {
        let jumps = (0..self.records.len())
            .filter(|at| *at == 0 || self.records[*at].seq != self.records[*at - 1].seq + 1)
            .map(|at| self.position_from(self.records[at].seq));
        jumps.chain([self.tail()]).collect()
    }

    /// The message at or behind a number, as a log finds the ordinal of a floor.
    fn position_from(&self, seq: u64) -> Position {
        let ordinal = self.records.partition_point(|record| record.seq < seq) as u64;
        Position { seq, offset: ordinal * RECORD, ordinal }
    }
}

impl Outlet<String> for Log {
    fn fetch(&mut self, offset: u64) -> Fetched {
        self.fetched = Some(offset);
        self.fetches += 1;
        let record = &self.records[(offset / RECORD) as usize];
        match record {
            _ if record.is_cold => Fetched::Missing,
            _ if record.is_damaged => self.hole_at(offset),
            _ => Fetched::Message { seq: record.seq, next: offset + RECORD, due: record.due },
        }
    }

    fn deliver(&mut self, to: &String, seq: u64, attempts: u16) -> Room {
        let offset = self.fetched.take().expect("a fetch before each delivery");
        let record = &self.records[(offset / RECORD) as usize];
        assert_eq!(record.seq, seq, "the message last fetched is the one delivered");
        self.inboxes.entry(to.clone()).or_default().push((record.name.clone(), attempts));
        match self.room.get_mut(to) {
            Some(room) => {
                *room -= 1;
                if *room == 0 { Room::Full } else { Room::Left }
            }
            None => Room::Left,
        }
    }

    fn has_room(&mut self, to: &String) -> bool {
        !self.blocked.contains(to) && self.room.get(to) != Some(&0)
    }
}

fn merge(saved: &mut Saved, progress: Progress, log: &Log) {
    saved.floor = log.position_from(progress.floor.0);
    assert_eq!(saved.floor.offset, progress.floor.1, "a floor's number and offset agree");
    saved.finished.extend(progress.finished);
    saved.untouched.extend(progress.untouched);
    saved.landmarks = vec![progress.cursor];
    saved.delivered = progress.delivered;
    let mut pending: BTreeMap<u64, Pending> = saved.pending.iter().map(|entry| (entry.seq, *entry)).collect();
    pending.extend(progress.pending.iter().map(|entry| (entry.seq, *entry)));
    saved.pending = pending.into_values().collect();
}
