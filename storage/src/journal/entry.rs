//! The entries of the journal and their bytes: a kind, then numbers as varints (7 bits a byte, low ones first).
//! What they do to the state is in `state`.

use std::ops::Range;

use crate::log::Position;

/// More ranges than this become several entries: a frame stays short, and damage to one costs little.
const RANGES_MAX: usize = 512;

/// Something that happened to a log's cursors. Cursors are named by a number that is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A cursor begins: nothing from `at` on is finished.
    CursorOpened {
        /// The next free number, see `State::next_cursor`.
        id: u32,
        /// What the caller calls it; at most some hundred bytes.
        name: &'a str,
        /// Where it starts.
        at: Position,
    },
    /// A cursor is gone for good.
    CursorClosed {
        /// Which.
        id: u32,
    },
    /// A cursor was paused or goes on.
    CursorPaused {
        /// Which.
        id: u32,
        /// Paused, or not any more.
        is_paused: bool,
    },
    /// The whole log was paused or goes on.
    Paused {
        /// Paused, or not any more.
        is_paused: bool,
    },
    /// The fan-out stands here: while paused, or while there are no cursors.
    Visible {
        /// Where.
        at: Position,
    },
    /// Everything below is finished for this cursor.
    Floor {
        /// Which.
        id: u32,
        /// The number of the first record not finished.
        seq: u64,
        /// Where that record is.
        offset: u64,
    },
    /// Records above the floor are finished.
    Finished {
        /// Which cursor.
        id: u32,
        /// Their numbers.
        ranges: &'a [Range<u64>],
    },
    /// Every record below was delivered at least once.
    Delivered {
        /// Which cursor.
        id: u32,
        /// The number of the first record that was not.
        seq: u64,
    },
    /// A record that is not finished has a past.
    Pending {
        /// Which cursor.
        id: u32,
        /// The record's number.
        seq: u64,
        /// Where the record is, so that a restart finds it without reading its way there.
        offset: u64,
        /// How often it was delivered.
        attempts: u16,
        /// Not before this time, in nanoseconds since 1970.
        due_ns: Option<i64>,
    },
    /// A cursor passes over the records between two places.
    Skipped {
        /// Which cursor.
        id: u32,
        /// The first record passed over.
        from: Position,
        /// The first one behind.
        to: Position,
    },
    /// A cursor was emptied: its floor jumps, what was finished or pending below is forgotten.
    Emptied {
        /// Which cursor.
        id: u32,
        /// The new floor.
        at: Position,
    },
    /// Records below `Delivered` that the cursor passed as deferred and that were never delivered. When they are
    /// due stands in the records.
    Untouched {
        /// Which cursor.
        id: u32,
        /// Their numbers.
        ranges: &'a [Range<u64>],
    },
    /// The log below is synced: only what lies behind can be torn.
    Synced {
        /// Up to where.
        at: Position,
    },
    /// Where a cursor reads on: a place in the log that a restart can go to without reading its way there.
    Cursor {
        /// Which.
        id: u32,
        /// A number no larger than that of the record there.
        seq: u64,
        /// Where that record is.
        offset: u64,
    },
    /// How durable the log is meant to be; the levels are the caller's.
    Durability {
        /// The caller's number for it.
        level: u8,
    },
    /// A clean end: every number given out is in the log, so the next may follow densely.
    Closed,
    /// A start: from here on the end is unclean until `Closed`.
    Opened,
}

