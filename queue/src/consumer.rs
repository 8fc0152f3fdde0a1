//! The consumers of a channel: ready count, sampling, whose turn it is. What is in flight is window.rs's.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::locality::Locality;
use crate::ready_set::ReadySet;

/// A session subscribed to a channel. The shell chooses the number and never uses it twice in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

/// What a consumer asked for when it identified itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// How long it may keep a message in flight before it is delivered again.
    pub msg_timeout: Duration,
    /// 0 = everything, otherwise about this many percent of what it is offered reach it.
    pub sample_rate: u8,
    /// How near it is; none if that is not to be asked. Nearer ones are served first.
    pub locality: Option<Locality>,
    /// Bytes of messages it may have in flight. With as many or more it gets nothing new; with none in flight it gets a
    /// message of any size.
    pub in_flight_bytes_max: u64,
}

/// The size of a message in flight, in the sixteen bits that a slot of the window has left for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight(u16);

impl Weight {
    /// Sizes are counted in pieces of this; up to 16 MiB, and more counts as that.
    const PIECE_BYTES: u64 = 256;

    /// Of so many bytes.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        Self(u16::try_from(bytes.div_ceil(Self::PIECE_BYTES)).unwrap_or(u16::MAX))
    }

    /// As bytes, rounded up.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0) * Self::PIECE_BYTES
    }
}

/// A consumer's numbers, as /stats shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerCounts {
    /// The last RDY: how many messages it may have in flight at once.
    pub ready: u64,
    /// Delivered to it, not yet finished, requeued or timed out.
    pub in_flight: u64,
    /// The bytes of those, as [`Weight`] counts them.
    pub in_flight_bytes: u64,
    /// Deliveries to it, redeliveries included.
    pub messages: u64,
    /// Messages it finished.
    pub finished: u64,
    /// Messages it requeued.
    pub requeued: u64,
    /// It sent CLS: it gets nothing more but may still finish what it has.
    pub is_closing: bool,
}

pub(crate) struct Consumer<H> {
    pub(crate) id: ConsumerId,
    pub(crate) handle: H,
    pub(crate) subscription: Subscription,
    /// Which queue of `in_flight::Timeouts` its deliveries wait in.
    pub(crate) class: usize,
    pub(crate) counts: ConsumerCounts,
}

impl<H> Consumer<H> {
    pub(crate) fn is_ready(&self) -> bool {
        let counts = &self.counts;
        let is_light =
            counts.in_flight_bytes < self.subscription.in_flight_bytes_max || counts.in_flight == 0;
        !counts.is_closing && counts.in_flight < counts.ready && is_light
    }

    /// Whether sampling drops this message when it is offered to this consumer.
    pub(crate) fn samples_out(&self, seq: u64) -> bool {
        let rate = u64::from(self.subscription.sample_rate);
        // nsqd: a draw of 0..99 above the rate drops, so (rate + 1) percent pass and 99 drops nothing.
        rate > 0 && scatter(seq ^ scatter(self.id.0)) % 100 > rate
    }
}

/// Indexed by a small number that window slots keep as the owner, so that FIN needs no search.
pub(crate) struct Consumers<H> {
    slots: Vec<Option<Consumer<H>>>,
    ids: BTreeMap<ConsumerId, u32>,
    /// Who may be offered a message, the nearest first. Without localities all are in the first.
    ready: Tiers,
    /// Those of `ready` that this dispatch has not yet found full.
    offered: Tiers,
    last_turn: u32,
}

impl<H> Consumers<H> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            ids: BTreeMap::new(),
            ready: Tiers::default(),
            offered: Tiers::default(),
            // The first turn goes to the first consumer.
            last_turn: u32::MAX,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.ready.iter().map(ReadySet::len).sum()
    }

    pub(crate) fn index_of(&self, id: ConsumerId) -> Option<u32> {
        self.ids.get(&id).copied()
    }

    pub(crate) fn at(&self, index: u32) -> Option<&Consumer<H>> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Consumer<H>> {
        self.ids.values().filter_map(|index| self.at(*index))
    }

    pub(crate) fn insert(&mut self, consumer: Consumer<H>) {
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        let Ok(index) = u32::try_from(free) else { return };
        self.ids.insert(consumer.id, index);
        match self.slots.get_mut(free) {
            Some(slot) => *slot = Some(consumer),
            None => self.slots.push(Some(consumer)),
        }
        self.refresh(index);
    }

    pub(crate) fn remove(&mut self, id: ConsumerId) -> Option<Consumer<H>> {
        let index = self.ids.remove(&id)?;
        let consumer = self.slots.get_mut(index as usize)?.take();
        self.leave(index);
        consumer
    }

    /// One message more is in flight.
    pub(crate) fn take_off(&mut self, index: u32, weight: Weight) {
        self.change(index, |counts| {
            counts.in_flight += 1;
            counts.in_flight_bytes += weight.bytes();
            counts.messages += 1;
        });
    }

    /// One message is no longer in flight.
    pub(crate) fn land(&mut self, index: u32, weight: Weight, count: impl FnOnce(&mut ConsumerCounts)) {
        self.change(index, |counts| {
            counts.in_flight = counts.in_flight.saturating_sub(1);
            counts.in_flight_bytes = counts.in_flight_bytes.saturating_sub(weight.bytes());
            count(counts);
        });
    }

    /// Change one consumer's counts; whether it may be offered messages follows from them.
    pub(crate) fn change(&mut self, index: u32, change: impl FnOnce(&mut ConsumerCounts)) {
        if let Some(Some(consumer)) = self.slots.get_mut(index as usize) {
            let was_ready = consumer.is_ready();
            change(&mut consumer.counts);
            if consumer.is_ready() != was_ready {
                self.refresh(index);
            }
        }
    }

    pub(crate) fn change_all(&mut self, change: impl Fn(&mut ConsumerCounts)) {
        for index in (0..).take(self.slots.len()) {
            self.change(index, &change);
        }
    }

    /// Begin a dispatch: everybody who is ready is offered something again.
    pub(crate) fn start_turns(&mut self) {
        for (offered, ready) in self.offered.iter_mut().zip(&self.ready) {
            offered.copy_from(ready);
        }
    }

    /// Whose turn it is: round robin over those who still take part, as long as there are any of the nearest.
    pub(crate) fn next_turn(&self) -> Option<u32> {
        self.offered.iter().find_map(|tier| tier.next_after(self.last_turn))
    }

    /// It was offered something, so the next turn is another's.
    pub(crate) fn end_turn(&mut self, index: u32) {
        self.last_turn = index;
    }

    /// It has no room: no more turns in this dispatch.
    pub(crate) fn leave_turns(&mut self, index: u32) {
        self.offered.iter_mut().for_each(|tier| tier.remove(index));
    }

    fn refresh(&mut self, index: u32) {
        let Some(consumer) = self.at(index).filter(|consumer| consumer.is_ready()) else {
            return self.leave(index);
        };
        let tier = consumer.subscription.locality.map_or(0, |locality| locality as usize);
        if let Some(tier) = self.ready.get_mut(tier) {
            tier.insert(index);
        }
    }

    fn leave(&mut self, index: u32) {
        self.ready.iter_mut().for_each(|tier| tier.remove(index));
        self.leave_turns(index);
    }
}

/// Sets of consumers by locality.
type Tiers = [ReadySet; 3];

/// The finalizer of splitmix64: neighbouring numbers come out unrelated, and the same number always the same.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
