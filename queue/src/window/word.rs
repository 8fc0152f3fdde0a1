//! One word of the window: 64 neighbouring numbers and what is owed of them, in the smallest form that can tell it.
//! Which word has which form, and when it changes, is the window's.

use crate::consumer::Weight;
use crate::time::{Age, Instant, WallTime};

/// Numbers in a word.
pub(super) const WORD: u64 = 64;
/// The records of what is parked in one word lie within so many bytes, since they are read together. Of larger ones
/// each has a slot, which is nothing next to its record.
const PARKED_BYTES_MAX: u64 = 1 << 20;

/// Where one owed message is and what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) offset: u64,
    /// Deliveries so far.
    pub(crate) attempts: u16,
    /// Its size, once it was delivered.
    pub(crate) weight: Weight,
    /// How long after its publish the last delivery was. Costs nothing: it lies where there was padding.
    pub(crate) waited: Age,
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

/// Messages of one word that wait for a time far away, as their records tell: they cost one bit each. To know more of
/// them, their records are read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parked {
    /// One bit each.
    pub(crate) numbers: u64,
    /// Where the record of the first one is.
    pub(crate) offset: u64,
    /// The earliest of their times.
    pub(crate) due: WallTime,
    /// How far behind the first record the last one starts.
    pub(crate) bytes: u32,
}

impl Parked {
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers == 0
    }

    pub(crate) fn count(&self) -> u64 {
        u64::from(self.numbers.count_ones())
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.numbers & bit_of(seq) != 0
    }

    /// Where the last of the records starts.
    pub(crate) fn last(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.bytes))
    }

    pub(crate) fn takes(&self, offset: u64) -> bool {
        self.is_empty() || offset.saturating_sub(self.offset) <= PARKED_BYTES_MAX
    }

    /// One more, behind the others. Says whether its time is the earliest now.
    pub(crate) fn add(&mut self, seq: u64, offset: u64, due: WallTime) -> bool {
        let is_earliest = self.is_empty() || due < self.due;
        if self.is_empty() {
            self.offset = offset;
        }
        if is_earliest {
            self.due = due;
        }
        self.numbers |= bit_of(seq);
        self.bytes = u32::try_from(offset.saturating_sub(self.offset)).unwrap_or(u32::MAX);
        is_earliest
    }

    /// Forget those below `seq`, in the word that begins at `base`; the record at `offset` is not before the others.
    pub(super) fn cut(&mut self, base: u64, seq: u64, offset: u64) {
        let kept = if seq >= base + WORD { 0 } else { u64::MAX << seq.saturating_sub(base) };
        self.numbers &= kept;
        let last = self.last();
        self.offset = self.offset.max(offset).min(last);
        self.bytes = u32::try_from(last - self.offset).unwrap_or(u32::MAX);
    }
}

#[derive(Debug)]
pub(super) struct Word {
    pub(super) base: u64,
    /// The numbers that have a slot; of a word that is all parked, the parked ones.
    live: u64,
    body: Body,
}

/// How a word keeps what it owes. Forty bytes a word are all that millions of parked messages cost.
#[derive(Debug)]
enum Body {
    /// It owes nothing, or nothing is in it yet.
    Bare,
    /// A slot for every number: the form of the words that deliveries go through.
    Full(Box<Full>),
    /// Slots only for those that are owed, in order.
    Few(Box<Few>),
    /// Like [`Parked`], whose numbers are the word's.
    Parked { offset: u64, due: WallTime, bytes: u32 },
}

#[derive(Debug)]
pub(super) struct Full {
    parked: Parked,
    slots: [Slot; WORD as usize],
}

#[derive(Debug)]
struct Few {
    parked: Parked,
    slots: Vec<Slot>,
}

impl Word {
    pub(super) fn bare(base: u64) -> Self {
        Self { base, live: 0, body: Body::Bare }
    }

    #[inline]
    pub(super) fn slot(&self, seq: u64) -> Option<&Slot> {
        if self.live & bit_of(seq) == 0 {
            return None;
        }
        match &self.body {
            Body::Full(full) => full.slots.get(index_of(seq)),
            Body::Few(few) => few.slots.get(rank_in(self.live, seq)),
            Body::Bare | Body::Parked { .. } => None,
        }
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, seq: u64) -> Option<&mut Slot> {
        if self.live & bit_of(seq) == 0 {
            return None;
        }
        match &mut self.body {
            Body::Full(full) => full.slots.get_mut(index_of(seq)),
            Body::Few(few) => few.slots.get_mut(rank_in(self.live, seq)),
            Body::Bare | Body::Parked { .. } => None,
        }
    }

    /// Give it a slot, whatever the word's form.
    #[inline]
    pub(super) fn put(&mut self, seq: u64, slot: Slot) {
        if let Body::Full(full) = &mut self.body
            && let Some(place) = full.slots.get_mut(index_of(seq))
        {
            *place = slot;
            self.live |= bit_of(seq);
            return;
        }
        self.put_among_few(seq, slot);
    }

    fn put_among_few(&mut self, seq: u64, slot: Slot) {
        if matches!(self.body, Body::Bare | Body::Parked { .. }) {
            let parked = self.parked();
            self.live = 0;
            self.body = Body::Few(Box::new(Few { parked, slots: Vec::with_capacity(1) }));
        }
        if let Body::Few(few) = &mut self.body {
            few.slots.insert(rank_in(self.live, seq).min(few.slots.len()), slot);
            self.live |= bit_of(seq);
        }
    }

