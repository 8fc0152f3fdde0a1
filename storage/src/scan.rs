//! Walking the records of one segment's file: which are valid, and where the next valid one is behind damage.
//! Used by recovery and by readers; decides nothing about what to do with damage.

use crate::disk::File;
use crate::error::StorageError;
use crate::record::{HEADER_BYTES, Header, Seed};
use crate::segment::{Segment, read_full};

/// How much of a record too long to be believed is read at a time to check it.
const PIECE_BYTES: usize = 64 * 1024;

/// A window over one segment's file that moves forward.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    file: &'a dyn File,
    segment: Segment,
    /// The log's offset behind the last byte that counts.
    end: u64,
    /// How much one read brings.
    window: usize,
    record_bytes_max: usize,
    buffer: Vec<u8>,
    /// The log's offset of the buffer's first byte.
    at: u64,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(
        file: &'a dyn File,
        segment: Segment,
        end: u64,
        window: usize,
        record_bytes_max: usize,
    ) -> Self {
        let window = window.max(HEADER_BYTES);
        Self { file, segment, end, window, record_bytes_max, buffer: Vec::new(), at: segment.base.offset }
    }

    /// The valid record at `offset`, if there is one.
    pub(crate) fn record(&mut self, offset: u64) -> Result<Option<Header>, StorageError> {
        self.load(offset, HEADER_BYTES as u64)?;
        let Some(header) = self.plausible(offset) else { return Ok(None) };
        let record_bytes = header.record_bytes();
        // A damaged length may claim anything up to the file's end: no memory is spent before it proves true.
        if record_bytes > (self.record_bytes_max.max(self.window) as u64) {
            return Ok(self.proves_true(offset, &header)?.then_some(header));
        }
        self.load(offset, record_bytes)?;
        Ok(self.loaded(offset))
    }

    /// The first valid record at or behind `from`, and where it is.
    pub(crate) fn first_valid(&mut self, from: u64) -> Result<Option<(u64, Header)>, StorageError> {
        let mut offset = from;
        while let Some(candidate) = self.candidate(offset)? {
            if let Some(header) = self.record(candidate)? {
                return Ok(Some((candidate, header)));
            }
            offset = candidate + 1;
        }
        Ok(None)
    }

    /// Have at least `bytes` behind `offset` in the buffer, as far as the segment and its file go.
    pub(crate) fn load(&mut self, offset: u64, bytes: u64) -> Result<(), StorageError> {
        let limit = self.end.saturating_sub(offset);
        let wanted = bytes.min(limit);
        if offset >= self.at && offset + wanted <= self.at + self.buffer.len() as u64 {
            return Ok(());
        }
        let size = wanted.max((self.window as u64).min(limit));
        self.buffer.clear();
        self.buffer.resize(usize::try_from(size).unwrap_or(0), 0);
        self.at = offset;
        let filled = read_full(self.file, &mut self.buffer, self.segment.place(offset))?;
        self.buffer.truncate(filled);
        Ok(())
    }

    /// The valid record at `offset` if the buffer holds all of it.
    pub(crate) fn loaded(&self, offset: u64) -> Option<Header> {
        let header = self.plausible(offset)?;
        let record_bytes = usize::try_from(header.record_bytes()).ok()?;
        let record = self.behind(offset).get(..record_bytes)?;
        self.seed(offset).matches(&header, record).then_some(header)
    }

    /// The bytes at `offset`, if all of them are loaded.
    pub(crate) fn copy(&self, offset: u64, bytes: u64) -> Vec<u8> {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.behind(offset).get(..length).unwrap_or_default().to_vec()
    }

    /// The buffer, and the log's offset of its first byte.
    pub(crate) fn into_buffer(self) -> (Vec<u8>, u64) {
        (self.buffer, self.at)
    }

    /// The next place at or behind `offset` that looks like a header.
    fn candidate(&mut self, mut offset: u64) -> Result<Option<u64>, StorageError> {
        while offset + HEADER_BYTES as u64 <= self.end {
            self.load(offset, HEADER_BYTES as u64)?;
            // Where space was given back, or a file lost a part: nothing begins there, and there may be much of it.
            let zeros = self.behind(offset).iter().take_while(|byte| **byte == 0).count() as u64;
            if zeros > HEADER_BYTES as u64 {
                offset += zeros - HEADER_BYTES as u64;
                continue;
            }
            let places = self.behind(offset).len().saturating_sub(HEADER_BYTES - 1) as u64;
            if places == 0 {
                // The file is shorter than the segment.
                return Ok(None);
            }
            if let Some(found) = (offset..offset + places).find(|at| self.plausible(*at).is_some()) {
                return Ok(Some(found));
            }
            offset += places;
        }
        Ok(None)
    }

    /// The header at `offset` if it could be one: it fits the segment, and its seq fits its place.
    fn plausible(&self, offset: u64) -> Option<Header> {
        let header = Header::parse(self.behind(offset))?;
        let index = header.seq.checked_sub(self.segment.base.seq)?;
        let index_max = (offset - self.segment.base.offset) / HEADER_BYTES as u64;
        let fits = offset.checked_add(header.record_bytes())? <= self.end;
        (fits && index <= index_max).then_some(header)
    }

    fn proves_true(&self, offset: u64, header: &Header) -> Result<bool, StorageError> {
        let mut crc = self.seed(offset).start();
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = offset + 4;
        let end = offset + header.record_bytes();
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let Some(part) = piece.get_mut(..wanted) else { return Ok(false) };
            if read_full(self.file, part, self.segment.place(at))? < wanted {
                return Ok(false);
            }
            crc = crc32c::crc32c_append(crc, part);
            at += wanted as u64;
        }
        Ok(crc == header.crc)
    }

    /// What the buffer holds from `offset` on.
    fn behind(&self, offset: u64) -> &[u8] {
        let from = offset.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.buffer.get(from..)).unwrap_or_default()
    }

    fn seed(&self, offset: u64) -> Seed {
        Seed { incarnation: self.segment.incarnation, offset }
    }
}
