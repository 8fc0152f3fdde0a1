//! What follows a command line: a sized body, or the messages of MPUB. Nothing is copied and no size field is
//! believed: a body is there when its bytes are. Which command has which body is in `decode`.

use crate::command::{Limits, put_size, put_sized};
use crate::error::{Code, Error};

/// Why a command cannot be had from the bytes so far.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Not before `need` bytes are there; `missing` says what stands in them.
    Short { need: usize, missing: Missing },
    /// Never.
    Fault(Error),
}

impl Stop {
    /// The same, seen from `bytes` further ahead.
    pub(crate) fn behind(self, bytes: usize) -> Self {
        match self {
            Self::Short { need, missing } => Self::Short { need: need + bytes, missing },
            Self::Fault(error) => Self::Fault(error),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

/// What a connection that ends too early has not sent. Turned into an error only then: waiting allocates
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    SizeOf(Body),
    BytesOf(Body),
    MessageCount,
    MessageSize(u32),
}

impl Missing {
    pub(crate) fn error(self) -> Error {
        match self {
            Self::SizeOf(body) => body.error(format_args!("failed to read {} size", body.noun())),
            Self::BytesOf(body) => body.error(format_args!("failed to read {}", body.noun())),
            Self::MessageCount => Body::Whole("MPUB").error("failed to read message count"),
            Self::MessageSize(index) => {
                IN_MPUB.error(format_args!("failed to read message({index}) body size"))
            }
        }
    }
}

/// A sized body and how nsqd speaks of it; holds the command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A message.
    Message(&'static str),
    /// All that follows the line.
    Whole(&'static str),
}

impl Body {
    /// The body at the start of `rest`, without its size field.
    pub(crate) fn take(self, rest: &[u8], bytes_max: usize) -> Result<&[u8], Stop> {
        let Some(size) = size_at(rest, 0) else {
            return Err(Stop::Short { need: SIZE_BYTES, missing: Missing::SizeOf(self) });
        };
        let end = SIZE_BYTES + self.check(size, bytes_max)?;
        rest.get(SIZE_BYTES..end).ok_or(Stop::Short { need: end, missing: Missing::BytesOf(self) })
    }

    /// Like `take`, for what anybody may send before it is known who he is.
    // nsqd: the limit is that of an MPUB; what is beyond it is refused in the same words here.
    pub(crate) fn take_small<'a>(self, rest: &'a [u8], limits: &Limits) -> Result<&'a [u8], Stop> {
        let is_beyond = |size: i32| usize::try_from(size).is_ok_and(|size| size > limits.body_bytes_max);
        let max = if size_at(rest, 0).is_some_and(is_beyond) {
            limits.body_bytes_max
        } else {
            limits.identify_bytes_max.min(limits.body_bytes_max)
        };
        self.take(rest, max)
    }

    /// The size as a length, if it is one that is allowed.
    pub(crate) fn check(self, size: i32, bytes_max: usize) -> Result<usize, Error> {
        match usize::try_from(size) {
            Ok(size) if size > bytes_max => Err(self.too_big(size, bytes_max)),
            Ok(size) if size > 0 => Ok(size),
            _ => Err(self.error(format_args!("invalid {} size {size}", self.noun()))),
        }
    }

    fn too_big(self, size: usize, bytes_max: usize) -> Error {
        let what = match self {
            Self::Message(_) => "message",
            Self::Whole(_) => "body",
        };
        self.error(format_args!("{what} too big {size} > {bytes_max}"))
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Message(_) => "message body",
            Self::Whole(_) => "body",
        }
    }

    fn error(self, text: impl std::fmt::Display) -> Error {
        match self {
            Self::Message(verb) => Error::new(Code::BadMessage, format!("{verb} {text}")),
            Self::Whole(verb) => Error::new(Code::BadBody, format!("{verb} {text}")),
        }
    }
}

/// How far an MPUB was read, so that bytes arriving one by one are not read again and again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// Messages that are whole.
    messages: u32,
    /// Where the next one starts, counted from the message count's field; 0 before that was read.
    bytes: usize,
}

impl Scan {
    /// Reads on in `rest`, which starts at the message count.
    // nsqd: the count alone decides how much is read. Stopping at the limit of the whole body is what bounds
    // it.
    pub(crate) fn advance(&mut self, rest: &[u8], limits: &Limits) -> Result<u32, Stop> {
        let count = message_count(rest, limits)?;
        self.bytes = self.bytes.max(SIZE_BYTES);
        while self.messages < count {
            let index = self.messages;
            let size_end = self.bytes + SIZE_BYTES;
            if size_end > limits.body_bytes_max {
                return Err(Missing::MessageSize(index).error().into());
            }
            let Some(size) = size_at(rest, self.bytes) else {
                return Err(Stop::Short { need: size_end, missing: Missing::MessageSize(index) });
            };
            if size <= 0 {
                return Err(IN_MPUB.error(format_args!("invalid message({index}) body size {size}")).into());
            }
            let end = size_end + IN_MPUB.check(size, limits.message_bytes_max)?;
            if end > limits.body_bytes_max {
                return Err(Missing::BytesOf(IN_MPUB).error().into());
            }
            if end > rest.len() {
                return Err(Stop::Short { need: end, missing: Missing::BytesOf(IN_MPUB) });
            }
            self.messages += 1;
            self.bytes = end;
        }
        Ok(count)
    }

