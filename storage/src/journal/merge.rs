//! What a journal and the copy of its most precious entries come to together, when one of them lost something.

use crate::journal::state::{CursorState, State};

impl State {
    /// Take in what the copy knows and this state, read from the journal itself, does not. `is_damaged`: the journal
    /// lost something. `is_copy_whole`: the copy did not. Tells whether the two disagreed.
    ///
    /// A file that was cut between two frames shows no damage, so neither is believed alone: what begins in one and
    /// was not yet known to the other begins; what ended in one has ended.
    pub(crate) fn merge(&mut self, copy: &Self, is_damaged: bool, is_copy_whole: bool) -> bool {
        let before = self.clone();
        let known = self.next_cursor;
        if is_copy_whole {
            let ended = |id: u32| id < copy.next_cursor && !copy.cursors.contains_key(&id);
            self.cursors.retain(|id, _| !ended(*id));
        }
        for (id, copied) in &copy.cursors {
            match self.cursors.get_mut(id) {
                Some(cursor) => cursor.merge(copied, is_damaged),
                // The journal knew later cursors and not this one: it has been closed.
                None if *id < known && !is_damaged => {}
                None => {
                    self.cursors.insert(*id, copied.clone());
                }
            }
        }
        self.next_cursor = known.max(copy.next_cursor);
        self.durability = self.durability.or(copy.durability);
        if is_damaged {
            self.is_paused |= copy.is_paused;
        }
        *self != before
    }

    /// Whether a copy says all that it should.
    pub(crate) fn is_copied_by(&self, copy: &Self) -> bool {
        let is_alike = |(one, other): (&CursorState, &CursorState)| {
            let is_skipped = |skipped| other.skipped.contains(skipped);
            one.is_paused == other.is_paused && one.skipped.iter().all(is_skipped)
        };
        self.next_cursor == copy.next_cursor
            && self.is_paused == copy.is_paused
            && self.durability == copy.durability
            && self.cursors.keys().eq(copy.cursors.keys())
            && self.cursors.values().zip(copy.cursors.values()).all(is_alike)
    }
}

impl CursorState {
    /// Both are facts: the higher floor holds, and what either passes over is passed over.
    fn merge(&mut self, copied: &Self, is_damaged: bool) {
        self.raise(copied.floor);
        for skipped in &copied.skipped {
            if skipped.1.seq > self.floor.0 && !self.skipped.contains(skipped) {
                self.skipped.push(*skipped);
            }
        }
        if is_damaged {
            self.is_paused |= copied.is_paused;
        }
    }
}
