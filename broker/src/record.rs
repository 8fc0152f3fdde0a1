//! What one record of a topic's log holds: what of a MESSAGE frame cannot be told from elsewhere. The rest of the
//! frame is made when it is sent: the number behind the id is the record's, attempts are the channel's.
//!
//! ```text
//! | form u8 | timestamp i64 | node u16 | body |                                              form 0x80
//! | form u8 | timestamp i64 | node u16 | deliver_at i64 ns | body |                          form 0x88
//! | form u8 | deliver_at i64 ns, or nothing | size | type 2 | timestamp | attempts | id | body |   form 8 or 0: only read
//! ```

use bytes::{BufMut, BytesMut};
use protocol::{Frame, MESSAGE_FRAME_OVERHEAD, MessageHead, MessageId, decode_frame, encode_message};
use queue::WallTime;

/// Bytes of the time before which a message must not be delivered.
const DUE_BYTES: usize = 8;

/// The form of what is written now. Without this bit a whole frame is stored: what was written before.
const COMPACT: u8 = 0x80;

/// Whether there is a due time.
const HAS_DUE: u8 = 8;

/// Bytes of the form, the timestamp and the node.
const HEAD_BYTES: usize = 1 + TIMESTAMP_BYTES + NODE_BYTES;
const TIMESTAMP_BYTES: usize = 8;
const NODE_BYTES: usize = 2;

/// Bits of a message id below the sequence number: the node id.
const NODE_BITS: u32 = 10;

/// The most a record is larger than the body of its message, in any form.
pub(crate) const RECORD_OVERHEAD: usize = 1 + DUE_BYTES + MESSAGE_FRAME_OVERHEAD;

/// How much larger the record of a message without a due time is than its body.
pub(crate) const PLAIN_OVERHEAD: usize = HEAD_BYTES;

/// Who numbers the messages: ids are `seq << 10 | node`, written as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node(u16);

impl Node {
    /// The low ten bits of `id` tell one broker's messages from another's.
    pub(crate) fn new(id: u64) -> Self {
        Self((id & ((1 << NODE_BITS) - 1)) as u16)
    }

    /// The wire id of message number `seq`.
    pub(crate) fn message_id(self, seq: u64) -> MessageId {
        MessageId::from_bits(seq << NODE_BITS | u64::from(self.0))
    }
}

/// The message number behind a wire id; none if it is no id of ours. The node is not compared: a folder's messages keep
/// their ids when the broker's node id changes, as it does with a new hostname, and must still be finished.
pub(crate) fn seq_of(id: &MessageId) -> Option<u64> {
    id.to_bits().map(|bits| bits >> NODE_BITS)
}

/// Write the record of a message that was published on `node` at `timestamp_ns`.
pub(crate) fn write(out: &mut BytesMut, node: Node, timestamp_ns: i64, due: Option<WallTime>, body: &[u8]) {
    // One put for the whole head: the buffer checks its room on every call.
    let mut head = [0; HEAD_BYTES];
    let mut rest = head.as_mut_slice();
    rest.put_u8(if due.is_some() { COMPACT | HAS_DUE } else { COMPACT });
    rest.put_i64(timestamp_ns);
    rest.put_u16(node.0);
    out.put_slice(&head);
    if let Some(at) = due {
        out.put_i64(at.0);
    }
    out.put_slice(body);
}

/// A record taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    /// Not to be delivered before this time.
    pub due: Option<WallTime>,
    /// When it was published.
    pub timestamp_ns: i64,
    /// What was published.
    pub body: &'a [u8],
    name: Name,
}

/// How a message's id is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    /// It is the record's number, with this node's.
    Of(Node),
    /// It stands in the record.
    Stored(MessageId),
}

impl Stored<'_> {
    /// What stands before the body when it is delivered, from the record numbered `seq`.
    #[inline]
    pub(crate) fn head(&self, seq: u64, attempts: u16) -> MessageHead {
        let id = match self.name {
            Name::Of(node) => node.message_id(seq),
            Name::Stored(id) => id,
        };
        MessageHead { timestamp_ns: self.timestamp_ns, attempts, id }
    }

    /// Put the MESSAGE frame behind `out`.
    #[inline]
    pub(crate) fn encode(&self, out: &mut Vec<u8>, seq: u64, attempts: u16) {
        encode_message(out, &self.head(seq, attempts), self.body);
    }
}

