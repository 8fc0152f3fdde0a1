//! Where the next record of a queue goes: stock's rule for beginning a new file.

use crate::place::Place;

/// The writing end of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Roll {
    file_bytes_max: u64,
    place: Place,
}

impl Roll {
    /// An empty queue whose files get about this long.
    pub fn new(file_bytes_max: u64) -> Self {
        Self { file_bytes_max, place: Place::default() }
    }

    /// Take a record of this length in. True: it is the first of a new file.
    pub fn put(&mut self, record_bytes: u64) -> bool {
        let place = &mut self.place;
        let is_full = place.write_at > 0 && place.write_at.saturating_add(record_bytes) > self.file_bytes_max;
        if is_full {
            place.write_file += 1;
            place.write_at = 0;
        }
        place.write_at += record_bytes;
        place.depth += 1;
        is_full || place.depth == 1
    }

    /// What stock would note after the records so far.
    pub fn place(&self) -> Place {
        self.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_ends_before_the_record_that_would_exceed_it() {
        let mut roll = Roll::new(100);
        let begins: Vec<bool> = [60, 40, 1, 500, 1].into_iter().map(|bytes| roll.put(bytes)).collect();
        assert_eq!(begins, [true, false, true, true, true]);
        assert_eq!(roll.place().to_string(), "5\n0,0\n3,1\n");
    }
}
