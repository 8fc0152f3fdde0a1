//! One record's bytes: header, checksum, payload. Where records stand in a file is `segment`'s business.

use crate::format::{take_u32, take_u64};
use crate::seeded::{Bug, is_planted};

/// The bytes before a payload.
pub(crate) const HEADER_BYTES: usize = 20;
const CRC_BYTES: usize = 4;
const COVERED_BYTES: usize = HEADER_BYTES - CRC_BYTES;
/// The flag of a batch's first record: after a crash it tells a batch that lost its beginning from a whole one.
pub(crate) const FIRST: u8 = 1;
/// The most that `left` can say; larger batches saturate, and end all the same where `left` is 0.
pub(crate) const LEFT_MAX: u32 = 0x00ff_ffff;

/// What stands before a payload.
///
/// ```text
///  0        4             8       16            20
///  | crc32c | payload len | seq   | flags| left | payload ... |      all numbers little-endian
///           |<------------- covered by crc32c ------------->|      flags: 8 bits, left: 24 bits below them
/// ```
///
/// The checksum is seeded with the segment's incarnation and the record's offset in the log: bytes left over from
/// an earlier file, or copied to another place, are never taken for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) crc: u32,
    pub(crate) payload_bytes: u32,
    pub(crate) seq: u64,
    /// `FIRST`; the others are not defined yet and written as 0.
    pub(crate) flags: u8,
    /// How many records of the same batch follow.
    pub(crate) left: u32,
}

impl Header {
    /// Read a header; `None` if there are fewer bytes than one. Says nothing about its validity.
    pub(crate) fn parse(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let crc = take_u32(&mut bytes)?;
        let payload_bytes = take_u32(&mut bytes)?;
        let seq = take_u64(&mut bytes)?;
        let [a, b, c, flags] = take_u32(&mut bytes)?.to_le_bytes();
        Some(Self { crc, payload_bytes, seq, flags, left: u32::from_le_bytes([a, b, c, 0]) })
    }

    /// Whether it begins a batch.
    pub(crate) fn is_first(&self) -> bool {
        self.flags & FIRST != 0
    }

    /// The whole record's length.
    pub(crate) fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }

    /// All but the checksum.
    fn encode_covered(&self) -> [u8; COVERED_BYTES] {
        let word = (u32::from(self.flags) << 24) | self.left.min(LEFT_MAX);
        let mut bytes = [0; COVERED_BYTES];
        bytes[..4].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.seq.to_le_bytes());
        bytes[12..].copy_from_slice(&word.to_le_bytes());
        bytes
    }
}

/// Fill in the header of `record`, whose payload stands behind `HEADER_BYTES` free bytes.
pub(crate) fn seal(record: &mut [u8], seq: u64, (flags, left): (u8, u32), seed: Seed) {
    let payload_bytes = record.len().saturating_sub(HEADER_BYTES);
    let Ok(payload_bytes) = u32::try_from(payload_bytes) else {
        unreachable!("a record is far smaller than 4 GiB")
    };
    let Some((place, covered)) = record.split_first_chunk_mut::<CRC_BYTES>() else {
        unreachable!("the caller reserved a header")
    };
    let Some(head) = covered.first_chunk_mut::<COVERED_BYTES>() else {
        unreachable!("the caller reserved a header")
    };
    *head = Header { crc: 0, payload_bytes, seq, flags, left }.encode_covered();
    *place = seed.checksum(covered).to_le_bytes();
}

/// What makes a checksum valid in one place of one file only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed {
    pub(crate) incarnation: u64,
    pub(crate) offset: u64,
}

impl Seed {
    /// The checksum of a record without its first 4 bytes.
    pub(crate) fn checksum(self, covered: &[u8]) -> u32 {
        crc32c::crc32c_append(self.start(), covered)
    }

    /// The checksum before the first byte.
    pub(crate) fn start(self) -> u32 {
        // One call for both: a call costs more than its bytes do.
        let place = (u128::from(self.offset) << 64) | u128::from(self.incarnation);
        crc32c::crc32c(&place.to_le_bytes())
    }

    /// Whether `record`, header and whole payload, is what was written here.
    pub(crate) fn matches(self, header: &Header, record: &[u8]) -> bool {
        record
            .get(4..)
            .is_some_and(|covered| self.checksum(covered) == header.crc || is_planted(Bug::SkipChecksum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed { incarnation: 7, offset: 1000 };

    fn sealed(payload: &[u8], seq: u64, left: u32) -> Vec<u8> {
        let mut record = vec![0; HEADER_BYTES];
        record.extend_from_slice(payload);
        seal(&mut record, seq, (0, left), SEED);
        record
    }

    #[test]
    fn record_is_read_back_as_it_was_written() {
        let record = sealed(b"hello", u64::MAX - 1, 3);
        let header = Header::parse(&record).unwrap();
        assert_eq!((header.payload_bytes, header.seq, header.flags, header.left), (5, u64::MAX - 1, 0, 3));
        assert_eq!(header.record_bytes(), 25);
        assert!(SEED.matches(&header, &record));
        assert_eq!(Header::parse(&sealed(b"", 1, u32::MAX)).unwrap().left, LEFT_MAX);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let record = sealed(b"payload", 42, 1);
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!SEED.matches(&Header::parse(&flipped).unwrap(), &flipped), "bit {bit}");
        }
    }

    #[test]
    fn record_is_valid_in_one_place_of_one_file_only() {
        let record = sealed(b"payload", 42, 0);
        let header = Header::parse(&record).unwrap();
        assert!(!Seed { offset: 1001, ..SEED }.matches(&header, &record));
        assert!(!Seed { incarnation: 8, ..SEED }.matches(&header, &record));
    }
}
