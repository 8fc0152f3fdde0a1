//! Frames of the journal: length, checksum, payload; and finding them again behind damage.

use crate::format::take_u32;

const HEADER_BYTES: usize = 8;
/// Longer frames are never written, so such a length is damage.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// A frame read back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    pub(crate) payload: &'a [u8],
    /// Where the next frame begins.
    pub(crate) end: usize,
    /// Something before it was no frame.
    pub(crate) is_behind_damage: bool,
}

/// Add a frame to `buffer`, whose first byte will stand at `base` of a file in `folder`.
pub(crate) fn put(buffer: &mut Vec<u8>, base: u64, folder: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let begin = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    write(buffer);
    let place = base + begin as u64;
    let Some((header, payload)) = buffer.get_mut(begin..).and_then(|f| f.split_at_mut_checked(HEADER_BYTES))
    else {
        unreachable!("the header was put above")
    };
    assert!(payload.len() <= PAYLOAD_BYTES_MAX, "entries are split before they are put");
    let length = payload.len() as u32;
    let crc = checksum((place, folder), length, payload);
    for (to, from) in header.iter_mut().zip(length.to_le_bytes().into_iter().chain(crc.to_le_bytes())) {
        *to = from;
    }
}

/// The frames of a file from `from` on, stepping over what is none.
pub(crate) fn walk(file: &[u8], from: usize, folder: u32) -> impl Iterator<Item = Found<'_>> {
    let mut at = from;
    std::iter::from_fn(move || {
        let begin = at;
        while at + HEADER_BYTES <= file.len() {
            if let Some(payload) = valid(file, at, folder) {
                let is_behind_damage = at > begin;
                at += HEADER_BYTES + payload.len();
                return Some(Found { payload, end: at, is_behind_damage });
            }
            at += 1;
        }
        None
    })
}

fn valid(file: &[u8], at: usize, folder: u32) -> Option<&[u8]> {
    let mut rest = file.get(at..)?;
    let length = take_u32(&mut rest)?;
    let crc = take_u32(&mut rest)?;
    let bytes = usize::try_from(length).ok().filter(|bytes| (1..=PAYLOAD_BYTES_MAX).contains(bytes))?;
    let payload = rest.get(..bytes)?;
    (checksum((at as u64, folder), length, payload) == crc).then_some(payload)
}

fn checksum((place, folder): (u64, u32), length: u32, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&place.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &folder.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &length.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut bytes = vec![7; 3];
        for payload in ["one", "two", "three"] {
            put(&mut bytes, 0, 5, |to| to.extend_from_slice(payload.as_bytes()));
        }
        bytes
    }

    fn texts(bytes: &[u8]) -> Vec<&str> {
        walk(bytes, 3, 5).map(|found| std::str::from_utf8(found.payload).unwrap()).collect()
    }

    #[test]
    fn damage_costs_the_frame_it_is_in_and_no_other() {
        assert_eq!(texts(&file()), ["one", "two", "three"]);
        let ends: Vec<usize> = walk(&file(), 3, 5).map(|found| found.end).collect();
        for place in 3..file().len() {
            let mut damaged = file();
            damaged[place] ^= 0x55;
            let hit = ends.iter().filter(|end| **end <= place).count();
            let left: Vec<&str> = ["one", "two", "three"]
                .into_iter()
                .enumerate()
                .filter(|(i, _)| *i != hit)
                .map(|(_, t)| t)
                .collect();
            assert_eq!(texts(&damaged), left, "byte {place}");
        }
    }

    #[test]
    fn frame_moved_to_another_place_is_none() {
        let bytes = file();
        assert_eq!(walk(&bytes[1..], 2, 5).count(), 0);
        assert_eq!(walk(&bytes, 3, 6).count(), 0, "of another log");
    }
}
