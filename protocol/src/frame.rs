//! Frames from broker to client: `u32 size | u32 type | data`, size counting the type and the data.
//! When a frame is flushed, and to whom, is not known here.

use std::fmt;

use bytes::{Buf, BufMut};

use crate::error::Error;
use crate::message::{MESSAGE_HEADER_BYTES, MessageId};

/// Sent by the broker each heartbeat interval, as a response.
pub const HEARTBEAT: &[u8] = b"_heartbeat_";
/// The response to most commands that worked.
pub const OK: &[u8] = b"OK";
/// The response to CLS.
pub const CLOSE_WAIT: &[u8] = b"CLOSE_WAIT";
/// First bytes of a connection to nsqd.
pub const MAGIC_V2: &[u8; 4] = b"  V2";
/// First bytes of a connection to nsqlookupd.
pub const MAGIC_V1: &[u8; 4] = b"  V1";

/// Bytes a whole MESSAGE frame has besides its body.
pub const MESSAGE_FRAME_OVERHEAD: usize = FRAME_HEADER_BYTES + MESSAGE_HEADER_BYTES;

const FRAME_HEADER_BYTES: usize = 8;
const TYPE_BYTES: usize = 4;
const RESPONSE: u32 = 0;
const ERROR: u32 = 1;
const MESSAGE: u32 = 2;

/// What stands before a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHead {
    /// Time of publish in nanoseconds since the Unix epoch, kept over requeues.
    pub timestamp_ns: i64,
    /// How often the message was delivered, this time included.
    pub attempts: u16,
    /// By what the client names the message.
    pub id: MessageId,
}

/// Appends a RESPONSE frame.
pub fn encode_response(out: &mut Vec<u8>, data: &[u8]) {
    put_header(out, RESPONSE, data.len());
    out.put_slice(data);
}

/// Appends an ERROR frame: the code, a space and the description.
pub fn encode_error(out: &mut Vec<u8>, error: &Error) {
    let text = error.to_string();
    put_header(out, ERROR, text.len());
    out.put_slice(text.as_bytes());
}

/// Appends one whole MESSAGE frame.
///
/// ```text
/// u32 size | u32 2 | i64 timestamp | u16 attempts | 16 id | body
/// 0          4       8               16             18      34
/// ```
pub fn encode_message(out: &mut impl BufMut, head: &MessageHead, body: &[u8]) {
    // One put for the whole head: a buffer checks its room on every call.
    let mut bytes = [0; MESSAGE_FRAME_OVERHEAD];
    let mut rest = bytes.as_mut_slice();
    put_header(&mut rest, MESSAGE, MESSAGE_HEADER_BYTES + body.len());
    rest.put_i64(head.timestamp_ns);
    rest.put_u16(head.attempts);
    rest.put_slice(head.id.as_bytes());
    out.put_slice(&bytes);
    out.put_slice(body);
}

/// A frame as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The answer to a command, or a heartbeat.
    Response(&'a [u8]),
    /// `CODE description`.
    Error(&'a [u8]),
    /// A delivery.
    Message {
        /// What stands before the body.
        head: MessageHead,
        /// What was published.
        body: &'a [u8],
    },
}

/// Reads the first frame in `buf` and says how many bytes it took; `None` while it is not whole.
///
/// # Errors
/// The stream is not one of frames, or a frame's size field is above `max_bytes`; nothing can be read after
/// that.
pub fn decode_frame(buf: &[u8], max_bytes: usize) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((data, taken)) = split_sized(buf, max_bytes)? else { return Ok(None) };
    let Some((kind, data)) = data.split_first_chunk::<TYPE_BYTES>() else {
        return Err(FrameError::TooShort { size: data.len() });
    };
    let frame = match u32::from_be_bytes(*kind) {
        RESPONSE => Frame::Response(data),
        ERROR => Frame::Error(data),
        MESSAGE => decode_message(data)?,
        kind => return Err(FrameError::UnknownType { kind }),
    };
    Ok(Some((frame, taken)))
}

/// Splits off data behind a u32 size, as frames and the answers of nsqlookupd have it.
pub(crate) fn split_sized(buf: &[u8], max_bytes: usize) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some((size, rest)) = buf.split_first_chunk::<4>() else { return Ok(None) };
    let size = u32::from_be_bytes(*size) as usize;
    if size > max_bytes {
        return Err(FrameError::TooBig { size, max: max_bytes });
    }
    Ok(rest.get(..size).map(|data| (data, 4 + size)))
}

