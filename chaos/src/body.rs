//! Bodies that prove themselves: which message this is, and that each byte is as it was published.
//!
//! ```text
//! key u64 | delay ms u32 | length u32 | crc32c u32 | payload
//! 0         8              12           16           20
//! ```

use crate::chance::Chance;

/// Bytes before the payload: no body is shorter.
pub const HEAD_BYTES: usize = 20;
const CHECKED_BYTES: usize = 16;

/// Appends the body of message `key`. `zeros` gives a payload of zero bytes, which a hole in a file would fake best.
pub fn write(out: &mut Vec<u8>, key: u64, delay_ms: u32, length: usize, zeros: bool) {
    let start = out.len();
    let length = length.max(HEAD_BYTES);
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&delay_ms.to_be_bytes());
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    if !zeros {
        fill(out, key, length - HEAD_BYTES);
    }
    out.resize(start + length, 0);
    let Some(body) = out.get_mut(start..) else { return };
    let crc = checksum(body);
    if let Some(place) = body.get_mut(CHECKED_BYTES..HEAD_BYTES) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
}

/// Which message a body is of; none if a single bit is not as it was written.
pub fn read(body: &[u8]) -> Option<u64> {
    let (head, _) = body.split_first_chunk::<HEAD_BYTES>()?;
    let (key, rest) = head.split_first_chunk::<8>()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    let (length, crc) = rest.split_first_chunk::<4>()?;
    let is_whole = u32::from_be_bytes(*length) as usize == body.len() && checksum(body).to_be_bytes() == *crc;
    is_whole.then_some(u64::from_be_bytes(*key))
}

fn checksum(body: &[u8]) -> u32 {
    let head = crc32c::crc32c(body.get(..CHECKED_BYTES).unwrap_or_default());
    crc32c::crc32c_append(head, body.get(HEAD_BYTES..).unwrap_or_default())
}

fn fill(out: &mut Vec<u8>, key: u64, length: usize) {
    // One random block over and over: enough to tell bodies apart, and cheap at tens of MiB per second.
    let mut chance = Chance::new(key);
    let mut block = [0; 64];
    for word in block.chunks_exact_mut(8) {
        word.copy_from_slice(&chance.next().to_be_bytes());
    }
    let end = out.len() + length;
    while out.len() < end {
        let part = block.len().min(end - out.len());
        out.extend_from_slice(block.get(..part).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_its_key_and_any_flipped_bit_is_seen() {
        for (length, zeros) in [(0, false), (21, false), (300, true), (70_000, false)] {
            let mut body = Vec::new();
            write(&mut body, 77, 5, length, zeros);
            assert_eq!(body.len(), length.max(HEAD_BYTES));
            assert_eq!(read(&body), Some(77));
            for at in (0..body.len()).step_by(1 + length / 100) {
                body[at] ^= 4;
                assert_eq!(read(&body), None, "bit of byte {at} of {length}");
                body[at] ^= 4;
            }
            assert_eq!(read(&body[1..]), None);
            assert_eq!(read(&body[..body.len() - 1]), None);
        }
    }
}
