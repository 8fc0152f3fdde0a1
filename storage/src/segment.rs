//! One file of a log: its name, its header, and reading a piece of it away from the log's lock.
//! Which segments a log has, and when a new one begins, is `log`'s business.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::chunk::Chunk;
use crate::disk::{Disk, File};
use crate::error::StorageError;
use crate::format::{self, Preamble, take_u64};
use crate::log::Position;
use crate::scan::Scan;

/// The bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"NSQBElog";
const RESERVED_BYTES: usize = 16;
/// How much one read brings when a whole segment is walked.
const SCAN_BYTES: usize = 1024 * 1024;

/// Where a segment begins, and which writing of its file it is.
///
/// ```text
///  0         16            24            32         40             48         64
///  | preamble | incarnation | base offset | base seq | base ordinal | reserved | records ...
/// ```
///
/// The byte at offset `o` of the log stands at `o - base offset + 64` of the file. A segment ends where the next
/// one begins: what lies behind that in its file was torn or given up, and is not part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) base: Position,
    /// Differs between any two files ever written, so that one's bytes are never valid in another.
    pub(crate) incarnation: u64,
}

impl Segment {
    /// A segment that is not on disk yet.
    pub(crate) fn new(base: Position) -> Self {
        // The keys of `RandomState` are fresh for each one: unique enough without a source of random numbers.
        Self { base, incarnation: RandomState::new().build_hasher().finish() }
    }

    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}.log", self.base.offset))
    }

    /// Where in the file the byte at `offset` of the log stands.
    pub(crate) fn place(&self, offset: u64) -> u64 {
        offset.saturating_sub(self.base.offset).saturating_add(HEADER_BYTES as u64)
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        let mut fields = Vec::with_capacity(HEADER_BYTES);
        for number in [self.incarnation, self.base.offset, self.base.seq, self.base.ordinal] {
            fields.extend_from_slice(&number.to_le_bytes());
        }
        fields.extend_from_slice(&[0; RESERVED_BYTES]);
        format::header(MAGIC, &fields)
    }

    /// Read a file's header. `None`: torn or damaged, or the file of another name.
    ///
    /// # Errors
    /// The file is not ours or newer, or cannot be read.
    pub(crate) fn read(file: &dyn File, name_offset: u64, path: &Path) -> Result<Option<Self>, StorageError> {
        let mut bytes = vec![0; HEADER_BYTES];
        let filled = read_full(file, &mut bytes, 0)?;
        bytes.truncate(filled);
        let mut fields = match format::judge(MAGIC, &bytes, HEADER_BYTES, path)? {
            Preamble::Fields(fields) => fields,
            Preamble::Torn => return Ok(None),
        };
        let mut next = || take_u64(&mut fields);
        let (Some(incarnation), Some(offset), Some(seq), Some(ordinal)) = (next(), next(), next(), next())
        else {
            return Ok(None);
        };
        let segment = Self { base: Position { seq, offset, ordinal }, incarnation };
        Ok((offset == name_offset).then_some(segment))
    }
}

/// The offset in a segment's file name; `None` for other files.
pub(crate) fn offset_in_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let is_plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { digits.parse().ok() } else { None }
}

/// Fill `buffer` as far as the file goes; how much was read.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], at: u64) -> Result<usize, StorageError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(filled as u64))? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Where a segment's bytes come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The segment being written: already open.
    Open(Arc<dyn File>),
    /// A full one. Opened for each read: a long backlog must not cost a descriptor per 100 MiB.
    Closed(Arc<dyn Disk>, PathBuf),
}

/// Reads committed records of one segment; owns what it needs, so the log may be locked by others meanwhile.
#[derive(Debug)]
pub struct SegmentReader {
    pub(crate) segment: Segment,
    pub(crate) source: Source,
    pub(crate) offset: u64,
    /// Where the segment's committed records end.
    pub(crate) end: Position,
    pub(crate) record_bytes_max: usize,
}

impl SegmentReader {
    /// Read about `bytes` from the reader's offset: whole, verified records; at least one, however long it is.
    /// Damage at the offset is stepped over: the chunk then begins with a hole, see [`crate::Read::Damaged`].
    ///
    /// # Errors
    /// The file cannot be opened or read. `is_missing` when the log dropped the segment meanwhile.
    pub fn read(self, bytes: usize) -> Result<Chunk, StorageError> {
        let file = match &self.source {
            Source::Open(file) => file.clone(),
            Source::Closed(disk, path) => disk.open(path)?,
        };
        let mut scan = Scan::new(&*file, self.segment, self.end.offset, bytes, self.record_bytes_max);
        let Some((first, header)) = scan.first_valid(self.offset)? else {
            let base = self.segment.base;
            let lost = self.lost(&*file, base.seq + (self.end.ordinal - base.ordinal))?;
            return Ok(Chunk::hole(self.offset, self.end.offset, lost));
        };
        let lost = if first > self.offset { self.lost(&*file, header.seq)? } else { 0 };
        scan.load(first, header.record_bytes())?;
        let mut end = first;
        while let Some(header) = scan.loaded(end) {
            end += header.record_bytes();
        }
        if end == first {
            // It was valid a moment ago and is not any more: the disk gives different answers. Never deliver it.
            return Ok(Chunk::hole(self.offset, first + header.record_bytes(), lost + 1));
        }
        let (buffer, at) = scan.into_buffer();
        let from = usize::try_from(first - at).unwrap_or(usize::MAX).min(buffer.len());
        let to = usize::try_from(end - at).unwrap_or(usize::MAX).clamp(from, buffer.len());
        Ok(Chunk::behind_hole(self.offset, first, Bytes::from(buffer).slice(from..to), lost))
    }

    /// How many records stood between those before the hole at the reader's offset and the one numbered
    /// `behind`. Reads the segment up to the hole: damage is rare, and its extent is worth the time.
    fn lost(&self, file: &dyn File, behind: u64) -> Result<u64, StorageError> {
        let mut scan = Scan::new(file, self.segment, self.offset, SCAN_BYTES, self.record_bytes_max);
        let (mut offset, mut seq) = (self.segment.base.offset, self.segment.base.seq);
        while let Some((at, header)) = scan.first_valid(offset)? {
            offset = at + header.record_bytes();
            seq = seq.max(header.seq + 1);
        }
        Ok(behind.saturating_sub(seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_segment_gives_its_offset_and_other_names_do_not() {
        let segment = Segment::new(Position { seq: 1, offset: 104_857_600, ordinal: 0 });
        let path = segment.path(Path::new("/t"));
        assert_eq!(path, Path::new("/t/00000000000104857600.log"));
        assert_eq!(offset_in_name("00000000000104857600.log"), Some(104_857_600));
        for other in ["journal", "104857600.log", "0000000000010485760x.log", "00000000000104857600.log.bad"]
        {
            assert_eq!(offset_in_name(other), None, "{other}");
        }
        assert_eq!(offset_in_name("99999999999999999999.log"), None, "too large for an offset");
    }

    #[test]
    fn no_two_segments_share_an_incarnation() {
        let base = Position::default();
        assert_ne!(Segment::new(base).incarnation, Segment::new(base).incarnation);
        assert_eq!(Segment::new(base).header().len(), HEADER_BYTES);
    }
}
