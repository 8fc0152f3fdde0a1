//! Writes one queue as stock's go-diskqueue does: records, new files in time, at the end the note of places.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::MessageHead;
use stock::{FileName, QueueName, Roll, encode_record};
use storage::{Disk, File, StorageError};

/// Records that are written together.
const BUFFER_BYTES: usize = 64 << 10;

/// A queue being written.
#[derive(Debug)]
pub(super) struct QueueWriter {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    name: QueueName,
    roll: Roll,
    file: Option<Arc<dyn File>>,
    /// Where in the file the buffer goes.
    written: u64,
    buffer: Vec<u8>,
    pub messages: u64,
    pub files: u64,
}

impl QueueWriter {
    /// Write into `folder`, where there must be no such queue.
    pub(super) fn new(disk: &Arc<dyn Disk>, folder: &Path, name: QueueName, file_bytes_max: u64) -> Self {
        Self {
            disk: Arc::clone(disk),
            folder: folder.to_owned(),
            name,
            roll: Roll::new(file_bytes_max),
            file: None,
            written: 0,
            buffer: Vec::new(),
            messages: 0,
            files: 0,
        }
    }

    /// Add a message that was delivered `attempts` times.
    pub(super) fn put(&mut self, head: &MessageHead, attempts: u16, body: &[u8]) -> Result<(), StorageError> {
        if self.roll.put(stock::record_bytes(body.len())) {
            self.end_file()?;
            let number = self.roll.place().write_file;
            let path = self.folder.join(FileName::Data(self.name.clone(), number).to_string());
            self.file = Some(self.disk.create(&path)?);
            self.files += 1;
        }
        // No record of ours is longer than a length of stock's can say.
        let _fits = encode_record(&mut self.buffer, head.timestamp_ns, attempts, head.id.as_bytes(), body);
        self.messages += 1;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Write what is left, and where reading and writing go on. An empty queue has no files, as with stock.
    pub(super) fn close(&mut self) -> Result<(), StorageError> {
        self.end_file()?;
        if self.files == 0 {
            return Ok(());
        }
        let path = self.folder.join(FileName::Place(self.name.clone()).to_string());
        let file = self.disk.create(&path)?;
        file.write_at(self.roll.place().to_string().as_bytes(), 0)?;
        file.sync_data()
    }

    /// The queue's name.
    pub(super) fn name(&self) -> String {
        self.name.to_string()
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        if let Some(file) = &self.file {
            file.write_at(&self.buffer, self.written)?;
            self.written += self.buffer.len() as u64;
        }
        self.buffer.clear();
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        self.written = 0;
        self.file.take().map_or(Ok(()), |file| file.sync_data())
    }
}
