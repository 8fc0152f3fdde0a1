//! What the files in a data directory of stock NSQ are called. Whether a topic or channel may have such a name is
//! not judged here.

use std::fmt;

const INFIX: &str = ".diskqueue.";
const NUMBER_DIGITS: usize = 6;

/// The queue of a topic, or of one of its channels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueName {
    /// The topic.
    pub topic: String,
    /// The channel; `None` for the topic's own queue.
    pub channel: Option<String>,
}

/// A file of stock NSQ, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileName {
    /// The list of topics and channels.
    Metadata,
    /// How far a queue was read and written.
    Place(QueueName),
    /// Records of a queue.
    Data(QueueName, u64),
    /// Records of a queue that stock gave up.
    Bad(QueueName, u64),
    /// Half-written versions of other files.
    Litter,
}

impl FileName {
    /// What the file of this name is; `None` if it is none of stock NSQ's.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "nsqd.dat" {
            return Some(Self::Metadata);
        }
        if is_metadata_litter(name) {
            return Some(Self::Litter);
        }
        // The last one: a topic may be called `a.diskqueue.b`.
        let (queue, rest) = name.rsplit_once(INFIX)?;
        if rest == "meta.dat" {
            return Some(Self::Place(QueueName::parse(queue)?));
        }
        if let Some(random) = rest.strip_prefix("meta.dat.").and_then(|rest| rest.strip_suffix(".tmp")) {
            return is_number(random).then_some(Self::Litter);
        }
        if let Some(number) = rest.strip_suffix(".dat.bad") {
            return Some(Self::Bad(QueueName::parse(queue)?, file_number(number)?));
        }
        Some(Self::Data(QueueName::parse(queue)?, file_number(rest.strip_suffix(".dat")?)?))
    }
}

impl fmt::Display for FileName {
    /// As stock writes it; litter has no name of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata => f.write_str("nsqd.dat"),
            Self::Place(queue) => write!(f, "{queue}{INFIX}meta.dat"),
            Self::Data(queue, number) => write!(f, "{queue}{INFIX}{number:0NUMBER_DIGITS$}.dat"),
            Self::Bad(queue, number) => write!(f, "{queue}{INFIX}{number:0NUMBER_DIGITS$}.dat.bad"),
            Self::Litter => f.write_str("(temporary)"),
        }
    }
}

impl QueueName {
    fn parse(name: &str) -> Option<Self> {
        let (topic, channel) = match name.split_once(':') {
            Some((topic, channel)) => (topic, Some(channel)),
            None => (name, None),
        };
        let is_named = !topic.is_empty() && channel != Some("");
        is_named.then(|| Self { topic: topic.to_owned(), channel: channel.map(str::to_owned) })
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.topic)?;
        self.channel.iter().try_for_each(|channel| write!(f, ":{channel}"))
    }
}

/// `nsqd.dat.<number>.tmp`, and the `nsqd.<id>.dat` that versions before 1.0 left beside it.
fn is_metadata_litter(name: &str) -> bool {
    let unfinished = name.strip_prefix("nsqd.dat.").and_then(|rest| rest.strip_suffix(".tmp"));
    let old = name.strip_prefix("nsqd.").and_then(|rest| rest.strip_suffix(".dat"));
    unfinished.into_iter().chain(old).any(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Six digits, or more where there were more files.
fn file_number(digits: &str) -> Option<u64> {
    let is_plain = is_number(digits) && digits.len() >= NUMBER_DIGITS;
    let is_padded = digits.len() > NUMBER_DIGITS && digits.starts_with('0');
    if is_plain && !is_padded { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(topic: &str, channel: &str) -> QueueName {
        let channel = (!channel.is_empty()).then(|| channel.to_owned());
        QueueName { topic: topic.to_owned(), channel }
    }

    #[test]
    fn a_name_tells_what_the_file_is_and_is_written_the_same() {
        for (name, file) in [
            ("nsqd.dat", FileName::Metadata),
            ("t.diskqueue.meta.dat", FileName::Place(queue("t", ""))),
            ("t:c.diskqueue.meta.dat", FileName::Place(queue("t", "c"))),
            ("t.diskqueue.000000.dat", FileName::Data(queue("t", ""), 0)),
            ("a.b:c-1.diskqueue.000012.dat", FileName::Data(queue("a.b", "c-1"), 12)),
            ("t.diskqueue.1234567.dat", FileName::Data(queue("t", ""), 1_234_567)),
            ("t:c.diskqueue.000003.dat.bad", FileName::Bad(queue("t", "c"), 3)),
            ("a.diskqueue.b.diskqueue.000001.dat", FileName::Data(queue("a.diskqueue.b", ""), 1)),
        ] {
            assert_eq!(FileName::parse(name).as_ref(), Some(&file), "{name}");
            assert_eq!(file.to_string(), name);
        }
    }

    #[test]
    fn half_written_files_are_litter_and_others_are_not_stock() {
        for name in ["nsqd.dat.123.tmp", "t:c.diskqueue.meta.dat.99.tmp", "nsqd.812.dat"] {
            assert_eq!(FileName::parse(name), Some(FileName::Litter), "{name}");
        }
        for name in [
            "nsqd.data",
            "nsqd..dat",
            "notes.txt",
            "t.diskqueue.0.dat",
            "t.diskqueue.0000001.dat",
            "t.diskqueue.00000x.dat",
            "t.diskqueue.99999999999999999999999.dat",
            ".diskqueue.000000.dat",
            "t:.diskqueue.000000.dat",
            "t.diskqueue.meta.dat.x.tmp",
            "t.diskqueue.meta.dat.bad",
            "topics",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