impl<'a> Entry<'a> {
    /// The entry itself, or pieces of it that fit into frames.
    pub(crate) fn parts(self) -> impl Iterator<Item = Entry<'a>> {
        let (whole, id, ranges) = match self {
            Entry::Finished { id, ranges } | Entry::Untouched { id, ranges } => (None, id, ranges),
            other => (Some(other), 0, [].as_slice()),
        };
        let pieces = ranges.chunks(RANGES_MAX).map(move |ranges| match self {
            Entry::Untouched { .. } => Entry::Untouched { id, ranges },
            _ => Entry::Finished { id, ranges },
        });
        whole.into_iter().chain(pieces)
    }

    /// Whether a copy is kept: losing it would lose messages, or bring back what was removed on purpose. Losing any
    /// other costs messages that come again.
    pub(crate) fn is_kept_twice(&self) -> bool {
        match self {
            Entry::CursorOpened { .. }
            | Entry::CursorClosed { .. }
            | Entry::CursorPaused { .. }
            | Entry::Paused { .. }
            | Entry::Skipped { .. }
            | Entry::Emptied { .. }
            | Entry::Durability { .. } => true,
            Entry::Visible { .. }
            | Entry::Floor { .. }
            | Entry::Finished { .. }
            | Entry::Untouched { .. }
            | Entry::Delivered { .. }
            | Entry::Pending { .. }
            | Entry::Cursor { .. }
            | Entry::Synced { .. }
            | Entry::Closed
            | Entry::Opened => false,
        }
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        match *self {
            Entry::CursorOpened { id, name, at } => {
                put(to, 1, &[id.into(), at.seq, at.offset, at.ordinal]);
                to.extend_from_slice(name.as_bytes());
            }
            Entry::CursorClosed { id } => put(to, 2, &[id.into()]),
            Entry::CursorPaused { id, is_paused } => put(to, 3, &[id.into(), is_paused.into()]),
            Entry::Paused { is_paused } => put(to, 4, &[is_paused.into()]),
            Entry::Visible { at } => put(to, 5, &[at.seq, at.offset, at.ordinal]),
            Entry::Floor { id, seq, offset } => put(to, 6, &[id.into(), seq, offset]),
            Entry::Finished { id, ranges } => put_ranges(to, 7, id, ranges),
            Entry::Delivered { id, seq } => put(to, 8, &[id.into(), seq]),
            Entry::Pending { id, seq, offset, attempts, due_ns: None } => {
                put(to, 9, &[id.into(), seq, offset, attempts.into()]);
            }
            Entry::Pending { id, seq, offset, attempts, due_ns: Some(due) } => {
                put(to, 10, &[id.into(), seq, offset, attempts.into(), due.cast_unsigned()]);
            }
            Entry::Skipped { id, from, to: end } => {
                put(
                    to,
                    11,
                    &[id.into(), from.seq, from.offset, from.ordinal, end.seq, end.offset, end.ordinal],
                );
            }
            Entry::Emptied { id, at } => put(to, 12, &[id.into(), at.seq, at.offset, at.ordinal]),
            Entry::Closed => put(to, 13, &[]),
            Entry::Opened => put(to, 14, &[]),
            Entry::Untouched { id, ranges } => put_ranges(to, 15, id, ranges),
            Entry::Synced { at } => put(to, 16, &[at.seq, at.offset, at.ordinal]),
            Entry::Durability { level } => put(to, 17, &[level.into()]),
            Entry::Cursor { id, seq, offset } => put(to, 18, &[id.into(), seq, offset]),
        }
    }

    /// Read an entry; `None` if the bytes are none this version knows.
    pub(crate) fn decode(payload: &'a [u8]) -> Option<Decoded<'a>> {
        let (kind, rest) = payload.split_first()?;
        let mut from = Numbers { rest };
        if matches!(kind, 7 | 15) {
            let (id, ranges) = (from.id()?, from.ranges()?);
            return Some(match kind {
                7 => Decoded::Finished { id, ranges },
                _ => Decoded::Untouched { id, ranges },
            });
        }
        let entry = match kind {
            1 => {
                let (id, at) = (from.id()?, from.position()?);
                Entry::CursorOpened { id, at, name: from.text()? }
            }
            2 => Entry::CursorClosed { id: from.id()? },
            3 => Entry::CursorPaused { id: from.id()?, is_paused: from.flag()? },
            4 => Entry::Paused { is_paused: from.flag()? },
            5 => Entry::Visible { at: from.position()? },
            6 => Entry::Floor { id: from.id()?, seq: from.number()?, offset: from.number()? },
            8 => Entry::Delivered { id: from.id()?, seq: from.number()? },
            9 => Entry::Pending {
                id: from.id()?,
                seq: from.number()?,
                offset: from.number()?,
                attempts: from.attempts()?,
                due_ns: None,
            },
            10 => {
                let (id, seq, offset) = (from.id()?, from.number()?, from.number()?);
                let (attempts, due) = (from.attempts()?, from.number()?.cast_signed());
                Entry::Pending { id, seq, offset, attempts, due_ns: Some(due) }
            }
            11 => Entry::Skipped { id: from.id()?, from: from.position()?, to: from.position()? },
            12 => Entry::Emptied { id: from.id()?, at: from.position()? },
            13 => Entry::Closed,
            14 => Entry::Opened,
            16 => Entry::Synced { at: from.position()? },
            17 => Entry::Durability { level: from.number()?.try_into().ok()? },
            18 => Entry::Cursor { id: from.id()?, seq: from.number()?, offset: from.number()? },
            _ => return None,
        };
        from.rest.is_empty().then_some(Decoded::Entry(entry))
    }
}

/// An entry read back. Ranges need a place of their own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded<'a> {
    Entry(Entry<'a>),
    Finished { id: u32, ranges: Vec<Range<u64>> },
    Untouched { id: u32, ranges: Vec<Range<u64>> },
}

impl Decoded<'_> {
    pub(crate) fn entry(&self) -> Entry<'_> {
        match self {
            Decoded::Entry(entry) => *entry,
            Decoded::Finished { id, ranges } => Entry::Finished { id: *id, ranges },
            Decoded::Untouched { id, ranges } => Entry::Untouched { id: *id, ranges },
        }
    }
}

/// Ranges are written as distances: what is finished out of order is close together.
fn put_ranges(to: &mut Vec<u8>, kind: u8, id: u32, ranges: &[Range<u64>]) {
    put(to, kind, &[id.into()]);
    let mut last = 0u64;
    for range in ranges {
        // Distances wrap, so that an order nobody promised is still written truly.
        put_number(to, range.start.wrapping_sub(last));
        put_number(to, range.end.wrapping_sub(range.start));
        last = range.end;
    }
}

fn put(to: &mut Vec<u8>, kind: u8, numbers: &[u64]) {
    to.push(kind);
    for number in numbers {
        put_number(to, *number);
    }
}

fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Reads what `put` wrote.
struct Numbers<'a> {
    rest: &'a [u8],
}

impl<'a> Numbers<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn id(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn attempts(&mut self) -> Option<u16> {
        self.number()?.try_into().ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// All that is left, as ranges.
    fn ranges(&mut self) -> Option<Vec<Range<u64>>> {
        let mut ranges = Vec::new();
        let mut last = 0u64;
        while !self.rest.is_empty() {
            let start = last.wrapping_add(self.number()?);
            let end = start.wrapping_add(self.number()?);
            ranges.push(start..end);
            last = end;
        }
        Some(ranges)
    }

    fn position(&mut self) -> Option<Position> {
        Some(Position { seq: self.number()?, offset: self.number()?, ordinal: self.number()? })
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(std::mem::take(&mut self.rest)).ok()
    }
}
