//! What every file of ours begins with, and how it is judged: magic, format version, checksum.
//! The fields behind them belong to each kind of file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{ErrorKind, StorageError};

/// The newest format this version reads and the one it writes, for each kind of file.
pub(crate) const VERSION: u32 = 1;
/// Magic, version and checksum.
pub(crate) const PREAMBLE_BYTES: usize = 16;

/// A magic with so many bytes in place is ours and damaged.
const MAGIC_BYTES_ALIKE: usize = 6;

/// What the beginning of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Preamble<'a> {
    /// Ours and undamaged: the fields behind the preamble.
    Fields(&'a [u8]),
    /// Cut off by a crash, or damaged later.
    Torn,
}

/// Build a header of magic, version, checksum and `fields`.
///
/// ```text
///  0        8         12        16
///  | magic  | version | crc32c  | the file's own fields ... |     crc32c: of everything else in the header
/// ```
pub(crate) fn header(magic: &[u8; 8], fields: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREAMBLE_BYTES + fields.len());
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&checksum(magic, VERSION, fields).to_le_bytes());
    bytes.extend_from_slice(fields);
    bytes
}

/// Judge the first `header_bytes` of a file; `bytes` is shorter only if the file is.
///
/// # Errors
/// `Foreign` for another magic, `Newer` for a later version: nobody may write to such a file. Later versions keep
/// the checksum over the same bytes, so that damage is not taken for a later version.
pub(crate) fn judge<'a>(
    magic: &[u8; 8],
    bytes: &'a [u8],
    header_bytes: usize,
    path: &Path,
) -> Result<Preamble<'a>, StorageError> {
    let mut rest = bytes;
    let Some(found) = take::<8>(&mut rest) else {
        let is_ours = magic.starts_with(bytes) || bytes.iter().all(|byte| *byte == 0);
        return if is_ours { Ok(Preamble::Torn) } else { Err(foreign(path)) };
    };
    // A power cut can leave zeros where the length was written and the content, or a part of it, was not.
    if found != *magic && found.iter().zip(magic).all(|(found, ours)| found == ours || *found == 0) {
        return Ok(Preamble::Torn);
    }
    if found != *magic {
        // A flipped bit does not make a file somebody else's; our kinds of files differ in three bytes.
        let alike = found.iter().zip(magic).filter(|(a, b)| a == b).count();
        return if alike >= MAGIC_BYTES_ALIKE { Ok(Preamble::Torn) } else { Err(foreign(path)) };
    }
    let (Some(version), Some(crc)) = (take_u32(&mut rest), take_u32(&mut rest)) else {
        return Ok(Preamble::Torn);
    };
    let Some(fields) = rest.get(..header_bytes.saturating_sub(PREAMBLE_BYTES)) else {
        return Ok(Preamble::Torn);
    };
    if crc != checksum(magic, version, fields) {
        return Ok(Preamble::Torn);
    }
    if version > VERSION {
        return Err(StorageError::new(ErrorKind::Newer { found: version, known: VERSION }, "open", path));
    }
    Ok(Preamble::Fields(fields))
}

/// What tells the files of one log's folder from those of another: a checksum of its name. Up to a dot, which no
/// encoded name holds, so that a folder may be prepared beside its place.
pub(crate) fn folder(dir: &Path) -> u32 {
    let name = dir.file_name().unwrap_or(OsStr::new("")).as_bytes();
    crc32c::crc32c(name.split(|byte| *byte == b'.').next().unwrap_or_default())
}

/// Take `N` bytes off the front, or leave `bytes` alone.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

/// Take a little-endian number of 4 bytes off the front.
pub(crate) fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_le_bytes)
}

/// Take a little-endian number of 8 bytes off the front.
pub(crate) fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

fn checksum(magic: &[u8; 8], version: u32, fields: &[u8]) -> u32 {
    let crc = crc32c::crc32c(magic);
    let crc = crc32c::crc32c_append(crc, &version.to_le_bytes());
    crc32c::crc32c_append(crc, fields)
}

fn foreign(path: &Path) -> StorageError {
    StorageError::new(ErrorKind::Foreign, "open", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: &[u8; 8] = b"nsqbtest";

    fn judged(bytes: &[u8]) -> Result<Option<Vec<u8>>, ErrorKind> {
        match judge(MAGIC, bytes, PREAMBLE_BYTES + 4, Path::new("f")) {
            Ok(Preamble::Fields(fields)) => Ok(Some(fields.to_vec())),
            Ok(Preamble::Torn) => Ok(None),
            Err(error) => Err(error.kind),
        }
    }

    #[test]
    fn header_is_read_back_and_every_cut_of_it_is_torn() {
        let whole = header(MAGIC, b"abcd");
        assert_eq!(judged(&whole), Ok(Some(b"abcd".to_vec())));
        for cut in 0..whole.len() {
            assert_eq!(judged(&whole[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(judged(&[0; 64]), Ok(None));
        for cut in 0..whole.len() {
            let mut torn = whole.clone();
            torn[cut..].fill(0);
            torn.extend_from_slice(b"behind it");
            assert_eq!(judged(&torn), Ok(None), "zeros from {cut}");
        }
    }

    #[test]
    fn foreign_and_newer_files_are_told_from_damaged_ones() {
        assert_eq!(judged(b"SQLite format 3\0 and more"), Err(ErrorKind::Foreign));
        assert_eq!(judged(b"xy"), Err(ErrorKind::Foreign));
        let mut newer = header(MAGIC, b"abcd");
        newer[8] = 2;
        assert_eq!(judged(&newer), Ok(None), "a flipped version is damage");
        newer[12..16].copy_from_slice(&checksum(MAGIC, 2, b"abcd").to_le_bytes());
        assert_eq!(judged(&newer), Err(ErrorKind::Newer { found: 2, known: VERSION }));
    }
}