    /// Take a slot out. Afterwards [`Word::has_slots`] may be false.
    #[inline]
    pub(super) fn take(&mut self, seq: u64) -> Option<Slot> {
        let slot = *self.slot(seq)?;
        if let Body::Few(few) = &mut self.body {
            few.slots.remove(rank_in(self.live, seq));
            if few.slots.len() * 4 < few.slots.capacity() {
                few.slots.shrink_to(few.slots.len() * 2);
            }
        }
        self.live &= !bit_of(seq);
        Some(slot)
    }

    #[inline]
    pub(super) fn has_slots(&self) -> bool {
        self.live != 0 && !matches!(self.body, Body::Parked { .. })
    }

    pub(super) fn slot_count(&self) -> u32 {
        if self.has_slots() { self.live.count_ones() } else { 0 }
    }

    /// Every number that is owed, one bit each.
    #[inline]
    pub(super) fn owed(&self) -> u64 {
        match &self.body {
            Body::Full(full) => self.live | full.parked.numbers,
            Body::Few(few) => self.live | few.parked.numbers,
            Body::Bare | Body::Parked { .. } => self.live,
        }
    }

    /// The first number owed and where its record is.
    #[inline]
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        let owed = self.owed();
        if owed == 0 {
            return None;
        }
        let seq = self.base + u64::from(owed.trailing_zeros());
        Some((seq, self.slot(seq).map_or_else(|| self.parked().offset, |slot| slot.offset)))
    }

    /// What has a slot, in order.
    pub(super) fn slots(&self) -> impl DoubleEndedIterator<Item = (u64, &Slot)> {
        let numbers = if self.has_slots() { self.base..self.base + WORD } else { 0..0 };
        numbers.filter_map(|seq| Some((seq, self.slot(seq)?)))
    }

    pub(super) fn parked(&self) -> Parked {
        match &self.body {
            Body::Full(full) => full.parked,
            Body::Few(few) => few.parked,
            Body::Parked { offset, due, bytes } => {
                Parked { numbers: self.live, offset: *offset, due: *due, bytes: *bytes }
            }
            Body::Bare => Parked::default(),
        }
    }

    pub(super) fn set_parked(&mut self, parked: Parked) {
        match &mut self.body {
            Body::Full(full) => full.parked = parked,
            Body::Few(few) => few.parked = parked,
            Body::Bare | Body::Parked { .. } => self.park_all(parked),
        }
    }

    /// Have a place for every number. `full` is used if the word has none yet; says whether it was.
    pub(super) fn expand(&mut self, full: impl FnOnce() -> Box<Full>) -> bool {
        let (parked, slots) = match &mut self.body {
            Body::Full(_) => return false,
            Body::Few(few) => (few.parked, std::mem::take(&mut few.slots)),
            Body::Bare | Body::Parked { .. } => (self.parked(), Vec::new()),
        };
        let numbers = if slots.is_empty() { 0 } else { self.live };
        let mut full = full();
        full.parked = parked;
        self.live = 0;
        self.body = Body::Full(full);
        for (seq, slot) in bits_of(self.base, numbers).zip(slots) {
            self.put(seq, slot);
        }
        true
    }

    /// Keep only what is owed. Gives back the places for every number, if there were such.
    pub(super) fn shrink(&mut self) -> Option<Box<Full>> {
        if !self.has_slots() {
            let parked = self.parked();
            let body = std::mem::replace(&mut self.body, Body::Bare);
            self.park_all(parked);
            return if let Body::Full(full) = body { Some(full) } else { None };
        }
        let Body::Full(full) = &self.body else { return None };
        let parked = full.parked;
        let mut slots = Vec::with_capacity(self.live.count_ones() as usize);
        slots.extend(self.slots().map(|(_, slot)| *slot));
        match std::mem::replace(&mut self.body, Body::Few(Box::new(Few { parked, slots }))) {
            Body::Full(full) => Some(full),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        matches!(self.body, Body::Full(_))
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.body {
            Body::Full(_) => size_of::<Full>(),
            Body::Few(few) => size_of::<Few>() + few.slots.capacity() * size_of::<Slot>(),
            Body::Bare | Body::Parked { .. } => 0,
        }
    }

    fn park_all(&mut self, parked: Parked) {
        let Parked { numbers, offset, due, bytes } = parked;
        self.live = numbers;
        self.body = if numbers == 0 { Body::Bare } else { Body::Parked { offset, due, bytes } };
    }
}

impl Full {
    pub(super) fn blank() -> Box<Self> {
        let slot = Slot {
            offset: 0,
            attempts: 0,
            weight: Weight::default(),
            waited: Age::default(),
            state: State::Ready,
        };
        Box::new(Self { parked: Parked::default(), slots: [slot; WORD as usize] })
    }
}

/// The numbers that these bits stand for.
pub(crate) fn bits_of(base: u64, bits: u64) -> impl Iterator<Item = u64> {
    (base..base + WORD).filter(move |seq| bits & bit_of(*seq) != 0)
}

#[inline]
pub(crate) fn base_of(seq: u64) -> u64 {
    seq & !(WORD - 1)
}

#[inline]
pub(crate) fn bit_of(seq: u64) -> u64 {
    1 << (seq % WORD)
}

/// How many of these have a lower number in their word.
#[inline]
fn rank_in(live: u64, seq: u64) -> usize {
    (live & (bit_of(seq) - 1)).count_ones() as usize
}

#[inline]
fn index_of(seq: u64) -> usize {
    (seq % WORD) as usize
}
