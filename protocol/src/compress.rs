//! Compression of a connection, as IDENTIFY may ask for it: bytes in, bytes out, however they are cut. A decoder
//! gives only so much at a time, so that a few bytes cannot become more than its caller has room for. When a
//! connection is compressed is the session's.

mod deflate;
mod snappy;

use std::fmt;

/// Compresses what is sent. Each call ends in a flush: all that was put in can be decoded from what came out.
#[derive(Debug)]
pub enum Encoder {
    /// Snappy in frames.
    Snappy(Box<snappy::Encoder>),
    /// Raw deflate.
    Deflate(deflate::Encoder),
}

/// Decompresses what is received.
#[derive(Debug)]
pub enum Decoder {
    /// Snappy in frames.
    Snappy(snappy::Decoder),
    /// Raw deflate.
    Deflate(deflate::Decoder),
}

/// What a call of [`Decoder::decode`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes of the input were taken; the others are to be given again.
    pub used: usize,
    /// There may be more output without more input: call again when there is room.
    pub has_more: bool,
}

impl Encoder {
    /// Snappy.
    pub fn snappy() -> Self {
        Self::Snappy(Box::default())
    }

    /// Deflate at a level from 1, the quickest, to 9, the smallest.
    pub fn deflate(level: u8) -> Self {
        Self::Deflate(deflate::Encoder::new(level))
    }

    /// Appends `input` in compressed form to `out`.
    ///
    /// # Errors
    /// The compressor fails, which it does for no input.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        match self {
            Self::Snappy(encoder) => encoder.encode(input, out),
            Self::Deflate(encoder) => encoder.encode(input, out),
        }
    }
}

impl Decoder {
    /// Snappy.
    pub fn snappy() -> Self {
        Self::Snappy(snappy::Decoder::default())
    }

    /// Deflate.
    pub fn deflate() -> Self {
        Self::Deflate(deflate::Decoder::default())
    }

    /// Appends at most `max` bytes to `out`; `max` is at least 64 KiB, the most that a frame of snappy holds.
    ///
    /// # Errors
    /// The input is no such stream, or the stream has ended. Nothing more can be decoded then; what came before is in
    /// `out`, and nothing of a frame that is damaged.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<Decoded, CompressError> {
        match self {
            Self::Snappy(decoder) => decoder.decode(input, out, max),
            Self::Deflate(decoder) => decoder.decode(input, out, max),
        }
    }
}

/// Why a stream cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressError {
    /// It does not begin as a stream of snappy frames.
    NoStreamIdentifier,
    /// A kind of frame that must not be skipped and is not known.
    UnknownFrame(u8),
    /// A frame that holds more, or less, than it may.
    FrameSize(usize),
    /// The bytes of a frame are not those that were compressed.
    Checksum,
    /// A block of snappy that is none.
    Block,
    /// A stream of deflate that is none.
    Deflate,
    /// The peer ended its stream.
    Ended,
}

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStreamIdentifier => f.write_str("snappy: the stream does not begin with its identifier"),
            Self::UnknownFrame(kind) => write!(f, "snappy: a frame of unknown kind {kind:#04x}"),
            Self::FrameSize(bytes) => write!(f, "snappy: a frame of {bytes} bytes"),
            Self::Checksum => f.write_str("snappy: the checksum of a frame does not match"),
            Self::Block => f.write_str("snappy: a damaged block"),
            Self::Deflate => f.write_str("deflate: damaged data"),
            Self::Ended => f.write_str("deflate: the peer ended its stream"),
        }
    }
}

impl std::error::Error for CompressError {}

#[cfg(test)]
mod tests;
