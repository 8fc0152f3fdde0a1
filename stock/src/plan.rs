//! Which files of a queue are read, and from where, whatever the noted places say: they are older than the files
//! after a crash, and missing after one that came early.

use std::collections::BTreeMap;
use std::fmt;

use crate::place::Place;

/// The files of one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueFiles {
    /// Whether there is a file of places, and what it says; `Some(None)`: nothing that can be read.
    pub place: Option<Option<Place>>,
    /// The length of each data file by its number.
    pub data: BTreeMap<u64, u64>,
    /// The same of those that stock gave up.
    pub bad: BTreeMap<u64, u64>,
}

/// What to read of a queue, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// File by file.
    pub parts: Vec<Part>,
    /// What was not as stock leaves it after a clean end.
    pub notes: Vec<Note>,
}

/// Part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The file's number.
    pub number: u64,
    /// It is one that stock gave up.
    pub is_bad: bool,
    /// Where to begin.
    pub from: u64,
    /// The file's length.
    pub file_bytes: u64,
    /// It is the last: what is torn at its end was being written.
    pub is_last: bool,
}

/// Something out of the ordinary about a queue's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// No places are noted: all of it is read, delivered messages too.
    NoPlace,
    /// The noted places cannot be read: all of it is read, delivered messages too.
    TornPlace,
    /// More was written than noted.
    Behind {
        /// How much more.
        bytes: u64,
    },
    /// Files that should be there are not.
    Gone {
        /// The number of the first one missing.
        first: u64,
        /// How many.
        files: u64,
    },
    /// Files whose messages all were delivered.
    Delivered {
        /// How many.
        files: u64,
        /// How long they are.
        bytes: u64,
    },
    /// The file is shorter than what was read of it.
    Short {
        /// The file's number.
        number: u64,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPlace => {
                f.write_str("no meta.dat: read from the beginning, may repeat delivered messages")
            }
            Self::TornPlace => {
                f.write_str("meta.dat cannot be read: read from the beginning, may repeat delivered messages")
            }
            Self::Behind { bytes } => write!(f, "meta.dat is behind: {bytes} bytes more were written"),
            Self::Gone { first, files } => write!(f, "{files} file(s) from number {first} on are gone"),
            Self::Delivered { files, bytes } => {
                write!(f, "{files} file(s) of {bytes} bytes were delivered already")
            }
            Self::Short { number } => write!(f, "file {number} is shorter than what was read of it"),
        }
    }
}

impl QueueFiles {
    /// What to read. Files that stock gave up are left out unless `with_bad`.
    pub fn plan(&self, with_bad: bool) -> Plan {
        let mut plan = Plan::default();
        let place = self.place.flatten();
        match self.place {
            None if !self.data.is_empty() => plan.notes.push(Note::NoPlace),
            Some(None) => plan.notes.push(Note::TornPlace),
            _ => {}
        }
        let read_from = place.map_or((0, 0), |place| (place.read_file, place.read_at));
        let last = self.data.last_key_value().map(|(number, _)| *number);
        for (&number, &file_bytes) in &self.data {
            let from = if number == read_from.0 { read_from.1 } else { 0 };
            if from > file_bytes {
                plan.notes.push(Note::Short { number });
            } else if number >= read_from.0 && from < file_bytes {
                let is_last = Some(number) == last;
                plan.parts.push(Part { number, is_bad: false, from, file_bytes, is_last });
            }
        }
        if let Some(place) = place {
            self.compare(&place, &mut plan.notes);
        }
        if with_bad {
            plan.parts.extend(self.bad.iter().map(|(&number, &file_bytes)| Part {
                number,
                is_bad: true,
                from: 0,
                file_bytes,
                is_last: false,
            }));
            plan.parts.sort_by_key(|part| part.number);
        }
        plan
    }

