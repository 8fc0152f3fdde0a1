//! The records of one data file, one after the other. Stock has no checksums: a length that cannot be is the only
//! damage that shows. Stock gives up the rest of the file there; here the next message is looked for, and taken only
//! where id and timestamp prove it.

use crate::message::{HEAD_BYTES, LENGTH_BYTES, Message, is_head};

/// What a place must hold to be taken for a record's beginning behind damage.
const START_BYTES: usize = LENGTH_BYTES + HEAD_BYTES;

/// A file to read from.
pub trait Source {
    /// Why it cannot be read.
    type Error;

    /// Read up to `buffer.len()` bytes at `at`; 0 only at the end.
    ///
    /// # Errors
    /// It cannot be read.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize, Self::Error>;
}

/// What could not be read of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damage {
    /// How often something was stepped over, with messages behind it.
    pub places: u64,
    /// The bytes stepped over there.
    pub bytes: u64,
    /// The bytes behind the last message, up to the file's end. In the file being written: a torn write.
    pub tail_bytes: u64,
}

/// Reads the messages of one file.
#[derive(Debug)]
pub struct Records<S> {
    source: S,
    /// Where the next record is, or should be.
    at: u64,
    end: u64,
    /// How much one read brings.
    window: usize,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_at: u64,
    damage: Damage,
}

impl<S: Source> Records<S> {
    /// Read from byte `from` of a file of `file_bytes`, about `window` bytes at a time.
    pub fn new(source: S, from: u64, file_bytes: u64, window: usize) -> Self {
        let (buffer, window) = (Vec::new(), window.max(2 * START_BYTES));
        Self { source, at: from, end: file_bytes, window, buffer, buffer_at: from, damage: Damage::default() }
    }

    /// The next message, or `None` at the end of the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_next(&mut self) -> Result<Option<Message>, S::Error> {
        while self.at < self.end {
            let Some(behind) = self.end_of(self.at)? else {
                if !self.step_over(self.at + 1)? {
                    return Ok(None);
                }
                continue;
            };
            // A length that is wrong and still possible shows by what is behind it. What it swallowed is looked for.
            if behind < self.end && self.end_of(behind)?.is_none() && self.is_swallowing(behind)? {
                continue;
            }
            let from = self.at + LENGTH_BYTES as u64;
            let message = Message::decode(self.bytes(from, behind - from)?);
            self.at = behind;
            return Ok(message);
        }
        Ok(None)
    }

    /// What was damaged so far.
    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// The end of the record at `at`, if its length can be true.
    fn end_of(&mut self, at: u64) -> Result<Option<u64>, S::Error> {
        let end = self.end;
        let Some(length) = self.bytes(at, LENGTH_BYTES as u64)?.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u64::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let behind = at + LENGTH_BYTES as u64 + length;
        Ok((length >= HEAD_BYTES as u64 && behind <= end).then_some(behind))
    }

    /// Whether the record at hand reaches over the beginning of another one, which is then the next.
    fn is_swallowing(&mut self, behind: u64) -> Result<bool, S::Error> {
        match self.find(self.at + START_BYTES as u64, behind)? {
            Some(found) => {
                self.skip_to(found);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Go on at the next message at or behind `from`. False: there is none in this file.
    fn step_over(&mut self, from: u64) -> Result<bool, S::Error> {
        match self.find(from, self.end)? {
            Some(found) => self.skip_to(found),
            None => {
                self.damage.tail_bytes = self.end - self.at;
                self.at = self.end;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn skip_to(&mut self, found: u64) {
        self.damage.places += 1;
        self.damage.bytes += found - self.at;
        self.at = found;
    }

    /// The first proven beginning of a message at or behind `from` and before `to`.
    fn find(&mut self, mut from: u64, to: u64) -> Result<Option<u64>, S::Error> {
        let file_end = self.end;
        while from < to && from + START_BYTES as u64 <= file_end {
            let window = self.window as u64;
            let bytes = self.bytes(from, window.min(file_end - from))?;
            let places = bytes.len().saturating_sub(START_BYTES - 1);
            if places == 0 {
                return Ok(None);
            }
            let is_start = |(place, start): &(u64, &[u8])| {
                let (length, head) =
                    start.split_first_chunk::<LENGTH_BYTES>().unwrap_or((&[0; LENGTH_BYTES], &[]));
                let length = u64::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
                let fits = length >= HEAD_BYTES as u64 && place + LENGTH_BYTES as u64 + length <= file_end;
                fits && is_head(head)
            };
            let found = (from..to).zip(bytes.windows(START_BYTES)).find(is_start);
            if let Some((place, _)) = found {
                return Ok(Some(place));
            }
            from += places as u64;
        }
        Ok(None)
    }

    /// The bytes from `at` on, fewer only where the file ends.
    fn bytes(&mut self, at: u64, wanted: u64) -> Result<&[u8], S::Error> {
        let wanted = usize::try_from(wanted.min(self.end.saturating_sub(at))).unwrap_or(usize::MAX);
        let is_there = at >= self.buffer_at
            && (at - self.buffer_at).saturating_add(wanted as u64) <= self.buffer.len() as u64;
        if !is_there {
            self.fill(at, wanted)?;
        }
        let from = usize::try_from(at - self.buffer_at).unwrap_or(usize::MAX);
        let behind = self.buffer.get(from..).unwrap_or_default();
        Ok(behind.get(..wanted).unwrap_or(behind))
    }

    fn fill(&mut self, at: u64, wanted: usize) -> Result<(), S::Error> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        self.buffer.clear();
        self.buffer.shrink_to(self.window);
        self.buffer.resize(wanted.max(self.window).min(left), 0);
        self.buffer_at = at;
        let mut filled = 0;
        while let Some(rest) = self.buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.source.read_at(rest, at + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
