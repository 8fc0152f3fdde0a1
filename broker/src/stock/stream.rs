//! The messages of one queue, file after file, and the count of what was read and what could not be.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stock::{FileName, Message, Part, QueueName, Records, Source};
use storage::{Disk, File, StorageError};

use super::merge::Messages;
use super::report::Tally;

/// A queue being read.
#[derive(Debug)]
pub(super) struct Stream {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    queue: QueueName,
    parts: VecDeque<Part>,
    current: Option<(Records<Opened>, Part)>,
    window: usize,
    tally: Tally,
}

/// An open file.
#[derive(Debug)]
struct Opened(Arc<dyn File>);

impl Source for Opened {
    type Error = StorageError;

    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize, StorageError> {
        self.0.read_at(buffer, at)
    }
}

impl Stream {
    /// Read these parts of a queue's files, about `window` bytes at a time.
    pub(super) fn new(
        disk: &Arc<dyn Disk>,
        folder: &Path,
        queue: QueueName,
        parts: Vec<Part>,
        window: usize,
    ) -> Self {
        let (disk, folder, parts) = (Arc::clone(disk), folder.to_owned(), parts.into());
        Self { disk, folder, queue, parts, current: None, window, tally: Tally::default() }
    }

    /// What was read so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    fn open(&self, part: Part) -> Result<(Records<Opened>, Part), StorageError> {
        let name = match part.is_bad {
            true => FileName::Bad(self.queue.clone(), part.number),
            false => FileName::Data(self.queue.clone(), part.number),
        };
        let file = self.disk.open(&self.folder.join(name.to_string()))?;
        Ok((Records::new(Opened(file), part.from, part.file_bytes, self.window), part))
    }
}

impl Messages for Stream {
    fn read_next(&mut self) -> Result<Option<Message>, StorageError> {
        loop {
            let (mut records, part) = match self.current.take() {
                Some(current) => current,
                None => match self.parts.pop_front() {
                    Some(part) => self.open(part)?,
                    None => return Ok(None),
                },
            };
            if let Some(message) = records.read_next()? {
                self.tally.messages += 1;
                self.tally.body_bytes += message.body.len() as u64;
                self.tally.body_bytes_max = self.tally.body_bytes_max.max(message.body.len() as u64);
                self.current = Some((records, part));
                return Ok(Some(message));
            }
            let damage = records.damage();
            self.tally.files += 1;
            self.tally.damaged_places += damage.places;
            self.tally.damaged_bytes += damage.bytes;
            match part.is_last {
                true => self.tally.torn_bytes += damage.tail_bytes,
                false => {
                    self.tally.damaged_places += u64::from(damage.tail_bytes > 0);
                    self.tally.damaged_bytes += damage.tail_bytes;
                }
            }
        }
    }
}