/// Why a stream of frames cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The size field is above the reader's limit, or nonsense.
    TooBig {
        /// What the size field says.
        size: usize,
        /// What the reader allows.
        max: usize,
    },
    /// The size has no room for the type, or for a message's head.
    TooShort {
        /// What the size field says.
        size: usize,
    },
    /// Neither response, error nor message.
    UnknownType {
        /// What the type field says.
        kind: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooBig { size, max } => write!(f, "frame of {size} bytes is above the limit of {max}"),
            Self::TooShort { size } => write!(f, "frame of {size} bytes is too short for its type"),
            Self::UnknownType { kind } => write!(f, "frame type {kind} is unknown"),
        }?;
        f.write_str("; is the other side an nsqd that speaks protocol V2?")
    }
}

impl std::error::Error for FrameError {}

fn put_header(out: &mut impl BufMut, kind: u32, data_bytes: usize) {
    // Bodies are limited far below 4 GiB before they get here.
    out.put_u32(u32::try_from(TYPE_BYTES + data_bytes).unwrap_or(u32::MAX));
    out.put_u32(kind);
}

fn decode_message(data: &[u8]) -> Result<Frame<'_>, FrameError> {
    let Some((mut head, body)) = data.split_at_checked(MESSAGE_HEADER_BYTES) else {
        return Err(FrameError::TooShort { size: TYPE_BYTES + data.len() });
    };
    let (timestamp_ns, attempts) = (head.get_i64(), head.get_u16());
    let mut id = [0; 16];
    head.copy_to_slice(&mut id);
    Ok(Frame::Message { head: MessageHead { timestamp_ns, attempts, id: MessageId::new(id) }, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: MessageHead =
        MessageHead { timestamp_ns: 0x0102_0304_0506_0708, attempts: 9, id: MessageId::from_bits(10) };

    fn message() -> Vec<u8> {
        let mut out = Vec::new();
        encode_message(&mut out, &HEAD, b"hi");
        out
    }

    #[test]
    fn frames_have_the_bytes_of_the_protocol() {
        let mut out = Vec::new();
        encode_response(&mut out, OK);
        assert_eq!(out, b"\0\0\0\x06\0\0\0\0OK");
        out.clear();
        encode_error(&mut out, &Error::bad_protocol());
        assert_eq!(out, b"\0\0\0\x12\0\0\0\x01E_BAD_PROTOCOL");
        assert_eq!(
            message(),
            b"\0\0\0\x20\0\0\0\x02\x01\x02\x03\x04\x05\x06\x07\x08\0\x09000000000000000ahi"
        );
        assert_eq!(message().len(), MESSAGE_FRAME_OVERHEAD + 2);
    }

    #[test]
    fn client_reads_what_the_broker_wrote() {
        let mut out = message();
        encode_response(&mut out, HEARTBEAT);
        let (frame, taken) = decode_frame(&out, 100).unwrap().unwrap();
        assert_eq!(frame, Frame::Message { head: HEAD, body: b"hi" });
        let (frame, rest) = decode_frame(&out[taken..], 100).unwrap().unwrap();
        assert_eq!(frame, Frame::Response(HEARTBEAT));
        assert_eq!(taken + rest, out.len());
    }

    #[test]
    fn unfinished_frame_waits_for_more() {
        let whole = message();
        for bytes in 0..whole.len() {
            assert_eq!(decode_frame(&whole[..bytes], 100), Ok(None));
        }
    }

    #[test]
    fn nonsense_is_refused_at_once() {
        let cases: &[(&[u8], FrameError)] = &[
            (b"\xff\xff\xff\xff", FrameError::TooBig { size: u32::MAX as usize, max: 100 }),
            (b"\0\0\0\x65", FrameError::TooBig { size: 101, max: 100 }),
            (b"\0\0\0\x03abc", FrameError::TooShort { size: 3 }),
            (b"\0\0\0\x06\0\0\0\x02ab", FrameError::TooShort { size: 6 }),
            (b"\0\0\0\x04\0\0\0\x07", FrameError::UnknownType { kind: 7 }),
            (b"HTTP/1.1 400", FrameError::TooBig { size: 0x4854_5450, max: 100 }),
        ];
        for (bytes, error) in cases {
            assert_eq!(decode_frame(bytes, 100).as_ref(), Err(error));
        }
    }
}
