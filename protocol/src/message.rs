//! A message's id and the size of what stands before its body. Where messages are kept is not known here.

use std::fmt;

/// Bytes before the body, in a MESSAGE frame's data and in nsqd's disk records: i64 timestamp, u16 attempts,
/// 16 id.
pub const MESSAGE_HEADER_BYTES: usize = 26;

/// The 16 bytes by which a client finishes, requeues or touches a message; opaque to clients.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// The id nsqd gives out: a number as 16 lower-case hexadecimal digits.
    pub const fn from_bits(bits: u64) -> Self {
        // One nibble per byte, all sixteen at once: ids are written and read for every message.
        let mut x = bits as u128;
        x = (x | x << 32) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
        x = (x | x << 16) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
        x = (x | x << 8) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
        x = (x | x << 4) & NIBBLES;
        let letters = ((x + ONES * 6) >> 4) & ONES;
        Self((x + ONES * b'0' as u128 + letters * (b'a' - b'0' - 10) as u128).to_be_bytes())
    }

    /// The number behind the id; `None` unless it is 16 lower-case hexadecimal digits.
    pub fn to_bits(&self) -> Option<u64> {
        let x = u128::from_be_bytes(self.0);
        let mut x = ((x & NIBBLES) + 9 * ((x >> 6) & ONES)) & NIBBLES;
        x = (x | x >> 4) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
        x = (x | x >> 8) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
        x = (x | x >> 16) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
        let bits = (x | x >> 32) as u64;
        // Anything but a digit also yields some number, but not one that gives the same sixteen bytes back.
        (Self::from_bits(bits) == *self).then_some(bits)
    }

    /// Takes the bytes as they came; any sixteen are an id to the wire.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes as they stand on the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({})", self.0.escape_ascii())
    }
}

/// The low bit of each of sixteen bytes.
pub(crate) const ONES: u128 = u128::from_be_bytes([1; 16]);

/// The low half of each of sixteen bytes.
const NIBBLES: u128 = ONES * 0x0f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_sixteen_lower_case_hex_digits() {
        let all_digits = 0x0123_4567_89ab_cdef;
        for bits in [0, 1, 9, 10, all_digits, !all_digits, u64::MAX, 1 << 63] {
            let id = MessageId::from_bits(bits);
            assert_eq!(id.to_string(), format!("{bits:016x}"));
            assert_eq!(id.to_bits(), Some(bits));
        }
    }

    #[test]
    fn only_lower_case_hex_has_bits() {
        for at in 0..16 {
            for byte in 0..=255u8 {
                let mut bytes = *b"0123456789abcdef";
                bytes[at] = byte;
                let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                assert_eq!(MessageId::new(bytes).to_bits().is_some(), is_digit, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn id_of_any_bytes_can_be_shown() {
        assert_eq!(MessageId::new([0xff; 16]).to_string(), "\u{fffd}".repeat(16));
    }
}
