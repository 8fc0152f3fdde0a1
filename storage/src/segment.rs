//! One file of a log: its name, its header, and reading a piece of it away from the log's lock.
//! Which segments a log has, and when a new one begins, is `log`'s business.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::chunk::{Chunk, Hole};
use crate::disk::{Disk, File};
use crate::error::{ErrorKind, StorageError};
use crate::format::{self, Preamble, take_u32, take_u64};
use crate::log::Position;
use crate::quarantine;
use crate::scan::Scan;

/// One copy of the header.
const COPY_BYTES: usize = 64;
/// Where the second copy stands: no 4 KiB that are lost as one, wherever they begin, take both.
const SECOND_AT: usize = 4160;
/// The bytes before the first record.
pub(crate) const HEADER_BYTES: usize = SECOND_AT + COPY_BYTES;
const MAGIC: &[u8; 8] = b"NSQBElog";
const RESERVED_BYTES: usize = 12;
/// Stands between the copies of the header once space of the file was freed.
const PUNCHED: &[u8; 8] = b"NSQBEpun";
const PUNCHED_AT: u64 = 2048;
/// How much one read brings when a whole segment is walked.
const SCAN_BYTES: usize = 1024 * 1024;

/// Where a segment begins, and which writing of its file it is.
///
/// ```text
///  0         16            24            32         40             48       52         64
///  | preamble | incarnation | base offset | base seq | base ordinal | folder | reserved | zeros ...
///
///  2048: "NSQBEpun" once space was freed
///  4160: the same 64 bytes again              4224: records ...
/// ```
///
/// `folder` is the checksum of the name of the log's folder: another log's file is not taken for one of this.
/// The byte at offset `o` of the log stands at `o - base offset + 4224` of the file. A segment ends where the next
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

    /// The bytes before the first record of a file in `dir`.
    pub(crate) fn header(&self, dir: &Path) -> Vec<u8> {
        let mut fields = Vec::with_capacity(COPY_BYTES);
        for number in [self.incarnation, self.base.offset, self.base.seq, self.base.ordinal] {
            fields.extend_from_slice(&number.to_le_bytes());
        }
        fields.extend_from_slice(&format::folder(dir).to_le_bytes());
        fields.extend_from_slice(&[0; RESERVED_BYTES]);
        let copy = format::header(MAGIC, &fields);
        let mut bytes = copy.clone();
        bytes.resize(SECOND_AT, 0);
        bytes.extend_from_slice(&copy);
        bytes
    }

    /// Read a file's header, from whichever copy is whole. `None`: both are torn or damaged, or the file belongs
    /// to another place or another log.
    ///
    /// # Errors
    /// The file is not ours or newer, or cannot be read.
    pub(crate) fn read(file: &dyn File, name_offset: u64, path: &Path) -> Result<Option<Self>, StorageError> {
        let mut bytes = vec![0; HEADER_BYTES];
        let filled = read_full(file, &mut bytes, 0)?;
        bytes.truncate(filled);
        let second = bytes.get(SECOND_AT..).unwrap_or_default();
        let first = format::judge(MAGIC, &bytes, COPY_BYTES, path);
        let fields = match (first, format::judge(MAGIC, second, COPY_BYTES, path)) {
            (Ok(Preamble::Fields(fields)), _) | (_, Ok(Preamble::Fields(fields))) => fields,
            (Err(error), _) => return Err(error),
            (_, Err(error)) if matches!(error.kind, ErrorKind::Newer { .. }) => return Err(error),
            _ => return Ok(None),
        };
        let dir = path.parent().unwrap_or(path);
        Ok(Self::parse(fields, format::folder(dir)).filter(|segment| segment.base.offset == name_offset))
    }

    fn parse(mut fields: &[u8], folder: u32) -> Option<Self> {
        let mut next = || take_u64(&mut fields);
        let (incarnation, offset, seq, ordinal) = (next()?, next()?, next()?, next()?);
        let segment = Self { base: Position { seq, offset, ordinal }, incarnation };
        (take_u32(&mut fields)? == folder).then_some(segment)
    }
}

/// Say in a segment's file that space of it was freed: all of it had been synced.
pub(crate) fn mark_punched(file: &dyn File) -> Result<(), StorageError> {
    file.write_at(PUNCHED, PUNCHED_AT)
}

/// Whether space of a segment's file was freed.
pub(crate) fn is_punched(file: &dyn File) -> Result<bool, StorageError> {
    let mut bytes = [0; PUNCHED.len()];
    let filled = read_full(file, &mut bytes, PUNCHED_AT)?;
    Ok(filled == bytes.len() && bytes == *PUNCHED)
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

/// The folder of a log.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: Arc<Path>,
}

