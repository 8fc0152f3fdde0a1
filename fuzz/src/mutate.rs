//! How an input changes: bits, bytes, size fields, words of the protocols, pieces of other inputs. It knows what the
//! protocols look like so that a change is not refused at its first byte, and nothing of what is allowed.

use crate::random::Random;

/// Longest input. What lies beyond is the same code with more of the same bytes.
pub(crate) const INPUT_BYTES_MAX: usize = 8192;

/// Changes one after the other, at most.
const CHANGES_MAX: usize = 6;

/// A changed copy of `input`.
pub(crate) fn mutated(input: &[u8], others: &[Vec<u8>], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(CHANGES_MAX) {
        change(&mut bytes, others, words, random);
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], words: &[&[u8]], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(12) {
        0 => flip(bytes, at, random),
        1 => put(bytes, at, random.next() as u8),
        2 => put(bytes, at, *random.of(ODD_BYTES).unwrap_or(&0)),
        3 => insert(bytes, at, &[random.next() as u8]),
        4 => remove(bytes, at, random),
        5 => repeat(bytes, at, random),
        6 | 7 => insert(bytes, at, random.of(words).copied().unwrap_or_default()),
        8 => size_field(bytes, at, random),
        9 => number(bytes, at, random),
        10 => splice(bytes, at, others, random),
        _ => bytes.truncate(at),
    }
}

const ODD_BYTES: &[u8] = &[0, 1, b' ', b'\n', b'\r', b'0', b'9', b'#', b'"', b'{', 0x7f, 0x80, 0xc3, 0xff];

/// Sizes at which something changes, here or in Go.
const SIZES: &[u32] = &[
    0,
    1,
    2,
    3,
    4,
    5,
    8,
    10,
    15,
    16,
    17,
    60,
    61,
    63,
    64,
    65,
    100,
    101,
    127,
    128,
    255,
    256,
    300,
    301,
    1023,
    1024,
    4095,
    4096,
    16_383,
    16_384,
    65_535,
    65_536,
    65_537,
    1_048_576,
    1_048_577,
    5_242_880,
    5_242_881,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
];

const NUMBERS: &[&str] = &[
    "",
    "0",
    "-0",
    "1",
    "-1",
    "99",
    "100",
    "999",
    "1000",
    "2500",
    "2501",
    "3600000",
    "3600001",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e9",
    "1.5",
    "0x10",
    "007",
];

fn flip(bytes: &mut [u8], at: usize, random: &mut Random) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

fn put(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, what: &[u8]) {
    if bytes.len() + what.len() <= INPUT_BYTES_MAX {
        bytes.splice(at..at, what.iter().copied());
    }
}

fn remove(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let end = (at + 1 + random.below(16)).min(bytes.len());
    bytes.drain(at.min(end)..end);
}

fn repeat(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let end = (at + 1 + random.below(32)).min(bytes.len());
    let piece = bytes.get(at..end).unwrap_or_default().repeat(1 + random.below(8));
    insert(bytes, at, &piece);
}

/// Four bytes, in place or put in between; sometimes one off.
fn size_field(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let size = random.of(SIZES).copied().unwrap_or(0).wrapping_add(random.below(3) as u32).wrapping_sub(1);
    let end = (at + 4 * random.below(2)).min(bytes.len());
    bytes.splice(at..end, size.to_be_bytes());
}

/// The digits around here become another number.
fn number(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
    let (head, tail) = bytes.split_at(at);
    let start = at - head.iter().rev().take_while(|byte| is_digit(byte)).count();
    let end = at + tail.iter().take_while(|byte| is_digit(byte)).count();
    let number = random.of(NUMBERS).copied().unwrap_or_default();
    bytes.splice(start..end, number.bytes());
}

/// From here on, or in between, a piece of another input.
fn splice(bytes: &mut Vec<u8>, at: usize, others: &[Vec<u8>], random: &mut Random) {
    let Some(other) = random.of(others) else { return };
    let start = random.below(other.len() + 1);
    let end = start + random.below(other.len() - start + 1);
    let piece = other.get(start..end).unwrap_or_default().to_vec();
    if random.below(2) == 0 {
        bytes.truncate(at);
        bytes.extend_from_slice(&piece);
    } else {
        insert(bytes, at, &piece);
    }
}
