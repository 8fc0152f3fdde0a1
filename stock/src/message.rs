//! One message as stock stores it: `[i32 length][i64 timestamp][u16 attempts][16 bytes id][body]`, big-endian.

/// What stands before a body, the length left out.
pub const HEAD_BYTES: usize = 8 + 2 + ID_BYTES;
/// The length in front of a record; it does not count itself.
pub const LENGTH_BYTES: usize = 4;
const ID_BYTES: usize = 16;

/// The first tick of stock's ids, in units of 2^20 ns since 1970.
const EPOCH_TICKS: u64 = 1_288_834_974_288;
/// How many bits of an id lie below its tick.
const TICK_SHIFT: u32 = 22;
/// An id and its message's timestamp are taken one after the other; a clock may be set between them.
const TICKS_APART_MAX: u64 = 60_000;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When it was published, in nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// How often it had been delivered when it was written.
    pub attempts: u16,
    /// 16 hex digits that rise with the time of publishing; the same in all channels of a topic.
    pub id: [u8; ID_BYTES],
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// Read what stands behind a length. `None`: too short to be a message.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (timestamp, rest) = bytes.split_first_chunk::<8>()?;
        let (attempts, rest) = rest.split_first_chunk::<2>()?;
        let (id, body) = rest.split_first_chunk::<ID_BYTES>()?;
        Some(Self {
            timestamp_ns: i64::from_be_bytes(*timestamp),
            attempts: u16::from_be_bytes(*attempts),
            id: *id,
            body: body.to_vec(),
        })
    }
}

/// Put one record, its length first. `None`, and nothing is put: the body is longer than a length can say.
pub fn encode_record(
    to: &mut Vec<u8>,
    timestamp_ns: i64,
    attempts: u16,
    id: &[u8; ID_BYTES],
    body: &[u8],
) -> Option<()> {
    let length = i32::try_from(HEAD_BYTES + body.len()).ok()?;
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(&timestamp_ns.to_be_bytes());
    to.extend_from_slice(&attempts.to_be_bytes());
    to.extend_from_slice(id);
    to.extend_from_slice(body);
    Some(())
}

/// How long a record with this body is, its length counted in.
pub fn record_bytes(body_bytes: usize) -> u64 {
    (LENGTH_BYTES + HEAD_BYTES + body_bytes) as u64
}

/// Whether these are the first bytes of a message beyond reasonable doubt: stock makes an id out of the time, so the
/// id and the timestamp of a message agree. By chance they do once in 10^10 places.
pub(crate) fn is_head(bytes: &[u8]) -> bool {
    let head = Message::decode(bytes.get(..HEAD_BYTES).unwrap_or_default());
    let Some(message) = head else { return false };
    let Some(id) = hex(&message.id) else { return false };
    let Ok(timestamp_ns) = u64::try_from(message.timestamp_ns) else { return false };
    let ticks = (id >> TICK_SHIFT).saturating_add(EPOCH_TICKS);
    ticks.abs_diff(timestamp_ns >> 20) <= TICKS_APART_MAX
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// 2023-11-14, the time of message 0 in these tests; one a millisecond follows.
    const BEGIN_NS: u64 = 1_700_000_000_000_000_000;

    /// Message `number` with an id as stock would make it.
    pub(crate) fn message(number: u64, body: &[u8]) -> Message {
        let ns = BEGIN_NS + number * 1_000_000;
        let bits = ((ns >> 20) - EPOCH_TICKS) << TICK_SHIFT | (7 << 12) | (number & 0xfff);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(format!("{bits:016x}").as_bytes());
        Message { timestamp_ns: ns.cast_signed(), attempts: 3, id, body: body.to_vec() }
    }

    pub(crate) fn record(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_record(&mut bytes, message.timestamp_ns, message.attempts, &message.id, &message.body)
            .unwrap();
        bytes
    }

    #[test]
    fn a_record_is_laid_out_as_stock_lays_it_out() {
        let message = Message {
            timestamp_ns: 0x0102_0304_0506_0708,
            attempts: 0x090a,
            id: *b"0123456789abcdef",
            body: b"xyz".to_vec(),
        };
        let bytes = record(&message);
        assert_eq!(bytes, b"\0\0\0\x1d\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a0123456789abcdefxyz");
        assert_eq!(record_bytes(3), bytes.len() as u64);
        assert_eq!(Message::decode(&bytes[4..]), Some(message));
        assert_eq!(Message::decode(&bytes[4..29]), None, "25 bytes are no message");
    }

    #[test]
    fn an_id_that_does_not_go_with_its_time_is_no_head() {
        let bytes = record(&message(5, b""));
        assert!(is_head(&bytes[4..]));
        assert!(!is_head(&bytes[4..bytes.len() - 1]), "too short");
        for (at, value) in [(4, 0xff), (5, 0x55), (14, b'g'), (14, b'9')] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert!(!is_head(&wrong[4..]), "byte {at}");
        }
    }
}