/// Take a record's payload apart; none if it is none of ours.
#[inline]
pub(crate) fn read(payload: &[u8]) -> Option<Stored<'_>> {
    let (&form, rest) = payload.split_first()?;
    if form & COMPACT == 0 {
        return read_framed(form, rest);
    }
    let (timestamp, rest) = rest.split_first_chunk::<TIMESTAMP_BYTES>()?;
    let (node, rest) = rest.split_first_chunk::<NODE_BYTES>()?;
    let (due, body) = match form & !COMPACT {
        0 => (None, rest),
        HAS_DUE => {
            let (due, body) = rest.split_first_chunk::<DUE_BYTES>()?;
            (Some(WallTime(i64::from_be_bytes(*due))), body)
        }
        _ => return None,
    };
    let (timestamp_ns, node) = (i64::from_be_bytes(*timestamp), u16::from_be_bytes(*node));
    Some(Stored { due, timestamp_ns, body, name: Name::Of(Node(node)) })
}

/// A record that holds a whole frame, behind `due_bytes` of a due time.
fn read_framed(due_bytes: u8, rest: &[u8]) -> Option<Stored<'_>> {
    let (due, frame) = rest.split_at_checked(usize::from(due_bytes))?;
    let due = due.first_chunk::<DUE_BYTES>().map(|bytes| WallTime(i64::from_be_bytes(*bytes)));
    let Ok(Some((Frame::Message { head, body }, _))) = decode_frame(frame, usize::MAX) else { return None };
    Some(Stored { due, timestamp_ns: head.timestamp_ns, body, name: Name::Stored(head.id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As records were written before there was a compact form.
    fn framed(id: MessageId, due: Option<WallTime>, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0];
        if let Some(at) = due {
            out = vec![HAS_DUE];
            out.put_i64(at.0);
        }
        encode_message(&mut out, &MessageHead { timestamp_ns: 5, attempts: 1, id }, body);
        out
    }

    #[test]
    fn a_record_reads_back_with_its_due_time_in_both_forms() {
        let node = Node::new(1023);
        for due in [None, Some(WallTime(1_700_000_000_000_000_123))] {
            let mut compact = BytesMut::new();
            write(&mut compact, node, 5, due, b"body");
            for payload in [compact.to_vec(), framed(node.message_id(99), due, b"body")] {
                let stored = read(&payload).unwrap();
                assert_eq!((stored.due, stored.timestamp_ns, stored.body), (due, 5, &b"body"[..]));
                let head = MessageHead { timestamp_ns: 5, attempts: 7, id: node.message_id(99) };
                assert_eq!(stored.head(99, 7), head);
            }
        }
    }

    #[test]
    fn a_frame_that_was_stored_keeps_its_id_whatever_the_number_of_its_record() {
        let payload = framed(Node::new(3).message_id(41), None, b"x");
        assert_eq!(read(&payload).unwrap().head(99, 1).id, Node::new(3).message_id(41));
    }

    #[test]
    fn a_message_without_a_due_time_costs_as_much_as_is_counted_on() {
        let mut out = BytesMut::new();
        write(&mut out, Node::new(1), 5, None, b"body");
        assert_eq!(out.len(), PLAIN_OVERHEAD + 4);
    }

    #[test]
    fn an_id_tells_its_number_whatever_the_node_is_called_now() {
        for node in [3, 4] {
            assert_eq!(seq_of(&Node::new(node).message_id(1 << 50)), Some(1 << 50));
        }
        assert_eq!(seq_of(&MessageId::new(*b"zzzzzzzzzzzzzzzz")), None);
    }

    #[test]
    fn a_payload_that_is_cut_or_of_an_unknown_form_is_not_a_record() {
        let mut compact = BytesMut::new();
        write(&mut compact, Node::new(1), 5, Some(WallTime(9)), b"");
        let framed = framed(Node::new(1).message_id(1), Some(WallTime(9)), b"");
        for payload in [compact.to_vec(), framed] {
            for cut in 0..payload.len() {
                assert_eq!(read(&payload[..cut]), None, "cut at {cut}");
            }
        }
        compact[0] = COMPACT | 1;
        assert_eq!(read(&compact), None);
    }
}