    /// Bytes that are read, from the message count's field on.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The messages of an MPUB, all of them whole and within the limits; iterating yields the bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Messages<'a> {
    /// Reads `u32 count | (u32 size | body)*`, the form of an HTTP `/mpub?binary=true`; what follows is
    /// ignored.
    ///
    /// # Errors
    /// A count or size out of range, or fewer bytes than they promise: the errors of MPUB.
    pub fn parse(body: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let mut scan = Scan::default();
        match scan.advance(body, limits) {
            Ok(count) => Ok(Self::scanned(body, &scan, count)),
            Err(Stop::Short { missing, .. }) => Err(missing.error()),
            Err(Stop::Fault(error)) => Err(error),
        }
    }

    /// Messages for a client to publish. Their sized bodies are written to `out`, in place of what it held.
    pub fn pack<B: AsRef<[u8]>>(out: &'a mut Vec<u8>, bodies: impl IntoIterator<Item = B>) -> Self {
        out.clear();
        let mut left = 0;
        for body in bodies {
            put_sized(out, body.as_ref());
            left += 1;
        }
        Self { rest: out, left }
    }

    /// Bytes of all bodies that are left, without their sizes.
    pub const fn body_bytes(&self) -> usize {
        self.rest.len() - SIZE_BYTES * self.left
    }

    pub(crate) fn scanned(body: &'a [u8], scan: &Scan, count: u32) -> Self {
        Self { rest: body.get(SIZE_BYTES..scan.bytes).unwrap_or_default(), left: count as usize }
    }

    /// Appends size, count and messages, as they follow the line of an MPUB.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_size(out, SIZE_BYTES + self.rest.len());
        put_size(out, self.left);
        out.extend_from_slice(self.rest);
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (size, rest) = self.rest.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)?;
        self.rest = rest;
        self.left -= 1;
        Some(body)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Messages<'_> {}

/// A message within MPUB.
const IN_MPUB: Body = Body::Message("MPUB");

const SIZE_BYTES: usize = 4;

/// Least bytes a message takes in MPUB: its size field and one byte of body.
const PACKED_BYTES_MIN: usize = SIZE_BYTES + 1;

fn message_count(rest: &[u8], limits: &Limits) -> Result<u32, Stop> {
    let Some(count) = size_at(rest, 0) else {
        return Err(Stop::Short { need: SIZE_BYTES, missing: Missing::MessageCount });
    };
    let max = limits.body_bytes_max.saturating_sub(SIZE_BYTES) / PACKED_BYTES_MIN;
    match u32::try_from(count) {
        Ok(count) if count > 0 && count as usize <= max => Ok(count),
        _ => Err(Body::Whole("MPUB").error(format_args!("invalid message count {count}")).into()),
    }
}

/// The size field at `at`; signed, as nsqd takes it.
pub(crate) fn size_at(buf: &[u8], at: usize) -> Option<i32> {
    buf.get(at..)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8], expected: Result<&[&str], &str>) {
        let limits = Limits { message_bytes_max: 10, body_bytes_max: 40, ..Limits::default() };
        let result = Messages::parse(body, &limits).map_err(|error| error.to_string());
        let bodies = result.map(|messages| messages.collect::<Vec<_>>());
        let expected = expected.map(|bodies| bodies.iter().map(|body| body.as_bytes()).collect());
        assert_eq!(bodies, expected.map_err(str::to_owned), "{body:?}");
    }

    #[test]
    fn binary_body_of_http_is_read_like_mpub() {
        check(b"\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc", Ok(&["a", "bc"]));
        check(b"\0\0\0\x01\0\0\0\x01ajunk", Ok(&["a"]));
        check(b"", Err("E_BAD_BODY MPUB failed to read message count"));
        check(b"\0\0\0\0", Err("E_BAD_BODY MPUB invalid message count 0"));
        check(b"\xff\xff\xff\xff", Err("E_BAD_BODY MPUB invalid message count -1"));
        // Seven messages of one byte are what fits into 40 bytes.
        check(b"\0\0\0\x08", Err("E_BAD_BODY MPUB invalid message count 8"));
        check(b"\0\0\0\x07", Err("E_BAD_MESSAGE MPUB failed to read message(0) body size"));
        check(b"\0\0\0\x01\0\0\0\x05a", Err("E_BAD_MESSAGE MPUB failed to read message body"));
        check(b"\0\0\0\x01\0\0\0\x0b", Err("E_BAD_MESSAGE MPUB message too big 11 > 10"));
        check(
            b"\0\0\0\x02\0\0\0\x01a\xff\xff\xff\xff",
            Err("E_BAD_MESSAGE MPUB invalid message(1) body size -1"),
        );
    }

    #[test]
    fn all_messages_together_stay_within_the_limit_of_the_body() {
        let eight = b"\0\0\0\x08xxxxxxxx".as_slice();
        let fits = [b"\0\0\0\x03", eight, eight, eight].concat();
        check(&fits, Ok(&["xxxxxxxx", "xxxxxxxx", "xxxxxxxx"]));
        let body_beyond = [b"\0\0\0\x03", eight, eight, b"\0\0\0\x09"].concat();
        check(&body_beyond, Err("E_BAD_MESSAGE MPUB failed to read message body"));
        let ten = b"\0\0\0\x0axxxxxxxxxx".as_slice();
        let size_beyond = [b"\0\0\0\x04", ten, ten, b"\0\0\0\x02xx"].concat();
        check(&size_beyond, Err("E_BAD_MESSAGE MPUB failed to read message(3) body size"));
    }

    #[test]
    fn packed_messages_know_their_number_and_size() {
        let mut out = Vec::new();
        let mut messages = Messages::pack(&mut out, ["one", "three"]);
        assert_eq!((messages.len(), messages.body_bytes()), (2, 8));
        messages.next();
        assert_eq!((messages.len(), messages.body_bytes()), (1, 5));
        messages.next();
        assert_eq!((messages.next(), messages.len()), (None, 0));
    }
}
