//! What a channel still owes of the messages its cursor has passed: each is ready again, in flight, deferred or
//! parked. Anything below the cursor that is not in the window is finished.

use std::collections::VecDeque;

mod word;

use crate::time::WallTime;
use word::{Full, WORD, Word};
pub(crate) use word::{Parked, Slot, State, base_of, bit_of, bits_of};

/// Boxes kept for reuse: enough for a window that moves, little for thousands of idle channels.
const POOL_MAX: usize = 1;
/// Words that owe nothing are squeezed out when there are so many more of them.
const DEAD_MIN: usize = 32;
/// Words at the end that are looked at for dead ones: most die soon after the cursor has left them.
const THIN_MAX: usize = 4 * DEAD_MIN;
/// So many words may have a place for every number, however few are owed.
const YOUNG_MAX: usize = 8;
/// When nothing is inserted, every so many calls of `age` make a step all the same.
const RESTS: u32 = 16;
/// With more slots than this a word keeps its place for every number.
const FEW_MAX: u32 = 8;

/// Words in order of their numbers. Numbers nobody owes cost nothing, so a jump in the log's numbers is harmless.
///
/// ```text
///   words  [ base 128 | full: 64 slots ] [ base 192 | few: 3 slots ] [ base 4096 | parked: 64 bits, an offset ] ...
/// ```
///
/// A word begins with a place for every number, since most are finished soon and all at once. What is still owed after
/// a while is kept in little: see `age`.
#[derive(Debug)]
pub(crate) struct Window {
    words: VecDeque<Word>,
    #[expect(clippy::vec_box, reason = "the box itself is reused; its 2.5 kB are never copied")]
    pool: Vec<Box<Full>>,
    dead: usize,
    /// How many dead words there are when they are looked for next.
    thin_at: usize,
    /// Words with a place for every number, roughly from the oldest. Some of them are gone.
    young: VecDeque<u64>,
    /// Words that have become young since the last step.
    born: usize,
    /// How often `age` was called.
    rests: u32,
    parked: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            words: VecDeque::new(),
            pool: Vec::new(),
            dead: 0,
            thin_at: DEAD_MIN,
            young: VecDeque::new(),
            born: 0,
            rests: 0,
            parked: 0,
        }
    }
}

impl Window {
    /// Owe one more message. `seq` must be above every number inserted or parked before.
    #[inline]
    pub(crate) fn insert(&mut self, seq: u64, slot: Slot) {
        if let Some(last) = self.words.back_mut()
            && last.base == base_of(seq)
            && last.is_full()
        {
            self.dead -= usize::from(last.owed() == 0);
            last.put(seq, slot);
            return;
        }
        self.insert_first(seq, slot);
    }

    /// Owe one more message, of which no more than its number is kept. `seq` must be above every number inserted or
    /// parked before. Says whether it is due earlier than the others parked in its word.
    pub(crate) fn park(&mut self, seq: u64, offset: u64, due: WallTime) -> bool {
        self.begin(base_of(seq));
        let Some(last) = self.words.back_mut() else { return false };
        self.dead -= usize::from(last.owed() == 0);
        let mut parked = last.parked();
        let is_earliest = parked.add(seq, offset, due);
        last.set_parked(parked);
        self.parked += 1;
        is_earliest
    }

    /// Whether the record is close enough to those parked in its word.
    pub(crate) fn can_park(&self, seq: u64, offset: u64) -> bool {
        self.parked_with(seq).takes(offset)
    }

    /// What is parked in the word of this number.
    pub(crate) fn parked_with(&self, seq: u64) -> Parked {
        self.find(seq).and_then(|at| self.words.get(at)).map(Word::parked).unwrap_or_default()
    }

    /// How many messages are parked.
    pub(crate) fn parked_count(&self) -> u64 {
        self.parked
    }

    /// How many words there are: no more alarms are set for what is parked.
    pub(crate) fn word_count(&self) -> usize {
        self.words.len()
    }

    /// The word's parked ones have been looked up: `left` stay parked, the others have slots or are gone.
    pub(crate) fn unpark(&mut self, base: u64, left: Parked, slots: &[(u64, Slot)]) {
        let Some(at) = self.find(base) else { return };
        let Some(word) = self.words.get_mut(at).filter(|word| !word.parked().is_empty()) else { return };
        self.parked = (self.parked + left.count()).saturating_sub(word.parked().count());
        word.set_parked(left);
        for (seq, slot) in slots {
            word.put(*seq, *slot);
        }
        if word.owed() == 0 {
            self.settle(at);
        }
    }

