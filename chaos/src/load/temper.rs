//! How a consumer behaves: what it does with a message, and how long it stays.

use std::time::Duration;

use crate::chance::Chance;

/// A kind of consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Finishes everything at once and stays.
    Plain,
    /// Finishes everything, some of it later; leaves in order, by CLS, and comes back.
    Careful,
    /// Gives back and touches too; leaves by CLS now and then.
    Mixed,
    /// Forgets some messages, which time out; stays.
    Sloppy,
    /// Drops its connection in the middle of its work.
    Abrupt,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Finish,
    /// Finish it after that many ms; touch it if that is longer than its timeout allows.
    Hold(u64),
    /// Give it back for that many ms.
    Requeue(u64),
    Forget,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    Never,
    /// By CLS after that many ms.
    Close(u64),
    /// Without a word after that many ms.
    Drop(u64),
}

impl Temper {
    pub(crate) fn wish(self, chance: &mut Chance) -> Wish {
        let dice = chance.between(0, 1000);
        match (self, dice) {
            (Self::Plain, _) => Wish::Finish,
            (Self::Mixed, 0..40) => Wish::Requeue(0),
            (Self::Mixed, 40..80) => Wish::Requeue(chance.between(1, 900)),
            (Self::Mixed, 80..84) => Wish::Hold(chance.between(1200, 2500)),
            (Self::Sloppy, 0..10) => Wish::Forget,
            (Self::Sloppy, 10..30) => Wish::Requeue(chance.between(0, 300)),
            (Self::Abrupt, 0..5) => Wish::Forget,
            (_, 950..) => Wish::Hold(chance.between(5, 200)),
            _ => Wish::Finish,
        }
    }

    pub(crate) fn leaving(self, chance: &mut Chance) -> Leaving {
        match self {
            Self::Plain | Self::Sloppy => Leaving::Never,
            Self::Careful => Leaving::Close(chance.between(200, 2000)),
            Self::Mixed => Leaving::Close(chance.between(500, 4000)),
            Self::Abrupt => Leaving::Drop(chance.between(100, 1500)),
        }
    }

    /// What IDENTIFY asks for.
    pub(crate) fn msg_timeout(self) -> Duration {
        match self {
            Self::Plain | Self::Careful => Duration::from_secs(60),
            Self::Mixed => Duration::from_millis(1500),
            Self::Sloppy | Self::Abrupt => Duration::from_millis(1000),
        }
    }

    pub(crate) fn ready(self) -> u64 {
        match self {
            Self::Careful | Self::Plain => 500,
            Self::Mixed | Self::Sloppy => 250,
            Self::Abrupt => 100,
        }
    }
}