/// Where a segment's bytes come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The segment being written: already open.
    Open(Arc<dyn File>),
    /// A full one. Opened for each read: a long backlog must not cost a descriptor per 100 MiB.
    Closed,
}

/// Reads committed records of one segment; owns what it needs, so the log may be locked by others meanwhile.
#[derive(Debug)]
pub struct SegmentReader {
    pub(crate) segment: Segment,
    pub(crate) place: Place,
    pub(crate) source: Source,
    pub(crate) offset: u64,
    /// The number of the record at `offset`, if the caller said.
    pub(crate) expected: Option<u64>,
    /// Where the segment's committed records end.
    pub(crate) end: Position,
    pub(crate) record_bytes_max: usize,
}

impl SegmentReader {
    /// The record at the reader's offset should be the one numbered `seq`. With it the extent of a hole is known
    /// without reading up to it.
    pub fn expecting(self, seq: u64) -> Self {
        Self { expected: Some(seq), ..self }
    }

    /// Read about `bytes` from the reader's offset: whole, verified records; at least one, however long it is.
    /// Damage at the offset is stepped over: the chunk then begins with a hole, see [`crate::Read::Damaged`]. A copy
    /// of what is damaged is kept in the log's folder.
    ///
    /// # Errors
    /// The file cannot be opened or read. `is_missing` when the log dropped the segment meanwhile, or somebody
    /// removed it; see [`Self::without_file`].
    pub fn read(self, bytes: usize) -> Result<Chunk, StorageError> {
        let file = match &self.source {
            Source::Open(file) => file.clone(),
            Source::Closed => self.place.disk.open(&self.segment.path(&self.place.dir))?,
        };
        let mut scan = Scan::new(&*file, self.segment, self.end.offset, bytes, self.record_bytes_max);
        let Some((first, header)) = scan.first_valid(self.offset)? else {
            return self.hole(&*file, self.end.offset, self.seq_end());
        };
        let lost = if first > self.offset {
            self.keep_damage(&*file, first);
            self.lost(&*file, header.seq)?
        } else {
            0
        };
        scan.load(first, header.record_bytes())?;
        let mut end = first;
        while let Some(header) = scan.loaded(end) {
            end += header.record_bytes();
        }
        if end == first {
            // It was valid a moment ago and is not any more: the disk gives different answers. Never deliver it.
            return self.hole(&*file, first + header.record_bytes(), header.seq + 1);
        }
        let (buffer, at) = scan.into_buffer();
        let from = usize::try_from(first - at).unwrap_or(usize::MAX).min(buffer.len());
        let to = usize::try_from(end - at).unwrap_or(usize::MAX).clamp(from, buffer.len());
        let records = Bytes::from(buffer).slice(from..to);
        Ok(Chunk::behind_hole(self.offset, first, records, Hole { lost, next_seq: header.seq }))
    }

    /// What is left when the file is gone for good although the log still counts on it: a hole to the segment's end.
    pub fn without_file(self) -> Chunk {
        let next_seq = self.seq_end();
        let lost = next_seq.saturating_sub(self.expected.unwrap_or(self.segment.base.seq));
        Chunk::hole(self.offset, self.end.offset, Hole { lost, next_seq })
    }

    fn hole(&self, file: &dyn File, end: u64, next_seq: u64) -> Result<Chunk, StorageError> {
        self.keep_damage(file, end);
        let lost = self.lost(file, next_seq)?;
        Ok(Chunk::hole(self.offset, end, Hole { lost, next_seq }))
    }

    fn keep_damage(&self, file: &dyn File, to: u64) {
        let places = (self.segment.place(self.offset), self.segment.place(to));
        quarantine::keep(&*self.place.disk, &self.place.dir, file, places, self.offset);
    }

    /// The number behind the segment's last record.
    fn seq_end(&self) -> u64 {
        let base = self.segment.base;
        base.seq.saturating_add(self.end.ordinal.saturating_sub(base.ordinal))
    }

    /// How many records stood between those before the hole at the reader's offset and the one numbered
    /// `behind`. Reads the segment up to the hole if nobody said what was expected: damage is rare, and its extent
    /// is worth the time.
    fn lost(&self, file: &dyn File, behind: u64) -> Result<u64, StorageError> {
        if let Some(expected) = self.expected {
            return Ok(behind.saturating_sub(expected));
        }
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
        assert_eq!(Segment::new(base).header(Path::new("/t")).len(), HEADER_BYTES);
    }
}
