//! The rules of a topic: how much of its log the channels may see, and where a new channel begins.
//! The log's bytes and the channels themselves are the shell's.

use std::collections::BTreeMap;

use crate::position::Position;

/// A topic as its channels see it. `visible` is how far fan-out has come: it stands still while the topic is paused or
/// has no channel, and otherwise is the tail.
///
/// ```text
///   log   ----------------|-----------------|
///                         visible           tail
///         given to every  | the topic's own |
///         channel         | depth           |
/// ```
#[derive(Debug)]
pub struct Topic {
    tail: Position,
    visible: Position,
    is_paused: bool,
    is_ephemeral: bool,
    message_count: u64,
    message_bytes: u64,
    channels: BTreeMap<String, bool>,
}

/// What the journal and the log know of a topic at a restart.
#[derive(Clone, Debug, Default)]
pub struct SavedTopic {
    /// Behind the last message of the log.
    pub tail: Position,
    /// Where fan-out stood. Only matters if the topic is paused or has no channel.
    pub visible: Position,
    /// Fan-out stands still until somebody unpauses the topic.
    pub is_paused: bool,
    /// Deleted with its last channel.
    pub is_ephemeral: bool,
    /// Names of the channels, and whether each is ephemeral.
    pub channels: Vec<(String, bool)>,
}

/// What follows from the removal of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The topic has no channel any more: from now on it keeps its messages.
    pub was_last: bool,
    /// The topic is ephemeral and lost its last channel: delete it.
    pub delete_topic: bool,
}

impl Topic {
    /// A topic without channels whose log is at `tail`.
    #[must_use]
    pub fn new(is_ephemeral: bool, tail: Position) -> Self {
        Self::restore(SavedTopic { tail, visible: tail, is_ephemeral, ..SavedTopic::default() })
    }

    /// A topic as it was before a restart. Counters begin at zero, as with Go nsqd.
    #[must_use]
    pub fn restore(saved: SavedTopic) -> Self {
        let mut topic = Self {
            tail: saved.tail,
            visible: saved.visible.min(saved.tail),
            is_paused: saved.is_paused,
            is_ephemeral: saved.is_ephemeral,
            message_count: 0,
            message_bytes: 0,
            channels: saved.channels.into_iter().collect(),
        };
        topic.fan_out();
        topic
    }

    /// Messages were appended and the log now ends at `tail_after`. Gives what the channels may see now, if that is
    /// more than before.
    pub fn publish(&mut self, tail_after: Position, bytes: u64) -> Option<Position> {
        self.message_count += tail_after.ordinal.saturating_sub(self.tail.ordinal);
        self.message_bytes += bytes;
        self.tail = self.tail.max(tail_after);
        self.fan_out()
    }

    /// Fan-out stops; publishing goes on.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Fan-out goes on. Gives what the channels may see now, if that is more than before.
    pub fn unpause(&mut self) -> Option<Position> {
        self.is_paused = false;
        self.fan_out()
    }

    /// Whether fan-out is stopped.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Add a channel; gives where it starts. The first one starts where the last one ended and so takes over the
    /// whole backlog, later ones get only what comes. Afterwards [`Topic::visible`] may have moved: extend the channel.
    pub fn add_channel(&mut self, name: &str, is_ephemeral: bool) -> Position {
        let start = self.visible;
        self.channels.insert(name.to_owned(), is_ephemeral);
        self.fan_out();
        start
    }

    /// Remove a channel. An unknown name changes nothing.
    pub fn remove_channel(&mut self, name: &str) -> Removed {
        let existed = self.channels.remove(name).is_some();
        let was_last = existed && self.channels.is_empty();
        Removed { was_last, delete_topic: was_last && self.is_ephemeral }
    }

    /// Forget what has not reached the channels; their own backlogs stay. Gives the hole that every existing channel
    /// must skip, or nothing if the topic was empty.
    pub fn empty(&mut self) -> Option<(Position, Position)> {
        let hole = (self.visible, self.tail);
        self.visible = self.tail;
        (hole.0.offset < hole.1.offset).then_some(hole)
    }

    /// Messages that have not reached the channels.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.tail.ordinal.saturating_sub(self.visible.ordinal)
    }

    /// Behind the last published message.
    #[must_use]
    pub fn tail(&self) -> Position {
        self.tail
    }

    /// How far fan-out has come.
    #[must_use]
    pub fn visible(&self) -> Position {
        self.visible
    }

    /// Whether the topic goes with its last channel. One that never had a channel stays.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.is_ephemeral
    }

    /// Messages published since the start of the process.
    #[must_use]
    pub fn message_count(&self) -> u64 {
        self.message_count
    }

    /// Bytes of bodies published since the start of the process.
    #[must_use]
    pub fn message_bytes(&self) -> u64 {
        self.message_bytes
    }

    /// Names of the channels in order, and whether each is ephemeral.
    pub fn channels(&self) -> impl Iterator<Item = (&str, bool)> {
        self.channels.iter().map(|(name, is_ephemeral)| (name.as_str(), *is_ephemeral))
    }

    fn fan_out(&mut self) -> Option<Position> {
        if self.is_paused || self.channels.is_empty() || self.visible == self.tail {
            return None;
        }
        self.visible = self.tail;
        Some(self.visible)
    }
}
