//! What one record of a topic's log holds: a short extension, then the exact MESSAGE frame a consumer
//! gets on its first delivery, so that delivering is one copy and only the attempts are patched.
//!
//! ```text
//! | ext_len u8 | extension: deliver_at i64 big-endian ns, or nothing | size | type 2 | timestamp | attempts | id | body |
//! ```

use bytes::{BufMut, BytesMut};
use protocol::MessageId;
use protocol::{MESSAGE_FRAME_OVERHEAD, MessageHead, encode_message};
use queue::WallTime;

/// Bytes of the extension that holds the time before which a message must not be delivered.
const DUE_BYTES: usize = 8;

/// Bits of a message id below the sequence number: the node id.
const NODE_BITS: u32 = 10;

/// The most a record is larger than the body of its message.
pub(crate) const RECORD_OVERHEAD: usize = 1 + DUE_BYTES + MESSAGE_FRAME_OVERHEAD;

/// Who numbers the messages: ids are `seq << 10 | node`, written as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node(u64);

impl Node {
    /// The low ten bits of `id` tell one broker's messages from another's.
    pub(crate) fn new(id: u64) -> Self {
        Self(id & ((1 << NODE_BITS) - 1))
    }

    /// The wire id of message number `seq`.
    pub(crate) fn message_id(self, seq: u64) -> MessageId {
        MessageId::from_bits(seq << NODE_BITS | self.0)
    }
}

/// The message number behind a wire id; none if it is no id of ours. The node is not compared: a folder's messages keep
/// their ids when the broker's node id changes, as it does with a new hostname, and must still be finished.
pub(crate) fn seq_of(id: &MessageId) -> Option<u64> {
    id.to_bits().map(|bits| bits >> NODE_BITS)
}

/// Write the record of a message that was published at `timestamp_ns`.
pub(crate) fn write(
    out: &mut BytesMut,
    id: MessageId,
    timestamp_ns: i64,
    due: Option<WallTime>,
    body: &[u8],
) {
    match due {
        None => out.put_u8(0),
        Some(at) => {
            out.put_u8(u8::try_from(DUE_BYTES).unwrap_or_default());
            out.put_i64(at.0);
        }
    }
    // The first delivery is attempt 1; later ones are patched on their way out.
    encode_message(out, &MessageHead { timestamp_ns, attempts: 1, id }, body);
}

/// A record taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    /// Not to be delivered before this time.
    pub due: Option<WallTime>,
    /// The MESSAGE frame.
    pub frame: &'a [u8],
}

/// Take a record's payload apart; none if it is none of ours.
pub(crate) fn read(payload: &[u8]) -> Option<Stored<'_>> {
    let (&ext_len, rest) = payload.split_first()?;
    let (ext, frame) = rest.split_at_checked(usize::from(ext_len))?;
    let due = ext.first_chunk::<DUE_BYTES>().map(|bytes| WallTime(i64::from_be_bytes(*bytes)));
    (frame.len() >= MESSAGE_FRAME_OVERHEAD).then_some(Stored { due, frame })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::message_body;

    #[test]
    fn a_record_reads_back_with_its_due_time() {
        for due in [None, Some(WallTime(1_700_000_000_000_000_123))] {
            let mut out = BytesMut::new();
            write(&mut out, Node::new(7).message_id(99), 5, due, b"body");
            let stored = read(&out).unwrap();
            assert_eq!(stored.due, due);
            assert_eq!(message_body(stored.frame), Some(&b"body"[..]));
        }
    }

    #[test]
    fn an_id_tells_its_number_whatever_the_node_is_called_now() {
        for node in [3, 4] {
            assert_eq!(seq_of(&Node::new(node).message_id(1 << 50)), Some(1 << 50));
        }
        assert_eq!(seq_of(&MessageId::new(*b"zzzzzzzzzzzzzzzz")), None);
    }

    #[test]
    fn a_payload_that_is_cut_is_not_a_record() {
        let mut out = BytesMut::new();
        write(&mut out, Node::new(1).message_id(1), 5, Some(WallTime(9)), b"");
        for cut in 0..out.len() {
            assert_eq!(read(&out[..cut]), None, "cut at {cut}");
        }
    }
}
