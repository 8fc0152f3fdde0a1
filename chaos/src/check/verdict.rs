//! What a round came to: how much was seen, and everything that must not be.

use std::collections::BTreeMap;
use std::fmt;

/// Violations told in full; of more only the number is kept.
const TOLD_MAX: usize = 50;

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Acknowledged, owed to a channel, and never delivered there, or given back and never seen again.
    Lost,
    /// Delivered though nobody published it there.
    Invented,
    /// Delivered with a body that is not what was published.
    Corrupt,
    /// Delivered again without a cause that the contract allows.
    Duplicate,
    /// Delivered again though CLOSE_WAIT had made its FIN durable.
    Barrier,
    /// Some messages of an MPUB are there and some are not.
    TornBatch,
    /// There on one channel and not on another that existed.
    Partial,
    /// A channel's first deliveries are not in a publisher's order.
    Order,
    /// Delivered before it was due.
    Early,
    /// Delivered far later than it was due.
    Late,
    /// Attempts went back by more than a crash may cost, or count deliveries that nothing caused.
    Attempts,
    /// One id for two messages.
    IdReused,
    /// Id or timestamp of a message changed.
    Identity,
    /// Channels that do not become empty, or counts that cannot be.
    Stuck,
    /// Lost in a damage, and nsqd's log says nothing of it.
    Untold,
    /// nsqd panicked, hung, or ended in a way that it must not.
    Crashed,
}

impl Rule {
    /// As tables and ledgers name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Invented => "invented",
            Self::Corrupt => "corrupt",
            Self::Duplicate => "illegal duplicate",
            Self::Barrier => "duplicate behind a barrier",
            Self::TornBatch => "torn MPUB",
            Self::Partial => "in some channels only",
            Self::Order => "out of order",
            Self::Early => "delivered early",
            Self::Late => "delivered late",
            Self::Attempts => "wrong attempts",
            Self::IdReused => "id reused",
            Self::Identity => "id or timestamp changed",
            Self::Stuck => "stuck",
            Self::Untold => "lost without a word",
            Self::Crashed => "crashed",
        }
    }
}

/// One broken promise.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// What was seen, with the history of that message.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.name(), self.text)
    }
}

/// How much was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each says what it counts")]
pub struct Counts {
    pub published: u64,
    pub acked: u64,
    pub refused: u64,
    pub delivered: u64,
    pub again_after_timeout: u64,
    pub again_after_connection: u64,
    pub again_after_requeue: u64,
    pub again_after_crash: u64,
    /// Acknowledged messages that a power cut took and may take.
    pub lost_in_window: u64,
    pub deferred: u64,
    /// Longest time a deferred message came after it was due, in ns.
    pub late_max: u64,
    /// The longest time before a crash that a FIN was processed that the crash undid, in ns.
    pub undone_max: u64,
    pub ordered: u64,
    pub events: u64,
}

impl Counts {
    /// Deliveries of what had been delivered before, with a cause.
    pub fn allowed_duplicates(&self) -> u64 {
        self.again_after_timeout
            + self.again_after_connection
            + self.again_after_requeue
            + self.again_after_crash
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.acked += other.acked;
        self.refused += other.refused;
        self.delivered += other.delivered;
        self.again_after_timeout += other.again_after_timeout;
        self.again_after_connection += other.again_after_connection;
        self.again_after_requeue += other.again_after_requeue;
        self.again_after_crash += other.again_after_crash;
        self.lost_in_window += other.lost_in_window;
        self.deferred += other.deferred;
        self.late_max = self.late_max.max(other.late_max);
        self.undone_max = self.undone_max.max(other.undone_max);
        self.ordered += other.ordered;
        self.events += other.events;
    }
}

/// The outcome of a round, or of several added up.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// How much was seen.
    pub counts: Counts,
    /// The first broken promises.
    pub violations: Vec<Violation>,
    /// How many there are of each.
    pub totals: BTreeMap<Rule, u64>,
}

impl Verdict {
    /// Nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.totals.is_empty()
    }

    /// How often this promise was broken.
    pub fn total(&self, rule: Rule) -> u64 {
        self.totals.get(&rule).copied().unwrap_or(0)
    }

    /// One more broken promise; its text is only made if it will be told.
    pub fn report(&mut self, rule: Rule, text: impl FnOnce() -> String) {
        *self.totals.entry(rule).or_default() += 1;
        if self.violations.len() < TOLD_MAX {
            self.violations.push(Violation { rule, text: text() });
        }
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.counts.add(&other.counts);
        for (rule, total) in other.totals {
            *self.totals.entry(rule).or_default() += total;
        }
        let room = TOLD_MAX.saturating_sub(self.violations.len());
        self.violations.extend(other.violations.into_iter().take(room));
    }
}