    /// Forget what is parked below `seq`, whose record starts at `offset`. Gives how many that were.
    pub(crate) fn forget_parked_below(&mut self, seq: u64, offset: u64) -> u64 {
        let before = self.parked;
        for at in 0..self.words.len() {
            let Some(word) = self.words.get_mut(at).filter(|word| word.base < seq) else { break };
            let mut parked = word.parked();
            if parked.is_empty() {
                continue;
            }
            self.parked -= parked.count();
            parked.cut(word.base, seq, offset);
            self.parked += parked.count();
            word.set_parked(parked);
            self.dead += usize::from(word.owed() == 0);
        }
        self.pop_dead();
        before - self.parked
    }

    #[inline]
    pub(crate) fn slot(&self, seq: u64) -> Option<&Slot> {
        self.words.get(self.find(seq)?)?.slot(seq)
    }

    #[inline]
    pub(crate) fn slot_mut(&mut self, seq: u64) -> Option<&mut Slot> {
        let at = self.find(seq)?;
        self.words.get_mut(at)?.slot_mut(seq)
    }

    /// Owe it no longer.
    #[inline]
    pub(crate) fn remove(&mut self, seq: u64) -> Option<Slot> {
        let at = self.find(seq)?;
        let word = self.words.get_mut(at)?;
        let slot = word.take(seq)?;
        if !word.has_slots() {
            self.settle(at);
        }
        Some(slot)
    }

    /// Number and offset of the owed message with the lowest number.
    #[inline]
    pub(crate) fn first(&self) -> Option<(u64, u64)> {
        self.words.front()?.first()
    }

