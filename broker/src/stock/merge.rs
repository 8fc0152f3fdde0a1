//! The queues of a topic's channels, read side by side in the order of their ids: a message that several of them hold
//! comes once, with all of its owners. The files are sorted but for what came late (requeued, in flight at the end), so
//! a window of bounded size is enough; a message that misses it comes once more, for the channel that had it late.

use std::collections::{BTreeMap, BTreeSet};

use stock::Message;
use storage::StorageError;

/// Something messages are read from.
pub(super) trait Messages {
    /// The next message.
    fn read_next(&mut self) -> Result<Option<Message>, StorageError>;
}

/// How far to look ahead in each queue: as many messages at most, and as many bytes of bodies, but always one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub messages: usize,
    pub bytes: usize,
}

/// One message, and who is owed it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Merged {
    pub message: Message,
    /// The numbers of the queues that hold it, and how often each had delivered it.
    pub owners: Vec<(usize, u16)>,
}

/// Several queues, read as one.
#[derive(Debug)]
pub(super) struct Merge<M> {
    lanes: Vec<Lane<M>>,
    /// The first message of every lane that has one.
    heads: BTreeSet<(Key, usize)>,
    window: Window,
    is_started: bool,
}

/// The order of messages: by id, then as they came.
type Key = ([u8; 16], u64);

#[derive(Debug)]
struct Lane<M> {
    source: M,
    ahead: BTreeMap<Key, Message>,
    bytes: usize,
    arrivals: u64,
    is_at_end: bool,
}

impl<M: Messages> Merge<M> {
    /// Read `sources`, each within its own window.
    pub(super) fn new(sources: Vec<M>, window: Window) -> Self {
        let lanes = sources
            .into_iter()
            .map(|source| Lane { source, ahead: BTreeMap::new(), bytes: 0, arrivals: 0, is_at_end: false })
            .collect();
        Self { lanes, heads: BTreeSet::new(), window, is_started: false }
    }

    /// The next message in the order of ids.
    pub(super) fn read_next(&mut self) -> Result<Option<Merged>, StorageError> {
        if !self.is_started {
            self.is_started = true;
            (0..self.lanes.len()).try_for_each(|lane| self.refill(lane))?;
        }
        let Some(((id, arrival), first)) = self.heads.pop_first() else { return Ok(None) };
        let Some(message) = self.lanes.get_mut(first).and_then(|lane| lane.take(&(id, arrival))) else {
            return Ok(None);
        };
        let mut owners = vec![(first, message.attempts)];
        let same_id = ((id, 0), 0)..=((id, u64::MAX), usize::MAX);
        let others: Vec<(Key, usize)> = self.heads.range(same_id).copied().collect();
        for (key, number) in others {
            let Some(lane) = self.lanes.get_mut(number) else { continue };
            // Ids repeat when a clock was set back: only what is the same altogether is the same message.
            let is_same = lane.ahead.get(&key).is_some_and(|other| is_same(other, &message));
            if let Some(other) = is_same.then(|| lane.take(&key)).flatten() {
                self.heads.remove(&(key, number));
                owners.push((number, other.attempts));
            }
        }
        owners.iter().try_for_each(|(number, _)| self.refill(*number))?;
        Ok(Some(Merged { message, owners }))
    }

    /// The queues, when all is read.
    pub(super) fn into_sources(self) -> Vec<M> {
        self.lanes.into_iter().map(|lane| lane.source).collect()
    }

    /// Fill a lane's window, and note its first message; what was noted of it before was taken.
    fn refill(&mut self, number: usize) -> Result<(), StorageError> {
        let Some(lane) = self.lanes.get_mut(number) else { return Ok(()) };
        lane.fill(self.window)?;
        if let Some((key, _)) = lane.ahead.first_key_value() {
            self.heads.insert((*key, number));
        }
        Ok(())
    }
}

