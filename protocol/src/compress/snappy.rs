//! The framing format of snappy: an identifier, then frames of at most 64 KiB, each with a checksum. The blocks in
//! them are crate snap's; its own reader and writer want a stream that they can wait for.

use std::fmt;

use super::{CompressError, Decoded};

/// The first frame of a stream.
const IDENTIFIER: [u8; 10] = *b"\xff\x06\x00\x00sNaPpY";

const COMPRESSED: u8 = 0x00;
const UNCOMPRESSED: u8 = 0x01;
const STREAM: u8 = 0xff;
/// Kinds from here on are skipped by those who do not know them; the last but one is padding.
const SKIPPABLE: u8 = 0x80;

/// Kind and length.
const HEAD_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;
/// What one frame may hold.
const DATA_BYTES_MAX: usize = 64 * 1024;
/// A block that could not be compressed grows by so much at worst.
const BLOCK_BYTES_MAX: usize = 32 + DATA_BYTES_MAX + DATA_BYTES_MAX / 6;

/// Writes frames.
pub struct Encoder {
    has_begun: bool,
    blocks: snap::raw::Encoder,
    block: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { has_begun: false, blocks: snap::raw::Encoder::new(), block: Vec::new() }
    }
}

impl Encoder {
    pub(super) fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        if !self.has_begun {
            self.has_begun = true;
            out.extend_from_slice(&IDENTIFIER);
        }
        for data in input.chunks(DATA_BYTES_MAX) {
            self.block.resize(snap::raw::max_compress_len(data.len()), 0);
            let bytes = self.blocks.compress(data, &mut self.block).map_err(|_| CompressError::Block)?;
            let block = self.block.get(..bytes).unwrap_or_default();
            // What compression gains less than an eighth of is not worth the reader's time.
            let (kind, body) =
                if bytes < data.len() - data.len() / 8 { (COMPRESSED, block) } else { (UNCOMPRESSED, data) };
            out.push(kind);
            out.extend(length(CHECKSUM_BYTES + body.len()));
            out.extend(checksum(data).to_le_bytes());
            out.extend_from_slice(body);
        }
        // Connections are idle for most of their life.
        self.block = Vec::new();
        Ok(())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("has_begun", &self.has_begun).finish_non_exhaustive()
    }
}

/// Reads frames. A frame that is not whole waits here; it grows as its bytes arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    has_begun: bool,
    frame: Vec<u8>,
    /// Bytes of a frame that is passed over.
    to_skip: usize,
}

impl Decoder {
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<Decoded, CompressError> {
        let end = out.len() + max.max(DATA_BYTES_MAX);
        let mut rest = input;
        let has_more = loop {
            self.skip(&mut rest);
            if self.to_skip > 0 || !self.fill(&mut rest, HEAD_BYTES) {
                break false;
            }
            let (kind, length) = self.head();
            self.check_head(kind, length)?;
            if kind >= SKIPPABLE && kind != STREAM {
                self.frame.clear();
                self.to_skip = length;
                continue;
            }
            if !self.fill(&mut rest, HEAD_BYTES + length) {
                break false;
            }
            let body = self.frame.get(HEAD_BYTES..).unwrap_or_default();
            if kind == STREAM {
                if !IDENTIFIER.ends_with(body) {
                    return Err(CompressError::NoStreamIdentifier);
                }
                self.has_begun = true;
            } else {
                let bytes = data_bytes(kind, body)?;
                if out.len() + bytes > end {
                    break true;
                }
                append(kind, body, bytes, out)?;
            }
            self.frame.clear();
        };
        if self.frame.is_empty() {
            self.frame = Vec::new();
        }
        Ok(Decoded { used: input.len() - rest.len(), has_more })
    }

    /// Pass over what nobody reads.
    fn skip(&mut self, rest: &mut &[u8]) {
        let skipped = self.to_skip.min(rest.len());
        self.to_skip -= skipped;
        *rest = rest.get(skipped..).unwrap_or_default();
    }

    /// Take from `rest` until the frame has `bytes`.
    fn fill(&mut self, rest: &mut &[u8], bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.frame.len());
        let (taken, left) = rest.split_at(missing.min(rest.len()));
        self.frame.extend_from_slice(taken);
        *rest = left;
        taken.len() == missing
    }

    fn head(&self) -> (u8, usize) {
        match self.frame.first_chunk::<HEAD_BYTES>() {
            Some(&[kind, a, b, c]) => (kind, u32::from_le_bytes([a, b, c, 0]) as usize),
            None => (STREAM, 0),
        }
    }

    /// What the head says decides how much is waited for, so it is judged before.
    fn check_head(&self, kind: u8, length: usize) -> Result<(), CompressError> {
        if kind != STREAM && !self.has_begun {
            return Err(CompressError::NoStreamIdentifier);
        }
        let allowed = match kind {
            COMPRESSED => CHECKSUM_BYTES..=CHECKSUM_BYTES + BLOCK_BYTES_MAX,
            UNCOMPRESSED => CHECKSUM_BYTES..=CHECKSUM_BYTES + DATA_BYTES_MAX,
            STREAM => IDENTIFIER.len() - HEAD_BYTES..=IDENTIFIER.len() - HEAD_BYTES,
            SKIPPABLE.. => return Ok(()),
            unknown => return Err(CompressError::UnknownFrame(unknown)),
        };
        if allowed.contains(&length) { Ok(()) } else { Err(CompressError::FrameSize(length)) }
    }
}

/// How many bytes come out of a frame of data.
fn data_bytes(kind: u8, body: &[u8]) -> Result<usize, CompressError> {
    let data = body.get(CHECKSUM_BYTES..).unwrap_or_default();
    if kind == UNCOMPRESSED {
        return Ok(data.len());
    }
    match snap::raw::decompress_len(data) {
        Ok(bytes) if bytes > DATA_BYTES_MAX => Err(CompressError::FrameSize(bytes)),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(CompressError::Block),
    }
}

/// All of a frame, or nothing: who reads `out` must not meet bytes that nobody sent.
fn append(kind: u8, body: &[u8], bytes: usize, out: &mut Vec<u8>) -> Result<(), CompressError> {
    let (wanted, data) = body.split_first_chunk::<CHECKSUM_BYTES>().ok_or(CompressError::Block)?;
    let start = out.len();
    let is_block = if kind == UNCOMPRESSED {
        out.extend_from_slice(data);
        true
    } else {
        out.resize(start + bytes, 0);
        let room = out.get_mut(start..).unwrap_or_default();
        snap::raw::Decoder::new().decompress(data, room).is_ok()
    };
    let is_same = checksum(out.get(start..).unwrap_or_default()).to_le_bytes() == *wanted;
    if is_block && is_same {
        return Ok(());
    }
    out.truncate(start);
    Err(if is_block { CompressError::Checksum } else { CompressError::Block })
}

/// CRC-32C, turned and shifted so that checksums of data that holds checksums stay good ones.
fn checksum(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Three bytes, the lowest first.
fn length(bytes: usize) -> [u8; 3] {
    let [a, b, c, ..] = bytes.to_le_bytes();
    [a, b, c]
}
