//! A history put in order: publishes by key, connections by number, what was done to each message side by side.
//! What of it is allowed is not known here.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Event, History, NO_CHANNEL, Op};

/// A PUB, DPUB or MPUB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) topic: u8,
    pub(super) conn: u32,
    pub(super) at: u64,
    pub(super) delay: u64,
    pub(super) acked: Option<u64>,
    pub(super) is_refused: bool,
}

/// How a life of the broker ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) at: u64,
    pub(super) is_crash: bool,
}

/// What is known of one connection.
#[derive(Debug, Default)]
pub(super) struct Conn {
    pub(super) life: u64,
    pub(super) channel: u8,
    pub(super) timeout: u64,
    /// Not before the first, and by the second.
    pub(super) ended: Option<(u64, u64)>,
    /// When something was sent, and when we knew that the broker had processed all before it. Both rise.
    proofs: Vec<(u64, u64)>,
    close_wait: Option<(u64, u64)>,
    /// When a command on a message was refused last, and how often.
    failed: HashMap<(Op, u64), (u64, usize)>,
}

impl Conn {
    /// When we knew that a command sent at `at` was processed.
    pub(super) fn processed_by(&self, at: u64) -> Option<u64> {
        let from = self.proofs.partition_point(|(sent, _)| *sent < at);
        self.proofs.get(from).map(|(_, answered)| *answered)
    }

    /// When the CLOSE_WAIT came that makes a FIN sent at `at` durable.
    pub(super) fn barrier_of(&self, at: u64) -> Option<u64> {
        self.close_wait.filter(|(sent, _)| at <= *sent).map(|(_, answered)| answered)
    }

    /// Whether a command sent at `at` was answered with its error.
    pub(super) fn has_failed(&self, op: Op, id: u64, at: u64) -> bool {
        self.failed.get(&(op, id)).is_some_and(|(last, _)| *last >= at)
    }

    /// How many commands on a message were answered with their error.
    pub(super) fn failures(&self, op: Op, id: u64) -> usize {
        self.failed.get(&(op, id)).map_or(0, |(_, count)| *count)
    }
}

/// The whole round.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) history: &'a History,
    /// By key; they do not overlap.
    pub(super) batches: Vec<Batch>,
    /// Deliveries and answers to them, by key, channel and time.
    pub(super) items: Vec<Event>,
    pub(super) conns: HashMap<u32, Conn>,
    /// From when on what is published is owed to each channel.
    pub(super) made: Vec<Option<u64>>,
    pub(super) ends: BTreeMap<u64, End>,
    /// When the broker began to answer.
    pub(super) readies: Vec<u64>,
    /// The first connection that subscribed to a channel in a life.
    pub(super) first_conns: HashMap<(u8, u64), u32>,
}

impl<'a> Facts<'a> {
    pub(super) fn gather(history: &'a History) -> Self {
        let mut facts = Self {
            history,
            batches: Vec::new(),
            items: Vec::new(),
            conns: HashMap::new(),
            made: vec![None; history.channels.len()],
            ends: BTreeMap::new(),
            readies: Vec::new(),
            first_conns: HashMap::new(),
        };
        let mut answers = HashMap::new();
        for event in &history.events {
            facts.note(event, &mut answers);
        }
        facts.batches.sort_unstable_by_key(|batch| batch.first);
        for batch in &mut facts.batches {
            match answers.get(&batch.first) {
                Some((Op::Acked, at)) => batch.acked = Some(*at),
                Some(_) => batch.is_refused = true,
                None => {}
            }
        }
        facts.items.sort_unstable_by_key(|item| (item.key, item.channel, item.at));
        facts.readies.sort_unstable();
        facts
    }

    fn note(&mut self, event: &Event, answers: &mut HashMap<u64, (Op, u64)>) {
        match event.op {
            Op::Publish => self.batches.push(Batch {
                first: event.key,
                count: event.arg.max(1),
                topic: event.channel,
                conn: event.conn,
                at: event.at,
                delay: event.id,
                acked: None,
                is_refused: false,
            }),
            Op::Acked | Op::Refused => {
                answers.insert(event.key, (event.op, event.at));
            }
            Op::Delivered | Op::Corrupt | Op::Finish | Op::Requeue | Op::Touch => self.items.push(*event),
            Op::FinishFailed | Op::RequeueFailed | Op::TouchFailed => {
                let conn = self.conns.entry(event.conn).or_default();
                let (last, count) = conn.failed.entry((event.op, event.id)).or_default();
                (*last, *count) = (event.at, *count + 1);
            }
            Op::Opened => self.note_opened(event),
            Op::Ended => self.conns.entry(event.conn).or_default().ended = Some((event.since, event.at)),
            Op::Fence => self.conns.entry(event.conn).or_default().proofs.push((event.since, event.at)),
            Op::CloseWait => {
                let conn = self.conns.entry(event.conn).or_default();
                conn.proofs.push((event.since, event.at));
                conn.close_wait = Some((event.since, event.at));
            }
            Op::ChannelMade => {
                if let Some(made) = self.made.get_mut(usize::from(event.channel)) {
                    *made = Some(made.map_or(event.at, |known| known.min(event.at)));
                }
            }
            Op::Ready => self.readies.push(event.at),
            Op::Crash | Op::Stop => {
                self.ends.insert(event.key, End { at: event.at, is_crash: event.op == Op::Crash });
            }
        }
    }

    fn note_opened(&mut self, event: &Event) {
        let conn = self.conns.entry(event.conn).or_default();
        conn.life = event.key;
        conn.channel = event.channel;
        conn.timeout = event.arg;
        if event.channel != NO_CHANNEL {
            let first = self.first_conns.entry((event.channel, event.key)).or_insert(event.conn);
            *first = (*first).min(event.conn);
        }
    }

    /// The channels of a topic that what is published at `at` is owed to.
    pub(super) fn owed(&self, topic: u8, at: u64) -> impl Iterator<Item = u8> {
        let channels = self.history.channels.iter().zip(&self.made).zip(0_u8..);
        channels.filter_map(move |((channel, made), index)| {
            (channel.topic == topic && made.is_some_and(|made| made < at)).then_some(index)
        })
    }

    /// The topic of a channel; none if there is no such channel.
    pub(super) fn topic_of(&self, channel: u8) -> Option<u8> {
        self.history.channels.get(usize::from(channel)).map(|channel| channel.topic)
    }

    /// The end of this life or, if we do not know it, of the next one whose end we know.
    pub(super) fn end_from(&self, life: u64) -> Option<End> {
        self.ends.range(life..).next().map(|(_, end)| *end)
    }

    /// Whether any life from this one to before the other ended with a crash.
    pub(super) fn crashed_between(&self, from: u64, to: u64) -> bool {
        self.ends.range(from..to).any(|(_, end)| end.is_crash)
    }

    /// When the broker last began to answer before `at`.
    pub(super) fn ready_before(&self, at: u64) -> u64 {
        let after = self.readies.partition_point(|ready| *ready <= at);
        after.checked_sub(1).and_then(|last| self.readies.get(last)).copied().unwrap_or(0)
    }
}
