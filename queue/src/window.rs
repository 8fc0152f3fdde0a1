//! What a channel still owes of the messages its cursor has passed: each is ready again, in flight or deferred.
//! Anything below the cursor that is not in the window is finished.

use std::collections::VecDeque;

use crate::time::{Instant, WallTime};

/// Messages per word. One bit each says whether it is owed; a word that owes nothing has no slots.
const WORD: u64 = 64;
/// Boxes kept for reuse: enough for a window that moves, little for thousands of idle channels.
const POOL_MAX: usize = 1;
/// Words that owe nothing are squeezed out when they are the majority and at least this many.
const DEAD_MIN: usize = 32;

/// Where one owed message is and what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) offset: u64,
    /// Deliveries so far.
    pub(crate) attempts: u16,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    InFlight { owner: u32, deadline: Instant, delivered_at: Instant },
    Deferred { due: WallTime },
}

impl Slot {
    /// Which consumer has it in flight.
    #[inline]
    pub(crate) fn owner(&self) -> Option<u32> {
        match self.state {
            State::InFlight { owner, .. } => Some(owner),
            State::Ready | State::Deferred { .. } => None,
        }
    }
}

/// Words in order of their numbers. Numbers nobody owes cost nothing, so a jump in the log's numbers is harmless.
///
/// ```text
///   words  [ base 128 | live 0b..0101 | slots -> [Slot; 64] ] [ base 192 | live 0 | - ] [ base 4096 | ... ]
/// ```
#[derive(Debug, Default)]
pub(crate) struct Window {
    words: VecDeque<Word>,
    #[expect(clippy::vec_box, reason = "the box itself is reused; its 2.5 kB are never copied")]
    pool: Vec<Box<Slots>>,
    dead: usize,
}

type Slots = [Slot; WORD as usize];

#[derive(Debug)]
struct Word {
    base: u64,
    live: u64,
    slots: Option<Box<Slots>>,
}

impl Window {
    /// Owe one more message. `seq` must be above every number inserted before.
    #[inline]
    pub(crate) fn insert(&mut self, seq: u64, slot: Slot) {
        let base = base_of(seq);
        if self.words.back().is_none_or(|last| last.base != base) {
            self.leave_last();
            self.words.push_back(Word { base, live: 0, slots: None });
            self.dead += 1;
        }
        let Some(word) = self.words.back_mut() else { return };
        if word.live == 0 {
            self.dead -= 1;
        }
        let pool = &mut self.pool;
        let slots = word.slots.get_or_insert_with(|| pool.pop().unwrap_or_else(blank));
        if let Some(place) = slots.get_mut(index_of(seq)) {
            *place = slot;
            word.live |= bit_of(seq);
        }
    }

    #[inline]
    pub(crate) fn slot(&self, seq: u64) -> Option<&Slot> {
        let word = self.words.get(self.find(seq)?)?;
        word.slot(seq)
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
        let slot = *word.slot(seq)?;
        word.live &= !bit_of(seq);
        if word.live == 0 {
            self.dead += 1;
            self.squeeze(at);
        }
        Some(slot)
    }

    /// The owed message with the lowest number.
    #[inline]
    pub(crate) fn first(&self) -> Option<(u64, &Slot)> {
        let word = self.words.front().filter(|word| word.live != 0)?;
        let seq = word.base + u64::from(word.live.trailing_zeros());
        Some((seq, word.slot(seq)?))
    }

    /// Every owed message in order of numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Slot)> {
        self.words.iter().filter(|word| word.live != 0).flat_map(|word| {
            (word.base..=word.base | (WORD - 1)).filter_map(move |seq| Some((seq, word.slot(seq)?)))
        })
    }

    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.dead = 0;
    }

    /// Without gaps the place of a word follows from the first one's number; behind a gap it is searched.
    #[inline]
    fn find(&self, seq: u64) -> Option<usize> {
        let base = base_of(seq);
        let distance = base.checked_sub(self.words.front()?.base)? / WORD;
        let guess = usize::try_from(distance).unwrap_or(usize::MAX);
        if self.words.get(guess).is_some_and(|word| word.base == base) {
            return Some(guess);
        }
        self.words.binary_search_by_key(&base, |word| word.base).ok()
    }

    /// The word at `at` owes nothing any more. The first one goes, others give up their slots. Only the last one is
    /// kept as it is, since the next message goes there.
    #[inline]
    fn squeeze(&mut self, at: usize) {
        if at + 1 == self.words.len() {
            return;
        }
        let slots = self.words.get_mut(at).and_then(|word| word.slots.take());
        self.recycle(slots);
        while self.words.len() > 1 && self.words.front().is_some_and(|word| word.live == 0) {
            self.words.pop_front();
            self.dead -= 1;
        }
        self.thin_out();
    }

    /// Another word becomes the last: what `squeeze` spared of this one goes.
    fn leave_last(&mut self) {
        let Some(last) = self.words.back_mut().filter(|word| word.live == 0) else { return };
        let slots = last.slots.take();
        self.recycle(slots);
        if self.words.len() == 1 {
            self.words.clear();
            self.dead = 0;
        }
        self.thin_out();
    }

    fn thin_out(&mut self) {
        if self.dead >= DEAD_MIN && self.dead * 2 > self.words.len() {
            self.words.retain(|word| word.live != 0);
            self.dead = 0;
        }
    }

    fn recycle(&mut self, slots: Option<Box<Slots>>) {
        if self.pool.len() < POOL_MAX {
            self.pool.extend(slots);
        }
    }
}

impl Word {
    #[inline]
    fn slot(&self, seq: u64) -> Option<&Slot> {
        if self.live & bit_of(seq) == 0 {
            return None;
        }
        self.slots.as_ref()?.get(index_of(seq))
    }

    #[inline]
    fn slot_mut(&mut self, seq: u64) -> Option<&mut Slot> {
        if self.live & bit_of(seq) == 0 {
            return None;
        }
        self.slots.as_mut()?.get_mut(index_of(seq))
    }
}

#[inline]
fn base_of(seq: u64) -> u64 {
    seq & !(WORD - 1)
}

#[inline]
fn bit_of(seq: u64) -> u64 {
    1 << (seq % WORD)
}

#[inline]
fn index_of(seq: u64) -> usize {
    (seq % WORD) as usize
}

fn blank() -> Box<Slots> {
    Box::new([Slot { offset: 0, attempts: 0, state: State::Ready }; WORD as usize])
}

#[cfg(test)]
mod tests;