    /// Every owed message that has a slot, in order of numbers.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Slot)> {
        self.words.iter().flat_map(Word::slots)
    }

    /// Stretches of the log that hold the owed records starting in `from..to`: where the first and the last of each
    /// start, or the end of the range if a stretch reaches over it. `None` if there are more than `count_max`.
    pub(crate) fn owed_in(&self, from: u64, to: u64, count_max: usize) -> Option<Vec<(u64, u64)>> {
        let mut stretches = Vec::new();
        for word in self.words.range(self.place_of(from)..) {
            if word.first().is_some_and(|(_, offset)| offset >= to) {
                break;
            }
            let begun = stretches.len();
            let parked = word.parked();
            if !parked.is_empty() && parked.offset < to && parked.last() >= from {
                stretches.push((parked.offset.max(from), parked.last().min(to - 1)));
            }
            let slots = word.slots().map(|(_, slot)| (slot.offset, slot.offset));
            stretches.extend(slots.filter(|(offset, _)| (from..to).contains(offset)));
            if stretches.len() > count_max {
                return None;
            }
            stretches.get_mut(begun..).unwrap_or_default().sort_unstable();
        }
        Some(stretches)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Of words that were given a place for every number some time ago, keep only what is still owed. A few steps at
    /// a time, in proportion to what was inserted.
    #[inline]
    pub(crate) fn age(&mut self) {
        self.rests = self.rests.wrapping_add(1);
        if self.young.len() > YOUNG_MAX && (self.born > 0 || self.rests.is_multiple_of(RESTS)) {
            self.shrink_some();
        }
    }

    fn shrink_some(&mut self) {
        let steps = 2 * std::mem::take(&mut self.born) + 1;
        for _ in 0..steps {
            if self.young.len() <= YOUNG_MAX {
                break;
            }
            let Some(base) = self.young.pop_front() else { break };
            let last = self.words.len().saturating_sub(1);
            let Some((at, word)) = self.find(base).and_then(|at| Some((at, self.words.get(at)?))) else {
                continue;
            };
            if at == last || word.slot_count() > FEW_MAX {
                if word.is_full() {
                    self.young.push_back(base);
                }
                continue;
            }
            self.shrink(at);
        }
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let boxes: usize = self.words.iter().map(Word::heap_bytes).sum();
        let young = self.young.capacity() * size_of::<u64>();
        self.words.capacity() * size_of::<Word>() + boxes + self.pool.len() * size_of::<Full>() + young
    }

    fn insert_first(&mut self, seq: u64, slot: Slot) {
        let base = base_of(seq);
        self.begin(base);
        let (Some(last), pool) = (self.words.back_mut(), &mut self.pool) else { return };
        self.dead -= usize::from(last.owed() == 0);
        if last.expand(|| pool.pop().unwrap_or_else(Full::blank)) {
            self.young.push_back(base);
            self.born += 1;
        }
        last.put(seq, slot);
    }

    /// The last word is the one that begins at `base`.
    fn begin(&mut self, base: u64) {
        if self.words.back().is_some_and(|last| last.base == base) {
            return;
        }
        self.leave_last();
        if self.words.len() == self.words.capacity() && self.words.len() >= 64 {
            // Doubling would leave half of the memory of millions of words unused.
            self.words.reserve_exact(self.words.len() / 8);
        }
        self.words.push_back(Word::bare(base));
        self.dead += 1;
    }

    /// Without gaps the place of a word follows from the last one's number, or the first one's; between gaps it is
    /// searched. Deliveries are near the end, whatever is left in front.
    #[inline]
    fn find(&self, seq: u64) -> Option<usize> {
        let base = base_of(seq);
        let last = self.words.len().checked_sub(1)?;
        let behind = self.words.get(last)?.base.checked_sub(base)? / WORD;
        let guess = last.wrapping_sub(behind as usize);
        if self.words.get(guess).is_some_and(|word| word.base == base) {
            return Some(guess);
        }
        self.search(base)
    }

    fn search(&self, base: u64) -> Option<usize> {
        let distance = base.checked_sub(self.words.front()?.base)? / WORD;
        let guess = usize::try_from(distance).unwrap_or(usize::MAX);
        if self.words.get(guess).is_some_and(|word| word.base == base) {
            return Some(guess);
        }
        self.words.binary_search_by_key(&base, |word| word.base).ok()
    }

    /// The last word whose first owed record starts at or before `offset`, else the first word.
    fn place_of(&self, offset: u64) -> usize {
        let first = |at: usize| Some((at, self.words.get(at)?.first()?.1));
        let (mut low, mut high) = (0, self.words.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            // A word that owes nothing says nothing: the next one that does decides for it.
            match (middle..high).find_map(first) {
                Some((at, start)) if start <= offset => low = at + 1,
                _ => high = middle,
            }
        }
        low.saturating_sub(1)
    }

    /// The word at `at` has no slots any more. If it owes nothing at all, the first one goes, others shrink. Only the
    /// last one is kept as it is, since the next message goes there.
    #[inline]
    fn settle(&mut self, at: usize) {
        let is_dead = self.words.get(at).is_some_and(|word| word.owed() == 0);
        self.dead += usize::from(is_dead);
        if at + 1 == self.words.len() {
            return;
        }
        self.shrink(at);
        if is_dead {
            self.pop_dead();
            self.thin_out();
        }
    }

    /// Another word becomes the last: what `settle` spared of this one goes.
    fn leave_last(&mut self) {
        let Some(last) = self.words.back().filter(|word| !word.has_slots()) else { return };
        let is_dead = last.owed() == 0;
        self.shrink(self.words.len() - 1);
        if is_dead && self.words.len() == 1 {
            self.words.clear();
            self.dead = 0;
        }
        self.thin_out();
    }

    fn pop_dead(&mut self) {
        while self.words.len() > 1 && self.words.front().is_some_and(|word| word.owed() == 0) {
            self.words.pop_front();
            self.dead -= 1;
        }
        if self.words.len() * 4 < self.words.capacity() && self.words.capacity() > 1024 {
            self.words.shrink_to(self.words.len() * 2);
        }
    }

    fn thin_out(&mut self) {
        if self.dead < self.thin_at {
            return;
        }
        let near = self.words.split_off(self.words.len().saturating_sub(THIN_MAX));
        let before = near.len();
        let rest = self.words.len();
        self.words.extend(near.into_iter().filter(|word| word.owed() != 0));
        self.dead -= before - (self.words.len() - rest);
        if self.dead * 2 > self.words.len() {
            self.words.retain(|word| word.owed() != 0);
            self.dead = 0;
        }
        self.thin_at = self.dead + DEAD_MIN;
    }

    fn shrink(&mut self, at: usize) {
        let full = self.words.get_mut(at).and_then(Word::shrink);
        if self.pool.len() < POOL_MAX {
            self.pool.extend(full);
        }
    }
}

#[cfg(test)]
mod tests;
