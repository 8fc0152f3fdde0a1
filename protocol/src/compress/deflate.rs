//! Raw deflate, without the head and checksum of zlib, flushed so that each piece can be read as it comes. The
//! algorithm is crate flate2's.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{CompressError, Decoded};

/// Output is made room for in steps of this: most inputs are small.
const STEP_BYTES: usize = 8 * 1024;

/// Writes the stream.
pub struct Encoder(Compress);

/// Reads the stream. It keeps the last 32 KiB, the most a stream may refer back to.
pub struct Decoder(Decompress);

impl Encoder {
    pub(super) fn new(level: u8) -> Self {
        Self(Compress::new(Compression::new(u32::from(level.min(9))), false))
    }

    pub(super) fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        let mut rest = input;
        loop {
            out.reserve(STEP_BYTES.max(rest.len() / 2));
            let before = self.0.total_in();
            self.0.compress_vec(rest, out, FlushCompress::Sync).map_err(|_| CompressError::Deflate)?;
            let used = usize::try_from(self.0.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(used..).unwrap_or_default();
            // Room that is left over means that nothing is left inside.
            if rest.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self(Decompress::new(false))
    }
}

impl Decoder {
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<Decoded, CompressError> {
        let end = out.len() + max;
        let mut used = 0;
        loop {
            let start = out.len();
            let room = STEP_BYTES.min(end - start);
            out.resize(start + room, 0);
            let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
            let rest = input.get(used..).unwrap_or_default();
            let target = out.get_mut(start..).unwrap_or_default();
            let status = self.0.decompress(rest, target, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before_in).unwrap_or(usize::MAX);
            used += taken;
            let made = usize::try_from(self.0.total_out() - before_out).unwrap_or(room);
            out.truncate(start + made);
            match status {
                Ok(Status::Ok | Status::BufError) => {}
                // What came before the end, or before the damage, was sent and is in `out`.
                Ok(Status::StreamEnd) => return Err(CompressError::Ended),
                Err(_) => return Err(CompressError::Deflate),
            }
            // Room that is left over does not mean that nothing is left inside: a call also ends where its window
            // of 32 KiB does, when there is no input any more.
            if out.len() == end || (made == 0 && taken == 0) {
                return Ok(Decoded { used, has_more: out.len() == end });
            }
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("total_in", &self.0.total_in()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("total_in", &self.0.total_in()).finish_non_exhaustive()
    }
}