    fn compare(&self, place: &Place, notes: &mut Vec<Note>) {
        let delivered: Vec<u64> = self.data.range(..place.read_file).map(|(_, bytes)| *bytes).collect();
        if !delivered.is_empty() {
            notes.push(Note::Delivered { files: delivered.len() as u64, bytes: delivered.iter().sum() });
        }
        let behind = (place.write_file, place.write_at);
        let unnoted = self
            .data
            .range(place.write_file..)
            .map(|(&number, &bytes)| if number == behind.0 { bytes.saturating_sub(behind.1) } else { bytes });
        let bytes = unnoted.sum();
        if bytes > 0 {
            notes.push(Note::Behind { bytes });
        }
        // The file being written is there only if something was written to it.
        let must_end = if place.write_at > 0 { place.write_file.saturating_add(1) } else { place.write_file };
        let expected = must_end.saturating_sub(place.read_file);
        let present = self.data.range(place.read_file..must_end.max(place.read_file)).count() as u64;
        if expected > present {
            let first = (place.read_file..must_end).find(|number| !self.data.contains_key(number));
            notes.push(Note::Gone { first: first.unwrap_or(place.read_file), files: expected - present });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(place: &str, data: &[(u64, u64)], bad: &[(u64, u64)]) -> QueueFiles {
        let place = (!place.is_empty()).then(|| Place::parse(place.as_bytes()));
        QueueFiles { place, data: data.iter().copied().collect(), bad: bad.iter().copied().collect() }
    }

    #[track_caller]
    fn check(files: &QueueFiles, parts: &[(u64, u64)], notes: &[Note]) {
        let plan = files.plan(false);
        let found: Vec<(u64, u64)> = plan.parts.iter().map(|part| (part.number, part.from)).collect();
        assert_eq!((&found[..], &plan.notes[..]), (parts, notes));
    }

    #[test]
    fn reading_begins_where_stock_stopped() {
        check(
            &files("5\n2,30\n4,10\n", &[(2, 100), (3, 100), (4, 10)], &[]),
            &[(2, 30), (3, 0), (4, 0)],
            &[],
        );
        check(&files("0\n4,10\n4,10\n", &[(4, 10)], &[]), &[], &[]);
        check(&files("0\n0,0\n0,0\n", &[], &[]), &[], &[]);
    }

    #[test]
    fn the_files_are_believed_before_the_noted_places() {
        let whole = [(0, 50), (1, 70)];
        check(&files("", &whole, &[]), &[(0, 0), (1, 0)], &[Note::NoPlace]);
        check(&files("garbage", &whole, &[]), &[(0, 0), (1, 0)], &[Note::TornPlace]);
        check(&files("1\n0,10\n0,20\n", &whole, &[]), &[(0, 10), (1, 0)], &[Note::Behind { bytes: 100 }]);
        check(&files("1\n1,5\n1,70\n", &whole, &[]), &[(1, 5)], &[Note::Delivered { files: 1, bytes: 50 }]);
        check(
            &files("9\n0,7\n4,9\n", &[(3, 50), (4, 9)], &[]),
            &[(3, 0), (4, 0)],
            &[Note::Gone { first: 0, files: 3 }],
        );
        check(&files("1\n0,60\n1,70\n", &whole, &[]), &[(1, 0)], &[Note::Short { number: 0 }]);
        let gone_for_ever = u64::MAX - 1;
        check(
            &files(&format!("1\n0,0\n{gone_for_ever},0\n"), &[(0, 9)], &[]),
            &[(0, 0)],
            &[Note::Gone { first: 1, files: gone_for_ever - 1 }],
        );
    }

    #[test]
    fn files_that_stock_gave_up_are_read_on_request_in_their_order() {
        let files = files("1\n2,0\n2,10\n", &[(2, 10)], &[(1, 40), (3, 5)]);
        assert_eq!(files.plan(false).parts.len(), 1);
        let parts: Vec<_> = files.plan(true).parts.iter().map(|part| (part.number, part.is_bad)).collect();
        assert_eq!(parts, [(1, true), (2, false), (3, true)]);
    }
}