impl<M: Messages> Lane<M> {
    fn fill(&mut self, window: Window) -> Result<(), StorageError> {
        while !self.is_at_end
            && (self.ahead.is_empty() || (self.ahead.len() < window.messages && self.bytes < window.bytes))
        {
            match self.source.read_next()? {
                None => self.is_at_end = true,
                Some(message) => {
                    self.bytes += message.body.len();
                    self.arrivals += 1;
                    self.ahead.insert((message.id, self.arrivals), message);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, key: &Key) -> Option<Message> {
        let message = self.ahead.remove(key)?;
        self.bytes -= message.body.len();
        Some(message)
    }
}

fn is_same(a: &Message, b: &Message) -> bool {
    a.timestamp_ns == b.timestamp_ns && a.body == b.body
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Messages for std::vec::IntoIter<Message> {
        fn read_next(&mut self) -> Result<Option<Message>, StorageError> {
            Ok(self.next())
        }
    }

    fn message(number: u64) -> Message {
        let mut id = [0; 16];
        id.copy_from_slice(format!("{number:016x}").as_bytes());
        Message { timestamp_ns: 1, attempts: 0, id, body: number.to_string().into_bytes() }
    }

    fn lane(numbers: impl IntoIterator<Item = u64>) -> std::vec::IntoIter<Message> {
        numbers.into_iter().map(message).collect::<Vec<_>>().into_iter()
    }

    /// Bodies with their owners, in order.
    fn merged(lanes: Vec<std::vec::IntoIter<Message>>, messages: usize) -> Vec<(String, Vec<usize>)> {
        let mut merge = Merge::new(lanes, Window { messages, bytes: 1 << 20 });
        let mut all = Vec::new();
        while let Some(merged) = merge.read_next().unwrap() {
            let mut owners: Vec<usize> = merged.owners.iter().map(|(lane, _)| *lane).collect();
            owners.sort_unstable();
            all.push((String::from_utf8(merged.message.body).unwrap(), owners));
        }
        all
    }

    #[test]
    fn a_message_of_several_channels_comes_once_and_in_order() {
        let all = merged(vec![lane(3..9), lane([]), lane([1, 5, 20]), lane(0..4)], 2);
        let expected = [
            ("0", vec![3]),
            ("1", vec![2, 3]),
            ("2", vec![3]),
            ("3", vec![0, 3]),
            ("4", vec![0]),
            ("5", vec![0, 2]),
            ("6", vec![0]),
            ("7", vec![0]),
            ("8", vec![0]),
            ("20", vec![2]),
        ];
        assert_eq!(all, expected.map(|(body, owners)| (body.to_owned(), owners)));
    }

    #[test]
    fn disorder_within_the_window_costs_nothing_and_beyond_it_a_second_copy() {
        let late = || (5..100).chain(0..5);
        assert_eq!(merged(vec![lane(late()), lane(late())], 100).len(), 100);
        assert_eq!(merged(vec![lane(late()), lane(late())], 3).len(), 100, "the same disorder in both");
        let all = merged(vec![lane(late()), lane(0..100)], 3);
        assert_eq!(all.len(), 105);
        for channel in 0..2 {
            let owned = all.iter().filter(|(_, owners)| owners.contains(&channel)).count();
            assert_eq!(owned, 100, "channel {channel} is owed each message once");
        }
    }

    #[test]
    fn different_messages_with_one_id_stay_two() {
        let mut other = message(1);
        other.body = b"other".to_vec();
        let all = merged(vec![lane([1, 2]), vec![other, message(2)].into_iter()], 9);
        assert_eq!(all.len(), 3);
        assert_eq!(all[2], ("2".to_owned(), vec![0, 1]));
        let twice = merged(vec![lane([1, 1, 2])], 9);
        assert_eq!(twice.len(), 3, "what one queue holds twice is owed twice");
    }

    #[test]
    fn the_window_never_holds_more_than_it_may() {
        let mut merge = Merge::new(vec![lane(0..500), lane(250..600)], Window { messages: 10, bytes: 12 });
        while merge.read_next().unwrap().is_some() {
            for lane in &merge.lanes {
                assert!(lane.ahead.len() <= 10 && lane.bytes < 12 + 3);
            }
        }
    }
}
