//! What is published: commands made beforehand, so that the generator only sends. Bodies are like the lines of a log:
//! words that come again, figures that do not. Compression then has something to do, and not everything.

use std::fmt::Write as _;

use protocol::{Command, Messages};

/// A connection repeats at least so many commands: 8 of 20 kB are more than deflate remembers (32 KiB), or it would
/// find each body in the one before.
const COMMANDS_MIN: usize = 8;

/// Commands for one connection, repeated for ever.
#[derive(Debug)]
pub(super) struct Script {
    bytes: Vec<u8>,
    /// Where each begins, and where the last ends.
    starts: Vec<usize>,
    /// How many there are before they come again.
    period: usize,
    next: usize,
}

impl Script {
    /// PUBs, or MPUBs when `batch` is more than 1, of bodies of `size` bytes, to `topics` topics in turn beginning
    /// with the one of number `first`. At most `unanswered` are taken at a time.
    pub(super) fn new(topics: usize, first: usize, batch: usize, size: usize, unanswered: usize) -> Self {
        let period = COMMANDS_MIN.max(2 * unanswered).next_multiple_of(topics.max(1));
        let mut bodies = Bodies::new(first as u64);
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for number in 0..period {
            starts.push(bytes.len());
            let topic = topic_name((first + number) % topics.max(1));
            bodies.command(&topic, batch, size, &mut bytes);
        }
        // The beginning once more, so that what is taken across the end is in one piece too.
        let (whole, mut again) = (bytes.len(), Vec::new());
        for number in 0..unanswered {
            let (Some(start), Some(end)) = (starts.get(number), starts.get(number + 1)) else { break };
            again.push(whole + start);
            bytes.extend_from_within(*start..*end);
        }
        starts.extend(again);
        starts.push(bytes.len());
        Self { bytes, starts, period, next: 0 }
    }

    /// The next `count` commands.
    pub(super) fn take(&mut self, count: usize) -> &[u8] {
        let (start, end) = (self.starts.get(self.next), self.starts.get(self.next + count));
        self.next = (self.next + count) % self.period;
        let range = start.zip(end).map(|(start, end)| *start..*end);
        range.and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }
}

/// The work's topic of that number.
pub(super) fn topic_name(number: usize) -> String {
    format!("bench{number}")
}

/// Makes bodies, the same ones in every run.
#[derive(Debug)]
struct Bodies {
    chance: u64,
}

impl Bodies {
    fn new(seed: u64) -> Self {
        Self { chance: 0x9e37_79b9_7f4a_7c15 ^ seed }
    }

    fn command(&mut self, topic: &str, batch: usize, size: usize, out: &mut Vec<u8>) {
        if batch == 1 {
            Command::Publish { topic, body: self.body(size).as_bytes() }.encode(out);
            return;
        }
        let bodies: Vec<String> = (0..batch).map(|_| self.body(size)).collect();
        let mut packed = Vec::new();
        let messages = Messages::pack(&mut packed, bodies.iter().map(String::as_bytes));
        Command::MultiPublish { topic, messages }.encode(out);
    }

    fn body(&mut self, size: usize) -> String {
        let mut text = String::with_capacity(size + 128);
        while text.len() < size {
            let (user, item) = (self.random() >> 32, self.random() % 100_000);
            let (took, status) = (self.random() % 1000, 200 + self.random() % 8);
            // A String takes whatever is written.
            let _ = write!(
                text,
                r#"{{"user":"{user:08x}","path":"/v1/items/{item}","status":{status},"ms":{took},"agent":"web"}}"#
            );
        }
        text.truncate(size);
        text
    }

    /// Xorshift: good enough for bodies, and no dependency.
    fn random(&mut self) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gives_its_topics_in_turn_and_begins_again() {
        let mut script = Script::new(3, 1, 1, 20, 4);
        let mut topics = Vec::new();
        for count in [4, 1, 4, 2, 4] {
            let taken = String::from_utf8_lossy(script.take(count)).into_owned();
            topics.extend(taken.split("PUB bench").skip(1).map(|command| command[..1].to_owned()));
        }
        assert_eq!(topics.concat(), "120120120120120");
    }

    #[test]
    fn bodies_have_their_size_and_differ() {
        let mut bodies = Bodies::new(1);
        let made: Vec<String> = [100, 100, 1, 5000].map(|size| bodies.body(size)).to_vec();
        assert_eq!(made.iter().map(String::len).collect::<Vec<_>>(), [100, 100, 1, 5000]);
        assert_ne!(made[0], made[1]);
    }
}
