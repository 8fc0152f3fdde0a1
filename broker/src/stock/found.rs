//! What a folder holds of stock NSQ: its topics, channels and the files of their queues. Nothing is changed here, and
//! the messages are not read yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use protocol::{ChannelName, TopicName};
use stock::{FileName, Metadata, Place, QueueFiles, QueueName};
use storage::{Disk, StorageError};

use super::error::StockError;

/// The list of topics and channels of stock.
pub(super) const METADATA: &str = "nsqd.dat";
/// What `nsqd.dat` begins with after an import. It is no JSON, so that a stock nsqd stops there.
pub(super) const TAKEN_OVER: &str = "NSQube has taken over the messages of this folder";
/// A file of places is three lines; longer ones are none.
const PLACE_BYTES_MAX: u64 = 4096;

/// The data of a stock nsqd.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By name; those of `nsqd.dat`, and those that only have files.
    pub topics: BTreeMap<TopicName, FoundTopic>,
    /// Every file that is stock's.
    pub files: Vec<String>,
    /// Files named like stock's whose queue cannot be: stock would never read them, they are left alone.
    pub strange: Vec<String>,
    /// Topics and channels that are not taken along: ephemeral ones, and names stock would not take either.
    pub skipped: BTreeSet<String>,
}

/// A topic, and its own queue.
#[derive(Debug, Default)]
pub(super) struct FoundTopic {
    pub queue: FoundQueue,
    pub channels: BTreeMap<ChannelName, FoundQueue>,
}

/// A queue.
#[derive(Debug, Default)]
pub(super) struct FoundQueue {
    pub is_paused: bool,
    /// It is in `nsqd.dat`.
    pub is_listed: bool,
    pub files: QueueFiles,
}

impl Found {
    /// Look into the folder; `nsqd.dat` is passed over if it is known to be ours.
    ///
    /// # Errors
    /// `nsqd.dat` is not what stock writes, or the disk failed.
    pub(super) fn scan(disk: &dyn Disk, folder: &Path, with_metadata: bool) -> Result<Self, StockError> {
        let mut found = Self::default();
        let mut names: Vec<_> = disk.list(folder)?.into_iter().filter(|entry| !entry.is_dir).collect();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in names {
            match FileName::parse(&entry.name) {
                None => {}
                Some(FileName::Litter) => found.files.push(entry.name),
                Some(FileName::Metadata) if !with_metadata => {}
                Some(FileName::Metadata) => {
                    found.add_metadata(disk, folder)?;
                    found.files.push(entry.name);
                }
                Some(FileName::Place(queue)) => {
                    let path = folder.join(&entry.name);
                    let place = if entry.bytes > PLACE_BYTES_MAX { None } else { place(disk, &path)? };
                    found.add_file(entry.name, &queue, |files| files.place = Some(place));
                }
                Some(FileName::Data(queue, number)) => {
                    found.add_file(entry.name, &queue, |files| files.data.extend([(number, entry.bytes)]));
                }
                Some(FileName::Bad(queue, number)) => {
                    found.add_file(entry.name, &queue, |files| files.bad.extend([(number, entry.bytes)]));
                }
            }
        }
        Ok(found)
    }

    /// The files that make this the folder of a stock nsqd; half-written ones alone do not.
    pub(super) fn evidence(&self) -> Option<&str> {
        let is_evidence = |name: &&String| FileName::parse(name) != Some(FileName::Litter);
        self.files.iter().find(is_evidence).map(String::as_str)
    }

    fn add_metadata(&mut self, disk: &dyn Disk, folder: &Path) -> Result<(), StockError> {
        let path = folder.join(METADATA);
        let bytes = read_all(disk, &path)?;
        let metadata = Metadata::parse(&bytes).map_err(|why| StockError::Metadata { path, why })?;
        for topic in metadata.topics {
            let name = match TopicName::new(&topic.name) {
                Ok(name) if !name.is_ephemeral() => name,
                _ => {
                    self.skipped.insert(topic.name);
                    continue;
                }
            };
            let found = self.topics.entry(name).or_default();
            found.queue.is_listed = true;
            found.queue.is_paused |= topic.paused;
            for channel in topic.channels {
                match ChannelName::new(&channel.name) {
                    Ok(name) if !name.is_ephemeral() => {
                        let found = found.channels.entry(name).or_default();
                        found.is_listed = true;
                        found.is_paused |= channel.paused;
                    }
                    _ => drop(self.skipped.insert(format!("{}:{}", topic.name, channel.name))),
                }
            }
        }
        Ok(())
    }

    fn add_file(&mut self, name: String, queue: &QueueName, add: impl FnOnce(&mut QueueFiles)) {
        let topic = TopicName::new(&queue.topic);
        let channel = queue.channel.as_deref().map(ChannelName::new).transpose();
        let (Ok(topic), Ok(channel)) = (topic, channel) else {
            self.strange.push(name);
            return;
        };
        self.files.push(name);
        if topic.is_ephemeral() || channel.as_ref().is_some_and(ChannelName::is_ephemeral) {
            self.skipped.insert(queue.to_string());
            return;
        }
        let topic = self.topics.entry(topic).or_default();
        match channel {
            None => add(&mut topic.queue.files),
            Some(channel) => add(&mut topic.channels.entry(channel).or_default().files),
        }
    }
}

/// Whether `nsqd.dat` is there, and holds our sentence instead of stock's list.
pub(super) fn is_taken_over(disk: &dyn Disk, folder: &Path) -> Result<bool, StorageError> {
    let path = folder.join(METADATA);
    if !disk.exists(&path)? {
        return Ok(false);
    }
    let mut begin = [0; TAKEN_OVER.len()];
    let filled = read(disk, &path, &mut begin)?;
    Ok(begin.get(..filled) == Some(TAKEN_OVER.as_bytes()))
}

/// A whole file, which must be a small one.
pub(super) fn read_all(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, StorageError> {
    let length = usize::try_from(disk.open(path)?.len()?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let filled = read(disk, path, &mut bytes)?;
    bytes.truncate(filled);
    Ok(bytes)
}

fn read(disk: &dyn Disk, path: &Path, to: &mut [u8]) -> Result<usize, StorageError> {
    let file = disk.open(path)?;
    let mut filled = 0;
    while let Some(rest) = to.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}

fn place(disk: &dyn Disk, path: &Path) -> Result<Option<Place>, StorageError> {
    Ok(Place::parse(&read_all(disk, path)?))
}
